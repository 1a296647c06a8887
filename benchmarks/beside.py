"""A small answer beside a large one on the same connection: what a priority is worth.

    python -m benchmarks --only http2-beside

Decides what "beside" is: an answer of many MiB that never ends before the small ones do, read as
fast as it comes, and one small request after another meanwhile, each timed from when it was sent to
the first byte of its DATA. It is asked with the priority that a browser gives to what it needs
first, and with that of the large answer.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks import http2
from benchmarks.model import BenchmarkError, Server, Workload
from benchmarks.procs import Running, running
from benchmarks.rounds import Plan

MIB = 1 << 20
LARGE = 256 * MIB
SMALL_ANSWERS = 100
QUICK_ANSWERS = 5
PAUSE_SECONDS = 0.005
_TIMEOUT_SECONDS = 30.0

PRIORITIES = {"urgent": b"u=0", "the same": b"u=3"}


class _Client:
    """One connection, on which a large answer is under way."""

    def __init__(self, port: int, workload: Workload) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = http2.Requests()
        self._frames = http2.Frames()
        fields = http2.fields_of(workload.template())
        self._fields = [field for field in fields if field[0] not in (b":path", b"priority")]
        self._large = 0  # bytes of the large answer
        self._socket.sendall(http2.opening() + self._request(b"/large", b"u=3"))

    def _request(self, path: bytes, priority: bytes) -> bytes:
        fields = [(b":path", path), *self._fields, (b"priority", priority)]
        return self._requests.next(fields)

    def read(self, until: Callable[[int, int, int], bool]) -> None:
        """Read until a frame of DATA is what is waited for: stream, bytes, and whether it ends."""
        while True:
            data = self._socket.recv(1 << 18)
            if not data:
                raise BenchmarkError("the server closed in the middle of an answer")
            found = False
            for kind, flags, stream_id, payload in self._frames.feed(data):
                if kind in (http2.RST_STREAM, http2.GOAWAY):
                    raise BenchmarkError(f"the server ended it: {kind}, {payload!r}")
                if kind == http2.SETTINGS and not flags:
                    self._socket.sendall(http2.frame(http2.SETTINGS, 1, 0))
                if kind == http2.DATA:
                    if stream_id == 1:
                        self._large += len(payload)
                        if flags & http2.END_STREAM:
                            raise BenchmarkError("the large answer ended before the small ones")
                    found = found or until(stream_id, len(payload), flags)
            if found:
                return

    def begin(self) -> None:
        """Wait until the large answer is well under way."""
        self.read(lambda *_: self._large > 4 * MIB)

    def ask(self, priority: bytes) -> float:
        """Return the seconds from a small request to the first byte of its answer."""
        pause_until_s = time.perf_counter() + PAUSE_SECONDS
        self.read(lambda *_: time.perf_counter() >= pause_until_s)
        request = self._request(b"/small", priority)
        asked_s = time.perf_counter()
        self._socket.sendall(request)
        wanted = self._requests.stream_id
        self.read(lambda stream_id, size, _: stream_id == wanted and size > 0)
        return time.perf_counter() - asked_s

    def close(self) -> None:
        """Close at once."""
        self._socket.close()


def _waits_ms(process: Running, workload: Workload, priority: bytes, count: int) -> list[float]:
    waits: list[float] = []
    while len(waits) < count:
        client = _Client(process.port, workload)
        try:
            client.begin()
            # A fast server is through the large answer before the small ones are.
            for _ in range(min(count - len(waits), 10)):
                waits.append(client.ask(priority) * 1e3)
        finally:
            client.close()
    return waits


def run_beside(
    servers: tuple[Server, ...],
    workload: Workload,
    plan: Plan,
    *,
    say: Callable[[str], None],
    failed: dict[str, str],
) -> dict[str, Any]:
    """Return, by server and priority, half of the waits and the longest, in milliseconds."""
    count = QUICK_ANSWERS if plan.quick else SMALL_ANSWERS
    settings = replace(workload, answer_bytes=LARGE, app="beside").settings()
    results = {}
    for server in servers:
        try:
            with running(server, settings, python=plan.python, core=plan.server_core) as process:
                results[server.name] = {
                    name: _summary(_waits_ms(process, workload, priority, count))
                    for name, priority in PRIORITIES.items()
                }
        except (BenchmarkError, OSError) as error:
            failed[server.name] = f"http2-beside: {error}"
        say(f"http2-beside: {server.name}")
    return results


def _summary(waits_ms: list[float]) -> dict[str, float]:
    ordered = sorted(waits_ms)
    return {
        "median_ms": statistics.median(ordered),
        "p99_ms": ordered[len(ordered) * 99 // 100],
    }
