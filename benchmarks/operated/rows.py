"""The rows of the table: each does one thing to a server under load and says what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from benchmarks.operated.peers import Peer, Site, filled, is_alive
from benchmarks.procs import free_port
from benchmarks.rolls import Load

Row = Callable[[Peer, Site], Awaitable[str]]

ROLLS = 4
RESTARTS = 10
KILLS = 3
NGINX_RESTARTS = 20
SILENT = 20
STREAMS = 3
STUCK_S = 3
GRACEFUL_S = 6
LONGEST_S = 25.0
"""How long is waited for something that may never come."""


@contextlib.asynccontextmanager
async def _running(
    peer: Peer, site: Site, *options: str, environ: dict[str, str] | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Run a server at a port; yield its first process and the port."""
    site.forget()
    port = free_port()
    command = [*peer.run, *filled(peer.bind, port=port), *options]
    async with site.serving(command, environ=environ) as process:
        yield process, port


async def ask(port: int, path: str = "") -> bytes:
    """Return the body of one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return (await reader.read()).partition(b"\r\n\r\n")[2]
    finally:
        writer.close()


def _lost(load: Load) -> str:
    kinds = sorted({each.what for each in load.lost})
    why = f" ({'; '.join(kinds)[:160]})" if kinds else ""
    return f"{len(load.lost)} of {load.answered + len(load.lost):,}{why}"


async def replace_all(peer: Peer, site: Site) -> str:
    """All workers are replaced four times."""
    async with _running(peer, site) as (process, port):
        load = Load(port)
        await asyncio.sleep(0.5)
        late = 0
        for _ in range(ROLLS):
            known = set(site.workers())
            process.send_signal(peer.roll)
            late += await site.until_new(known, 2, LONGEST_S) is None
            for _ in range(500):
                if not any(map(is_alive, known)):
                    break
                await asyncio.sleep(0.02)
        await load.end()
    return _lost(load) + (f"; {late} of {ROLLS} not done in {LONGEST_S:.0f} s" if late else "")


async def restart_held(peer: Peer, site: Site) -> str:
    """The server is stopped and started while its socket is held outside."""
    if peer.held is None:
        return "takes none"
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        command = [*peer.run, *filled(peer.held, fd=sock.fileno())]
        site.forget()
        load = Load(sock.getsockname()[1])
        for _ in range(RESTARTS):
            async with site.serving(command, sock=sock):
                await asyncio.sleep(0.5)
        async with site.serving(command, sock=sock):
            await load.end()
    return _lost(load)


async def kill(peer: Peer, site: Site) -> str:
    """A worker is killed, three times."""
    took = []
    async with _running(peer, site) as (process, _):
        for _ in range(KILLS):
            known, living = set(site.workers()), site.living()
            if not living or process.returncode is not None:
                took.append("gone")
                break
            os.kill(min(living), signal.SIGKILL)
            at_s = time.monotonic()
            served_s = await site.until_new(known, 1, 10.0)
            took.append("never" if served_s is None else f"{served_s - at_s:.2f} s")
            await asyncio.sleep(3)
    return ", ".join(took)


async def stick(peer: Peer, site: Site) -> str:
    """One call holds a worker's event loop."""
    options = filled(peer.watch, s=STUCK_S)
    async with _running(peer, site, *options) as (_, port):
        known = set(site.workers())
        at_s = time.monotonic()
        asking = asyncio.create_task(ask(port, "asleep"))
        served_s = await site.until_new(known, 1, LONGEST_S)
        for pid in known & site.living():
            os.kill(pid, signal.SIGKILL)  # it would not stop
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    if served_s is None:
        return "never"
    return f"{served_s - at_s:.1f} s of {STUCK_S}"


async def ask_after_term(peer: Peer, site: Site) -> str:
    """Connections that are open and silent bring a request 0.3 s after TERM."""
    async with _running(peer, site) as (process, port):
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SILENT)]
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for reader, writer in kept[::2]:  # half of them have had an answer
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        await asyncio.sleep(0.2)
        process.terminate()
        await asyncio.sleep(0.3)
        answered = 0
        for reader, writer in kept:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(2):
                    writer.write(request)
                    answered += (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()
        await asyncio.wait_for(process.wait(), 60)
    return f"{answered} of {SILENT}"


async def stream_at_term(peer: Peer, site: Site) -> str:
    """An answer that never ends is under way at TERM."""
    took = []
    for _ in range(STREAMS):
        async with _running(peer, site, *filled(peer.graceful, s=GRACEFUL_S)) as (process, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"x\n")
            at_s = time.monotonic()
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), LONGEST_S)
            took.append(time.monotonic() - at_s)
            writer.close()
    return f"{min(took):.1f} to {max(took):.1f} s of {GRACEFUL_S}"


async def rotate(peer: Peer, site: Site) -> str:
    """The access log is renamed, and opened again."""
    if peer.log is None:
        return "no file of its own"
    log, old = site.directory / "access.log", site.directory / "access.log.1"
    log.unlink(missing_ok=True)
    async with _running(peer, site, *filled(peer.log, file=log)) as (process, port):
        for _ in range(10):
            await ask(port)
        log.rename(old)
        if peer.reopen is None:
            return "no"
        process.send_signal(peer.reopen)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if log.exists():
                break
        await asyncio.sleep(0.5)
        for _ in range(10):
            await ask(port)
    lines = [len(each.read_text().splitlines()) for each in (old, log) if each.exists()]
    return f"yes ({peer.reopen.name}), {sum(lines)} lines of 20"


async def notify(peer: Peer, site: Site) -> str:
    """A service manager listens; the application takes a second to start."""
    address = site.directory / "notify"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)
        heard: list[tuple[float, str]] = []

        def listen() -> None:
            heard.append((time.monotonic(), manager.recv(4096).decode()))

        asyncio.get_running_loop().add_reader(manager, listen)
        environ = {"NOTIFY_SOCKET": str(address), "STARTUP_S": "1"}
        async with _running(peer, site, environ=environ) as (process, _):
            await asyncio.sleep(0.5)
            serve_s = sorted(site.workers().values())
            process.terminate()
            await process.wait()
        asyncio.get_running_loop().remove_reader(manager)
    ready = [at_s for at_s, text in heard if "READY=1" in text]
    if not ready:
        return "no"
    stops = any("STOPPING=1" in text for _, text in heard)
    when = "once both serve" if ready[0] >= serve_s[-1] - 0.05 else "before any worker is up"
    return f"READY {when}{', STOPPING' if stops else ''}"


_NGINX = """
daemon off;
error_log stderr error;
pid {directory}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxied;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream app {{ server 127.0.0.1:{port}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class _Posts:
    """Clients of nginx that post over kept connections."""

    def __init__(self, port: int, count: int = 16) -> None:
        self.answers: dict[int, int] = {}
        self._port = port
        self._over = False
        self._tasks = [asyncio.create_task(self._post()) for _ in range(count)]

    async def end(self) -> None:
        """Let each finish its request."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _post(self) -> None:
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
        while not self._over:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            with contextlib.suppress(OSError, EOFError):
                while not self._over:
                    writer.write(request)
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    status = int(head.split(b" ", 2)[1])
                    self.answers[status] = self.answers.get(status, 0) + 1
                    if b"connection: close" in head:
                        break
                    await asyncio.sleep(0.002)  # nginx and the server share this machine
            writer.close()


async def behind_nginx(peer: Peer, site: Site) -> str:
    """The server is restarted behind an nginx that keeps its connections."""
    if peer.held is None:
        return "takes no socket"
    if shutil.which("nginx") is None:
        return "no nginx"
    front = free_port()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        command = [*peer.run, *filled(peer.held, fd=sock.fileno())]
        configuration = site.directory / "nginx.conf"
        port = sock.getsockname()[1]
        configuration.write_text(_NGINX.format(directory=site.directory, port=port, front=front))
        nginx = await asyncio.create_subprocess_exec("nginx", "-c", str(configuration))
        site.forget()
        try:
            async with site.serving(command, sock=sock):
                posts = _Posts(front)
                await asyncio.sleep(1)
            for _ in range(NGINX_RESTARTS):
                async with site.serving(command, sock=sock):
                    await asyncio.sleep(0.5)
            async with site.serving(command, sock=sock):
                await posts.end()
        finally:
            nginx.terminate()
            await nginx.wait()
    bad = sum(count for status, count in posts.answers.items() if status != 200)
    return f"{bad} of {sum(posts.answers.values()):,} were told 502"


ROWS: dict[str, tuple[str, Row]] = {
    "roll": ("replace all workers four times", replace_all),
    "restart": ("restarts with the socket held outside", restart_held),
    "kill": ("kill -9, three times, replaced after", kill),
    "stuck": ("a worker stuck in a blocking call, replaced", stick),
    "term": ("a request 0.3 s after TERM on an open, silent connection, answered", ask_after_term),
    "stream": ("TERM with an endless stream open", stream_at_term),
    "rotate": ("access log reopened after a rotation", rotate),
    "notify": ("sd_notify", notify),
    "nginx": ("behind nginx, kept connections, POSTs, 20 restarts", behind_nginx),
}


async def measure(peer: Peer, directory: Path, python: str, wanted: list[str]) -> dict[str, str]:
    """Return what each of the rows says of a server."""
    results = {}
    site = Site(directory, python)
    for name in wanted:
        try:
            results[name] = await ROWS[name][1](peer, site)
        except (OSError, EOFError, RuntimeError, TimeoutError) as error:
            results[name] = f"failed: {error!r}"[:200]
        print(f"{peer.name}: {ROWS[name][0]}: {results[name]}", flush=True)
    return results
