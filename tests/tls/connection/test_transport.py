"""Tests for `edgeserver.tls.connection.transport` and `outgoing`: an open connection to its end."""

import asyncio
import contextlib
import socket
import ssl
import time

import pytest

from edgeserver.support.turns import SLICE_S
from edgeserver.tls.handshake.layer import TLSLayer
from tests.tls import inside
from tests.tls.wire import Client, Echo, Recorder, both_loops, client_context, serve, server_context

MIB = 1024 * 1024
VERSIONS = [
    pytest.param(ssl.TLSVersion.TLSv1_2, id="tls1.2"),
    pytest.param(ssl.TLSVersion.TLSv1_3, id="tls1.3"),
]


def pattern(size):
    """Return bytes whose order shows."""
    return (b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1)))[:size]


class Open(Recorder):
    """Keeps its write side open when the peer ends."""

    keep_open = True


class Greedy(Recorder):
    """Does not read until it is told to."""

    def connection_made(self, transport):
        """Pause at once."""
        super().connection_made(transport)
        transport.pause_reading()


@both_loops
@pytest.mark.parametrize("version", VERSIONS)
async def test_echo(version):
    """Bytes go up and down unchanged, and the protocol hears each event once."""
    async with (
        serve() as server,
        Client.connect(server.port, client_context(maximum_version=version)) as client,
    ):
        await client.handshake()
        await client.send(b"hello")
        assert await client.read_exactly(5) == b"hello"
        client.close_notify()
        assert await client.read_to_end() == b""
        protocol = await server.protocol()
        await protocol.hears("lost")
        assert protocol.heard == ["made", "eof", "lost"]
        assert protocol.exc is None
        assert not protocol.transport.truncated
        assert server.limiter.completed == 1
        assert server.reasons == {}


@both_loops
@pytest.mark.parametrize("version", VERSIONS)
async def test_large_transfers_both_ways(version):
    """Megabytes are echoed while both sides push back."""
    data = pattern(3 * MIB)
    async with (
        serve() as server,
        Client.connect(server.port, client_context(maximum_version=version)) as client,
    ):
        await client.handshake()
        sending = asyncio.ensure_future(client.send(data))
        assert await client.read_exactly(len(data)) == data
        await sending
        assert (await server.protocol()).data == data


@both_loops
async def test_slow_reader_pauses_the_protocol():
    """A client that does not read pauses the writer; nothing is lost, and it is resumed."""
    data = pattern(8 * MIB)
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        protocol = await server.protocol()
        protocol.transport.write(data)
        assert protocol.heard == ["made", "pause"]
        held = protocol.transport.get_write_buffer_size()
        assert 0 < held < len(data) + MIB
        # what waits in the transport below is bounded: the rest waits here, unencrypted
        assert inside.below(protocol.transport).get_write_buffer_size() < 256 * 1024
        assert await client.read_exactly(len(data)) == data
        await protocol.hears("resume")
        assert protocol.heard == ["made", "pause", "resume"]
        assert not inside.has_backlog(protocol.transport)


@both_loops
async def test_small_writes_behind_a_large_one_keep_their_order():
    """Short pieces that wait are joined, and come in the order they were written."""
    large, pieces = pattern(4 * MIB), [b"%05d," % number for number in range(20000)]
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        transport = (await server.protocol()).transport
        transport.write(large)
        for piece in pieces:
            transport.write(piece)
        transport.writelines([b"x" * 20000, bytearray(b"y"), memoryview(b"z"), b""])
        transport.close()
        expected = large + b"".join(pieces) + b"x" * 20000 + b"yz"
        assert await client.read_to_end() == expected


@both_loops
async def test_what_is_written_may_be_changed_by_its_owner():
    """A bytearray that waits is copied, since its owner may use it again."""
    buffer = bytearray(pattern(4 * MIB))
    expected = bytes(buffer)
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        transport = (await server.protocol()).transport
        transport.write(buffer)
        buffer[:] = bytes(len(buffer))
        assert await client.read_exactly(len(expected)) == expected


@both_loops
async def test_write_refuses_what_is_not_bytes():
    """A `str` is a mistake of the caller, as in asyncio."""
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        transport = (await server.protocol()).transport
        with pytest.raises(TypeError, match="bytes-like"):
            transport.write("text")
        transport.write(b"")
        transport.write(b"still fine")
        assert await client.read_exactly(10) == b"still fine"


class PausesInside(Recorder):
    """Pauses in the middle of its first data, and notes whether more came."""

    def data_received(self, data):
        """Pause at the first bytes."""
        assert self.transport.is_reading(), "data after pause_reading"
        super().data_received(data)
        self.transport.pause_reading()
        assert not self.transport.is_reading()


@both_loops
async def test_pause_in_the_middle_of_data():
    """After `pause_reading` inside `data_received` nothing comes until `resume_reading`."""
    records = [b"%03d" % number for number in range(50)]
    async with serve(protocol=PausesInside) as server, Client.connect(server.port) as client:
        await client.handshake()
        for each in records:
            client.ssl.write(each)
        client.flush()  # all in one segment
        protocol = await server.protocol()
        for count in range(1, len(records) + 1):
            await protocol.has(3 * count)
            assert protocol.data == b"".join(records[:count])
            protocol.transport.resume_reading()
            assert len(protocol.data) == 3 * count, "resume_reading delivered inside itself"
            protocol.transport.resume_reading()  # twice is once
        client.close_notify()
        await protocol.hears("lost")


@both_loops
async def test_paused_upload_is_bounded_and_complete():
    """While a protocol pauses, the client is held back by TCP; afterwards everything comes."""
    data = pattern(8 * MIB)
    async with serve(protocol=Greedy) as server, Client.connect(server.port) as client:
        await client.handshake()
        sending = asyncio.ensure_future(client.send(data))
        protocol = await server.protocol()
        transport = protocol.transport
        assert not transport.is_reading()
        transport.resume_reading()
        await protocol.has(1)
        transport.pause_reading()
        got = len(protocol.data)
        waiting = inside.unread(transport)
        assert waiting <= 512 * 1024
        assert not sending.done()
        assert got < len(data)
        transport.resume_reading()
        await protocol.has(len(data))
        await sending
        assert protocol.data == data


@both_loops
async def test_end_behind_a_pause_comes_after_the_data():
    """close_notify that arrives with unread data is told after it."""
    async with serve(protocol=Greedy) as server, Client.connect(server.port) as client:
        await client.handshake()
        protocol = await server.protocol()
        client.ssl.write(b"last words")
        client.close_notify()
        assert protocol.heard == ["made"]
        protocol.transport.resume_reading()
        await protocol.hears("lost")
        assert protocol.data == b"last words"
        assert protocol.heard == ["made", "eof", "lost"]


@both_loops
@pytest.mark.parametrize("version", VERSIONS)
async def test_client_that_ends_first_gets_its_answer(version):
    """After the client's close_notify a protocol that wants to may still answer."""
    async with (
        serve(protocol=Open) as server,
        Client.connect(server.port, client_context(maximum_version=version)) as client,
    ):
        await client.handshake()
        await client.send(b"request")
        client.close_notify()
        client.writer.write_eof()
        protocol = await server.protocol()
        await protocol.hears("eof")
        assert not protocol.transport.is_closing()
        assert not protocol.transport.truncated
        protocol.transport.write(b"answer")
        protocol.transport.close()
        await protocol.hears("lost")
        assert protocol.heard == ["made", "eof", "lost"]


@both_loops
@pytest.mark.parametrize("version", VERSIONS)
async def test_half_close_of_our_side(version):
    """`write_eof` sends close_notify and FIN; what the client still sends is read."""
    async with (
        serve(protocol=Recorder) as server,
        Client.connect(server.port, client_context(maximum_version=version)) as client,
    ):
        await client.handshake()
        protocol = await server.protocol()
        transport = protocol.transport
        assert transport.can_write_eof()
        transport.write(b"all of it")
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            transport.write(b"more")
        assert await client.read_to_end() == b"all of it"
        await client.send(b"still here")
        await protocol.has(10)
        client.close_notify()
        await protocol.hears("lost")
        assert protocol.data == b"still here"
        assert not transport.truncated


@both_loops
async def test_half_close_inside_data_with_more_unread():
    """`write_eof` in the middle of a segment loses none of the records behind it."""

    class Ends(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write_eof()

    async with serve(protocol=Ends) as server, Client.connect(server.port) as client:
        await client.handshake()
        for number in range(20):
            client.ssl.write(b"%02d" % number)
        client.flush()
        protocol = await server.protocol()
        await protocol.has(40)
        assert protocol.data == b"".join(b"%02d" % number for number in range(20))
        assert await client.read_to_end() == b""


@both_loops
async def test_half_close_behind_a_backlog():
    """`write_eof` waits for what was written before it."""
    data = pattern(4 * MIB)
    async with serve(protocol=Open) as server, Client.connect(server.port) as client:
        await client.handshake()
        protocol = await server.protocol()
        protocol.transport.write(data)
        protocol.transport.write_eof()
        assert await client.read_to_end() == data
        await client.send(b"thanks")
        await protocol.has(6)


@both_loops
@pytest.mark.parametrize("keep_open", [False, True], ids=["closes", "keeps"])
async def test_end_without_close_notify_is_truncation(keep_open):
    """A FIN alone is told as an end that may have cut something off."""
    async with (
        serve(protocol=Open if keep_open else Recorder) as server,
        Client.connect(server.port) as client,
    ):
        await client.handshake()
        await client.send(b"half a body")
        client.writer.write_eof()
        protocol = await server.protocol()
        await protocol.hears("eof")
        assert protocol.data == b"half a body"
        assert protocol.transport.truncated
        assert protocol.transport.get_extra_info("tls_truncated") is True
        if keep_open:
            protocol.transport.write(b"you were cut off")
            protocol.transport.close()
            assert await client.read_to_end() == b"you were cut off"
        await protocol.hears("lost")
        assert protocol.heard == ["made", "eof", "lost"]


@both_loops
async def test_reset_is_truncation():
    """A reset tells the protocol once, with the error."""
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        await client.send(b"x")
        protocol = await server.protocol()
        await protocol.has(1)
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.writer.transport.abort()
        await protocol.hears("lost")
        assert protocol.transport.truncated
        assert protocol.heard.count("lost") == 1


@both_loops
async def test_damaged_record_ends_with_an_alert():
    """A record that cannot be decrypted is answered with bad_record_mac, and never goes up."""
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        await client.send(b"good")
        protocol = await server.protocol()
        await protocol.has(4)
        client.writer.write(b"\x17\3\3\0\x20" + bytes(32))
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            await client.read_some()
        await protocol.hears("lost")
        assert protocol.data == b"good"
        assert isinstance(protocol.exc, ssl.SSLError)
        assert protocol.transport.truncated


@both_loops
async def test_close_sends_everything_then_close_notify():
    """`close` loses nothing, and what is written after it is dropped."""
    data = pattern(4 * MIB)
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        protocol = await server.protocol()
        transport = protocol.transport
        transport.write(data)
        transport.close()
        transport.close()
        assert transport.is_closing()
        transport.write(b"too late")
        assert await client.read_to_end() == data
        await protocol.hears("lost")
        assert protocol.exc is None
        transport.write(b"much too late")
        transport.close()
        transport.abort()
        assert protocol.heard.count("lost") == 1


@both_loops
async def test_abort_drops_what_waits():
    """`abort` does not wait for a client that reads nothing."""
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        protocol = await server.protocol()
        protocol.transport.write(bytes(8 * MIB))
        protocol.transport.abort()
        await protocol.hears("lost")
        assert protocol.transport.get_extra_info("ssl_object") is not None
        assert "eof" not in protocol.heard


@both_loops
async def test_close_does_not_wait_for_ever():
    """A client that never reads keeps a closed connection only for so long."""
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        server.limiter.closing.length_s = 0.02
        await client.handshake()
        protocol = await server.protocol()
        protocol.transport.write(bytes(16 * MIB))
        protocol.transport.close()
        await protocol.hears("lost")


@both_loops
async def test_data_after_close_is_not_delivered():
    """Nothing goes up once the protocol has closed, even from the same segment."""

    class Closes(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()

    async with serve(protocol=Closes) as server, Client.connect(server.port) as client:
        await client.handshake()
        client.ssl.write(b"one")
        client.ssl.write(b"two")
        client.flush()
        assert await client.read_to_end() == b""
        protocol = await server.protocol()
        await protocol.hears("lost")
        assert protocol.data == b"one"


@both_loops
async def test_set_protocol_in_the_middle_of_data():
    """The next record of the same segment goes to the protocol that was put in."""
    second = None

    class First(Recorder):
        def data_received(self, data):
            nonlocal second
            super().data_received(data)
            second = Recorder()
            self.transport.set_protocol(second)
            assert self.transport.get_protocol() is second

    async with serve(protocol=First) as server, Client.connect(server.port) as client:
        await client.handshake()
        client.ssl.write(b"one")
        client.ssl.write(b"two")
        client.flush()
        first = await server.protocol()
        await first.has(3)
        await second.has(3)
        assert (first.data, second.data) == (b"one", b"two")
        client.close_notify()
        await second.hears("lost")
        first.note("lost")  # for the end of `serve`: its connection is gone


@both_loops
async def test_exception_above_ends_only_this_connection():
    """A protocol that raises loses its connection; the next client is served."""

    class Raises(Echo):
        def data_received(self, data):
            if data == b"bad":
                raise RuntimeError("made by the test")
            super().data_received(data)

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with serve(protocol=Raises) as server:
        async with Client.connect(server.port) as client:
            await client.handshake()
            await client.send(b"bad")
            await (await server.protocol(0)).hears("lost")
        async with Client.connect(server.port) as client:
            await client.handshake()
            await client.send(b"good")
            assert await client.read_exactly(4) == b"good"


@both_loops
async def test_exception_above_after_a_pause_ends_the_connection():
    """It is the same when the data came out of what had waited."""

    class Raises(Greedy):
        def data_received(self, data):
            raise RuntimeError("made by the test")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with serve(protocol=Raises) as server, Client.connect(server.port) as client:
        await client.handshake()
        await client.send(b"data")
        protocol = await server.protocol()
        protocol.transport.resume_reading()
        await protocol.hears("lost")


@both_loops
async def test_write_buffer_limits_are_those_below():
    """What is set is what the transport below pauses at."""
    async with serve(protocol=Recorder) as server, Client.connect(server.port) as client:
        await client.handshake()
        transport = (await server.protocol()).transport
        transport.set_write_buffer_limits(high=1000, low=10)
        assert transport.get_write_buffer_limits() == (10, 1000)


@both_loops
async def test_extra_info_is_asyncios():
    """Everything that asyncio's TLS transports tell is told, and what is below shines through."""
    context = server_context(protocols=["http/1.1"])
    client_side = client_context()
    client_side.set_alpn_protocols(["h2", "http/1.1"])
    async with (
        serve(context, protocol=Recorder) as server,
        Client.connect(server.port, client_side) as client,
    ):
        await client.handshake()
        transport = (await server.protocol()).transport
        info = transport.get_extra_info
        assert info("ssl_object").selected_alpn_protocol() == "http/1.1"
        assert info("ssl_object").getpeercert() is None
        assert info("sslcontext") is context
        assert info("peercert") is None
        assert info("cipher") == client.ssl.cipher()
        assert info("compression") is None
        assert info("peername") == client.writer.get_extra_info("sockname")
        assert info("sockname")[1] == server.port
        assert info("socket").fileno() > 0
        assert info("tls_truncated") is False
        assert info("nothing of the kind", "default") == "default"
        assert "TLSv1.3" in repr(transport)
        tls = info("tls_info")
        assert tls is transport.tls_info
        assert (tls.version, tls.sni, tls.alpn) == ("TLSv1.3", "a.test", "http/1.1")


@both_loops
async def test_asyncio_streams_stand_on_it():
    """`StreamReader` and `StreamWriter` work unchanged above the transport."""
    done = asyncio.get_running_loop().create_future()

    async def talk(reader, writer):
        line = await reader.readline()
        writer.write(line * 50000)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        done.set_result(line)

    def build():
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, talk)

    async with serve() as server:
        listener = await asyncio.get_running_loop().create_server(
            lambda: TLSLayer(
                contexts=server, build_protocol=lambda transport: build(), limiter=server.limiter
            ),
            "127.0.0.1",
            0,
        )
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(), server_hostname="a.test"
        )
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n" * 50000
        assert await done == b"hello\n"
        writer.close()
        await writer.wait_closed()
        listener.close()
        await listener.wait_closed()


class AnswersInPieces(Recorder):
    """Answers with several writes in one call, and closes."""

    def data_received(self, data):
        """Write small pieces and one that no BIO may hold beside them, then close."""
        super().data_received(data)
        for _ in range(3):
            self.transport.write(b"piece")
        assert self.transport.get_write_buffer_size() > 15
        self.transport.write(bytes(16384))
        self.transport.close()


class Counted:
    """A transport that notes the sizes of what is written to it."""

    def __init__(self, lower, sizes):
        self._lower, self._sizes = lower, sizes

    def write(self, data):
        """Note it and pass it on."""
        self._sizes.append(len(data))
        self._lower.write(data)

    def __getattr__(self, name):
        return getattr(self._lower, name)


@both_loops
async def test_tickets_of_a_connection_without_a_request():
    """They leave as soon as the loop has seen that no request is there, whoever speaks first."""
    async with serve(protocol=Echo) as server, Client.connect(server.port) as client:
        await client.handshake()
        await client.fill()
        with pytest.raises(ssl.SSLWantReadError):
            client.ssl.read(1)
        assert client.ssl.session.has_ticket


@both_loops
async def test_tickets_go_with_the_first_answer():
    """A request that is there when the loop looks again costs no write of its own."""
    sizes = []
    request = b""

    class Counting(Echo):
        def connection_made(self, transport):
            inside.put_below(transport, lambda lower: Counted(lower, sizes))
            super().connection_made(transport)
            client.writer.write(request)  # not before: it comes alone, after the handshake

    async with serve(protocol=Counting) as server, Client.connect(server.port) as client:
        with contextlib.suppress(ssl.SSLWantReadError):
            client.ssl.do_handshake()
        client.flush()
        await client.fill()
        client.ssl.do_handshake()
        finished = client.outgoing.read()
        client.ssl.write(b"hello")
        request = client.outgoing.read()
        client.writer.write(finished)
        assert await client.read_exactly(5) == b"hello"
        assert len(sizes) == 1
        assert client.ssl.session.has_ticket


@both_loops
async def test_what_one_segment_causes_is_written_together():
    """Small answers and close_notify go down joined, at most a record's worth of them."""
    sizes = []
    async with serve(protocol=AnswersInPieces) as server, Client.connect(server.port) as client:
        await client.handshake()
        transport = (await server.protocol()).transport
        while inside.has_pending_output(transport):  # session tickets
            await asyncio.sleep(0)
        inside.put_below(transport, lambda lower: Counted(lower, sizes))
        await client.send(b"x")
        assert await client.read_to_end() == b"piece" * 3 + bytes(16384)
        assert len(sizes) == 2
        assert sizes[0] < 128


@both_loops
async def test_protocol_below_is_set_once(monkeypatch):
    """The end of the handshake exchanges no protocol: uvloop would stop and restart reading."""
    protocols = []
    connection_made = TLSLayer.connection_made

    def watched(layer, transport):
        connection_made(layer, transport)
        protocols.append(transport.get_protocol())

    monkeypatch.setattr(TLSLayer, "connection_made", watched)
    async with serve() as server, Client.connect(server.port) as client:
        await client.handshake()
        transport = (await server.protocol()).transport
        assert protocols == [transport]
        assert inside.below(transport).get_protocol() is transport


class Slow(Recorder):
    """Takes a millisecond and more for whatever it is given, and notes in which turn that was."""

    def connection_made(self, transport):
        """Begin to count the event loop's turns."""
        super().connection_made(transport)
        self.turn, self.turns = 0, []
        self._count()

    def _count(self):
        self.turn += 1
        if "lost" not in self.heard:
            asyncio.get_running_loop().call_soon(self._count)

    def data_received(self, data):
        """Take the time."""
        ends = time.perf_counter() + SLICE_S * 1.1
        while time.perf_counter() < ends:
            pass
        super().data_received(data)
        self.turns.append(self.turn)


@both_loops
@pytest.mark.parametrize("paddings", [0, 20_000], ids=["one-read", "more-than-a-bio"])
async def test_many_records_of_one_segment_make_way(paddings):
    """Tiny records that came together are given up in several turns, in order and all of them."""
    async with serve(protocol=Slow) as server, Client.connect(server.port) as client:
        await client.handshake()
        for number in range(40):
            client.ssl.write(b"%02d" % number)
        if paddings:
            client.ssl.write(bytes(paddings // 2))
            client.ssl.write(bytes(paddings // 2))
        client.close_notify()
        protocol = await server.protocol()
        await protocol.hears("lost")
        assert protocol.data == b"".join(b"%02d" % n for n in range(40)) + bytes(paddings)
        assert protocol.heard == ["made", "eof", "lost"]
        assert not protocol.transport.truncated
        assert len(set(protocol.turns)) > 10


@both_loops
async def test_records_that_wait_are_read_no_further():
    """What comes while records wait is kept up to a bound, then the socket is not read."""
    async with serve(protocol=Slow) as server, Client.connect(server.port) as client:
        await client.handshake()
        sent = b""
        for number in range(100):
            piece = b"%04d" % number * 1000
            sent += piece
            client.ssl.write(piece)
        client.flush()
        protocol = await server.protocol()
        await protocol.has(len(sent))
        assert protocol.data == sent
        assert protocol.transport.is_reading()
        await client.send(b"more")
        await protocol.has(len(sent) + 4)
