"""What hostile WebSockets cost everybody else: memory, and how long another client waits.

    python -m benchmarks.hostile_ws

Decides what is sent, and how it is weighed: each load by its own process, against a fresh server
whose application receives everything, while another client asks over HTTP again and again. A load
has ended when the server has closed all of its connections, be it that it was refused.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.loaders.echo import frame
from benchmarks.model import HERE, BenchmarkError
from benchmarks.procs import free_port

_HOST = "127.0.0.1"
_MASK = bytes(4)
_MOST_SECONDS = 60.0
_TURN_SECONDS = 0.005
_UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\r\n\r\n"
).encode()
_CLOSE = bytes([0x88, 0x82]) + _MASK + b"\x03\xe8"


def _compressed(size: int) -> bytes:
    """Return a message of zeros in one frame, compressed; RFC 7692 section 7.2.1."""
    encoder = zlib.compressobj(wbits=-12)
    data = encoder.compress(bytes(size)) + encoder.flush(zlib.Z_SYNC_FLUSH)
    made = bytearray(frame(data.removesuffix(b"\x00\x00\xff\xff"), mask=_MASK))
    made[0] = 0xC2  # FIN, RSV1: compressed, binary
    return bytes(made)


def _short(first: int, data: bytes = b"") -> bytes:
    return bytes([first, 0x80 | len(data)]) + _MASK + data


# name: (connections, what each sends again and again, how often, what it is)
_LOADS: dict[str, tuple[int, bytes, int, str]] = {
    "bombs": (10, _compressed(16 << 20), 200, "16 MiB of zeros a message"),
    "small-bombs": (10, _compressed(1_000_000), 200, "1 MB of zeros a message"),
    "held-bombs": (10, _compressed(60_000), 4000, "60 KB of zeros a message"),
    "one-byte": (100, _short(0x82, b"x"), 2000, "messages of one byte"),
    "fragments": (100, _short(0x00), 5000, "empty fragments of one message"),
    "pings": (100, _short(0x89), 5000, "pings"),
}


def _load(name: str, port: int) -> dict[str, int]:
    """Send a load as fast as it is taken; return how the connections ended, by close code."""
    connections, unit, times, _ = _LOADS[name]
    begin, end = (_short(0x02), _short(0x80)) if name == "fragments" else (b"", b"")
    data = _UPGRADE + begin + unit * times + end + _CLOSE
    rest: dict[socket.socket, memoryview] = {}
    heard: dict[socket.socket, bytes] = {}
    ends: dict[str, int] = {}
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            client = socket.create_connection((_HOST, port), timeout=_MOST_SECONDS)
            client.setblocking(False)
            rest[client], heard[client] = memoryview(data), b""
            selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        deadline = time.monotonic() + _MOST_SECONDS
        while rest:
            if time.monotonic() > deadline:
                ends["never"] = len(rest)
                break
            for key, events in selector.select(1.0):
                client = key.fileobj
                assert isinstance(client, socket.socket), "nothing else is registered"
                over = False
                try:
                    if events & selectors.EVENT_WRITE and rest[client]:
                        rest[client] = rest[client][client.send(rest[client]) :]
                        if not rest[client]:
                            selector.modify(client, selectors.EVENT_READ)
                    if events & selectors.EVENT_READ:
                        piece = client.recv(1 << 16)
                        heard[client] = (heard[client] + piece)[-200:]
                        over = not piece
                except OSError:
                    over = True
                if over:
                    selector.unregister(client)
                    client.close()
                    del rest[client]
                    code = _close_code(heard.pop(client))
                    ends[code] = ends.get(code, 0) + 1
    return ends


def _close_code(tail: bytes) -> str:
    """Return the code of the Close frame that ends what was heard."""
    for at in range(len(tail) - 4, -1, -1):
        if tail[at] == 0x88 and tail[at + 1] == len(tail) - at - 2:
            return str(int.from_bytes(tail[at + 2 : at + 4], "big"))
    return "none"


@contextmanager
def _server() -> Iterator[tuple[int, int]]:
    """Run the command with an application that receives everything; give the port and the pid."""
    port = free_port()
    command = [sys.executable, "-m", "edgeserver", "serve", "--no-access-log"]
    command += ["--bind", f"{_HOST}:{port}", "--app-dir", str(HERE / "servers")]
    command += ["--ws-per-message-deflate", "asgi_app:sink"]
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


def _ask(client: socket.socket) -> float:
    """Return how many seconds one small answer took."""
    begin = time.monotonic()
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = b""
    while not answer.endswith(b"Hello, world!"):
        piece = client.recv(4096)
        if not piece:
            raise BenchmarkError(f"closed after {answer!r}")
        answer += piece
    return time.monotonic() - begin


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchmarkError("/proc says nothing of the peak")


def _measure(name: str) -> dict[str, object]:
    connections, unit, times, what = _LOADS[name]
    with (
        _server() as (port, pid),
        socket.create_connection((_HOST, port), timeout=_MOST_SECONDS) as client,
    ):
        _ask(client)
        before = _peak_mib(pid)
        waits = []
        begin = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.hostile_ws", name, str(port)]
        with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE) as load:
            while load.poll() is None:
                waits.append(_ask(client))
                time.sleep(_TURN_SECONDS)
            assert load.stdout is not None, "it is a pipe"
            ends = json.loads(load.stdout.read())
        return {
            "load": f"ws-{name}",
            "what": f"{connections} connections, {what}",
            "wire_mib": round(connections * len(unit) * times / (1 << 20), 2),
            "ends": ends,
            "seconds": round(time.monotonic() - begin, 2),
            "worst_wait_s": round(max(waits), 3),
            "rise_mib": round(_peak_mib(pid) - before, 1),
        }


def measure() -> list[dict[str, object]]:
    """Return one row for each load: worst wait of another client, rise of the peak memory."""
    return [_measure(name) for name in _LOADS]


if __name__ == "__main__":
    os.chdir(HERE.parent)
    if len(sys.argv) == 3:
        print(json.dumps(_load(sys.argv[1], int(sys.argv[2]))))
    else:
        for row in measure():
            print(json.dumps(row), flush=True)
