"""The metrics: which numbers are shown to Prometheus, under which names, and how.

Decides names, types and help, in one table. It must not know how anything is counted: it is given a
report with rows of counters. `prometheus-client` writes them out, in both of its formats.

No label holds what a client wrote. Those that are not from a closed list are host names of the
configuration and numbers of workers, and a row bounds how many there are.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgeserver.operate.report import STATES, Facts, ServerReport, total
from edgeserver.support.durations import BOUNDS_S

__all__ = [
    "FAMILIES",
    "INSTALL",
    "Family",
    "NotInstalledError",
    "can_render",
    "forget_imports",
    "render_metrics",
]

INSTALL: Final = "metrics need prometheus-client: pip install 'edgeserver[metrics]'"

PREFIX: Final = "edgeserver_"

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One metric.

    Args:
        name: Its name, without `edgeserver_`; that of a counter ends with `_total`.
        kind: What it is.
        help: What it says, as a sentence.
        labels: The names of its labels.
        is_counted: Whether workers count it in their rows; else it is known to the parent.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    is_counted: bool = True


FAMILIES: Final = (
    Family(name="connections", kind="gauge", help="Open connections."),
    Family(name="connections_total", kind="counter", help="Connections that came as far as HTTP."),
    Family(
        name="requests_total",
        kind="counter",
        labels=("code",),
        help="Requests that have ended, by status; none where the client left before that.",
    ),
    Family(name="requests_in_flight", kind="gauge", help="Requests that are being served."),
    Family(
        name="request_duration_seconds",
        kind="histogram",
        help="Seconds from the end of a request's head to the end of its answer.",
    ),
    Family(
        name="refused_total",
        kind="counter",
        labels=("rule",),
        help="Requests that broke a rule, by where it stands or by the setting.",
    ),
    Family(
        name="shed_total",
        kind="counter",
        labels=("reason",),
        help="Requests and connections that were turned away for want of room, by the setting.",
    ),
    Family(
        name="findings_total",
        kind="counter",
        labels=("code",),
        help="Findings about proxies and what they send, where proofs are made (audit log).",
    ),
    Family(
        name="tls_handshakes_total",
        kind="counter",
        labels=("result", "version"),
        help="TLS handshakes by what became of them: full, resumed, silent (no byte came), or why"
        " they failed.",
    ),
    Family(
        name="tls_handshake_seconds",
        kind="histogram",
        help="Seconds from a connection to the end of its handshake.",
    ),
    Family(
        name="certificate_not_after_seconds",
        kind="gauge",
        labels=("host",),
        help="When the first certificate of a host's chain expires, seconds since 1970; the default"
        " host is empty.",
    ),
    Family(
        name="loop_lag_seconds",
        kind="gauge",
        labels=("worker",),
        help="How late the event loop of a worker was in the last second.",
        is_counted=False,
    ),
    Family(
        name="workers",
        kind="gauge",
        labels=("state",),
        help="Worker processes.",
        is_counted=False,
    ),
    Family(
        name="worker_ends_total",
        kind="counter",
        labels=("reason",),
        help="Worker processes that have ended.",
        is_counted=False,
    ),
    Family(
        name="worker_memory_bytes",
        kind="gauge",
        labels=("worker",),
        help="Memory of a worker, what it shares with others counted in parts (PSS).",
        is_counted=False,
    ),
    Family(
        name="log_lines_dropped_total",
        kind="counter",
        labels=("log",),
        help="Lines that were not written: a reader that is slow, a disk that is full.",
    ),
    Family(
        name="reloads_total",
        kind="counter",
        labels=("result",),
        help="Reloads: each worker counts its own; what was refused counts once.",
    ),
    Family(
        name="build_info",
        kind="gauge",
        labels=("version", "python", "compiled"),
        help="Always 1; the labels say what runs.",
        is_counted=False,
    ),
)
"""Every metric, in the order in which they are shown."""

LEAST: Final = frozenset(("certificate_not_after_seconds",))
"""What each worker says of the same thing: the smallest of all is shown, not their sum."""


CLASHING: Final = frozenset(("connections_total",))
"""Counters without a type in OpenMetrics, where a counter's family is named without its `_total`:
that would be the name of a gauge."""


class NotInstalledError(Exception):
    """`prometheus-client` is not there."""


def can_render() -> bool:
    """Return whether `prometheus-client` is there."""
    return importlib.util.find_spec("prometheus_client") is not None


def forget_imports() -> None:
    """Let a process that was forked from this one import `prometheus-client` anew.

    An application may use it, too: its version, and a directory for several processes that is
    looked for when it is imported.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        del sys.modules[name]


def render_metrics(accept: str, facts: Facts, report: ServerReport) -> tuple[bytes, str]:
    """Return the metrics in the format that is accepted, and its content type.

    Args:
        accept: The value of `Accept`; without `application/openmetrics-text` it is Prometheus text.
        facts: What does not change.
        report: What does.

    Raises:
        NotInstalledError: Nobody is there who writes them.
    """
    try:
        from prometheus_client import core, exposition
    except ImportError as error:
        raise NotInstalledError(INSTALL) from error
    write, content_type = exposition.choose_encoder(accept)
    makers: Mapping[str, Any] = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
        "unknown": core.UnknownMetricFamily,
    }
    is_open = content_type.startswith("application/openmetrics-text")
    return write(_Collector(makers, facts, report, is_open=is_open)), content_type


class _Collector:
    """What `prometheus-client` asks for numbers.

    Args:
        makers: Its class for each kind of family.
        facts: What does not change.
        report: What does.
        is_open: Whether OpenMetrics is written.
    """

    def __init__(
        self, makers: Mapping[str, Any], facts: Facts, report: ServerReport, *, is_open: bool
    ) -> None:
        self._makers = makers
        self._clashing = CLASHING if is_open else frozenset()
        self._facts = facts
        self._report = report
        living = tuple(each.row for each in report.workers if each.row is not None)
        self._now = total(living)  # gauges are of processes that live
        self._ever = total(report.rows)
        self._least = _least(living)

    def collect(self) -> Iterator[Any]:
        """Yield each family with its numbers."""
        for family in FAMILIES:
            if family.kind == "histogram":
                yield self._histogram(family)
                continue
            kind = "unknown" if family.name in self._clashing else family.kind
            made = self._makers[kind](PREFIX + family.name, family.help, labels=family.labels)
            for labels, value in self._numbers(family):
                made.add_metric(labels, value)
            yield made

    def _numbers(self, family: Family) -> list[tuple[tuple[str, ...], float]]:
        if not family.is_counted:
            return _OF_PARENT[family.name](self._facts, self._report)
        if family.name in LEAST:
            numbers = self._least
        else:
            numbers = self._ever if family.kind == "counter" else self._now
        found = [
            (key[1:], value) for key, value in sorted(numbers.items()) if key[0] == family.name
        ]
        return found or ([] if family.labels else [((), 0.0)])

    def _histogram(self, family: Family) -> Any:
        made = self._makers["histogram"](PREFIX + family.name, family.help)
        count = 0.0
        buckets = []
        for bound in (*BOUNDS_S, float("inf")):
            label = "+Inf" if bound == float("inf") else str(bound)
            count += self._ever.get((family.name, label), 0.0)
            buckets.append((label, count))
        made.add_metric([], buckets, self._ever.get((f"{family.name}_sum",), 0.0))
        return made


def _least(rows: tuple[Any, ...]) -> dict[tuple[str, ...], float]:
    """Return the smallest of what several rows say of the same thing."""
    least: dict[tuple[str, ...], float] = {}
    for row in rows:
        for key, value in row.read().items():
            if key[0] in LEAST and value:
                least[key] = min(least.get(key, value), value)
    return least


_Numbers = list[tuple[tuple[str, ...], float]]


def _loop_lag(facts: Facts, report: ServerReport) -> _Numbers:
    return [((str(place),), each) for place, each in lags(report).items()]


def lags(report: ServerReport) -> dict[int, float]:
    """Return how late the event loop of each worker that serves is, by its number.

    It says so itself once a second; one that says nothing is late by as much as it is silent.
    """
    found: dict[int, float] = {}
    for each in report.workers:
        if each.state == "serving":
            own = 0.0 if each.row is None else each.row.read().get(("loop_lag",), 0.0)
            found[each.place] = max(own, each.silent_s - 1.0, found.get(each.place, 0.0))
    return found


def _workers(facts: Facts, report: ServerReport) -> _Numbers:
    return [
        ((state,), float(sum(each.state == state for each in report.workers))) for state in STATES
    ]


def _worker_ends(facts: Facts, report: ServerReport) -> _Numbers:
    return [((reason,), float(count)) for reason, count in sorted(report.ends.items())]


def _worker_memory(facts: Facts, report: ServerReport) -> _Numbers:
    sums: dict[int, int] = {}
    for each in report.workers:
        if each.memory:
            sums[each.place] = sums.get(each.place, 0) + each.memory
    return [((str(place),), float(size)) for place, size in sorted(sums.items())]


def _build_info(facts: Facts, report: ServerReport) -> _Numbers:
    compiled = "true" if facts.is_compiled else "false"
    return [((facts.version, facts.python, compiled), 1.0)]


_OF_PARENT: Mapping[str, Callable[[Facts, ServerReport], _Numbers]] = {
    "loop_lag_seconds": _loop_lag,
    "workers": _workers,
    "worker_ends_total": _worker_ends,
    "worker_memory_bytes": _worker_memory,
    "build_info": _build_info,
}
