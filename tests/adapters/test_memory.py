"""What streaming costs: a long body either way leaves a server's memory where it was."""

import contextlib
import http.client
import re
import ssl
import subprocess
import sys
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

# It measures itself: resident memory now, and its peak since the last time it was asked.
COMMON = """
import asyncio, json, re, sys, threading
import edgeserver

CHUNK = bytes(65536)

def memory():
    with open("/proc/self/status") as file:
        status = file.read()
    found = {name: int(re.search(name + r":\\s+(\\d+)", status)[1]) for name in ("VmRSS", "VmHWM")}
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
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
    answer = memory() if path == "/memory" else b""
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
    import json

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
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())

    def connected() -> Any:
        connection: http.client.HTTPConnection
        if context is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        return contextlib.closing(connection)

    try:
        yield connected
    finally:
        process.communicate(timeout=30)
    assert process.returncode == 0


def memory_kib(connection: Any) -> dict[str, int]:
    """Return what the server says of its memory."""
    connection.request("GET", "/memory")
    text = connection.getresponse().read().decode()
    return {name: int(value) for name, value in re.findall(r'"(\w+)": (\d+)', text)}


def download(connection: Any, path: str, size: int, *, stall: bool) -> int:
    """Read an answer, after having let the server fill all buffers on the way."""
    connection.request("GET", f"{path}?{size}")
    answer = connection.getresponse()
    if stall:
        wait_until_idle(connection)
    total = 0
    while piece := answer.read(65536):
        total += len(piece)
    return total


def wait_until_idle(connection: Any) -> None:
    """Wait until nothing more comes into the receive buffer of an unread connection."""
    import array
    import fcntl
    import termios

    waiting, unchanged = -1, 0
    while unchanged < 5:
        count = array.array("i", [0])
        fcntl.ioctl(connection.sock.fileno(), termios.FIONREAD, count)
        unchanged = unchanged + 1 if count[0] == waiting else 0
        waiting = count[0]
        time.sleep(0.01)  # the kernel tells nobody that a buffer has stopped growing


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("path", ["/down", "/file"])
def test_downloads(connect: Any, path: str) -> None:
    """A client that stalls, and then takes a long answer, costs no more than its buffers."""
    with connect() as connection:
        download(connection, "/down", 4 * MIB, stall=False)
        memory_kib(connection)
        before = memory_kib(connection)["VmRSS"]
        assert download(connection, path, SIZE, stall=True) == SIZE
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

    def wait_until_held_back(self) -> None:
        """Wait until the server takes no more."""
        before, unchanged = -1, 0
        while unchanged < 10:
            unchanged = unchanged + 1 if self.sent == before else 0
            before = self.sent
            time.sleep(0.02)  # see wait_until_idle


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_uploads(connect: Any) -> None:
    """A long body that is read late, and then as it comes, costs no more than its buffers."""
    with connect() as connection, connect() as other:
        connection.request("POST", "/up", bytes(4 * MIB))
        connection.getresponse().read()
        memory_kib(connection)
        before = memory_kib(connection)["VmRSS"]
        body = Counted(SIZE)
        headers = {"Content-Length": str(SIZE)}
        sending = threading.Thread(target=connection.request, args=("POST", "/late", body, headers))
        sending.start()
        body.wait_until_held_back()
        assert body.sent < SIZE
        other.request("GET", "/go")
        other.getresponse().read()
        sending.join()
        assert connection.getresponse().read() == b"%d" % SIZE
        peak = memory_kib(connection)["VmHWM"]
    assert peak - before <= BOUND_KIB
