r"""What hostile loads do to somebody else: how long another client waits meanwhile.

    python -m benchmarks --only hostile                    # this part of the report
    python -m benchmarks.hostile                           # its rows of HTTP alone, as a table
    PYTHONPATH=/other/checkout python -m benchmarks.hostile

Decides which loads of tiny units there are, and how another client is timed: one honest client, a
connection after the other, from its SYN to the last byte of its answer. Where the machine has other
work, what the server ran meanwhile says more than the clock: it stands beside it. Loads of TLS and
of WebSockets have modules of their own, whose `measure` gives rows of the same shape.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from benchmarks.model import HERE, BenchmarkError, Server
from benchmarks.procs import Running, running

Row = dict[str, str | int | float]

LIMIT_MS = 300.0
"""What another client may have to wait at the worst, on a quiet machine."""

OTHER_MODULES = ("benchmarks.hostile_tls", "benchmarks.hostile_ws")

_SERVER = Server("edgeserver", "serve_edgeserver.py", "its HTTPServer, bodies counted as they come")
_REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_PATIENCE_SECONDS = 60.0
_BETWEEN_SECONDS = 0.005
_UNDISTURBED = 200


@dataclass(frozen=True)
class Load:
    """What each of a number of connections sends while the honest client is timed."""

    name: str
    connections: int = 0
    beginning: bytes = b""
    unit: bytes = b""
    repeats: int = 0
    end: bytes = b""


def _head(method: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", "Host: a", *lines, "", ""]).encode()


_CHUNKED, _CLOSE = "Transfer-Encoding: chunked", "Connection: close"
_LAST_CHUNK, _LAST = b"0\r\n\r\n", _head("GET", _CLOSE)

LOADS = (
    Load("undisturbed"),
    Load(
        "36 MB of one-byte chunks",
        100,
        _head("POST", _CHUNKED, _CLOSE),
        b"1\r\na\r\n",
        60_000,
        _LAST_CHUNK,
    ),
    Load(
        "80 MB of chunk extensions for 20 KB of content",
        100,
        _head("POST", _CHUNKED, _CLOSE),
        b"1;a=" + b"b" * 3990 + b"\r\na\r\n",
        200,
        _LAST_CHUNK,
    ),
    Load("200,000 pipelined GETs", 100, b"", _head("GET"), 2000, _LAST),
    Load("200,000 pipelined HEADs", 100, b"", _head("HEAD"), 2000, _LAST),
    Load(
        "100,000 pipelined bodies of one byte",
        100,
        b"",
        _head("POST", _CHUNKED) + b"1\r\na\r\n" + _LAST_CHUNK,
        1000,
        _LAST,
    ),
)


def _wait(port: int) -> float:
    """Return the seconds that one honest request took.

    Raises:
        OSError: The server closed it, or let it wait for too long.
    """
    began_s = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS) as connection:
        connection.sendall(_REQUEST)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"answered {answer[:80]!r}")
    return time.perf_counter() - began_s


def _ran_s(pid: int) -> float:
    """Return how long the server's main thread has run. proc(5): schedstat, in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _time(server: Running, goes_on: Callable[[], bool]) -> tuple[list[float], float]:
    """Return the waits, and the most that the server ran during one of them, in seconds."""
    times: list[float] = []
    most_s = 0.0
    while goes_on() or not times:
        before_s = _ran_s(server.pid)
        try:
            times.append(_wait(server.port))
        except TimeoutError:
            times.append(_PATIENCE_SECONDS)
            break
        finally:
            most_s = max(most_s, _ran_s(server.pid) - before_s)
        time.sleep(_BETWEEN_SECONDS)
    return times, most_s


def _row(load: Load, times: list[float], most_s: float, cpu_s: float) -> Row:
    percentiles = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return {
        "name": load.name,
        "done": len(times),
        "p50_ms": percentiles[49] * 1000,
        "p99_ms": min(percentiles[98], max(times)) * 1000,
        "worst_ms": max(times) * 1000,
        "worst_cpu_ms": most_s * 1000,
        "server_cpu_s": cpu_s,
    }


def _measure_one(load: Load, server: Running) -> Row:
    for _ in range(20):
        _wait(server.port)
    before = server.cpu_seconds()
    if not load.connections:
        left = iter(range(_UNDISTURBED))
        times, most_s = _time(server, lambda: next(left, None) is not None)
    else:
        command = [sys.executable, "-m", "benchmarks.loaders.tiny"]
        command += [str(server.port), str(load.connections)]
        command += [load.beginning.hex(), load.unit.hex(), str(load.repeats), load.end.hex()]
        loader = subprocess.Popen(command, cwd=HERE.parent)
        try:
            times, most_s = _time(server, lambda: loader.poll() is None)
        finally:
            loader.kill()
            loader.wait()
    return _row(load, times, most_s, server.cpu_seconds() - before)


def measure(*, python: Path | None = None, server_core: int = 0, load_core: int = 1) -> list[Row]:
    """Return a row for each load of HTTP, the undisturbed client first; takes about a minute.

    Args:
        python: The Python that the server runs on; this one unless given.
        server_core: The processor of the server.
        load_core: The processor of the load and of the honest client.

    Raises:
        BenchmarkError: The server did not answer the honest client.
    """
    os.sched_setaffinity(0, {load_core})
    rows = []
    for load in LOADS:
        with running(
            _SERVER,
            ("--body", "count"),
            python=python or Path(sys.executable),
            core=server_core,
        ) as server:
            try:
                rows.append(_measure_one(load, server))
            except OSError as error:
                raise BenchmarkError(f"hostile: {load.name}: {error}") from error
    return rows


def run_hostile(
    *,
    python: Path,
    server_core: int,
    load_core: int,
    say: Callable[[str], None],
    failed: dict[str, str],
) -> list[Row]:
    """Return the rows of this module and of those for TLS and WebSockets, where they exist.

    Parts that could not be measured are put into `failed` with the reason.
    """
    rows: list[Row] = []
    for name in (__name__, *OTHER_MODULES):
        if find_spec(name) is None:
            continue
        try:
            rows += import_module(name).measure(
                python=python, server_core=server_core, load_core=load_core
            )
        except (BenchmarkError, OSError) as error:
            failed[name.rpartition(".")[2]] = str(error)
        say(name.rpartition(".")[2])
    return rows


def render(rows: list[Row]) -> list[list[str]]:
    """Return the cells of a table, a row for each load."""
    return [
        [
            str(row["name"]),
            *(f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "worst_ms")),
            f"{row['worst_cpu_ms']:.1f}" if "worst_cpu_ms" in row else "",
            f"{row['server_cpu_s']:.2f}" if "server_cpu_s" in row else "",
        ]
        for row in rows
    ]


if __name__ == "__main__":
    for cells in render(measure()):
        print("  ".join([cells[0].ljust(50), *(cell.rjust(9) for cell in cells[1:])]))
