"""Interleaved rounds: every server meets every workload once a round, in a rotating order.

Decides what is quoted: for each pair of servers the median over the rounds of that round's ratio,
so that a slow minute of the machine, which meets both, cancels out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.checks import check
from benchmarks.h2load import run_h2load
from benchmarks.load import Load, run_load
from benchmarks.model import BenchmarkError, Server, Suite, Workload
from benchmarks.procs import Running, core_seconds, running


@dataclass(frozen=True)
class Plan:
    """How long and where to measure."""

    python: Path
    rounds: int
    repeats: int
    seconds: int
    server_core: int
    load_core: int
    quick: bool


@dataclass(frozen=True)
class Sample:
    """One run of the load; `busy` and `others` are shares of the server's core."""

    cpu_us: float
    busy: float
    others: float
    per_second: float
    p99_ms: float

    @classmethod
    def mean(cls, samples: list[Sample]) -> Sample:
        """Return the one that stands for several of the same server."""
        rows = zip(*(astuple(sample) for sample in samples), strict=True)
        return cls(*(statistics.fmean(row) for row in rows))


def send(workload: Workload, port: int, *, seconds: int, core: int, run: int) -> Load:
    """Send a workload with the loader that speaks its version of HTTP."""
    sending = run_h2load if workload.http2 else run_load
    return sending(workload, port, seconds=seconds, core=core, run=run)


def measure(process: Running, workload: Workload, plan: Plan, run: int) -> Sample:
    """Send load once and divide the CPU time that the server took by what it served."""
    before, core_before = process.cpu_seconds(), core_seconds(plan.server_core)
    load = send(workload, process.port, seconds=plan.seconds, core=plan.load_core, run=run)
    spent = process.cpu_seconds() - before
    others = core_seconds(plan.server_core) - core_before - spent
    return Sample(
        cpu_us=spent / load.requests * 1e6,
        busy=spent / load.seconds,
        others=max(0.0, others / load.seconds),
        per_second=load.requests / load.seconds,
        p99_ms=load.p99_ms,
    )


def _groups(suite: Suite) -> list[tuple[tuple[str, ...], list[Workload]]]:
    """Return the workloads by the settings that they need of the servers."""
    groups: dict[tuple[str, ...], list[Workload]] = {}
    for workload in suite.workloads:
        groups.setdefault(workload.settings(), []).append(workload)
    return list(groups.items())


class Rounds:
    """The rounds of one suite: what was sampled, and who had to be left out.

    The processes are fresh in every round, so that the luck of one process's memory layout and hash
    seed is not what is quoted. A server that answers wrongly or goes away leaves the suite with all
    its samples, and `failed` says why.
    """

    def __init__(self, suite: Suite, servers: tuple[Server, ...], plan: Plan) -> None:
        self.suite = suite
        self.plan = plan
        self.servers = list(servers)
        self.failed: dict[str, str] = {}
        self._samples: dict[tuple[str, str], list[Sample]] = {}
        self._runs = count(1)

    def run(self, say: Callable[[str], None]) -> None:
        """Run all rounds, the servers in another order each time."""
        for number in range(self.plan.rounds):
            for settings, workloads in _groups(self.suite):
                by = number % len(self.servers)
                with ExitStack() as stack:
                    self._run_group(
                        self.servers[by:] + self.servers[:by], settings, workloads, stack
                    )
            say(f"{self.suite.name}: round {number + 1} of {self.plan.rounds}")

    def _run_group(
        self,
        order: list[Server],
        settings: tuple[str, ...],
        workloads: list[Workload],
        stack: ExitStack,
    ) -> None:
        processes = []
        for server in order:
            try:
                processes.append(self._start(server, settings, workloads, stack))
            except BenchmarkError as error:
                self._fail(server, error)
        for workload in workloads:
            samples: dict[str, list[Sample]] = {}
            for repeat in range(self.plan.repeats):
                by = repeat % len(processes)
                for process in processes[by:] + processes[:by]:
                    if process.server.name in self.failed:
                        continue
                    process.resume()
                    try:
                        sample = measure(process, workload, self.plan, next(self._runs))
                    except BenchmarkError as error:
                        self._fail(process.server, error)
                    else:
                        process.pause()
                        samples.setdefault(process.server.name, []).append(sample)
            for name, taken in samples.items():
                self._samples.setdefault((workload.name, name), []).append(Sample.mean(taken))

    def _start(
        self, server: Server, settings: tuple[str, ...], workloads: list[Workload], stack: ExitStack
    ) -> Running:
        """Start a server, hold it to its answers, and warm it up."""
        plan = self.plan
        process = stack.enter_context(
            running(
                server,
                settings,
                python=plan.python,
                core=plan.server_core,
                environment=self.suite.environment,
            )
        )
        for workload in workloads:
            check(process, workload)
            run = next(self._runs)
            send(workload, process.port, seconds=1, core=plan.load_core, run=run)
        process.pause()
        return process

    def _fail(self, server: Server, error: BenchmarkError) -> None:
        if server.name in self.suite.references[:1]:
            # Without its baseline the suite says nothing.
            raise BenchmarkError(f"{server.name}, the baseline: {error}") from error
        self.failed[server.name] = f"{self.suite.name}: {error}"
        self.servers.remove(server)

    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return, by workload and server, the medians and the medians of the per-round ratios."""
        return {
            workload.name: {
                server.name: self._row(workload.name, server.name) for server in self.servers
            }
            for workload in self.suite.workloads
        }

    def _row(self, workload: str, server: str) -> dict[str, Any]:
        own = self._samples[workload, server]
        there = [server.name for server in self.servers]
        return {
            "cpu_us": statistics.median(s.cpu_us for s in own),
            "busy": statistics.median(s.busy for s in own),
            "others": statistics.median(s.others for s in own),
            "per_second": statistics.median(s.per_second for s in own),
            "p99_ms": statistics.median(s.p99_ms for s in own),
            "ratios": {
                reference: _ratio(own, self._samples[workload, reference])
                for reference in self.suite.references
                if reference in there
            },
            "rounds": [vars(s) for s in own],
        }


def _ratio(ours: list[Sample], theirs: list[Sample]) -> dict[str, float]:
    ratios = [a.cpu_us / b.cpu_us for a, b in zip(ours, theirs, strict=True)]
    return {
        "median": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }
