"""What bodies that are little on the wire and much in memory cost a server, all together.

    python -m benchmarks.hostile_sums

Decides what is sent, and how it is weighed: each load against a fresh server, whose callback gets
whole bodies, while another client asks again and again. The peak of the process's memory counts.
"""

from __future__ import annotations

import gzip
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.model import HERE, BenchmarkError
from benchmarks.procs import free_port

_HOST = "127.0.0.1"
_MOST_SECONDS = 60.0
_TURN_SECONDS = 0.005
_SETTLED_SECONDS = 7.0  # longer than a body waits for room: nothing changes any more
_CONNECTIONS = 10
_BODY_BYTES = 97 * 1024 * 1024

# name: (flags of the server, whether the end of each body is kept back for good, what it is)
_LOADS: dict[str, tuple[tuple[str, ...], bool, str]] = {
    "whole": ((), False, "answered as soon as they are whole"),
    "unfinished": ((), True, "whose end never comes"),
    "whole-64M": (("--max-held", "64M"), False, "answered as soon as they are whole"),
    "unfinished-64M": (("--max-held", "64M"), True, "whose end never comes"),
    "one-client": (("--max-connections-per-client", "4"), True, "whose end never comes"),
}


def answer(request: Any) -> None:
    """Answer how long the body is: what `edgeserver serve` is given to run."""
    body = b"%d" % len(request.body)
    request.connection.write_headers(
        ("HTTP/1.1", 200, "OK"), [(b"content-length", b"%d" % len(body))], body
    )
    request.connection.finish()


def _request() -> tuple[bytes, bytes]:
    """Return head and body of a request with 97 MB of zeros, which gzip makes 96 KB of."""
    body = gzip.compress(bytes(_BODY_BYTES))
    lines = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    return lines % len(body), body


def _status(heard: bytes) -> str:
    return heard[9:12].decode("latin-1") if heard.startswith(b"HTTP/1.1 ") else "none"


@contextmanager
def _server(flags: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Run the command with `answer`; give the port and the pid."""
    port = free_port()
    command = [sys.executable, "-m", "edgeserver", "serve", "--no-access-log", *flags]
    command += ["--bind", f"{_HOST}:{port}", "--app-dir", str(HERE.parent)]
    command += ["--decompress-request", "benchmarks.hostile_sums:answer"]
    with subprocess.Popen(
        command, cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection((_HOST, port)).close()
                    break
                except OSError as error:
                    if time.monotonic() > end or process.poll() is not None:
                        raise BenchmarkError(f"edgeserver did not start: {error}") from error
                    time.sleep(0.05)
            yield port, process.pid
        finally:
            process.kill()


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchmarkError("/proc says nothing of the peak")


def _ask(port: int) -> float:
    """Return how many seconds a connection of another address takes for one small answer."""
    begin = time.monotonic()
    with socket.create_connection(
        (_HOST, port), timeout=_MOST_SECONDS, source_address=("127.0.0.2", 0)
    ) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        heard = b""
        while piece := client.recv(4096):
            heard += piece
    if _status(heard) != "200":
        raise BenchmarkError(f"a GET was answered {heard!r}")
    return time.monotonic() - begin


def _send(port: int, stack: ExitStack, *, keep_back: bool) -> list[socket.socket]:
    """Send ten heads, then ten bodies: all have begun before much of any is held."""
    head, body = _request()
    clients = []
    for _ in range(_CONNECTIONS):
        client = stack.enter_context(socket.create_connection((_HOST, port)))
        client.settimeout(_MOST_SECONDS)
        clients.append(client)
        _try_to_send(client, head)
    for client in clients:
        _try_to_send(client, body[:-8] if keep_back else body)
    return clients


def _try_to_send(client: socket.socket, data: bytes) -> None:
    try:
        client.sendall(data)
    except ConnectionError:
        pass  # it was refused; what it was told is looked at later


def _measure(name: str) -> dict[str, object]:
    flags, keep_back, what = _LOADS[name]
    waits = []
    with _server(flags) as (port, pid), ExitStack() as stack:
        _ask(port)
        before = _peak_mib(pid)
        begin = time.monotonic()
        clients = _send(port, stack, keep_back=keep_back)
        ends: dict[str, int] = {}
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client, selectors.EVENT_READ)
            peak, grown = before, begin
            while selector.get_map() and time.monotonic() - begin < _MOST_SECONDS:
                waits.append(_ask(port))
                if _peak_mib(pid) > peak:
                    peak, grown = _peak_mib(pid), time.monotonic()
                elif keep_back and time.monotonic() - grown > _SETTLED_SECONDS:
                    break
                for key, _ in selector.select(_TURN_SECONDS):
                    selector.unregister(key.fileobj)
                    status = _heard(key.fileobj)
                    ends[status] = ends.get(status, 0) + 1
            left = len(selector.get_map())
        if left:
            ends["open"] = left
        return {
            "load": f"sums-{name}",
            "what": f"{_CONNECTIONS} connections, 97 MB each as gzip, {what}",
            "wire_mib": round(_CONNECTIONS * sum(map(len, _request())) / (1 << 20), 2),
            "ends": ends,
            "seconds": round(time.monotonic() - begin, 2),
            "worst_wait_s": round(max(waits), 3),
            "rise_mib": round(_peak_mib(pid) - before, 1),
        }


def _heard(client: Any) -> str:
    """Return the status of what a client was told; `none` where it was cut off."""
    try:
        return _status(client.recv(4096))
    except ConnectionError:
        return "none"


def measure() -> list[dict[str, object]]:
    """Return one row for each load: how the ten ended, and the rise of the peak memory."""
    return [_measure(name) for name in _LOADS]


if __name__ == "__main__":
    os.chdir(HERE.parent)
    for name in sys.argv[1:] or _LOADS:
        print(json.dumps(_measure(name)), flush=True)
