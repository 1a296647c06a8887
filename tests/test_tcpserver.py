"""Tests of `edgeserver.tcpserver`, with real clients on both event loops."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest
import trustme
import uvloop

from edgeserver import tcpserver
from edgeserver.netutil import bind_sockets, bind_unix_socket
from edgeserver.tcpserver import Listener, TCPServer
from tests.loops import LOOPS, on_both_loops


class Echo(TCPServer):
    """Sends back what comes, with a greeting that names the peer."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.addresses = []

    async def handle_stream(self, stream, address):
        """Echo one sentence."""
        self.addresses.append(address)
        await stream.write(b"hello ")
        await stream.write(await stream.read_until(b"."))
        stream.close()

    async def aclose(self):
        """Stop, and let what has been accepted end."""
        self.stop()
        await turns()


@pytest.fixture
def echo():
    """Give an echo server that is stopped at the end."""
    return Echo()


def port_of(server, index=0):
    """Return the port of a listener."""
    return server.listeners[index].socket.getsockname()[1]


async def ask(*address, data=b"world.", **settings):
    """Send `data` to an echo server and return its answer."""
    if len(address) == 1:
        reader, writer = await asyncio.open_unix_connection(*address)
    else:
        reader, writer = await asyncio.open_connection(*address, **settings)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@contextlib.contextmanager
def no_descriptors():
    """Let this process open nothing."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def turns(count=20):
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


@on_both_loops
class TestAccepting:
    """Listening while the loop runs."""

    async def test_listen(self, echo):
        """A port is listened on at once, and the peer's address is told."""
        echo.listen(0, "127.0.0.1")
        assert await ask("127.0.0.1", port_of(echo)) == b"hello world."
        assert echo.addresses[0][0] == "127.0.0.1"

    async def test_several_families(self, echo):
        """IPv4 and IPv6 are both served."""
        echo.listen(0, "localhost")
        for listener in echo.listeners:
            assert await ask(*listener.socket.getsockname()[:2]) == b"hello world."

    async def test_unix_socket(self, echo, tmp_path):
        """A Unix socket is served; its file stays, since other processes may listen on it."""
        path = str(tmp_path / "s")
        echo.add_socket(bind_unix_socket(path))
        assert await ask(path) == b"hello world."
        assert echo.addresses == [""]
        echo.pause_accepting()
        echo.resume_accepting()
        assert await ask(path) == b"hello world."
        echo.stop()
        await turns()
        assert os.path.exists(path)

    async def test_any_iterable_of_sockets(self, echo):
        """Sockets may come from a generator."""
        echo.add_sockets(sock for sock in bind_sockets(0, "127.0.0.1"))
        assert await ask("127.0.0.1", port_of(echo)) == b"hello world."

    async def test_backlog_is_kept(self, echo):
        """The event loop does not change the backlog that was asked for."""
        echo.listen(0, "127.0.0.1", backlog=7)
        info = echo.listeners[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        # Of a listening socket tcpi_sacked, the 32-bit field at offset 28, is the backlog.
        assert int.from_bytes(info[28:32], sys.byteorder) == 7

    async def test_refuses_a_closed_socket(self, echo):
        """A socket that cannot be used is an error, and none of the others is accepted on."""
        good, bad = *bind_sockets(0, "127.0.0.1"), *bind_sockets(0, "127.0.0.1")
        bad.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            echo.add_sockets([good, bad])
        assert echo.listeners == []
        good.close()

    async def test_taken_port(self, echo):
        """A taken port is an OSError, and what was bound goes on."""
        echo.listen(0, "127.0.0.1")
        with pytest.raises(OSError, match="cannot listen on 127") as caught:
            echo.listen(port_of(echo), "127.0.0.1")
        assert caught.value.errno == errno.EADDRINUSE
        assert await ask("127.0.0.1", port_of(echo)) == b"hello world."

    async def test_many_connections_at_once(self, echo):
        """A burst is accepted whole."""
        echo.listen(0, "127.0.0.1")
        port = port_of(echo)
        answers = await asyncio.gather(*(ask("127.0.0.1", port) for _ in range(100)))
        assert answers == [b"hello world."] * 100

    async def test_tls(self, echo):
        """A listener with a context speaks the loop's TLS, one without it plain text."""
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        echo.add_sockets(bind_sockets(0, "127.0.0.1"), ssl_options=context)
        echo.listen(0, "127.0.0.1")
        assert await ask("127.0.0.1", port_of(echo), ssl=client) == b"hello world."
        assert await ask("127.0.0.1", port_of(echo, 1)) == b"hello world."
        await turns()

    async def test_stops_with_tls_settings_that_fail(self, echo, tmp_path):
        """An error in the TLS settings stops the start, and nothing is accepted."""
        (tmp_path / "c.pem").write_text("no certificate")
        (sock,) = bind_sockets(0, "127.0.0.1")
        with sock, pytest.raises(ValueError, match=r"c\.pem"):
            echo.add_sockets([sock], ssl_options={"certfile": str(tmp_path / "c.pem")})
        assert echo.listeners == []


@on_both_loops
class TestStopping:
    """What stop and pause do to listeners and live connections."""

    async def test_stop_closes_at_once(self, echo):
        """Right after stop nobody can connect, and the port can be bound again."""
        echo.listen(0, "127.0.0.1")
        port = port_of(echo)
        echo.stop()
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        for sock in bind_sockets(port, "127.0.0.1"):
            sock.close()
        echo.stop()

    async def test_live_connections_outlive_stop(self, echo):
        """A connection goes on after stop."""
        echo.listen(0, "127.0.0.1")
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(echo))
        assert await reader.readexactly(6) == b"hello "
        echo.stop()
        await turns()
        writer.write(b"still here.")
        assert await reader.read() == b"still here."
        writer.close()
        await writer.wait_closed()

    @pytest.mark.parametrize("end", ["stop", "pause_accepting"])
    async def test_what_was_accepted_is_served(self, echo, end):
        """Connections accepted in the very turn of a stop or pause are served, none is dropped."""
        served = []

        class First(Echo):
            async def handle_stream(self, stream, address):
                getattr(self, end)()
                await super().handle_stream(stream, address)
                served.append(address)

        server = First()
        server.listen(0, "127.0.0.1")
        clients = []
        for _ in range(20):
            client = socket.create_connection(server.listeners[0].socket.getsockname())
            client.setblocking(False)
            clients.append(client)
        loop = asyncio.get_running_loop()
        await turns()
        accepted = len(server.addresses)
        assert accepted >= 1
        answers = 0
        for client in clients:
            with client:
                try:
                    client.send(b"x.")
                    answers += (await loop.sock_recv(client, 100)).startswith(b"hello ")
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it was still in the system's queue when the socket was closed
            if end == "pause_accepting" and answers == accepted:
                break
        assert answers == accepted == len(server.addresses)
        server.stop()
        for client in clients:
            client.close()
        await turns()

    async def test_pause_keeps_connections_in_the_queue(self, echo):
        """While paused a connection waits; after resuming it is served."""
        echo.listen(0, "127.0.0.1")
        address = "127.0.0.1", port_of(echo)
        assert await ask(*address) == b"hello world."
        echo.pause_accepting()
        assert all(listener.paused for listener in echo.listeners)
        waiting = asyncio.ensure_future(ask(*address))
        await turns()
        assert len(echo.addresses) == 1
        echo.pause_accepting()
        echo.resume_accepting()
        echo.resume_accepting()
        assert await waiting == b"hello world."
        assert await ask(*address) == b"hello world."

    async def test_each_pauses_for_itself(self, echo):
        """What one has paused another's resuming does not open, in either order."""
        echo.listen(0, "127.0.0.1")
        (listener,) = echo.listeners
        echo.pause_accepting()
        echo.pause_accepting(by="limit")
        echo.resume_accepting(by="limit")
        assert listener.paused
        echo.resume_accepting()
        assert not listener.paused
        echo.pause_accepting(by="limit")
        echo.pause_accepting()
        echo.resume_accepting()
        assert listener.paused
        echo.listen(0, "127.0.0.1")
        assert echo.listeners[1].paused
        echo.resume_accepting(by="limit")
        assert await ask("127.0.0.1", port_of(echo)) == b"hello world."

    async def test_resuming_without_a_descriptor(self, echo, monkeypatch, caplog):
        """Where all descriptors are in use, accepting begins again once one is free."""
        monkeypatch.setattr(tcpserver, "RESUME_RETRY_S", 0.01)
        echo.listen(0, "localhost")
        echo.pause_accepting()
        caplog.clear()
        with no_descriptors():
            echo.resume_accepting()
            assert all(listener.paused for listener in echo.listeners)
        assert await ask("localhost", port_of(echo)) == b"hello world."
        assert caplog.messages == ["cannot accept connections yet: Too many open files"]

    async def test_pausing_costs_no_descriptors(self, echo):
        """Pausing and resuming again and again leaves nothing open."""
        echo.listen(0, "127.0.0.1")
        await turns()
        before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
        for _ in range(50):
            echo.pause_accepting()
            echo.resume_accepting()
            await turns(3)
        assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before
        assert await ask("127.0.0.1", port_of(echo)) == b"hello world."

    async def test_sockets_added_while_paused_wait(self, echo):
        """A listener that comes during a pause accepts after it."""
        echo.pause_accepting()
        echo.listen(0, "127.0.0.1")
        assert echo.listeners[0].paused
        echo.resume_accepting()
        assert await ask("127.0.0.1", port_of(echo)) == b"hello world."

    async def test_stop_while_paused(self, echo):
        """A paused server stops like another."""
        echo.listen(0, "127.0.0.1")
        port = port_of(echo)
        echo.pause_accepting()
        echo.stop()
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED

    async def test_listens_again_after_stop(self, echo):
        """A stopped server can be given new sockets, and be stopped again."""
        echo.listen(0, "127.0.0.1")
        echo.stop()
        echo.listen(0, "127.0.0.1")
        assert await ask("127.0.0.1", port_of(echo)) == b"hello world."


@pytest.fixture(params=LOOPS.values(), ids=LOOPS.keys())
def idle_loop(request):
    """Give a loop that is set for the thread and does not run."""
    loop = request.param()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


def test_listens_before_the_loop_runs(idle_loop):
    """A server started while the loop is idle serves once it runs; it stops while idle too."""
    server = Echo()
    server.listen(0, "127.0.0.1")
    port = port_of(server)
    assert idle_loop.run_until_complete(ask("127.0.0.1", port)) == b"hello world."
    server.pause_accepting()
    server.resume_accepting()
    assert idle_loop.run_until_complete(ask("127.0.0.1", port)) == b"hello world."
    server.stop()
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_stop_without_ever_running(idle_loop):
    """A server that was never run leaves nothing open."""
    server = TCPServer()
    server.listen(0, "127.0.0.1")
    server.stop()
    idle_loop.run_until_complete(asyncio.sleep(0))
    gc.collect()


def test_stop_after_the_loop_is_closed():
    """A stop that comes after the loop's end still closes the sockets."""
    for factory in LOOPS.values():
        loop = factory()
        asyncio.set_event_loop(loop)
        server = TCPServer()
        server.listen(0, "127.0.0.1")
        sock = server.listeners[0].socket
        loop.run_until_complete(asyncio.sleep(0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # uvloop's, and it is right
            loop.close()
        server.stop()
        assert sock.fileno() == -1
        asyncio.set_event_loop(None)
    gc.collect()


@pytest.mark.parametrize("factory", LOOPS.values(), ids=LOOPS.keys())
def test_in_another_thread(factory):
    """A server lives in the loop of the thread that starts it."""
    server = Echo()
    ready = threading.Event()
    ends = []

    def work():
        async def main():
            end = asyncio.Event()
            ends.append((asyncio.get_running_loop(), end))
            server.listen(0, "127.0.0.1")
            ready.set()
            await end.wait()
            server.stop()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(60)
    assert asyncio.run(ask("127.0.0.1", port_of(server))) == b"hello world."
    loop, end = ends[0]
    loop.call_soon_threadsafe(end.set)
    thread.join()


class TestStreams:
    """How a stream is handed over."""

    @pytest.mark.parametrize("kind", ["function", "coroutine", "late"])
    async def test_errors_are_logged(self, caplog, kind):
        """What handle_stream raises, at once or later, is logged once and closes the stream."""

        class Failing(TCPServer):
            if kind == "function":

                def handle_stream(self, stream, address):
                    raise ZeroDivisionError

            else:

                async def handle_stream(self, stream, address):
                    if kind == "late":
                        await stream.read_bytes(1)
                    raise ZeroDivisionError

        server = Failing()
        server.listen(0, "127.0.0.1")
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        if kind == "late":
            writer.write(b"x")
        await reader.read()
        await turns()
        writer.close()
        server.stop()
        (record,) = caplog.records
        assert record.name == "edgeserver.application"
        assert record.levelno == logging.ERROR
        assert record.getMessage().startswith("Exception in callback")
        assert record.exc_info[0] is ZeroDivisionError

    async def test_plain_function(self):
        """handle_stream may be a plain function that keeps the stream."""
        streams = []

        class Keeping(TCPServer):
            def handle_stream(self, stream, address):
                streams.append(stream)

        server = Keeping(max_buffer_size=1000, read_chunk_size=100)
        server.listen(0, "127.0.0.1")
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        while not streams:
            await asyncio.sleep(0)
        assert (streams[0].max_buffer_size, streams[0].read_chunk_size) == (1000, 100)
        streams[0].write(b"kept")
        streams[0].close()
        assert await reader.read() == b"kept"
        writer.close()
        server.stop()

    async def test_must_be_overridden(self, caplog):
        """A server that speaks nothing says so in the log."""
        server = TCPServer()
        server.listen(0, "127.0.0.1")
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        assert await reader.read() == b""
        assert caplog.records[0].exc_info[0] is NotImplementedError
        writer.close()
        server.stop()
        await turns()

    async def test_own_protocol(self):
        """build_protocol brings a protocol, and learns which listener it is for."""
        seen = []

        class Own(TCPServer):
            def build_protocol(self, listener):
                seen.append(listener)
                return asyncio.StreamReaderProtocol(
                    asyncio.StreamReader(), lambda reader, writer: writer.close()
                )

        server = Own()
        server.add_sockets(bind_sockets(0, "127.0.0.1"), proxy_protocol="v2")
        server.listen(0, "127.0.0.1")
        for index in (1, 0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server, index))
            assert await reader.read() == b""
            writer.close()
            await turns()
        assert seen == [server.listeners[1], server.listeners[0]]
        server.stop()


class TestSettings:
    """The settings of the server and of its listeners."""

    async def test_listeners_inherit(self):
        """A listener has its own settings where given, the server's else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = TCPServer(ssl_options=context, proxy_protocol="v1")
        server.listen(0, "127.0.0.1")
        server.add_sockets(bind_sockets(0, "127.0.0.1"), ssl_options=None, proxy_protocol=None)
        first, second = server.listeners
        assert (first.ssl_options, first.proxy_protocol) == (context, "v1")
        assert (second.ssl_options, second.proxy_protocol) == (None, None)
        assert first.server is second.server is server
        server.stop()

    async def test_listener_shows_its_address(self, tmp_path):
        """A listener names its address as people write it."""
        server = TCPServer()
        server.listen(0, "127.0.0.1")
        server.add_socket(bind_unix_socket(str(tmp_path / "s")))
        assert server.listeners[0].address == f"127.0.0.1:{port_of(server)}"
        assert repr(server.listeners[1]) == f"<Listener unix:{tmp_path}/s>"
        server.stop()

    def test_ssl_dict_is_checked_without_a_loop(self, tmp_path):
        """A dict without a certificate, or with one that is missing, is refused at once."""
        with pytest.raises(KeyError, match='missing key "certfile" in ssl_options'):
            TCPServer(ssl_options={})
        missing = str(tmp_path / "missing.pem")
        with pytest.raises(ValueError, match=r'certfile ".*missing\.pem" does not exist'):
            TCPServer(ssl_options={"certfile": missing})


def run_program(body):
    """Run `body` in a fresh interpreter where every warning is an error; return what it prints."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore::ResourceWarning",
            "-c",
            textwrap.dedent(body),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


ONCE_PROGRAM = """
import asyncio, os, socket
from edgeserver.ioloop import IOLoop
from edgeserver.netutil import bind_sockets
from edgeserver.process import fork_processes, task_id
from edgeserver.tcpserver import TCPServer

class Once(TCPServer):
    # Serves one connection with the number of its process.
    async def handle_stream(self, stream, address):
        self.stop()
        await stream.write(b"%d" % task_id())
        stream.close()
        self.served.set()

    async def serve(self):
        self.served = asyncio.Event()
        await self.served.wait()

def visit_three_times(port):
    if os.fork() == 0:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as client:
                os.write(1, client.recv(10))
        os._exit(0)
"""


def test_bind_and_start_several_processes():
    """Bind and start fork, and every child serves on the shared socket, once each here."""
    out = run_program(
        ONCE_PROGRAM
        + """
server = Once()
server.bind(0, address="127.0.0.1")
visit_three_times(server._pending[0].getsockname()[1])
server.start(3)
IOLoop.current().run_sync(server.serve)
IOLoop.current().close()
"""
    )
    assert sorted(out) == ["0", "1", "2"]


def test_add_sockets_after_fork_processes():
    """Sockets bound before the fork are served by the children, in plain asyncio."""
    out = run_program(
        ONCE_PROGRAM
        + """
sockets = bind_sockets(0, "127.0.0.1")
visit_three_times(sockets[0].getsockname()[1])
fork_processes(3)

async def main():
    server = Once()
    server.add_sockets(sockets)
    await server.serve()

asyncio.run(main())
"""
    )
    assert sorted(out) == ["0", "1", "2"]


def test_start_in_one_process():
    """start() without a number does not fork, and a second start is refused."""
    out = run_program(
        """
        from edgeserver.ioloop import IOLoop
        from edgeserver.process import task_id
        from edgeserver.tcpserver import TCPServer
        server = TCPServer()
        server.bind(0, "127.0.0.1")
        server.start()
        server.bind(0, "127.0.0.1")
        print(task_id(), len(server.listeners))
        try:
            server.start()
        except RuntimeError as error:
            print(error)
        server.stop()
        IOLoop.current().run_sync(lambda: None)
        IOLoop.current().close()
        """
    )
    assert out == "None 2\nthis server was started before; call start once\n"


def test_stop_before_start_closes_what_was_bound(monkeypatch):
    """Sockets that were bound and never started are closed by stop."""
    made = []
    bind_sockets = tcpserver.bind_sockets
    monkeypatch.setattr(
        tcpserver, "bind_sockets", lambda *a, **k: made.extend(bind_sockets(*a, **k)) or made
    )
    server = TCPServer()
    server.bind(0, "127.0.0.1")
    (sock,) = made
    server.stop()
    assert sock.fileno() == -1


async def test_loop_that_waits_is_refused():
    """A loop whose create_server really waits is a clear error, not a server that hangs."""

    class Waiting(uvloop.Loop):
        async def create_server(self, *args, **kwargs):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    loop = Waiting()
    server = TCPServer()
    (sock,) = bind_sockets(0, "127.0.0.1")
    listener = Listener(sock, server, ssl_options=None, proxy_protocol=None)
    listener.loop = loop
    with pytest.raises(RuntimeError, match="create_server waits"):
        listener.resume()
    listener.close()
    loop.close()
