"""`edgeserver audit logs` on a generated log: lines a second and peak memory, beside other readers.

    python -m benchmarks.audit                     # 100,000 lines, some seconds
    python -m benchmarks.audit --lines 1000000 --clients all

The log is nginx's with X-Forwarded-For. A plain Python loop that splits each line and counts
peers and lists is what a script of one's own would be; `rg -c` counts lines and nothing else;
goaccess parses them. Those that are not installed are left out. Each reader is a process of its
own: its peak memory is the kernel's figure for it, its lines a second are by the wall clock.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

LOOP = """
import sys
from collections import Counter
heads = Counter()
for line in open(sys.argv[1], "rb"):
    parts = line.split(b'"')
    if len(parts) > 7:
        heads[parts[0].split(b" ", 1)[0], parts[7]] += 1
print(len(heads))
"""


def generate(path: Path, lines: int, *, distinct: bool) -> None:
    """Write a log of two proxies; clients repeat, or are all different."""
    chance = random.Random(16)
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120"
    with path.open("w") as log:
        for number in range(lines):
            client = number if distinct else int(chance.paretovariate(0.8)) % 65536
            address = (
                f"{11 + (client >> 24)}.{client >> 16 & 255}.{client >> 8 & 255}.{client & 255}"
            )
            second = number * 86400 // lines
            moment = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
            log.write(
                f"192.0.2.{5 + number % 2} - - [28/Nov/2026:{moment} +0000] "
                f'"GET /item/{number % 977} HTTP/1.1" 200 2341 "-" "{agent}" "{address}"\n'
            )


def readers(path: Path) -> dict[str, list[str]]:
    """Return the commands that read a log."""
    commands = {
        "edgeserver audit logs": [
            sys.executable, "-m", "edgeserver", "audit", "logs", str(path),
            "--trust", "192.0.2.5,192.0.2.6", "--fail-on", "never",
        ],
        "a Python loop": [sys.executable, "-c", LOOP, str(path)],
        "rg -c": ["rg", "-c", "", str(path)],
        "goaccess": [
            "goaccess", str(path), "--log-format=COMBINED", "-o", f"{path}.json", "--no-progress",
        ],
    }  # fmt: skip
    return {name: words for name, words in commands.items() if shutil.which(words[0])}


def measure(words: list[str]) -> tuple[float, float, float, int]:
    """Run a command; return seconds by the wall, processor seconds, MiB at its peak, exit code."""
    began = time.perf_counter()
    child = os.posix_spawnp(
        words[0], words, os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )  # fmt: skip
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - began
    return (
        wall,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        os.waitstatus_to_exitcode(status),
    )


def main() -> None:
    """Generate the log and print a row for each reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--clients", choices=["repeated", "all"], default="repeated",
                        help="whether clients repeat or are all different")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "access.log"
        generate(path, options.lines, distinct=options.clients == "all")
        size = path.stat().st_size / 2**20
        print(f"{options.lines:,} lines, {size:.0f} MiB, clients {options.clients}\n")
        print("| reader | lines/s | lines per CPU second | peak MiB |\n|---|---|---|---|")
        for name, words in readers(path).items():
            best = min(measure(words) for _ in range(options.rounds))
            wall, processor, peak, code = best
            failed = f" (exit {code})" if code else ""
            print(
                f"| {name}{failed} | {options.lines / wall:,.0f} | "
                f"{options.lines / max(processor, 0.001):,.0f} | {peak:.0f} |"
            )


if __name__ == "__main__":
    main()
