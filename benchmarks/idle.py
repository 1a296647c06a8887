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

from benchmarks.checks import check, requests_of
from benchmarks.model import BenchmarkError, Server
from benchmarks.procs import Running, running
from benchmarks.rounds import Plan
from benchmarks.tables import BROWSER

FEW, MANY = 500, 3000
QUICK_FEW, QUICK_MANY = 100, 600
SETTLE_SECONDS = 1.0
_ANSWER_SECONDS = 10.0


def raise_file_limit() -> None:
    """Allow this process, and the servers that it starts, as many open files as the system does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _connect_and_ask(port: int, request: bytes, stack: ExitStack) -> None:
    connection = stack.enter_context(
        socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS)
    )
    connection.sendall(request)
    answer = b""
    while not answer.endswith(b"Hello, world!"):
        piece = connection.recv(4096)
        if not piece:
            raise BenchmarkError(f"the server closed instead of answering: {answer!r}")
        answer += piece


def _slope(process: Running, few: int, many: int) -> tuple[float, float]:
    """Return how many KiB, resident and proportional, each connection past `few` added."""
    request = requests_of(BROWSER)[0][0]
    with ExitStack() as stack:
        for _ in range(few):
            _connect_and_ask(process.port, request, stack)
        time.sleep(SETTLE_SECONDS)
        rss_few, pss_few = process.memory_kib()
        for _ in range(many - few):
            _connect_and_ask(process.port, request, stack)
        time.sleep(SETTLE_SECONDS)
        rss_many, pss_many = process.memory_kib()
    return (rss_many - rss_few) / (many - few), (pss_many - pss_few) / (many - few)


def _median_slope(server: Server, plan: Plan) -> dict[str, float]:
    few, many = (QUICK_FEW, QUICK_MANY) if plan.quick else (FEW, MANY)
    settings = BROWSER.settings()
    slopes = []
    for _ in range(1 if plan.quick else 3):
        with running(server, settings, python=plan.python, core=plan.server_core) as process:
            check(process, BROWSER)
            slopes.append(_slope(process, few, many))
    return {
        "rss_kib": statistics.median(rss for rss, _ in slopes),
        "pss_kib": statistics.median(pss for _, pss in slopes),
        "connections": many,
    }


def run_idle(
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
            results[server.name] = _median_slope(server, plan)
        except (BenchmarkError, OSError) as error:
            failed[server.name] = f"idle: {error}"
        say(f"idle: {server.name}")
    return results
