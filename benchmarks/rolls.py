"""Requests that are lost while workers are replaced: `python -m benchmarks.rolls`.

A server with two workers is under a mixed load (kept connections, some of them silent now and
then, fresh ones, bodies in two halves, slow requests, answers of 1 MiB) while it is rolled with
SIGUSR2, and then while it is stopped and started with its socket held outside. A request is lost
where no whole answer comes; none is sent after `Connection: close`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

APPLICATION = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http alone")
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    body = b"x" * 1048576 if scope["path"] == "/large" else str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""

KINDS = ("keep", "pause", "pause", "fresh", "fresh", "post", "slow", "large")
LIMIT_S = 60.0


class Lost(NamedTuple):
    """A request without a whole answer.

    Args:
        begun_s: When it was sent; where there was no connection, when that was tried.
        what: Its kind and what was heard instead.
    """

    begun_s: float
    what: str


class Load:
    """Clients of all kinds, and what became of their requests.

    Args:
        port: The port of 127.0.0.1 that they ask.
        looks: Whether they look if a kept connection is still open before they use it again; one
            that is closed without an announcement is a request lost, else.
    """

    def __init__(self, port: int, *, looks: bool = False) -> None:
        self._looks = looks
        self.answered = 0
        self.lost: list[Lost] = []
        self._port = port
        self._over = False
        self._tasks = [asyncio.create_task(self._go_on(kind)) for kind in KINDS]

    async def end(self) -> None:
        """Let each client finish its request."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _go_on(self, kind: str) -> None:
        while not self._over:
            begun_s = [time.monotonic()]
            try:
                async with asyncio.timeout(LIMIT_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    await self._ask(kind, reader, writer, begun_s)
                finally:
                    writer.transport.abort()
            except (OSError, EOFError, ValueError) as error:
                self.lost.append(Lost(begun_s[-1], f"{kind}: {error!r}"))

    async def _ask(
        self,
        kind: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        begun_s: list[float],
    ) -> None:
        """Ask over one connection as long as it may be used; note when each request began."""
        keeps = kind in ("keep", "pause")
        path = kind if kind in ("slow", "large") else ""
        method, more = ("POST", "Content-Length: 8\r\n") if kind == "post" else ("GET", "")
        more += "" if keeps else "Connection: close\r\n"
        head = f"{method} /{path} HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode()
        while not self._over:
            if kind == "fresh":
                await asyncio.sleep(0.05)
            begun_s[:] = [time.monotonic()]
            writer.write(head + (b"half" if kind == "post" else b""))
            if kind == "post":
                await asyncio.sleep(0.1)
                writer.write(b"half")
            async with asyncio.timeout(LIMIT_S):
                answer = await reader.readuntil(b"\r\n\r\n")
                fields = answer.lower()
                length = int(fields.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
                await reader.readexactly(length)
            self.answered += 1
            if not keeps or b"connection: close" in fields:
                return
            if kind == "pause":
                await asyncio.sleep(0.3)
            if self._looks and reader.at_eof():
                return  # as every client does that keeps connections


@contextlib.asynccontextmanager
async def serving(
    directory: Path, sock: socket.socket
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the server until both workers serve, and stop it at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edgeserver", "serve", "app:app", "--workers", "2"),
        *("--bind", f"fd:{sock.fileno()}", "--no-access-log"),
        cwd=directory,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(sock.fileno(),),
    )
    try:
        assert process.stdout is not None
        while b"with 2 workers" not in (line := await process.stdout.readline()):
            if not line:
                raise RuntimeError("the server did not start")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def roll(directory: Path, sock: socket.socket, count: int) -> None:
    """Replace all workers so many times under load."""
    async with serving(directory, sock) as process:
        load, begun_s = Load(sock.getsockname()[1]), time.monotonic()
        assert process.stderr is not None
        for number in range(1, count + 1):
            process.send_signal(signal.SIGUSR2)
            while b"all workers were replaced" not in (line := await process.stderr.readline()):
                if not line:
                    raise RuntimeError("the server has ended")
            if number % 100 == 0 and number < count:
                _report(f"{number} rolls so far", load, begun_s)
        await load.end()
    _report(f"{count} rolls", load, begun_s)


async def restart(directory: Path, sock: socket.socket, count: int) -> None:
    """Stop and start the server so many times under load."""
    load, begun_s = Load(sock.getsockname()[1]), time.monotonic()
    for _ in range(count):
        async with serving(directory, sock):
            await asyncio.sleep(0.5)
    async with serving(directory, sock):
        await load.end()
    _report(f"{count} restarts", load, begun_s)


def _report(what: str, load: Load, begun_s: float) -> None:
    took_s = time.monotonic() - begun_s
    print(f"{what} in {took_s:.0f} s: {len(load.lost)} lost of {load.answered}", flush=True)
    for each in load.lost[:20]:
        print(f"  {each.what}")


def main() -> None:
    """Read the counts, and run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rolls", type=int, default=1000)
    parser.add_argument("--restarts", type=int, default=200)
    counts = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as sock:
        (Path(name) / "app.py").write_text(APPLICATION)
        sock.listen(1024)
        asyncio.run(roll(Path(name), sock, counts.rolls))
        asyncio.run(restart(Path(name), sock, counts.restarts))


if __name__ == "__main__":
    main()
