"""The load over HTTP/2: h2load, and what it has counted.

Decides how a workload is asked of h2load. Where every path differs, each connection is a process of
its own with paths of its own: h2load asks for the same ones on all connections of one.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.http2 import fields_of
from benchmarks.load import NUMBERS, RUN_STRIDE, Load, LoadFailed, path_of
from benchmarks.model import BenchmarkError, Workload

PATHS_PER_SECOND = 16_000
"""More than any server answers on one of the connections: no path comes twice."""

_COUNTS = re.compile(
    r"requests: \d+ total, \d+ started, (?P<done>\d+) done, (?P<succeeded>\d+) succeeded,"
    r" (?P<failed>\d+) failed, (?P<errored>\d+) errored, (?P<timeout>\d+) timeout"
)
_SECONDS = re.compile(r"finished in ([0-9.]+)(us|ms|s)\b")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def run_h2load(workload: Workload, port: int, *, seconds: int, core: int, run: int) -> Load:
    """Send `workload` to `port` for `seconds` from `core`.

    Raises:
        LoadFailed: Some connection or answer went wrong.
    """
    if shutil.which("h2load") is None:
        raise BenchmarkError("h2load is not installed (Debian: apt install nghttp2-client)")
    with tempfile.TemporaryDirectory() as directory:
        commands = _commands(workload, port, seconds, Path(directory), run)
        pinned = ["taskset", "-c", str(core)]
        started_s = time.perf_counter()
        processes = [
            subprocess.Popen([*pinned, *command], stdout=subprocess.PIPE, text=True)
            for command in commands
        ]
        said = [process.communicate()[0] for process in processes]
        took_s = time.perf_counter() - started_s
    counted = [_read(text) for text in said]
    longest_s = max((seconds for _, seconds in counted), default=took_s)
    return Load(sum(done for done, _ in counted), longest_s, math.nan, math.nan)


def _commands(
    workload: Workload, port: int, seconds: int, directory: Path, run: int
) -> list[list[str]]:
    fields = fields_of(workload.template())
    base = f"http://127.0.0.1:{port}"
    command = ["h2load", "-t", "1", "-m", str(workload.streams)]
    for name, value in fields:
        if name not in (b":path", b":scheme", b":method"):
            command += ["-H", f"{name.decode()}: {value.decode()}"]
    if workload.body_bytes:
        body = directory / "body"
        body.write_bytes(b"x" * workload.body_bytes)
        command += ["-d", str(body), "-H", f":method: {dict(fields)[b':method'].decode()}"]
    command += ["-n", str(workload.total)] if workload.total else ["-D", str(seconds)]
    if not workload.varied:
        target = dict(fields)[b":path"].decode()
        return [[*command, "-c", str(workload.connections), base + target]]
    commands = []
    count = PATHS_PER_SECOND * seconds
    start = run * RUN_STRIDE % NUMBERS
    for number in range(workload.connections):
        paths = directory / f"paths-{number}"
        begin = start + number * count
        paths.write_bytes(b"".join([path_of(begin + n) + b"\n" for n in range(count)]))
        commands.append([*command, "-c", "1", "-B", base, "-i", str(paths)])
    return commands


def _read(said: str) -> tuple[int, float]:
    """Return how many were answered, and in how many seconds."""
    counts, took = _COUNTS.search(said), _SECONDS.search(said)
    if counts is None or took is None:
        raise LoadFailed(f"h2load: {said.strip()[-2000:]}")
    done = int(counts["succeeded"])
    if not done or any(int(counts[key]) for key in ("failed", "errored", "timeout")):
        raise LoadFailed(f"h2load met errors: {counts[0]}")
    return done, float(took[1]) * _UNITS[took[2]]
