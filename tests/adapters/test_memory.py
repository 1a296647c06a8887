"""What streaming costs: a long body either way leaves a server's memory where it was."""

import array
import contextlib
import fcntl
import http.client
import json
import re
import ssl
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tls.pki import client_context, make_ca, make_leaf, write_pair

MIB = 1024 * 1024
SIZE = 48 * MIB
BOUND_KIB = 8 * 1024

LIMIT_S = 30
"""Longer than anything here takes; nothing waits for it."""

# It measures itself: resident memory now, and its peak since the last time it was asked.
COMMON = """
import asyncio, json, re, sys, threading
import edgeserver
from tests import inside

CHUNK = bytes(65536)

def memory():
    with open("/proc/self/status") as file:
        status = file.read()
    found = {name: int(re.search(name + r":\\s+(\\d+)", status)[1]) for name in ("VmRSS", "VmHWM")}
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return json.dumps(found).encode()

def waits():
    connections = inside.connections(server)
    found = {"to write": any(map(inside.is_writing_paused, connections))}
    found["to read"] = any(map(inside.is_read_paused, connections))
    return json.dumps(found).encode()
"""

APPLICATIONS = {
    "wsgi": """
reading = threading.Event()

def app(environ, start_response):
    size = int(environ["QUERY_STRING"] or 0)
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/memory":
        return [memory()]
    if environ["PATH_INFO"] == "/waits":
        return [waits()]
    if environ["PATH_INFO"] == "/down":
        return (CHUNK for _ in range(size // len(CHUNK)))
    if environ["PATH_INFO"] == "/file":
        return environ["wsgi.file_wrapper"](open(sys.argv[2], "rb"))
    if environ["PATH_INFO"] == "/go":
        reading.set()
        return []
    if environ["PATH_INFO"] == "/late":
        reading.wait()
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    return [b"%d" % total]
""",
    "asgi": """
reading = asyncio.Event()

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path, size = scope["path"], int(scope["query_string"] or 0)

    async def body(data, more=False):
        await send({"type": "http.response.body", "body": data, "more_body": more})

    async def counted():
        total, more = 0, True
        while more:
            message = await receive()
            total += len(message["body"])
            more = message["more_body"]
        return b"%d" % total

    if path == "/late":
        await reading.wait()
    answer = memory() if path == "/memory" else waits() if path == "/waits" else b""
    if scope["method"] == "POST":
        answer = await counted()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/down":
        for _ in range(size // len(CHUNK)):
            await body(CHUNK, True)
    if path == "/file":
        with open(sys.argv[2], "rb") as file:
            while piece := file.read(len(CHUNK)):
                await body(piece, True)
    if path == "/go":
        reading.set()
    await body(answer)
""",
}

MAIN = """
async def main():
    global server
    options = json.loads(sys.argv[1])
    server = edgeserver.listen(
        app, 0, "127.0.0.1", max_body_size=1 << 30, **options
    )
    print(server.listeners[0].socket.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close_all_connections()

asyncio.run(main())
"""


@pytest.fixture(
    params=[(kind, scheme) for kind in APPLICATIONS for scheme in ("http", "https")],
    ids="-".join,
)
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Run the program, and return what connects to it."""
    kind, scheme = request.param
    options: dict[str, Any] = {"threads": 2} if kind == "wsgi" else {}
    context: ssl.SSLContext | None = None
    if scheme == "https":
        ca = make_ca()
        options["ssl_options"] = write_pair(tmp_path, make_leaf(ca))
        context = client_context(ca)
    file = tmp_path / "file"
    with file.open("wb") as opened:
        opened.truncate(SIZE)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            COMMON + APPLICATIONS[kind] + MAIN,
            json.dumps(options),
            str(file),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],  # it imports from `tests`
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())

    def connected() -> Any:
        connection: http.client.HTTPConnection
        if context is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        else:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=LIMIT_S, context=context
            )
        return contextlib.closing(connection)

    try:
        yield connected
    finally:
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0


def memory_kib(connection: Any) -> dict[str, int]:
    """Return what the server says of its memory."""
    connection.request("GET", "/memory")
    text = connection.getresponse().read().decode()
    return {name: int(value) for name, value in re.findall(r'"(\w+)": (\d+)', text)}


def download(connection: Any, path: str, size: int, *, stalled: Any = None) -> int:
    """Read an answer; where it is `stalled`, after the server has filled all buffers on the way.

    Args:
        connection: What to ask on.
        path: What to ask for.
        size: How long the answer is to be.
        stalled: Another connection, on which to ask whether they are full.
    """
    connection.request("GET", f"{path}?{size}")
    answer = connection.getresponse()
    if stalled is not None:
        wait_until_full(connection, stalled)
    total = 0
    while piece := answer.read(65536):
        total += len(piece)
    return total


def is_waiting(other: Any, what: str) -> bool:
    """Return whether the server says that a connection waits `to write` or `to read`."""
    other.request("GET", "/waits")
    return bool(json.loads(other.getresponse().read())[what])


def wait_until_full(connection: Any, other: Any) -> None:
    """Wait until the server waits, and nothing more comes for an unread connection.

    A server waits in between, too, until the kernel has made a buffer larger; so it is asked again
    and again, which gives it time to write.
    """
    deadline_s = time.monotonic() + LIMIT_S
    before, unchanged = -1, 0
    while unchanged < 50:
        assert time.monotonic() < deadline_s, "the server never waits"
        count = array.array("i", [0])
        fcntl.ioctl(connection.sock.fileno(), termios.FIONREAD, count)
        full = is_waiting(other, "to write") and count[0] == before
        unchanged = unchanged + 1 if full else 0
        before = count[0]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("path", ["/down", "/file"])
def test_downloads(connect: Any, path: str) -> None:
    """A client that stalls, and then takes a long answer, costs no more than its buffers."""
    with connect() as connection, connect() as other:
        download(connection, "/down", 4 * MIB)
        assert not is_waiting(other, "to write")
        memory_kib(connection)
        before = memory_kib(connection)["VmRSS"]
        assert download(connection, path, SIZE, stalled=other) == SIZE
        peak = memory_kib(connection)["VmHWM"]
    assert peak - before <= BOUND_KIB


class Counted:
    """A body of zeros that counts how much of it has been sent."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.sent = 0

    def read(self, size: int) -> bytes:
        """Return the next piece."""
        size = min(size, self.left)
        self.left -= size
        self.sent += size
        return bytes(size)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_uploads(connect: Any) -> None:
    """A long body that is read late, and then as it comes, costs no more than its buffers."""
    with connect() as connection, connect() as other:
        connection.request("POST", "/up", bytes(4 * MIB))
        connection.getresponse().read()
        memory_kib(connection)
        assert not is_waiting(other, "to read")
        before = memory_kib(connection)["VmRSS"]
        body = Counted(SIZE)
        headers = {"Content-Length": str(SIZE)}
        sending = threading.Thread(target=connection.request, args=("POST", "/late", body, headers))
        sending.start()
        while body.left and not is_waiting(other, "to read"):
            pass  # the server is asked again: it takes the body meanwhile
        assert body.sent < SIZE
        other.request("GET", "/go")
        other.getresponse().read()
        sending.join()
        assert connection.getresponse().read() == b"%d" % SIZE
        peak = memory_kib(connection)["VmHWM"]
    assert peak - before <= BOUND_KIB
