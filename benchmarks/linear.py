"""Linear time: jobs that cost a careless parser the square of their size, at N, 2 N and 4 N.

Decides which jobs, and how their cost is taken: the server's CPU time divided by the size. Where
that grows with the size, a stranger can buy much time for few bytes.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.model import HERE, BenchmarkError, Server
from benchmarks.procs import Running, running
from benchmarks.rounds import Plan
from benchmarks.tables import EDGESERVER

_TIMEOUT_SECONDS = 120.0
_CPU_SECONDS_WANTED = 0.5  # CPU time is counted in ticks of 10 ms: repeat until they are few in it
_REPEATS_AT_MOST = 200
_ANSWER_END = b"\r\n\r\nHello, world!"

_FACTORS = (1, 2, 4)

Send = Callable[[socket.socket, int], None]


@dataclass(frozen=True)
class Job:
    """Something whose size is N `units`."""

    name: str
    units: int
    about: str


@dataclass(frozen=True)
class SocketJob(Job):
    """A job that is sent over a connection, and how many answers come back for its size."""

    send: Send
    answers: Callable[[int], int]
    settings: tuple[str, ...] = ()


def _send_pipelined(connection: socket.socket, size: int) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * size)


def _repeated(name: bytes) -> Send:
    def send(connection: socket.socket, size: int) -> None:
        lines = b"".join(b"%s: 10.20.0.7\r\n" % name for _ in range(size))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")

    return send


_ROOMY = ("--max-header-size", str(1 << 26), "--max-header-fields", str(1 << 22))
_SOCKET_JOBS = (
    SocketJob("pipelined", 10_000, "requests in one pipeline", _send_pipelined, lambda size: size),
    SocketJob(
        "repeated-field",
        100_000,
        "lines of one field, which the application then reads",
        _repeated(b"X-Repeated"),
        lambda size: 1,
        (*_ROOMY, "--read-field", "X-Repeated"),
    ),
    SocketJob(
        "repeated-forwarded",
        100_000,
        "lines of X-Forwarded-For, proxy headers on",
        _repeated(b"X-Forwarded-For"),
        lambda size: 1,
        (*_ROOMY, "--proxied"),
    ),
)
_BYTEWISE = Job("bytewise", 1 << 16, "bytes of a head, each received by itself (in process)")
JOBS = (*_SOCKET_JOBS, _BYTEWISE)


def _once(port: int, job: SocketJob, size: int) -> None:
    """Send the job over a connection of its own, and read all answers to it meanwhile."""
    awaited = job.answers(size)
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS) as connection:
        sender = threading.Thread(target=job.send, args=(connection, size))
        sender.start()
        seen, tail = 0, b""
        while seen < awaited:
            piece = connection.recv(1 << 16)
            if not piece:
                raise BenchmarkError(f"{job.name}: closed after {seen} of {awaited} answers")
            window = tail + piece
            seen += window.count(_ANSWER_END)
            tail = window[-(len(_ANSWER_END) - 1) :]
        sender.join()


def _cost_us(process: Running, job: SocketJob, size: int) -> float:
    """Return the CPU microseconds per unit, over as many repeats as make the ticks negligible."""
    _once(process.port, job, size)
    before, spent, repeats = process.cpu_seconds(), 0.0, 0
    while spent < _CPU_SECONDS_WANTED and repeats < _REPEATS_AT_MOST:
        _once(process.port, job, size)
        repeats += 1
        spent = process.cpu_seconds() - before
    return spent / repeats / size * 1e6


def _row(costs: dict[int, float]) -> dict[str, float]:
    return {
        **{f"us_{factor}n": cost for factor, cost in costs.items()},
        "growth": costs[4] / costs[1],
    }


def _bytewise(plan: Plan) -> dict[str, float]:
    """Return the row of the job that runs in the server's process: see `bytewise.py`."""
    sizes = [_BYTEWISE.units * factor for factor in _FACTORS]
    command = ["taskset", "-c", str(plan.server_core), str(plan.python), "-m"]
    command += ["benchmarks.bytewise", *(str(size) for size in sizes)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
    if ended.returncode:
        raise BenchmarkError(f"benchmarks.bytewise failed: {ended.stderr.strip()[-2000:]}")
    by_size = json.loads(ended.stdout)
    return _row({factor: by_size[str(_BYTEWISE.units * factor)] for factor in _FACTORS})


def _over_sockets(job: SocketJob, server: Server, plan: Plan) -> dict[str, float]:
    with running(server, job.settings, python=plan.python, core=plan.server_core) as process:
        repeats = range(1 if plan.quick else 3)
        return _row(
            {
                factor: statistics.median(
                    _cost_us(process, job, job.units * factor) for _ in repeats
                )
                for factor in _FACTORS
            }
        )


def run_linear(
    servers: tuple[Server, ...],
    plan: Plan,
    *,
    say: Callable[[str], None],
    failed: dict[str, str],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by job and server, the microseconds per unit at N, 2 N and 4 N, and their growth.

    Servers that could not be measured are put into `failed` with the reason.
    """
    results: dict[str, dict[str, dict[str, float]]] = {}
    for job in JOBS:
        rows = results[job.name] = {}
        for server in servers:
            try:
                if isinstance(job, SocketJob):
                    rows[server.name] = _over_sockets(job, server, plan)
                elif server is EDGESERVER:
                    rows[server.name] = _bytewise(plan)
            except (BenchmarkError, OSError) as error:
                failed[server.name] = f"linear, {job.name}: {error}"
            say(f"linear: {job.name}, {server.name}")
    return results
