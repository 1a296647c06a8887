"""The command `python -m benchmarks`: reads flags, runs what they ask for, writes the report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import environment, report
from benchmarks.beside import run_beside
from benchmarks.hostile import run_hostile
from benchmarks.idle import raise_file_limit, run_idle
from benchmarks.instructions import own_versions, run_instructions
from benchmarks.linear import run_linear
from benchmarks.model import HERE, BenchmarkError, Server, Suite
from benchmarks.rounds import Plan, Rounds
from benchmarks.streaming import run_streaming
from benchmarks.tables import (
    BESIDE_SERVERS,
    GROUPS,
    HTTP2_ALIKE,
    IDLES,
    LINEAR_SERVERS,
    PARTS,
    STREAM_SERVERS,
    SUITES,
)

# Of these the report names the version, as far as they are installed.
DISTRIBUTIONS = (
    "uvloop",
    "tornado",
    "uvicorn",
    "httptools",
    "aiohttp",
    "granian",
    "hypercorn",
    "gunicorn",
    "waitress",
    "zttp",
    "fastpysgi",
    "socketify",
    "websockets",
)


# What serves by this package, and not by its wheel.
OWN_SCRIPTS = ("serve_edgeserver.py", "serve_edgeserver_asgi.py")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _parts(text: str) -> list[str]:
    return [part for name in _names(text) for part in GROUPS.get(name, (name,))]


def read_flags() -> argparse.Namespace:
    flags = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = flags.add_argument
    groups = "; ".join(f"{name} is {','.join(parts)}" for name, parts in GROUPS.items())
    parts = f"parts: {','.join(PARTS)}; {groups}"
    add("--only", type=_parts, default=list(PARTS), help=parts)
    add("--servers", type=_names, help="only these servers (a suite's references always join)")
    add("--before", type=Path, help="another checkout: its edgeserver beside this one, and nobody")
    add("--rounds", type=int, default=7, help="interleaved rounds (7)")
    add("--repeats", type=int, default=1, help="runs of each load in a round, in turns (1)")
    add("--seconds", type=int, default=2, help="length of one run of the load (2)")
    add("--python", default=sys.executable, help="the Python that all Python servers run on")
    add("--server-core", type=int, default=0)
    add("--load-core", type=int, default=1)
    add("--output", type=Path, help="directory for the report (benchmarks/results)")
    add("--quick", action="store_true", help="a smoke run: one round of 1 s, figures mean nothing")
    chosen = flags.parse_args()
    if chosen.before is not None and not (chosen.before / "edgeserver").is_dir():
        flags.error(f"--before: {chosen.before} does not hold edgeserver/")
    for name in chosen.only:
        if name not in PARTS:
            flags.error(f"--only: no part {name!r}; there are {', '.join((*PARTS, *GROUPS))}")
    if chosen.server_core == chosen.load_core:
        flags.error("--server-core and --load-core must differ: wrk would be paid by the server")
    if chosen.quick:
        chosen.rounds = chosen.repeats = chosen.seconds = 1
    if chosen.output is None:
        chosen.output = Path(tempfile.gettempdir()) if chosen.quick else HERE / "results"
    return chosen


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Selection:
    """Which of the tables' servers are wanted and can run here."""

    def __init__(self, names: list[str] | None, python: Path) -> None:
        everyone = {s.name: s for suite in SUITES for s in suite.servers}
        everyone |= {s.name: s for case in IDLES for s in case.servers}
        everyone |= {s.name: s for s in (*LINEAR_SERVERS, *STREAM_SERVERS)}
        unknown = set(names or ()) - set(everyone)
        if unknown:
            known = ", ".join(everyone)
            raise environment.NotReady(f"no server {', '.join(sorted(unknown))}; there are {known}")
        self.names = names
        self.missing = environment.missing(tuple(everyone.values()), python)

    def of(self, servers: tuple[Server, ...], always: tuple[str, ...] = ()) -> tuple[Server, ...]:
        return tuple(
            server
            for server in servers
            if server.name not in self.missing
            and (self.names is None or server.name in self.names or server.name in always)
        )


def beside(tree: Path) -> tuple[Suite, ...]:
    """Return the suites with edgeserver alone, from this checkout and from `tree`."""
    suites = []
    for suite in SUITES:
        own = tuple(s for s in suite.servers if s.script in OWN_SCRIPTS and not s.compiled)
        before = tuple(
            replace(s, name=f"{s.name}-before", about=f"{s.about}, of {tree}", home=str(tree))
            for s in own
        )
        if own:
            names = tuple(s.name for s in before)
            suites.append(replace(suite, servers=own + before, references=names, targets=()))
    return tuple(suites)


def run(flags: argparse.Namespace) -> dict[str, Any]:
    if flags.only != ["instructions"]:
        environment.need_programs()
    raise_file_limit()
    python = environment.make_environment(flags.python, say)
    compiled = {server.name for suite in SUITES for server in suite.servers if server.compiled}
    if flags.before is None and (flags.servers is None or compiled.intersection(flags.servers)):
        environment.make_compiled(python, say)
    plan = Plan(
        python,
        flags.rounds,
        flags.repeats,
        flags.seconds,
        flags.server_core,
        flags.load_core,
        flags.quick,
    )
    os.sched_setaffinity(0, {plan.load_core})  # this process is load too
    with tempfile.TemporaryDirectory(prefix="bench-certificates-") as directory:
        environment.make_certificates(python, directory)
        return measure_all(flags, plan)


def measure_all(flags: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """Run the parts that the flags name, and return everything that is to be reported."""
    python = plan.python
    selection = Selection(flags.servers, python)
    facts = environment.describe(python, DISTRIBUTIONS)
    facts |= {
        "rounds": plan.rounds,
        "repeats": plan.repeats,
        "seconds": plan.seconds,
        "quick": plan.quick,
    }
    results: dict[str, Any] = {
        "environment": facts,
        "skipped": selection.missing,
        "failed": {},
        "suites": {},
        "idle": {},
    }
    for suite in SUITES if flags.before is None else beside(flags.before.resolve()):
        if suite.name in flags.only:
            chosen = selection.of(suite.servers, suite.references)
            rounds = Rounds(suite, chosen, plan)
            try:
                rounds.run(say)
            except BenchmarkError as error:
                results["failed"][suite.name] = str(error)  # the other suites can still be measured
                continue
            results["suites"][suite.name] = rounds.summary()
            results["failed"].update(rounds.failed)
    failed = results["failed"]
    for case in IDLES:
        if case.name in flags.only:
            chosen = selection.of(case.servers)
            results["idle"][case.name] = run_idle(case, chosen, plan, say=say, failed=failed)
    if "http2-beside" in flags.only:
        chosen = selection.of(BESIDE_SERVERS)
        results["beside"] = run_beside(chosen, HTTP2_ALIKE, plan, say=say, failed=failed)
    if "stream" in flags.only:
        chosen = selection.of(STREAM_SERVERS)
        results["stream"] = run_streaming(chosen, plan, say=say, failed=failed)
    if "linear" in flags.only:
        results["linear"] = run_linear(selection.of(LINEAR_SERVERS), plan, say=say, failed=failed)
    if "hostile" in flags.only:
        results["hostile"] = run_hostile(
            python=python,
            server_core=plan.server_core,
            load_core=plan.load_core,
            say=say,
            failed=failed,
        )
    if "instructions" in flags.only:
        try:
            results["instructions"] = run_instructions(own_versions(python), say=say)
        except BenchmarkError as error:
            failed["instructions"] = str(error)
    return results


def main() -> int:
    flags = read_flags()
    try:
        results = run(flags)
    except BenchmarkError as error:
        say(f"benchmarks: {error}")
        return 2 if isinstance(error, environment.NotReady) else 1
    suites = SUITES if flags.before is None else beside(flags.before.resolve())
    text = report.render_report(results, suites)
    flags.output.mkdir(parents=True, exist_ok=True)
    python = results["environment"]["python"].split()[-1]
    stem = flags.output / f"{'quick-' if flags.quick else ''}python-{python}"
    Path(f"{stem}.json").write_text(json.dumps(results, indent=1) + "\n")
    Path(f"{stem}.md").write_text(text)
    print(text)
    say(f"written: {stem}.json and {stem}.md")
    for name, reason in results["failed"].items():
        say(f"benchmarks: {name} had to be left out: {reason}")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
