"""Memory of idle connections: how much a server grows from a few of them to thousands.

Decides how the slope is taken. What a server needs once, however many connections it has, cancels
out between the two counts; what it keeps for each one remains.
"""

from __future__ import annotations

import resource
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import http2
from benchmarks.checks import check, connect, requests_of
from benchmarks.model import BenchmarkError, IdleCase, Server
from benchmarks.procs import Running, running
from benchmarks.rounds import Plan

SETTLE_SECONDS = 1.0
HTTP2_REQUESTS = 3  # with the second one a connection remembers what repeats


def raise_file_limit() -> None:
    """Allow this process, and the servers that it starts, as many open files as the system does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Client:
    """Opens connections that stay open, each after one request and its whole answer."""

    def __init__(self, case: IdleCase, port: int, stack: ExitStack) -> None:
        self._port = port
        self._stack = stack
        self._workload = case.workload
        self._tls = case.workload.tls
        self._request = requests_of(case.workload)[0][0]
        self._body_bytes = case.workload.answer_bytes
        self._room = memoryview(bytearray(1 << 20))

    def open(self, count: int) -> None:
        """Open `count` connections.

        Raises:
            BenchmarkError: The server closed instead of answering.
        """
        for _ in range(count):
            connection = self._stack.enter_context(connect(self._port, tls=self._tls))
            if self._workload.http2:
                client = http2.Connection(connection)
                for _ in range(HTTP2_REQUESTS):
                    client.ask(self._workload, self._request)
                continue
            connection.sendall(self._request)
            self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                raise BenchmarkError(f"the server closed instead of answering: {head!r}")
            head += piece
        missing = self._body_bytes - len(head.partition(b"\r\n\r\n")[2])
        while missing > 0:
            count = connection.recv_into(self._room)
            if not count:
                raise BenchmarkError(f"the server closed with {missing} bytes missing")
            missing -= count


def _slope(process: Running, case: IdleCase, few: int, many: int) -> tuple[float, float]:
    """Return how many KiB, resident and proportional, each connection past `few` added."""
    with ExitStack() as stack:
        client = _Client(case, process.port, stack)
        client.open(few)
        time.sleep(SETTLE_SECONDS)
        rss_few, pss_few = process.memory_kib()
        client.open(many - few)
        time.sleep(SETTLE_SECONDS)
        rss_many, pss_many = process.memory_kib()
    return (rss_many - rss_few) / (many - few), (pss_many - pss_few) / (many - few)


def _median_slope(case: IdleCase, server: Server, plan: Plan) -> dict[str, float]:
    few, many = case.quick if plan.quick else (case.few, case.many)
    slopes = []
    for _ in range(1 if plan.quick else 3):
        with running(
            server, case.workload.settings(), python=plan.python, core=plan.server_core
        ) as process:
            check(process, case.workload)
            slopes.append(_slope(process, case, few, many))
    return {
        "rss_kib": statistics.median(rss for rss, _ in slopes),
        "pss_kib": statistics.median(pss for _, pss in slopes),
        "connections": many,
    }


def run_idle(
    case: IdleCase,
    servers: tuple[Server, ...],
    plan: Plan,
    *,
    say: Callable[[str], None],
    failed: dict[str, str],
) -> dict[str, dict[str, float]]:
    """Return the KiB per idle connection of each server, the median of fresh processes.

    Servers that could not be measured are put into `failed` with the reason.
    """
    results = {}
    for server in servers:
        try:
            results[server.name] = _median_slope(case, server, plan)
        except (BenchmarkError, OSError) as error:
            failed[server.name] = f"{case.name}: {error}"
        say(f"{case.name}: {server.name}")
    return results
