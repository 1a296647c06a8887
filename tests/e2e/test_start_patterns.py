"""The ways to start, as Tornado's documentation writes them, in real processes.

Each program below is Tornado's with its imports changed: `tornado` becomes `edgeserver`. The port
is 0 instead of 8888, and is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from edgeserver.netutil import bind_sockets, bind_unix_socket
from edgeserver.process import cpu_count
from edgeserver.proxyheaders import TrustPolicy
from tests.cli.processes import Process, is_alive, python, running
from tests.e2e.site import address_of, answer, ask_blocking, connected, fetch, serve, tell
from tests.loops import on_both_loops

HANDLER = """
import asyncio
import logging
import os
import signal

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.process import fork_processes, task_id

logging.basicConfig(level=logging.INFO)

def handle_request(request):
    if request.path == "/crash":
        os._exit(7)
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    message = f"{os.getpid()} {task_id()} {loop}".encode()
    request.connection.write_headers(
        ResponseStartLine("HTTP/1.1", 200, "OK"),
        HTTPHeaders({"Content-Length": str(len(message))}),
        message)
    request.connection.finish()

def ready(sockets):
    port = sockets[0].getsockname()[1]
    os.write(1, f"ready {os.getpid()} {task_id()} {port}\\n".encode())  # whole, whoever else writes
"""

LISTEN = """
server = HTTPServer(handle_request)
server.listen(0, "127.0.0.1")
signal.signal(
    signal.SIGTERM,
    lambda *_: IOLoop.current().add_callback_from_signal(IOLoop.current().stop))
ready([each.socket for each in server.listeners])
IOLoop.current().start()
print("stopped", flush=True)
"""

START_ZERO = """
server = HTTPServer(handle_request)
server.bind(0, "127.0.0.1")
server.start(0)  # Forks multiple sub-processes
signal.signal(
    signal.SIGTERM,
    lambda *_: IOLoop.current().add_callback_from_signal(IOLoop.current().stop))
ready([each.socket for each in server.listeners])
IOLoop.current().start()
"""

ADD_SOCKETS = """
sockets = bind_sockets(0, "127.0.0.1")
fork_processes(0)

async def post_fork_main():
    server = HTTPServer(handle_request)
    server.add_sockets(sockets)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    ready(sockets)
    await over.wait()
    server.stop()
    await server.close_all_connections()

asyncio.run(post_fork_main())
"""

PLAIN_ASYNCIO = """
async def main():
    server = HTTPServer(handle_request)
    server.listen(0, "127.0.0.1")
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    ready([each.socket for each in server.listeners])
    await over.wait()
    server.stop()
    await server.close_all_connections()
    print("stopped", flush=True)

asyncio.run(main())
"""

TELL_TLS = """
def tell_tls(request):
    message = f"{os.getpid()} {request.tls.resumed}".encode()
    request.connection.write_headers(
        ResponseStartLine("HTTP/1.1", 200, "OK"),
        HTTPHeaders({"Content-Length": str(len(message))}),
        message)
    request.connection.finish()
"""

REUSE_PORT = """
import sys

async def main():
    server = HTTPServer(handle_request)
    server.listen(int(sys.argv[1]), "127.0.0.1", reuse_port=True)
    ready([each.socket for each in server.listeners])
    await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass
class Ready:
    """What a process said when it was ready."""

    pid: int
    task: str
    port: int

    def get(self, path: str = "/") -> str:
        """Ask whoever answers on the port, and return the answer."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False).text


def ready(process: Process, times: int = 1) -> Ready:
    """Wait for the `times`th line that says ready."""
    _, pid, task, port = process.wait_for("ready ", times=times).split()
    return Ready(int(pid), task, int(port))


@contextlib.contextmanager
def started(program: str, directory: Path, *arguments: str) -> Iterator[Process]:
    """Run a program after its imports were changed; no child outlives the block."""
    path = directory / "program.py"
    path.write_text((HANDLER + program).replace("tornado", "edgeserver"))
    with running(python(str(path), *arguments), directory) as process:
        try:
            yield process
        finally:
            process.send(signal.SIGKILL)  # first, or it starts the others again
            for line in process.out.splitlines():
                child = int(line.split()[1]) if line.startswith("ready ") else process.pid
                if child != process.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)


UVLOOP = "import uvloop\nasyncio.set_event_loop(uvloop.new_event_loop())\n" + LISTEN


@pytest.mark.parametrize(
    ("program", "loop"),
    [(LISTEN, "asyncio"), (UVLOOP, "uvloop"), (PLAIN_ASYNCIO, "asyncio")],
    ids=["ioloop", "uvloop", "asyncio"],
)
def test_listen(tmp_path: Path, program: str, loop: str) -> None:
    """`listen` serves in one process, under `IOLoop.start` and `asyncio.run`, on any loop."""
    with started(program, tmp_path) as process:
        server = ready(process)
        assert server.get() == f"{process.pid} None {loop}"
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "stopped" in process.out


@pytest.mark.parametrize("program", [START_ZERO, ADD_SOCKETS], ids=["start-0", "add-sockets"])
def test_forking(tmp_path: Path, program: str) -> None:
    """One process per core shares the port; crashed ones are restarted, ended ones are not."""
    with started(program, tmp_path) as process:
        children = [ready(process, number) for number in range(1, cpu_count() + 1)]
        assert {child.task for child in children} == {str(n) for n in range(cpu_count())}
        assert len({child.port for child in children}) == 1
        assert process.pid not in {child.pid for child in children}

        pid, task, _ = children[0].get().split()
        assert (int(pid), task) in {(child.pid, child.task) for child in children}

        with pytest.raises(httpx.RemoteProtocolError):
            children[0].get("/crash")
        process.wait_for("exited with status 7, restarting")
        crashed = next(child for child in children if not is_alive(child.pid))
        restarted = ready(process, cpu_count() + 1)
        assert (restarted.task, restarted.port) == (crashed.task, crashed.port)

        os.kill(restarted.pid, signal.SIGKILL)
        process.wait_for("killed by signal 9, restarting")
        again = ready(process, cpu_count() + 2)
        assert again.task == crashed.task
        assert again.get().split()[2] in ("uvloop", "asyncio")

        for child in [*children, again]:
            if is_alive(child.pid):
                os.kill(child.pid, signal.SIGTERM)
        assert process.wait() == 0
        assert process.err.count("exited normally") == cpu_count()


def test_forked_processes_share_sessions(tmp_path: Path, pair, trusting) -> None:
    """A TLS session that one process began resumes at every other, whoever accepts."""
    options = f"ssl_options={pair!r}"
    program = START_ZERO.replace("HTTPServer(handle_request)", f"HTTPServer(tell_tls, {options})")
    with started(TELL_TLS + program, tmp_path) as process:
        children = [ready(process, number) for number in range(1, cpu_count() + 1)]
        address = ("127.0.0.1", children[0].port)
        _, session, _ = ask_blocking(address, trusting)
        for child in children:
            others = [other.pid for other in children if other.pid != child.pid]
            for pid in others:
                os.kill(pid, signal.SIGSTOP)  # so that only this one can answer
            got, _, resumed = ask_blocking(address, trusting, session=session)
            for pid in others:
                os.kill(pid, signal.SIGCONT)
            assert got.body == f"{child.pid} True".encode()
            assert resumed


def test_reuse_port(tmp_path: Path) -> None:
    """Two processes of their own listen on one port, and both are asked."""
    with started(REUSE_PORT, tmp_path, "0") as first:
        port = ready(first).port
        with started(REUSE_PORT, tmp_path, str(port)) as second:
            both = {str(first.pid), str(second.pid)}
            seen = set()
            for _ in range(1000):  # the system chooses by a hash of the client's port
                seen.add(ready(second).get().split()[0])
                if seen == both:
                    break
            assert seen == both


def has_ipv6() -> bool:
    """Tell whether this machine can listen on ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@on_both_loops
async def test_ipv6() -> None:
    """An IPv6 client is named as RFC 5952 writes it; a machine without IPv6 says so at once."""
    if not has_ipv6():
        with pytest.raises(OSError, match=r"(?i)address|::1"):
            bind_sockets(0, "::1")
        return
    async with serve() as server:
        server.add_sockets(bind_sockets(0, "::1"))
        seen = (await fetch(address_of(server, 1))).seen
        assert (seen["ip"], seen["peer"]) == ("::1", "::1")


@on_both_loops
async def test_every_interface() -> None:
    """Without an address the port is one for all families that the machine has."""
    async with serve() as server:
        server.listen(0)
        families = {
            each.socket.family: each.socket.getsockname()[1] for each in server.listeners[1:]
        }
        assert len(set(families.values())) == 1
        assert (await fetch(("127.0.0.1", families[socket.AF_INET]))).seen["ip"] == "127.0.0.1"
        if socket.AF_INET6 in families and has_ipv6():
            assert (await fetch(("::1", families[socket.AF_INET6]))).seen["ip"] == "::1"


@on_both_loops
async def test_unix_socket(tmp_path: Path) -> None:
    """A Unix socket serves; its peer is 0.0.0.0, and the file is the owner's only."""
    path = str(tmp_path / "server.sock")
    async with serve(path=path) as server:
        assert os.stat(path).st_mode & 0o777 == 0o600
        seen = (await fetch(address_of(server))).seen
        assert (seen["ip"], seen["peer"], seen["scheme"]) == ("0.0.0.0", "0.0.0.0", "http")


@on_both_loops
async def test_http_and_https_in_one_process(tmp_path: Path, pair, trusting) -> None:
    """Listeners with and without TLS stand side by side in one server, Unix sockets too."""
    async with serve() as server:
        server.add_sockets(bind_sockets(0, "127.0.0.1"), ssl_options=pair)
        path = str(tmp_path / "tls.sock")
        server.add_sockets([bind_unix_socket(path)], ssl_options=pair)
        plain, secure, unix = (address_of(server, number) for number in range(3))
        assert (await fetch(plain)).seen["scheme"] == "http"
        assert (await fetch(secure, tls=trusting)).seen["scheme"] == "https"
        assert (await fetch(unix, tls=trusting)).seen["tls"] == "TLSv1.3"


class Slow:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self, request) -> None:
        self.arrived.set()
        await self.gate.wait()
        answer(request, "done")


@on_both_loops
async def test_stop_leaves_connections() -> None:
    """After `stop` nobody connects, and those who are connected are served on."""
    async with serve() as server, connected(address_of(server)) as client:
        assert (await client.ask()).status == 200
        address = address_of(server)
        server.stop()
        server.stop()
        with pytest.raises(ConnectionError):
            await fetch(address)
        assert (await client.ask()).status == 200


@on_both_loops
async def test_drain_finishes_what_is_in_flight(pair, trusting) -> None:
    """`drain` answers what has begun, closes what is idle, and takes nothing new."""
    slow = Slow()
    async with (
        serve(slow, ssl_options=pair) as server,
        connected(address_of(server), tls=trusting) as idle,
        connected(address_of(server), tls=trusting) as busy,
    ):
        address = address_of(server)
        await busy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await slow.arrived.wait()
        draining = asyncio.ensure_future(server.drain())
        assert await idle.ended()
        with pytest.raises(ConnectionError):
            await fetch(address, tls=trusting)
        assert not draining.done()
        slow.gate.set()
        got = await busy.answer()
        assert (got.body, got.fields["connection"]) == (b"done", "close")
        assert await busy.ended()
        assert await draining is True
        assert server.open_connections == 0


@on_both_loops
async def test_drain_cuts_what_takes_too_long() -> None:
    """What is not finished in time is cut, and `drain` says so."""
    slow = Slow()
    async with serve(slow) as server, connected(address_of(server)) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await slow.arrived.wait()
        assert await server.drain(timeout=0.01) is False
        with contextlib.suppress(ConnectionError):
            assert await client.ended()
        slow.gate.set()


@on_both_loops
async def test_close_all_connections() -> None:
    """Idle and busy connections are closed, and the server still accepts new ones."""
    slow = Slow()
    async with (
        serve(slow) as server,
        connected(address_of(server)) as busy,
        connected(address_of(server)) as idle,
    ):
        await busy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await slow.arrived.wait()
        await server.close_all_connections()
        assert server.open_connections == 0
        for client in (busy, idle):
            with contextlib.suppress(ConnectionError):
                assert await client.ended()
        slow.gate.set()
        assert (await fetch(address_of(server))).body == b"done"


@on_both_loops
async def test_max_connections_pauses_accepting(caplog) -> None:
    """Over the limit a connection waits in the system, and is served when another closes."""
    async with serve(tell, max_connections=2) as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(address_of(server))) for _ in range(2)]
        for client in clients:
            assert (await client.ask()).status == 200
        assert "2 connections are open (max_connections): accepting pauses" in caplog.text
        third = await stack.enter_async_context(connected(address_of(server)))
        waiting = asyncio.ensure_future(third.ask())
        for _ in range(5):
            assert (await clients[0].ask()).status == 200
        assert not waiting.done()
        assert server.open_connections == 2
        clients[1].writer.close()
        assert (await waiting).status == 200


@on_both_loops
async def test_max_connections_counts_handshakes(pair, trusting) -> None:
    """Connections that never finish their handshake count, and their end is seen, too."""
    options = {"ssl_options": {**pair, "handshake_timeout": 0.05}}
    async with (
        serve(tell, max_connections=2, **options) as server,
        connected(address_of(server)),
        connected(address_of(server)),
    ):
        assert (await fetch(address_of(server), tls=trusting)).status == 200


PRELUDE = b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n"


@on_both_loops
async def test_max_connections_counts_preludes() -> None:
    """Connections whose PROXY prelude is not whole count, and end with the server."""
    options = {"trust": TrustPolicy(["127.0.0.1"]), "proxy_protocol": "v1"}
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(tell, max_connections=2, **options))
        clients = [await stack.enter_async_context(connected(address_of(server))) for _ in range(3)]
        for client in clients:
            await client.send(PRELUDE[:5])
        async with asyncio.timeout(10):
            while server.open_connections < 2:
                await asyncio.sleep(0)
        assert server.listeners[0].paused
        await clients[0].send(PRELUDE[5:])
        assert (await clients[0].ask()).status == 200
        assert server.open_connections == 2
        server.pause_accepting()  # by the application, which the limit does not undo
        clients[1].writer.close()
        async with asyncio.timeout(10):
            while server.open_connections > 1:
                await asyncio.sleep(0)
        assert server.listeners[0].paused
        server.resume_accepting()
        await clients[2].send(PRELUDE[5:])
        assert (await clients[2].ask()).status == 200
        fourth = await stack.enter_async_context(connected(address_of(server)))
        assert await server.drain(timeout=10)
        assert server.open_connections == 0
        with contextlib.suppress(ConnectionError):
            assert await fourth.ended()
