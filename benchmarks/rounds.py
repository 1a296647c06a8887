"""Interleaved rounds: every server meets every workload once a round, in a rotating order.

Decides what is quoted: for each pair of servers the median over the rounds of that round's ratio,
so that a slow minute of the machine, which meets both, cancels out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.checks import check
from benchmarks.load import run_wrk
from benchmarks.model import Server, Suite, Workload
from benchmarks.procs import Running, running


@dataclass(frozen=True)
class Plan:
    """How long and where to measure."""

    python: Path
    rounds: int
    seconds: int
    server_core: int
    load_core: int
    quick: bool


@dataclass(frozen=True)
class Sample:
    """One run of wrk against one server."""

    cpu_us: float
    busy: float
    per_second: float
    p99_ms: float


def measure(process: Running, workload: Workload, plan: Plan, run: int) -> Sample:
    """Run wrk once and divide the CPU time that the server took by the requests it served."""
    before = process.cpu_seconds()
    load = run_wrk(workload, process.port, seconds=plan.seconds, core=plan.load_core, run=run)
    spent = process.cpu_seconds() - before
    return Sample(
        spent / load.requests * 1e6,
        spent / load.seconds,
        load.requests / load.seconds,
        load.p99_ms,
    )


def _groups(suite: Suite) -> list[tuple[tuple[str, ...], list[Workload]]]:
    """Return the workloads by the settings that they need of the servers."""
    groups: dict[tuple[str, ...], list[Workload]] = {}
    for workload in suite.workloads:
        groups.setdefault(workload.settings(), []).append(workload)
    return list(groups.items())


def _rotated(items: tuple[Server, ...], by: int) -> tuple[Server, ...]:
    by %= len(items)
    return items[by:] + items[:by]


def run_rounds(
    suite: Suite, servers: tuple[Server, ...], plan: Plan, say: Callable[[str], None]
) -> dict[str, dict[str, list[Sample]]]:
    """Return the samples of each server by workload, one a round.

    The processes are fresh in every round, so that the luck of one process's memory layout and hash
    seed is not what is quoted.
    """
    samples: dict[str, dict[str, list[Sample]]] = {
        w.name: {s.name: [] for s in servers} for w in suite.workloads
    }
    runs = count(1)
    for number in range(plan.rounds):
        order = _rotated(servers, number)
        for settings, workloads in _groups(suite):
            with ExitStack() as stack:
                processes = [_start(s, settings, workloads, plan, stack, runs) for s in order]
                for workload in workloads:
                    for process in processes:
                        sample = measure(process, workload, plan, next(runs))
                        samples[workload.name][process.server.name].append(sample)
        say(f"{suite.name}: round {number + 1} of {plan.rounds}")
    return samples


def _start(
    server: Server,
    settings: tuple[str, ...],
    workloads: list[Workload],
    plan: Plan,
    stack: ExitStack,
    runs: Iterator[int],
) -> Running:
    """Start a server, hold it to its answers, and warm it up."""
    process = stack.enter_context(
        running(server, settings, python=plan.python, core=plan.server_core)
    )
    for workload in workloads:
        check(process, workload)
        run_wrk(workload, process.port, seconds=1, core=plan.load_core, run=next(runs))
    return process


def _ratio(ours: list[Sample], theirs: list[Sample]) -> dict[str, float]:
    ratios = [a.cpu_us / b.cpu_us for a, b in zip(ours, theirs, strict=True)]
    return {
        "median": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


def summarise(
    suite: Suite, samples: dict[str, dict[str, list[Sample]]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by workload and server, the medians and the medians of the per-round ratios."""
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for workload, by_server in samples.items():
        rows = summary[workload] = {}
        for server, own in by_server.items():
            rows[server] = {
                "cpu_us": statistics.median(s.cpu_us for s in own),
                "busy": statistics.median(s.busy for s in own),
                "per_second": statistics.median(s.per_second for s in own),
                "p99_ms": statistics.median(s.p99_ms for s in own),
                "ratios": {
                    reference: _ratio(own, by_server[reference])
                    for reference in suite.references
                    if reference in by_server
                },
                "rounds": [vars(s) for s in own],
            }
    return summary
