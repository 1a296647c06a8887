"""The report of a supervised server: what its parent knows of it at one moment, as values.

Decides which facts there are. Whoever supervises fills it in; `status.py` and `metrics.py` show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edgeserver.support.counters import CounterRow

__all__ = ["GAUGES", "STATES", "Facts", "Roll", "ServerReport", "WorkerReport", "total"]

STATES: Final = ("starting", "serving", "leaving")
"""What a worker can be at."""


GAUGES: Final = ("connections", "requests_in_flight", "loop_lag", "certificate_not_after_seconds")
"""What a worker writes that is true of a living process only."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What does not change while the server runs.

    Args:
        version: The version of edgeserver.
        python: That of Python.
        is_compiled: Whether the compiled modules run.
        application: What is served, escaped.
        listeners: Where, a line each.
        policy: Who is believed, a line each, as at start.
    """

    version: str = ""
    python: str = ""
    is_compiled: bool = False
    application: str = ""
    listeners: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """One worker.

    Args:
        place: Its number, from 1 on; two have the same while one replaces the other.
        pid: Its process.
        state: One of `STATES`.
        age_s: Since when it is in that state, seconds.
        waits_for: What its start waits for; empty once it serves.
        silent_s: Seconds since its event loop was seen to turn.
        memory: Bytes that it takes; 0 where that is not known.
        row: What it counts into; None where nothing is.
    """

    place: int
    pid: int
    state: str
    age_s: float
    waits_for: str = ""
    silent_s: float = 0.0
    memory: int = 0
    row: CounterRow | None = None

    def said(self) -> dict[str, Any]:
        """Return what it has told of itself last; empty where that cannot be read."""
        if self.row is None:
            return {}
        try:
            said = json.loads(self.row.read_text())
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Roll:
    """The last replacement of all workers.

    Args:
        number: How many there were, this one too.
        state: `"none"`, `"waiting"`, `"running"`, `"done"` or `"failed"`.
        said: What the operator was told of it last.
    """

    number: int = 0
    state: str = "none"
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerReport:
    """Everything that a parent knows.

    Args:
        workers: The workers, those that start and leave too.
        wanted: How many there are to be.
        has_started: Whether all have served once.
        is_stopping: Whether the server drains.
        ends: How many workers have ended, by reason.
        roll: The last replacement of all.
        uptime_s: How long the parent runs.
        said: What the operator was told last, each with its time.
        rows: What was counted, by processes that have ended too.
    """

    workers: tuple[WorkerReport, ...] = ()
    wanted: int = 0
    has_started: bool = False
    is_stopping: bool = False
    ends: Mapping[str, int] = field(default_factory=dict)
    roll: Roll = Roll()
    uptime_s: float = 0.0
    said: tuple[str, ...] = ()
    rows: tuple[CounterRow, ...] = ()

    @property
    def serving(self) -> int:
        """How many workers serve."""
        return sum(each.state == "serving" for each in self.workers)

    def not_ready(self) -> list[str]:
        """Return why no traffic should be sent here; nothing where it should."""
        why = []
        if self.is_stopping:
            why.append("the server drains: it was told to stop")
        elif not self.has_started:
            why.append(f"{self.serving} of {self.wanted} workers have started")
            why += [
                f"worker {each.place} waits for {each.waits_for}"
                for each in self.workers
                if each.state == "starting"
            ]
        elif not self.serving:
            why.append("no worker serves")
        return why


def total(rows: tuple[CounterRow, ...]) -> dict[tuple[str, ...], float]:
    """Return the sums of the numbers of several rows, by family and labels."""
    sums: dict[tuple[str, ...], float] = {}
    for row in rows:
        for key, value in row.read().items():
            sums[key] = sums.get(key, 0.0) + value
    return sums
