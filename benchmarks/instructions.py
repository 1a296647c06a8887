"""Instructions per request, by callgrind: for one version of edgeserver beside another.

    python -m benchmarks.instructions                                    # this checkout
    python -m benchmarks.instructions --tree ../before --tree .          # with a ratio
    python -m benchmarks.instructions --compiled VENV/bin/python --rows minimal,browser

Decides how a count is taken: one process for each row, same hashes, addresses and time in each, and
the machine's instructions between two marks. `counted.py` decides what is done between them. Python
looks attributes up in a cache by address, where two that meet cost up to a hundredth of a request:
where everything lies is changed some times, and the cheapest counts.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.model import CERTIFICATES_VARIABLE, HERE, BenchmarkError, Counted
from benchmarks.procs import compiled_home
from benchmarks.report import render_instructions
from benchmarks.tables import COUNTED

REQUESTS = 320  # in one section
SECTIONS = 2
LAYOUTS = 4  # in one of five something meets

Results = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """An edgeserver to be measured: `python` imports it from `home`, or finds it by itself.

    One that is `compiled` has to be.
    """

    name: str
    python: Path
    home: Path | None = None
    compiled: bool = False


def need_programs() -> None:
    """Raise `NotReady` unless valgrind is installed."""
    if shutil.which("valgrind") is None:
        raise environment.NotReady(
            "valgrind, which counts instructions, is not installed (Debian: apt install valgrind)"
        )


def count(rows: tuple[Counted, ...], version: Version, layout: int) -> dict[str, float]:
    """Return, by row, what one request costs `version`, in the row's unit.

    Args:
        rows: What is counted.
        version: Whose.
        layout: Any number; another one puts everything at other addresses.

    Raises:
        BenchmarkError: It could not be counted, or something else would have been.
    """
    by_marks = [row.name for row in rows if row.unit == "instructions"]
    by_itself = [row.name for row in rows if row.unit != "instructions"]
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-instructions-") as directory:
        if by_itself:
            for said in _run((), by_itself, version, directory, layout):
                figures[said["row"]] = sum(said["counts"]) / SECTIONS
        if by_marks:
            for said in _run(_callgrind(directory), by_marks, version, directory, layout):
                # A file is written at each mark, with what was counted since the last: the start,
                # a section, what is between two sections, a section, ...
                out = f"{directory}/out.{said['pid']}"
                totals = [_total(Path(f"{out}.{2 * n + 2}")) for n in range(SECTIONS)]
                figures[said["row"]] = sum(totals) / SECTIONS / REQUESTS
    return figures


def _callgrind(directory: str) -> tuple[str, ...]:
    return (
        *("valgrind", "--tool=callgrind", "--dump-before=getloadavg"),
        f"--callgrind-out-file={directory}/out.%p",
    )


@functools.cache
def _same_addresses() -> tuple[str, ...]:
    """Return the command that switches random addresses off, as far as this system allows it.

    Objects hash by their address: what shares a place in a dict would change from run to run.
    """
    command = ("setarch", "-R")
    if shutil.which("setarch") is None:
        return ()
    return () if subprocess.run([*command, "true"], check=False).returncode else command


def _run(
    under: tuple[str, ...], rows: list[str], version: Version, directory: str, layout: int
) -> list[dict[str, Any]]:
    """Run the driver `under` another program, and return what it says of each row."""
    kept = ("PATH", "LD_LIBRARY_PATH", CERTIFICATES_VARIABLE)
    command = [*_same_addresses(), *under, str(version.python), "-P", str(HERE / "counted.py")]
    ended = subprocess.run(
        [*command, *rows, "--requests", str(REQUESTS), "--sections", str(SECTIONS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env={
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PYTHONHASHSEED": "0",
            # Read before nearly everything else is made, and kept.
            **{f"LAYOUT_{number}": "x" * number for number in range(20 * layout)},
            **({"PYTHONPATH": str(version.home)} if version.home else {}),
        },
    )
    if ended.returncode:
        raise BenchmarkError(f"{version.name}: {(ended.stderr or ended.stdout).strip()[-2000:]}")
    said: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines()]
    for line in said:
        package = Path(line["package"])
        if version.home is not None and package != version.home / "edgeserver":
            raise BenchmarkError(f"{version.name}: {package} would have been measured instead")
        if version.compiled and not line["compiled"]:
            raise BenchmarkError(f"{version.name}: {package} is not compiled: install the wheel")
    return said


def _total(path: Path) -> int:
    """Return how many instructions a file of callgrind's counts."""
    found = re.search(r"^totals: (\d+)$", path.read_text(), re.MULTILINE)
    if found is None:
        raise BenchmarkError("callgrind has counted nothing between two marks")
    return int(found[1])


def run_instructions(
    versions: tuple[Version, ...],
    rows: tuple[Counted, ...] = COUNTED,
    *,
    say: Callable[[str], None],
    jobs: int = os.cpu_count() or 1,
) -> Results:
    """Return, by row and version, what is counted for one request.

    Raises:
        BenchmarkError: Something could not be counted.
    """
    need_programs()

    def measure(case: tuple[Version, int]) -> dict[str, float]:
        version, layout = case
        say(f"instructions: {version.name}, {layout + 1} of {LAYOUTS}")
        return count(rows, version, layout)

    cases = [(version, layout) for version in versions for layout in range(LAYOUTS)]
    # Neighbours change how long a run takes, and not what it counts.
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        counted = dict(zip(cases, pool.map(measure, cases), strict=True))

    def cheapest(row: Counted, version: Version) -> float:
        return min(counted[version, layout][row.name] for layout in range(LAYOUTS))

    return {row.name: {each.name: cheapest(row, each) for each in versions} for row in rows}


def _tree(tree: Path, python: Path) -> Version:
    """Return what stands in a directory, and say in its name whether it is compiled."""
    home = tree.resolve()
    compiled = any(home.glob("edgeserver/**/*.so"))
    return Version(f"{tree} (compiled)" if compiled else str(tree), python, home, compiled)


def own_versions(python: Path) -> tuple[Version, ...]:
    """Return this checkout, and what it is compiled to where that is there."""
    source = Version("edgeserver", python, environment.ROOT)
    home = compiled_home(python)
    if not home.exists():
        return (source,)
    return source, Version("edgeserver-compiled", python, home, compiled=True)


def _rows(text: str) -> tuple[Counted, ...]:
    rows = {row.name: row for row in COUNTED}
    names = text.split(",")
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {', '.join(rows)}")
    return tuple(rows[name] for name in names)


def read_flags() -> argparse.Namespace:
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions", description=__doc__.partition("\n")[0]
    )
    add = flags.add_argument
    add("--tree", type=Path, action="append", default=[], help="a directory that holds edgeserver/")
    add(
        "--compiled",
        type=Path,
        action="append",
        default=[],
        metavar="PYTHON",
        help="the Python of an environment with an edgeserver of its own, as `make wheel` makes it",
    )
    add("--python", type=Path, default=Path(sys.executable), help="runs every --tree")
    add("--rows", type=_rows, default=COUNTED, help="only these rows, with commas between them")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    add("--json", type=Path, help="write the figures there too")
    return flags.parse_args()


def main() -> int:
    flags = read_flags()
    trees = flags.tree or ([] if flags.compiled else [environment.ROOT])
    versions = (
        *(_tree(tree, flags.python.absolute()) for tree in trees),
        *(Version(str(python), python.absolute(), compiled=True) for python in flags.compiled),
    )
    say = functools.partial(print, file=sys.stderr, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-certificates-") as directory:
            environment.make_certificates(flags.python, directory)
            results = run_instructions(versions, flags.rows, say=say, jobs=flags.jobs)
    except BenchmarkError as error:
        say(f"benchmarks: {error}")
        return 2 if isinstance(error, environment.NotReady) else 1
    print("\n".join(render_instructions(results)))
    if flags.json:
        flags.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
