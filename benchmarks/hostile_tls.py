r"""What stalled handshakes do to somebody else's: a part of `hostile`.

    python -m benchmarks.hostile_tls                           # this checkout
    PYTHONPATH=/other/checkout python -m benchmarks.hostile_tls --label before

Decides what is stalled and whose handshakes are timed: one honest client, a connection after the
other, each from its SYN to the last byte of its answer. It shares a core with those who attack.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import environment
from benchmarks.idle import raise_file_limit
from benchmarks.loaders.handshakes import HOST_NAME, client_context
from benchmarks.model import HERE, Server
from benchmarks.procs import Running, running

REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
# The backlog is edgeserver's own default: a longer one is accepted in one turn of the loop.
SERVER = Server(
    "edgeserver", "serve_edgeserver.py", "its HTTPServer over TLS", options=("--backlog", "128")
)
PATIENCE_S = 15.0
SAMPLES, SECONDS = 400, 6.0


@dataclass(frozen=True)
class Attack:
    """What is stalled while the honest client is timed.

    They come from the addresses 127.0.0.1 and up. `standing` says that the honest client begins
    when the connections are open, not while they are being opened.
    """

    name: str
    connections: int = 0
    addresses: int = 1
    per_second: float = 1.0
    standing: bool = True
    honest: str = "127.0.0.100"


ATTACKS = (
    Attack("undisturbed"),
    Attack("64 stalled from the same address, 7 a second", 64, 1, 7, honest="127.0.0.1"),
    Attack("8 other addresses with 64 stalled each, 56 a second", 512, 8, 56),
    Attack("4,500 stalled from 8 others, as they are opened", 4500, 8, 450, standing=False),
    Attack("4,500 stalled from 8 others, 450 a second", 4500, 8, 450),
)


@dataclass(frozen=True)
class Row:
    """What one attack did: milliseconds from SYN to answer, of the handshakes that succeeded."""

    name: str
    done: int
    failed: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


def _shake(port: int, source: str) -> float:
    """Return the seconds that one honest connection took.

    Raises:
        OSError: The server closed it, or let it wait for too long.
    """
    began_s = time.perf_counter()
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=(source, 0))
    with client_context().wrap_socket(plain, server_hostname=HOST_NAME) as secure:
        secure.sendall(REQUEST)
        answer = b""
        while piece := secure.recv(16384):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"answered {answer[:80]!r}")
    return time.perf_counter() - began_s


def _time(attack: Attack, port: int, goes_on: Callable[[], bool]) -> Row:
    times: list[float] = []
    failed = 0
    end_s = time.perf_counter() + SECONDS
    while len(times) < SAMPLES and failed < 20 and time.perf_counter() < end_s and goes_on():
        try:
            times.append(_shake(port, attack.honest))
        except OSError:
            failed += 1
    times = times or [float("nan")]
    percentiles = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return Row(
        attack.name,
        done=len(times),
        failed=failed,
        p50_ms=percentiles[49] * 1000,
        p99_ms=min(percentiles[98], max(times)) * 1000,
        worst_ms=max(times) * 1000,
    )


@contextlib.contextmanager
def _attack(attack: Attack, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benchmarks.loaders.stall", str(port)]
    command += ["--connections", str(attack.connections), "--addresses", str(attack.addresses)]
    command += ["--per-second", str(attack.per_second)]
    process = subprocess.Popen(
        command, cwd=HERE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.communicate()  # ends its input, and waits


def _opened(process: subprocess.Popen[bytes], within_s: float) -> bool:
    return bool(select.select([process.stdout], [], [], within_s)[0])


def _measure_one(attack: Attack, server: Running) -> Row:
    port = server.port
    for _ in range(20):
        _shake(port, attack.honest)
    if not attack.connections:
        return _time(attack, port, lambda: True)
    with _attack(attack, port) as process:
        if attack.standing:
            _opened(process, 60)
            return _time(attack, port, lambda: True)
        return _time(attack, port, lambda: not _opened(process, 0))


def measure(
    *, python: Path | None = None, server_core: int = 0, load_core: int = 1
) -> list[dict[str, str | int | float]]:
    """Return a row for each attack, the undisturbed one first; takes about half a minute.

    Args:
        python: The Python that the server runs on; this one unless given.
        server_core: Where the server runs.
        load_core: Where this process runs from now on, and those that it starts.
    """
    python = python or Path(sys.executable)
    raise_file_limit()
    os.sched_setaffinity(0, {load_core})
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-certificates-") as directory:
        environment.make_certificates(python, directory)
        for attack in ATTACKS:
            with running(SERVER, ("--tls",), python=python, core=server_core) as server:
                rows.append(asdict(_measure_one(attack, server)))
    return rows


def render(rows: list[dict[str, str | int | float]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| stalled | honest done | failed | p50 ms | p99 ms | x undisturbed | worst ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    quiet = float(rows[0]["p99_ms"])
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['done']} | {row['failed']} | {row['p50_ms']:.1f} |"
            f" {row['p99_ms']:.1f} | {float(row['p99_ms']) / quiet:.1f} | {row['worst_ms']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.hostile_tls")
    flags.add_argument("--label", default="this checkout", help="what the table is called")
    options = flags.parse_args()
    sys.stdout.write(f"{options.label}\n\n{render(measure())}")


if __name__ == "__main__":
    main()
