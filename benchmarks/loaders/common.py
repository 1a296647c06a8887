"""What the loaders share: their options, the clock of a run, and the line that they end with.

Decides how a run's figures reach the harness: as the line that `benchmarks.load` makes wrk print.
A loader sends nothing new once its seconds are over, and finishes what it began.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

HOST = "127.0.0.1"
STALL_SECONDS = 15.0


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser for the options of every loader."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("port", type=int)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--connections", type=int, required=True, help="how many at a time")
    options.add_argument("--request", type=Path, required=True, help="a file with a head")
    return options


def run(main: Callable[[], None]) -> None:
    """Run a loader; an error of the network ends it with one line."""
    try:
        main()
    except OSError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


class Tally:
    """How many were finished, and how long each took."""

    def __init__(self, seconds: float) -> None:
        self.started_s = time.perf_counter()
        self.ends_s = self.started_s + seconds
        self._took_s: list[float] = []

    def is_over(self) -> bool:
        return time.perf_counter() >= self.ends_s

    def count(self, began_s: float) -> float:
        """Count one that began at `began_s`, and return the time."""
        now_s = time.perf_counter()
        self._took_s.append(now_s - began_s)
        return now_s

    def report(self) -> None:
        """Print the figures.

        Raises:
            SystemExit: Nothing was finished.
        """
        if not self._took_s:
            raise SystemExit("nothing was answered in time")
        took_s = sorted(self._took_s)
        figures = {
            "requests": len(took_s),
            "duration_us": (time.perf_counter() - self.started_s) * 1e6,
            "p50_us": took_s[len(took_s) // 2] * 1e6,
            "p99_us": took_s[len(took_s) * 99 // 100] * 1e6,
            "errors": 0,  # a loader ends at its first
        }
        print("WRK", json.dumps(figures))
