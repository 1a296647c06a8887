"""Tests of `edgeserver.iostream`, over real sockets on both event loops."""

import asyncio
import logging
import socket
import ssl
import sys

import pytest
import trustme

from edgeserver.errors import StreamClosedError
from edgeserver.iostream import (
    IOStream,
    StreamBufferFullError,
    UnsatisfiableReadError,
    closed_error,
    set_closed_error_factory,
)
from edgeserver.transport import lingering
from edgeserver.transport.handover import replace_layer
from tests import inside
from tests.loops import on_both_loops


class Connections:
    """Makes streams together with the sockets of their peers."""

    def __init__(self):
        self.opened = []

    async def __call__(self, *, family=socket.AF_INET, **settings):
        """Return a stream and its peer's socket."""
        stream = IOStream(**settings)
        if family == socket.AF_INET:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                client = socket.create_connection(listener.getsockname())
                accepted, _ = listener.accept()
        else:
            client, accepted = socket.socketpair()
        self.opened.append((stream, client))
        client.setblocking(False)
        accepted.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, accepted)
        return stream, client

    async def aclose(self):
        """Close everything, at once."""
        for stream, client in self.opened:
            client.close()
            transport = inside.lower_transport(stream)
            if transport is not None:
                transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
def connect():
    """Give a function that makes a stream and its peer's socket."""
    return Connections()


async def send(client, data):
    """Send everything from the peer's side."""
    await asyncio.get_running_loop().sock_sendall(client, data)


async def receive_all(client):
    """Receive at the peer until the stream's end."""
    parts = []
    while part := await asyncio.get_running_loop().sock_recv(client, 65536):
        parts.append(part)
    return b"".join(parts)


@on_both_loops
class TestReading:
    """What satisfies a read, and what is left for the next."""

    async def test_exact(self, connect):
        """An exact read waits for all its bytes and leaves the rest."""
        stream, client = await connect()
        first = stream.read_bytes(5)
        assert stream.reading()
        await send(client, b"hel")
        await send(client, b"lo world")
        assert await first == b"hello"
        assert not stream.reading()
        assert await stream.read_bytes(6) == b" world"

    async def test_nothing(self, connect):
        """A read of no bytes is done at once, with data waiting or without."""
        stream, client = await connect()
        assert await stream.read_bytes(0) == b""
        await send(client, b"ab")
        assert await stream.read_bytes(1) == b"a"
        assert await stream.read_bytes(0) == b""
        assert await stream.read_bytes(1) == b"b"

    async def test_partial(self, connect):
        """A partial read takes what is there, never more than asked."""
        stream, client = await connect()
        await send(client, b"abcdef")
        assert await stream.read_bytes(4, partial=True) == b"abcd"
        assert await stream.read_bytes(4, partial=True) == b"ef"

    async def test_until_delimiter_across_segments(self, connect):
        """A delimiter is found though every byte comes alone, and is part of the result."""
        stream, client = await connect()
        read = stream.read_until(b"\r\n\r\n")
        for byte in b"one\r\ntwo\r\n\r\nthree":
            await send(client, bytes([byte]))
            await asyncio.sleep(0)
        assert await read == b"one\r\ntwo\r\n\r\n"
        assert await stream.read_bytes(5) == b"three"

    async def test_until_match(self, connect):
        """A pattern's match ends the read."""
        stream, client = await connect()
        await send(client, b"a1bb22c")
        assert await stream.read_until_regex(rb"\d+[a-z]") == b"a1b"
        assert await stream.read_until_regex(rb"\d+[a-z]") == b"b22c"

    async def test_into(self, connect):
        """A buffer is filled piece by piece and can be resized afterwards."""
        stream, client = await connect()
        buffer = bytearray(6)
        read = stream.read_into(buffer)
        await send(client, b"abcd")
        await send(client, b"efgh")
        assert await read == 6
        assert buffer == b"abcdef"
        buffer.clear()
        part = bytearray(6)
        assert await stream.read_into(part, partial=True) == 2
        assert part == b"gh\0\0\0\0"

    async def test_until_close(self, connect):
        """Everything until the peer's end is one read, and after it nothing comes."""
        stream, client = await connect()
        await send(client, b"abc")
        read = stream.read_until_close()
        await send(client, b"def")
        client.shutdown(socket.SHUT_WR)
        assert await read == b"abcdef"
        assert stream.closed()
        assert await stream.read_until_close() == b""

    async def test_until_close_takes_a_reset_as_the_end(self, connect):
        """A peer that closes by a reset has ended the data too."""
        stream, client = await connect()
        await send(client, b"abc")
        assert await stream.read_bytes(1) == b"a"
        read = stream.read_until_close()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert await read == b"bc"

    async def test_one_read_at_a_time(self, connect):
        """A second read is refused while one waits."""
        stream, _ = await connect()
        stream.read_bytes(1)
        for read in (stream.read_until_close, lambda: stream.read_bytes(1)):
            with pytest.raises(RuntimeError, match="a read already waits"):
                read()

    async def test_cancelled_read_loses_nothing(self, connect):
        """After a cancelled read the next one gets the same bytes."""
        stream, client = await connect()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.read_bytes(10), 0.001)
        assert not stream.reading()
        await send(client, b"abc")
        assert await stream.read_until(b"c") == b"abc"

    async def test_cancelled_read_then_data_then_read(self, connect):
        """Bytes that come after the cancellation and before the next read are kept."""
        stream, client = await connect()
        stream.read_until_close().cancel()
        await send(client, b"abc")
        while not inside.held_bytes(stream):
            await asyncio.sleep(0)
        assert await stream.read_bytes(3) == b"abc"

    async def test_flood_lets_others_run(self, connect):
        """Thousands of small reads from the buffer let the loop turn between them."""
        stream, client = await connect()
        await send(client, b"x" * 20000)
        await stream.read_bytes(1)
        turns = 0

        def turn():
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        turn()
        for _ in range(6400):
            assert await stream.read_bytes(1) == b"x"
        assert turns >= 100

    async def test_what_is_held_outlives_the_connection(self, connect):
        """Bytes that came before the end can be read after it; then the stream is closed."""
        stream, client = await connect()
        await send(client, b"abcdef")
        client.close()
        assert await stream.read_bytes(1) == b"a"
        stream.close()
        assert await stream.read_bytes(2) == b"bc"
        with pytest.raises(StreamClosedError):
            await stream.read_bytes(10)
        assert await stream.read_until_close() == b"def"

    async def test_end_fails_the_read(self, connect):
        """A read that can no longer be satisfied says that the stream is closed."""
        stream, client = await connect()
        read = stream.read_bytes(10)
        await send(client, b"abc")
        client.close()
        with pytest.raises(StreamClosedError):
            await read
        assert stream.closed()


@on_both_loops
class TestBounds:
    """What is kept is bounded, and the transport waits."""

    async def test_reader_that_does_not_read_stops_the_peer(self, connect):
        """Without a read only little is kept, and reading goes on where it stopped."""
        stream, client = await connect(read_chunk_size=1000)
        total = 8 * 1024 * 1024
        sending = asyncio.ensure_future(send(client, b"x" * total))
        while not inside.reads_are_paused(stream):
            await asyncio.sleep(0)
        assert inside.held_bytes(stream) <= 1000 + 256 * 1024
        assert not sending.done()
        received = 0
        while received < total:
            received += len(await stream.read_bytes(100_000, partial=True))
        await sending

    async def test_waiting_read_may_exceed_what_is_kept_ahead(self, connect):
        """A large read is satisfied though little is kept without a read."""
        stream, client = await connect(read_chunk_size=1000)
        read = stream.read_bytes(1_000_000)
        sending = asyncio.ensure_future(send(client, b"x" * 1_000_000))
        assert len(await read) == 1_000_000
        await sending

    async def test_full_buffer_closes(self, connect, caplog):
        """More than `max_buffer_size` without an end closes the stream and is logged once."""
        stream, client = await connect(max_buffer_size=1000)
        read = stream.read_until(b"\n")
        await send(client, b"x" * 2000)
        with pytest.raises(StreamClosedError) as caught:
            await read
        assert isinstance(caught.value.real_error, StreamBufferFullError)
        assert isinstance(stream.error, StreamBufferFullError)
        assert stream.closed()
        assert [r.getMessage() for r in caplog.records] == ["Reached maximum read buffer size"]

    @pytest.mark.parametrize("data", [b"x" * 11, b"x" * 10 + b"\n"], ids=["missing", "too-late"])
    @pytest.mark.parametrize("read", ["read_until", "read_until_regex"])
    async def test_max_bytes_closes(self, connect, caplog, read, data):
        """A delimiter that does not come within `max_bytes` closes the stream, at INFO."""
        caplog.set_level(logging.INFO)
        stream, client = await connect()
        reading = getattr(stream, read)(b"\n", max_bytes=10)
        await send(client, data)
        with pytest.raises(StreamClosedError) as caught:
            await reading
        assert isinstance(caught.value.real_error, UnsatisfiableReadError)
        records = [r for r in caplog.records if r.name == "edgeserver.general"]
        assert [r.levelno for r in records] == [logging.INFO]
        assert records[0].getMessage().startswith("Unsatisfiable read, closing connection: ")

    async def test_max_bytes_holds_for_what_is_held(self, connect):
        """The bound counts at once for bytes that are already there."""
        stream, client = await connect()
        await send(client, b"x" * 50)
        await stream.read_bytes(1)
        with pytest.raises(StreamClosedError):
            await stream.read_until(b"\n", max_bytes=10)


@on_both_loops
class TestWriting:
    """Futures of writes, and what close still delivers."""

    async def test_write(self, connect):
        """Bytes of every kind arrive in order; an empty write is fine."""
        stream, client = await connect()
        mutable = bytearray(b"two ")
        futures = [stream.write(b"one "), stream.write(mutable), stream.write(b"")]
        mutable[:] = b"XXXX"
        await stream.write(memoryview(b"three"))
        stream.close()
        assert await receive_all(client) == b"one two three"
        assert all(future.done() for future in futures)

    async def test_peer_that_does_not_read_holds_back(self, connect):
        """A write's future waits for the peer once the transport is full."""
        stream, client = await connect()
        future = stream.write(b"x" * 16 * 1024 * 1024)
        assert type(future).__name__ == "Future"
        assert not future.done()
        assert stream.writing()
        receiving = asyncio.ensure_future(receive_all(client))
        await future
        stream.close()
        assert len(await receiving) == 16 * 1024 * 1024
        assert not stream.writing()

    async def test_close_delivers_what_was_written(self, connect):
        """A close right after a large write cuts nothing off, and the write's future says so."""
        stream, client = await connect()
        future = stream.write(b"x" * 8 * 1024 * 1024)
        stream.close()
        assert stream.closed()
        assert len(await receive_all(client)) == 8 * 1024 * 1024
        await future

    async def test_close_delivers_though_input_is_unread(self, connect):
        """Last words reach a peer that is still sending: no reset overtakes them."""
        stream, client = await connect(read_chunk_size=1000)
        await send(client, b"x" * 300_000)
        while not inside.reads_are_paused(stream):
            await asyncio.sleep(0)
        stream.write(b"too much")
        stream.close()
        assert await receive_all(client) == b"too much"

    async def test_flooding_peer_is_cut_off_after_close(self, connect):
        """A peer that goes on sending after the close is not listened to for ever."""
        stream, client = await connect(read_chunk_size=1000)
        await send(client, b"x" * 300_000)
        while not inside.reads_are_paused(stream):
            await asyncio.sleep(0)
        stream.close()
        with pytest.raises(ConnectionError):
            await send(client, b"x" * 64 * 1024 * 1024)

    async def test_silent_peer_is_cut_off_after_close(self, connect, monkeypatch):
        """A peer that neither reads nor closes does not keep the socket."""
        monkeypatch.setattr(lingering, "CHECK_S", 0.001)
        monkeypatch.setattr(lingering, "PATIENCE_S", 0.003)
        stream, _client = await connect()
        future = stream.write(b"x" * 16 * 1024 * 1024)
        stream.close()
        with pytest.raises(StreamClosedError) as caught:
            await future
        assert isinstance(caught.value.real_error, TimeoutError)
        assert inside.lower_transport(stream) is None

    async def test_idle_peer_is_let_go_after_the_last_words(self, connect, monkeypatch):
        """A peer with unread input that never closes its side is dropped after a moment."""
        monkeypatch.setattr(lingering, "CHECK_S", 0.001)
        stream, client = await connect()
        await send(client, b"unread")
        assert await stream.read_bytes(1) == b"u"
        stream.close()
        while inside.lower_transport(stream) is not None:
            await asyncio.sleep(0)
        assert await receive_all(client) == b""

    async def test_write_after_close(self, connect):
        """A write to a closed stream raises at once."""
        stream, _ = await connect()
        stream.close()
        with pytest.raises(StreamClosedError):
            stream.write(b"x")

    async def test_write_without_connection(self):
        """A stream that never got a transport cannot be written to."""
        with pytest.raises(StreamClosedError):
            IOStream().write(b"x")

    async def test_lost_peer_fails_the_write(self, connect):
        """A reset fails the writes that wait, and nobody needs to look at them."""
        stream, client = await connect()
        dropped = stream.write(b"x" * 16 * 1024 * 1024)
        future = stream.write(b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(StreamClosedError) as caught:
            await future
        assert isinstance(caught.value.real_error, ConnectionError)
        assert isinstance(stream.error, ConnectionError)
        assert dropped.done()
        with pytest.raises(StreamClosedError):
            stream.write(b"x")


@on_both_loops
class TestClosing:
    """When a stream counts as closed, and who hears of it."""

    async def test_close_callback_of_the_peers_end(self, connect):
        """The callback is called once when the peer closes an idle stream."""
        stream, client = await connect()
        closed = asyncio.Event()
        stream.set_close_callback(closed.set)
        client.close()
        await closed.wait()
        assert stream.closed()

    async def test_close_callback_of_our_end(self, connect):
        """The callback is called in a later turn when the stream is closed here, and once."""
        stream, _ = await connect()
        calls = []
        stream.set_close_callback(lambda: calls.append(1))
        stream.close()
        stream.close()
        assert calls == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert calls == [1]

    async def test_close_callback_set_late(self, connect):
        """A callback set on a closed stream, or one that has ended, is called too."""
        for close in (lambda s, c: s.close(), lambda s, c: c.close()):
            stream, client = await connect()
            close(stream, client)
            while not (stream.closed() or inside.has_ended(stream)):
                await asyncio.sleep(0)
            closed = asyncio.Event()
            stream.set_close_callback(closed.set)
            await closed.wait()

    async def test_close_callback_removed(self, connect):
        """A callback that was replaced by None is not called."""
        stream, _ = await connect()
        stream.set_close_callback(lambda: pytest.fail("was removed"))
        stream.set_close_callback(None)
        stream.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def test_close_callback_error_is_logged(self, connect, caplog):
        """An exception in the callback is the application's mistake."""
        stream, _ = await connect()
        stream.set_close_callback(lambda: 1 / 0)
        stream.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [r.name for r in caplog.records] == ["edgeserver.application"]

    async def test_close_callback_waits_for_what_is_held(self, connect):
        """With bytes held the end is not told before they are read."""
        stream, client = await connect()
        closed = asyncio.Event()
        stream.set_close_callback(closed.set)
        await send(client, b"ab")
        assert await stream.read_bytes(1) == b"a"
        client.shutdown(socket.SHUT_WR)
        while not inside.has_ended(stream):
            await asyncio.sleep(0)
        assert not stream.closed()
        assert await stream.read_bytes(1) == b"b"
        await closed.wait()

    async def test_half_closed_peer_still_gets_an_answer(self, connect):
        """A peer that has only ended its side can be answered."""
        stream, client = await connect()
        await send(client, b"question")
        client.shutdown(socket.SHUT_WR)
        assert await stream.read_bytes(8) == b"question"
        while not inside.has_ended(stream):
            await asyncio.sleep(0)
        await stream.write(b"answer")
        stream.close()
        assert await receive_all(client) == b"answer"

    @pytest.mark.parametrize("form", ["exception", "tuple", "true"])
    async def test_close_with_an_error(self, connect, form):
        """The reason given to close is the stream's error and that of its read."""
        stream, client = await connect()
        await send(client, b"abc")
        read = stream.read_until_close()
        try:
            raise KeyError("reason")
        except KeyError as error:
            stream.close({"exception": error, "tuple": sys.exc_info(), "true": True}[form])
        assert isinstance(stream.error, KeyError)
        with pytest.raises(StreamClosedError) as caught:
            await read
        assert caught.value.real_error is stream.error

    async def test_close_satisfies_a_read_until_close(self, connect):
        """Our own close without an error ends such a read with what is there."""
        stream, client = await connect()
        await send(client, b"abc")
        assert await stream.read_bytes(1) == b"a"
        read = stream.read_until_close()
        stream.close()
        assert await read == b"bc"

    async def test_closed_errors_are_made_in_one_place(self, connect):
        """A guest can have its own class of error raised everywhere."""

        class Both(StreamClosedError, LookupError):
            pass

        set_closed_error_factory(Both)
        try:
            stream, _ = await connect()
            read = stream.read_bytes(1)
            stream.close()
            with pytest.raises(LookupError):
                await read
            with pytest.raises(LookupError):
                stream.write(b"x")
        finally:
            set_closed_error_factory(StreamClosedError)
        assert type(closed_error()) is StreamClosedError


@on_both_loops
class TestFace:
    """What a stream shows of its loop and socket."""

    async def test_io_loop(self, connect):
        """The stream's loop plans timeouts."""
        stream, _ = await connect()
        assert (
            stream.io_loop.asyncio_loop
            is asyncio.get_running_loop()
            is IOStream().io_loop.asyncio_loop
        )
        called = asyncio.Event()
        handle = stream.io_loop.add_timeout(stream.io_loop.time() + 0.001, called.set)
        await called.wait()
        stream.io_loop.remove_timeout(handle)

    async def test_socket(self, connect):
        """The socket can be looked at, and a plain one has no certificate."""
        stream, client = await connect()
        assert stream.socket.getsockname() == client.getpeername()
        assert stream.peer_address == client.getsockname()
        assert not hasattr(stream.socket, "getpeercert")

    @pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
    async def test_nodelay(self, connect, family):
        """Switching it works on TCP, and does nothing elsewhere or when closed."""
        stream, _ = await connect(family=family)
        for value in (False, True):
            stream.set_nodelay(value)
            if family == socket.AF_INET:
                got = stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert bool(got) is value
        stream.close()
        stream.set_nodelay(True)
        IOStream().set_nodelay(True)

    async def test_takes_over_a_transport(self, connect):
        """A stream gets what the layer before had read, and its pause of writing and reading."""
        before, client = await connect()
        await send(client, b"later")
        transport = inside.lower_transport(before)
        transport.pause_reading()
        stream = IOStream()
        replace_layer(transport, stream, b"leftover ", paused=True)
        assert await stream.read_bytes(14) == b"leftover later"
        future = stream.write(b"x")
        assert not future.done()
        stream.resume_writing()
        await future
        stream.close()

    async def test_on_connect(self, connect):
        """It is called once, with the stream, when reading and writing are possible."""
        seen = []
        stream, client = await connect(on_connect=lambda s: seen.append(s.write(b"hello")))
        assert len(seen) == 1
        stream.close()
        assert await receive_all(client) == b"hello"


@on_both_loops
async def test_tls_socket_shows_the_certificate():
    """Over TLS the socket gives the client's certificate, as bytes and as a dict."""
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(server_side)
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    authority.issue_cert("client@example.org").configure_cert(client_side)
    made = asyncio.get_running_loop().create_future()
    server = await asyncio.get_running_loop().create_server(
        lambda: IOStream(on_connect=made.set_result), "127.0.0.1", 0, ssl=server_side
    )
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_side, server_hostname="localhost"
    )
    stream = await made
    assert stream.socket.getpeercert(binary_form=True)[:1] == b"\x30"
    names = stream.socket.getpeercert()["subjectAltName"]
    assert names == (("email", "client@example.org"),)
    assert stream.socket.getsockname()[1] == port
    writer.write(b"bye")
    assert await stream.read_bytes(3) == b"bye"
    writer.close()
    assert await stream.read_until_close() == b""
    await writer.wait_closed()
    stream.close()
    server.close()
