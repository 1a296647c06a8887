"""Memory while 100 MiB stream: how far a server's memory rises above where it was.

Decides how that is taken: by the peak that the kernel remembers, while one side waits before it
reads (`servers/*_app.py`, `_download`), so that whoever does not hold the other side back is seen.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.model import BenchmarkError, Server
from benchmarks.procs import Running, running, tree
from benchmarks.rounds import Plan

MIB = 1 << 20
LENGTH = 100 * MIB
_WARM_UP = 1 * MIB
_PIECE = 1 << 16
_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 60.0


def _status_kib(root: int, key: str) -> int:
    """Return the sum of a line of /proc/PID/status over the process tree."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(f"{key}:"):
                    total += int(line.split()[1])
    return total


def _forget_peak(root: int) -> None:
    for pid in tree(root):
        # proc(5): 5 resets the peak resident set size to what it is now.
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _rise_kib(process: Running, transfer: Callable[[int, int], None]) -> int:
    """Return how far the memory rose while `transfer` was under way."""
    transfer(process.port, _WARM_UP)
    _forget_peak(process.pid)
    before = _status_kib(process.pid, "VmRSS")
    transfer(process.port, LENGTH)
    process.check_alive()
    return max(0, _status_kib(process.pid, "VmHWM") - before)


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS)


def _answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of the answer, and what came of the body with it."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(4096)
        if not piece:
            raise BenchmarkError(f"closed instead of answering: {read!r}")
        read += piece
    head, _, rest = read.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchmarkError(f"answered {head[:100]!r}")
    return head, rest


def _upload(port: int, length: int) -> None:
    """Send as fast as the server takes it."""
    head = "POST /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    piece = b"x" * _PIECE
    with _connect(port) as connection:
        connection.sendall((head % length).encode())
        for _ in range(length // _PIECE):
            connection.sendall(piece)
        _, answer = _answer(connection)
        while more := connection.recv(4096):
            answer += more
    if str(length).encode() not in answer:  # within a chunk, where a server sends chunks
        raise BenchmarkError(f"the application counted {answer!r}, not {length}")


def _download(port: int, length: int) -> None:
    """Wait before reading, so that a server that goes on regardless fills its memory."""
    head = "GET /stream?%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    room = memoryview(bytearray(_PIECE))
    with _connect(port) as connection:
        connection.sendall((head % length).encode())
        time.sleep(_PAUSE_SECONDS)
        _, rest = _answer(connection)
        count = len(rest)
        while got := connection.recv_into(room):
            count += got
    if count != length:
        raise BenchmarkError(f"{count} bytes came, not {length}")


_DIRECTIONS = {"upload": _upload, "download": _download}


def run_streaming(
    servers: tuple[Server, ...],
    plan: Plan,
    *,
    say: Callable[[str], None],
    failed: dict[str, str],
) -> dict[str, dict[str, float]]:
    """Return, by server, how many MiB its memory rose in either direction; the worst of some runs.

    Servers that could not be measured are put into `failed` with the reason.
    """
    results: dict[str, dict[str, float]] = {}
    settings = ("--app", "stream")
    for server in servers:
        row: dict[str, float] = {}
        try:
            for name, transfer in _DIRECTIONS.items():
                for _ in range(1 if plan.quick else 3):
                    with running(
                        server, settings, python=plan.python, core=plan.server_core
                    ) as process:
                        rise = _rise_kib(process, transfer) / 1024
                        row[name] = max(row.get(name, 0.0), rise)
            results[server.name] = row
        except (BenchmarkError, OSError) as error:
            failed[server.name] = f"stream: {error}"
        say(f"stream: {server.name}")
    return results
