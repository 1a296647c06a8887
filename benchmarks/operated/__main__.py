"""The table of operating: `python -m benchmarks.operated`.

Each server runs with two workers and is replaced, restarted, killed, stuck and rotated by its own
documented means, under the mixed load of `benchmarks.rolls`. These are counts, more than times:
they may be taken piece by piece (`--servers`, `--rows`), and what `--output` names keeps the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path

from benchmarks.environment import describe, make_environment
from benchmarks.operated.peers import PEERS
from benchmarks.operated.rows import ROWS, measure

VERSIONS = (*PEERS, "uvloop", "httptools")


def main() -> None:
    """Measure, keep the results, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default=",".join(PEERS))
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--python", help="of the servers; one with all of them is made without it")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results.json"))
    args = parser.parse_args()
    python = (
        Path(os.path.abspath(args.python)) if args.python else make_environment("python3", print)
    )
    kept = json.loads(args.output.read_text()) if args.output.exists() else {"results": {}}
    for name in args.servers.split(","):
        with tempfile.TemporaryDirectory(prefix="operated-") as directory:
            rows = args.rows.split(",")
            measured = asyncio.run(measure(PEERS[name], Path(directory), str(python), rows))
        kept["results"].setdefault(name, {}).update(measured)
        kept["facts"] = describe(python, VERSIONS)
        args.output.write_text(json.dumps(kept, indent=1) + "\n")
    _print_table(kept["results"])


def _print_table(results: dict[str, dict[str, str]]) -> None:
    names = [name for name in PEERS if name in results]
    print("| |", " | ".join(names), "|")
    print("|-" * (len(names) + 1) + "|")
    for key, (title, _) in ROWS.items():
        cells = (results[name].get(key, "").partition(" (")[0] for name in names)
        print(f"| {title} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
