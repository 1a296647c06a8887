"""Linear time: jobs that cost a careless parser the square of their size, at N, 2 N and 4 N.

Decides which jobs, and how their cost is taken: the server's CPU time, over real sockets, divided
by the size. Where that grows with the size, a stranger can buy much time for few bytes.
"""

from __future__ import annotations

import socket
import statistics
import threading
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.model import Server
from benchmarks.procs import Running, running
from benchmarks.rounds import Plan

_TIMEOUT_SECONDS = 120.0
_CPU_SECONDS_WANTED = 0.5  # CPU time is counted in ticks of 10 ms: repeat until they are few in it
_REPEATS_AT_MOST = 200
_ANSWER_END = b"\r\n\r\nHello, world!"

Send = Callable[[socket.socket, int], None]


@dataclass(frozen=True)
class Job:
    """Something to send whose size is `units` of N, and how many answers come back for it."""

    name: str
    units: int
    about: str
    send: Send
    answers: Callable[[int], int]
    settings: tuple[str, ...] = ()


def _send_pipelined(connection: socket.socket, size: int) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * size)


def _send_bytewise(connection: socket.socket, size: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    start, end = b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n"
    # Short lines: the end of the head is looked for, and could be looked for again, in each.
    filler = b"".join(b"X-%05d: 1\r\n" % index for index in range(size // 12 + 1))
    filler = filler[: size - len(start) - len(end)].rstrip(b"\r\n: ") + b": 1"
    for byte in start + filler + end:
        connection.send(bytes((byte,)))


def _repeated(name: bytes) -> Send:
    def send(connection: socket.socket, size: int) -> None:
        lines = b"".join(b"%s: 10.20.0.7\r\n" % name for _ in range(size))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")

    return send


_ROOMY = ("--max-header-size", str(1 << 26), "--max-header-fields", str(1 << 22))
JOBS = (
    Job("pipelined", 10_000, "requests in one pipeline", _send_pipelined, lambda size: size),
    Job(
        "bytewise",
        1 << 16,
        "bytes of a head, each in a segment of its own",
        _send_bytewise,
        lambda size: 1,
        _ROOMY,
    ),
    Job(
        "repeated-field",
        100_000,
        "lines of one field, which the application then reads",
        _repeated(b"X-Repeated"),
        lambda size: 1,
        (*_ROOMY, "--read-field", "X-Repeated"),
    ),
    Job(
        "repeated-forwarded",
        100_000,
        "lines of X-Forwarded-For, proxy headers on",
        _repeated(b"X-Forwarded-For"),
        lambda size: 1,
        (*_ROOMY, "--proxied"),
    ),
)


def _once(port: int, job: Job, size: int) -> None:
    """Send the job over a connection of its own, and read all answers to it meanwhile."""
    awaited = job.answers(size)
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS) as connection:
        sender = threading.Thread(target=job.send, args=(connection, size))
        sender.start()
        seen, tail = 0, b""
        while seen < awaited:
            piece = connection.recv(1 << 16)
            if not piece:
                raise ConnectionError(f"{job.name}: closed after {seen} of {awaited} answers")
            window = tail + piece
            seen += window.count(_ANSWER_END)
            tail = window[-(len(_ANSWER_END) - 1) :]
        sender.join()


def _cost_us(process: Running, job: Job, size: int) -> float:
    """Return the CPU microseconds per unit, over as many repeats as make the ticks negligible."""
    _once(process.port, job, size)
    before, spent, repeats = process.cpu_seconds(), 0.0, 0
    while spent < _CPU_SECONDS_WANTED and repeats < _REPEATS_AT_MOST:
        _once(process.port, job, size)
        repeats += 1
        spent = process.cpu_seconds() - before
    return spent / repeats / size * 1e6


def run_linear(
    servers: tuple[Server, ...], plan: Plan, say: Callable[[str], None]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by job and server, the microseconds per unit at N, 2 N and 4 N, and their growth."""
    results: dict[str, dict[str, dict[str, float]]] = {}
    for job in JOBS:
        rows = results[job.name] = {}
        for server in servers:
            with running(
                server, job.settings, python=plan.python, core=plan.server_core
            ) as process:
                costs = {
                    factor: statistics.median(
                        _cost_us(process, job, job.units * factor)
                        for _ in range(1 if plan.quick else 3)
                    )
                    for factor in (1, 2, 4)
                }
            rows[server.name] = {
                **{f"us_{factor}n": cost for factor, cost in costs.items()},
                "growth": costs[4] / costs[1],
            }
            say(f"linear: {job.name}, {server.name}")
    return results
