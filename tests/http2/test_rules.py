"""RFC 9113's rules, each broken once: which code, which last stream, and what goes on."""

from __future__ import annotations

import struct

import pytest

from edgeserver.http2.hpack.huffman import huffman_encode
from tests.http2.conversation import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    App,
    Talk,
    frame,
    number,
    settings,
)

PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, COMPRESSION = 1, 3, 5, 6, 7, 9

OF_CONNECTION = {
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), PROTOCOL),
    "DATA on an idle stream": (frame(DATA, 0, 5, b"x"), PROTOCOL),
    "DATA on an even stream": (frame(DATA, 0, 2, b"x"), PROTOCOL),
    "DATA without its padding length": (frame(DATA, PADDED, 1), SIZE),
    "padding longer than its frame": (frame(DATA, PADDED, 1, b"\x05abcd"), PROTOCOL),
    "HEADERS on stream 0": (frame(HEADERS, 5, 0, b"\x82"), PROTOCOL),
    "HEADERS on an even stream": (frame(HEADERS, 5, 4, b"\x82"), PROTOCOL),
    "HEADERS padded too long": (frame(HEADERS, 5 | PADDED, 3, b"\x09\x82"), PROTOCOL),
    "HEADERS too short for priority": (frame(HEADERS, 5 | 32, 3, b"\x82"), SIZE),
    "a stream that depends on itself": (frame(HEADERS, 37, 3, number(3) + b"\1\x82"), PROTOCOL),
    "a block that cannot be decoded": (frame(HEADERS, 5, 3, b"\xff"), COMPRESSION),
    "CONTINUATION alone": (frame(CONTINUATION, 4, 3, b"\x82"), PROTOCOL),
    "a block that is interrupted": (frame(HEADERS, 1, 3, b"\x82") + frame(PING, 0, 0, b"8" * 8), 1),
    "a block that goes on elsewhere": (
        frame(HEADERS, 1, 3, b"\x82") + frame(CONTINUATION, 4, 5, b"\x84"),
        PROTOCOL,
    ),
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, b"12345"), PROTOCOL),
    "PRIORITY too long": (frame(PRIORITY, 0, 9, b"123456"), SIZE),
    "RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, number(8)), PROTOCOL),
    "RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 9, number(8)), PROTOCOL),
    "RST_STREAM too short": (frame(RST_STREAM, 0, 1, b"abc"), SIZE),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), PROTOCOL),
    "SETTINGS of half an entry": (frame(SETTINGS, 0, 0, b"abc"), SIZE),
    "SETTINGS with ACK and more": (frame(SETTINGS, ACK, 0, b"abcdef"), SIZE),
    "ENABLE_PUSH of 2": (settings(_2=2), PROTOCOL),
    "ENABLE_CONNECT_PROTOCOL of 2": (settings(_8=2), PROTOCOL),
    "a first window too large": (settings(_4=1 << 31), FLOW),
    "a frame size too small": (settings(_5=16383), PROTOCOL),
    "a frame size too large": (settings(_5=1 << 24), PROTOCOL),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, 4, 1, number(2) + b"\x82"), PROTOCOL),
    "PING on a stream": (frame(PING, 0, 1, b"8" * 8), PROTOCOL),
    "PING too short": (frame(PING, 0, 0, b"7" * 7), SIZE),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "GOAWAY too short": (frame(GOAWAY, 0, 0, bytes(7)), SIZE),
    "WINDOW_UPDATE too long": (frame(WINDOW_UPDATE, 0, 0, b"12345"), SIZE),
    "WINDOW_UPDATE by 0": (frame(WINDOW_UPDATE, 0, 0, number(0)), PROTOCOL),
    "WINDOW_UPDATE on an idle stream": (frame(WINDOW_UPDATE, 0, 9, number(1)), PROTOCOL),
    "a connection's window too large": (frame(WINDOW_UPDATE, 0, 0, number((1 << 31) - 1)), FLOW),
    "a frame too long": (frame(DATA, 0, 1, bytes(16385)), SIZE),
    "a long frame before it is there": (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", SIZE),
    "an unknown frame in a block": (frame(HEADERS, 1, 3, b"\x82") + frame(99, 0, 0), PROTOCOL),
}


@pytest.mark.parametrize(("broken", "code"), OF_CONNECTION.values(), ids=OF_CONNECTION)
async def test_errors_of_the_connection(broken: bytes, code: int) -> None:
    """GOAWAY says the code and the last stream served; what came before is answered."""
    talk = Talk()
    stream = talk.ask()
    talk.receive(broken)
    assert talk.goaways == [(1, code)]
    assert talk.answer(stream).body == b"ok"
    assert talk.ending
    talk.receive(talk.request())
    assert len(talk.app.requests) == 1


BEFORE_SETTINGS = {
    "HTTP/1": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", PROTOCOL),
    "half a preface and another": (PREFACE[:20] + b"xxxx", PROTOCOL),
    "a frame before SETTINGS": (PREFACE + frame(PING, 0, 0, b"8" * 8), PROTOCOL),
    "an acknowledgement before SETTINGS": (PREFACE + frame(SETTINGS, ACK, 0), PROTOCOL),
}


@pytest.mark.parametrize(("broken", "code"), BEFORE_SETTINGS.values(), ids=BEFORE_SETTINGS)
async def test_a_wrong_beginning(broken: bytes, code: int) -> None:
    """A client that does not speak HTTP/2 is told so, and the connection ends."""
    talk = Talk(greet=False)
    talk.receive(broken)
    assert talk.goaways == [(0, code)]
    assert talk.ending


OF_STREAM = {
    "WINDOW_UPDATE by 0": (frame(WINDOW_UPDATE, 0, 1, number(0)), PROTOCOL),
    "a window too large": (frame(WINDOW_UPDATE, 0, 1, number((1 << 31) - 1)), FLOW),
    "PRIORITY of itself": (frame(PRIORITY, 0, 1, number(1) + b"\1"), PROTOCOL),
    "PRIORITY too short": (frame(PRIORITY, 0, 1, b"1234"), SIZE),
    "trailers without END_STREAM": (frame(HEADERS, END_HEADERS, 1, b"\x00\1a\1b"), PROTOCOL),
    "trailers with a pseudo-header": (frame(HEADERS, 5, 1, b"\x84"), PROTOCOL),
    "trailers in upper case": (frame(HEADERS, 5, 1, b"\x00\1A\1b"), PROTOCOL),
    "more than was declared": (frame(DATA, 0, 1, b"12345"), PROTOCOL),
    "less than was declared": (frame(DATA, END_STREAM, 1, b"123"), PROTOCOL),
    "less, with trailers": (frame(HEADERS, 5, 1, b"\x00\1a\1b"), PROTOCOL),
}


@pytest.mark.parametrize(("broken", "code"), OF_STREAM.values(), ids=OF_STREAM)
async def test_errors_of_a_stream(broken: bytes, code: int) -> None:
    """The stream is reset, its application hears of it, and the others go on."""
    talk = Talk()
    stream = talk.post(fields=[("content-length", "4")])
    talk.receive(broken)
    assert talk.answer(stream).reset == code
    assert talk.app.requests[0].ended == ["close"]
    assert talk.answer(talk.ask()).body == b"ok"
    assert not talk.goaways


@pytest.mark.parametrize(
    ("late", "code"),
    [
        pytest.param(frame(DATA, 0, 1, b"x"), CLOSED, id="DATA"),
        pytest.param(frame(HEADERS, 5, 1, b"\x00\1a\1b"), CLOSED, id="HEADERS"),
    ],
)
async def test_after_end_stream(late: bytes, code: int) -> None:
    """Nothing of a request follows its end; the stream is reset though it waits for its answer."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    stream = talk.ask()
    talk.receive(late)
    assert talk.answer(stream).reset == code
    assert not talk.goaways


async def test_frames_on_a_stream_that_is_over() -> None:
    """DATA resets it again, HEADERS is an error of the connection, small ones are ignored."""
    talk = Talk()
    stream = talk.ask()
    talk.receive(
        frame(WINDOW_UPDATE, 0, stream, number(10)),
        frame(RST_STREAM, 0, stream, number(8)),
        frame(PRIORITY, 0, stream, number(0) + b"\1"),
        frame(DATA, 0, stream, b"x"),
    )
    assert talk.answer(stream).reset == CLOSED
    assert not talk.goaways
    other = talk.ask()
    talk.receive(frame(HEADERS, 5, other, b"\x82"))
    assert talk.goaways == [(3, CLOSED)]


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        pytest.param(frame(PRIORITY, 0, 1, b"1234"), SIZE, id="too short"),
        pytest.param(frame(PRIORITY, 0, 1, number(1) + b"\1"), PROTOCOL, id="of itself"),
    ],
)
async def test_a_wrong_priority_of_a_stream_that_is_over(broken: bytes, code: int) -> None:
    """It is an error of the stream, said once."""
    talk = Talk()
    stream = talk.ask()
    talk.receive(broken, broken)
    assert talk.answer(stream).reset == code
    assert len(talk.frames(RST_STREAM)) == 1
    assert not talk.goaways


async def test_frames_that_cross_our_reset_mean_nothing() -> None:
    """But their blocks are decoded: the table must stay what the peer thinks it is."""
    talk = Talk()
    talk.app.on_head = lambda request: request.connection.abort()
    stream = talk.post()
    assert talk.answer(stream).reset == 2
    block = talk.encoder.encode([("x-new", "value")])
    talk.receive(frame(DATA, 0, stream, b"x"), frame(HEADERS, 5, stream, block))
    assert len(talk.frames(RST_STREAM)) == 1
    talk.app.on_head = None
    talk.ask(fields=[("x-new", "value")])
    assert talk.app.requests[-1].connection.fields[b"x-new"] == b"value"


async def test_a_stream_that_was_skipped() -> None:
    """Streams are opened in order: a lower one is closed by a higher."""
    talk = Talk()
    talk.next_id = 5
    talk.ask()
    talk.receive(frame(HEADERS, 5, 3, b"\x82"))
    assert talk.goaways == [(5, PROTOCOL)]


async def test_a_stream_that_was_served_long_ago() -> None:
    """However many came after it, it is closed, and was not skipped."""
    talk = Talk()
    first = talk.ask()
    for _ in range(300):
        talk.ask()
    talk.receive(frame(HEADERS, 5, first, b"\x82"))
    assert talk.goaways == [(601, CLOSED)]


MALFORMED: dict[str, list[tuple[str, str]]] = {
    "no method": [(":scheme", "http"), (":path", "/"), (":authority", "a")],
    "no scheme": [(":method", "GET"), (":path", "/"), (":authority", "a")],
    "no path": [(":method", "GET"), (":scheme", "http"), (":authority", "a")],
    "no host": [(":method", "GET"), (":scheme", "http"), (":path", "/")],
    "an empty host": [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "")],
    "an empty authority": [
        (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", ""),
    ],
    "an empty path": [(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")],
    "CONNECT with a path": [(":method", "CONNECT"), (":path", "/"), (":authority", "a:1")],
    "CONNECT to no port": [(":method", "CONNECT"), (":authority", "a")],
}  # fmt: skip

PLAIN = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]

MALFORMED |= {
    name: [*PLAIN, *more]
    for name, more in {
        "a pseudo-header twice": [(":path", "/")],
        "an unknown pseudo-header": [(":x", "y")],
        "a status": [(":status", "200")],
        "a pseudo-header after a field": [("x", "y"), (":scheme", "http")],
        "upper case": [("X-Y", "z")],
        "an empty name": [("", "z")],
        "a name with a space": [("x y", "z")],
        "a name with a colon": [("x:y", "z")],
        "connection": [("connection", "close")],
        "keep-alive": [("keep-alive", "1")],
        "transfer-encoding": [("transfer-encoding", "chunked")],
        "upgrade": [("upgrade", "h2c")],
        "te": [("te", "gzip")],
        "another host": [("host", "b")],
        "two hosts": [("host", "a"), ("host", "b")],
        "a line end in a value": [("x", "a\r\nb: c")],
        "a NUL in a value": [("x", "a\0b")],
        "a space before a value": [("x", " a")],
        "a tab after a value": [("x", "a\t")],
        "a length that is none": [("content-length", "1x")],
        "two lengths": [("content-length", "1"), ("content-length", "2")],
        "a length without a body": [("content-length", "1")],
        ":protocol without CONNECT": [],
    }.items()
}
MALFORMED[":protocol without CONNECT"].insert(0, (":protocol", "websocket"))
for bad in ("a b", "/a\x00", "a", "*", "http://a/", "/\xe9"):
    MALFORMED[f"the path {bad!r}"] = [*PLAIN[:2], (":path", bad), PLAIN[3]]
for bad in ("a@b", "a b", "a/b", "a,b", ":80"):
    MALFORMED[f"the authority {bad!r}"] = [*PLAIN[:3], (":authority", bad)]


@pytest.mark.parametrize("listed", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_requests(
    listed: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is given one: its stream is reset, and the log has the RFC's section."""
    caplog.set_level("INFO")
    talk = Talk()
    stream, talk.next_id = talk.next_id, talk.next_id + 2
    block = talk.encoder.encode([(name.encode(), v.encode("latin-1")) for name, v in listed])
    talk.receive(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
    assert talk.answer(stream).reset == PROTOCOL
    assert not talk.app.requests
    assert "RFC " in caplog.text
    assert talk.answer(talk.ask()).status == 200


@pytest.mark.parametrize("known", [False, True], ids=["new", "with a known block"])
async def test_a_path_is_judged_in_blocks_that_are_known(known: bool) -> None:
    """A block of which all but the path came before is a request only with a valid one."""
    talk = Talk()

    def block(path: bytes) -> bytes:
        return b"\x82\x86\x04" + bytes((len(path),)) + path + b"\x01\x01a"

    for number_, path in enumerate([b"/good"] * known + [b"/bad path", b"/also"]):
        talk.receive(frame(HEADERS, 5, 2 * number_ + 1, block(path)))
    assert [request.head.path for request in talk.app.requests] == ["/good"] * known + ["/also"]
    assert [each.stream for each in talk.frames(RST_STREAM)] == [3 if known else 1]


async def test_a_block_that_comes_again_means_what_the_table_says_now() -> None:
    """The very same bytes are another request once the table has changed, and the same before."""
    talk = Talk()
    path = b"\x04\x02/p"
    insert = b"\x82\x86" + path + b"\x41\x01%b"  # the authority enters the table
    again = b"\x82\x86\xbe" + path  # the newest of the table
    for number_, block in enumerate([insert % b"a", again, again, insert % b"b", again, again]):
        talk.receive(frame(HEADERS, 5, 2 * number_ + 1, block))
    hosts = [request.connection.fields[b"host"] for request in talk.app.requests]
    assert hosts == [b"a", b"a", b"a", b"b", b"b", b"b"]
    assert {request.head.path for request in talk.app.requests} == {"/p"}


async def test_paths_that_differ_on_streams_in_flight() -> None:
    """Each request keeps its own, whether its block came before, or a malformed one in between."""
    app = App()
    app.on_finish = lambda request: None
    talk = Talk(app=app)
    paths = [b"/a", b"/b", b"/articles/1234567", b"/a", b"/articles/7654321", b"/b", b"no", b"/a"]
    for number_, path in enumerate(paths):
        coded = huffman_encode(path)
        block = b"\x82\x86\x04" + bytes((0x80 | len(coded),)) + coded + b"\x01\x01a"
        talk.receive(frame(HEADERS, 5, 2 * number_ + 1, block))
    targets = [request.connection.target.encode() for request in app.requests]
    assert targets == [path for path in paths if path != b"no"]
    assert [each.stream for each in talk.frames(RST_STREAM)] == [13]


@pytest.mark.parametrize("header_bytes", [200, 64 * 1024])
@pytest.mark.parametrize("path", ["/" + "x" * 100, "/" + "x" * 70])
async def test_a_known_block_keeps_to_the_limit(path: str, header_bytes: int) -> None:
    """What is known without its path counts together with the path that comes."""
    talk = Talk(max_header_size=header_bytes)
    talk.receive(frame(HEADERS, 5, 1, b"\x82\x86\x04\x02/1\x01\x01a"))
    raw = path.encode()
    talk.receive(frame(HEADERS, 5, 3, b"\x82\x86\x04" + bytes((len(raw),)) + raw + b"\x01\x01a"))
    size = sum(map(len, (":methodGET:schemehttp:path:authoritya", path))) + 4 * 32
    assert talk.answer(3).status == (200 if size <= header_bytes else 431)


async def test_pings_and_settings_are_acknowledged() -> None:
    """Unknown frames, unknown settings and reserved bits mean nothing."""
    talk = Talk()
    talk.receive(
        frame(PING, 0, 0, b"12345678"),
        settings(_4660=1),
        frame(200, 255, 0x80000005, b"whatever"),
        frame(PING, ACK, 0, b"not ours"),
    )
    (ping,) = talk.frames(PING)
    assert ping == (PING, ACK, 0, b"12345678")
    assert [each.flags for each in talk.frames(SETTINGS)] == [0, ACK, ACK]
    assert not talk.goaways


async def test_a_head_in_many_frames() -> None:
    """CONTINUATION goes on where HEADERS stopped, padding and old priorities aside."""
    talk = Talk()
    block = talk.block("/long", fields=[("x", "y" * 100)])
    first = b"\x03" + number(0) + b"\x10" + block[:20] + bytes(3)
    talk.receive(
        frame(HEADERS, END_STREAM | PADDED | 32, 1, first),
        frame(CONTINUATION, 0, 1, block[20:40]),
        frame(CONTINUATION, END_HEADERS, 1, block[40:]),
    )
    assert talk.answer(1).status == 200
    assert talk.app.requests[0].head.path == "/long"


async def test_trailers_of_a_request_are_dropped() -> None:
    """They are checked, and end the body."""
    talk = Talk()
    stream = talk.post(fields=[("content-length", "4")])
    talk.data(stream, b"body")
    talk.receive(frame(HEADERS, 5, stream, talk.encoder.encode([("x-checksum", "1")])))
    (request,) = talk.app.requests
    assert (request.body, request.ended) == (b"body", ["finish"])
    assert b"x-checksum" not in request.connection.fields


async def test_a_goaway_of_the_peer() -> None:
    """What is in flight is answered, and the connection closed then."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    stream = talk.ask()
    talk.receive(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
    await talk.turn()
    assert not talk.ending
    talk.app.requests[0].answer(b"ok")
    assert talk.answer(stream).body == b"ok"
    await talk.turn()
    assert talk.ending


async def test_tls_that_is_not_good_enough() -> None:
    """RFC 9113 section 9.2 forbids it."""

    class TLS:
        version, cipher, host = "TLSv1.2", "AES128-SHA", "a"

    talk = Talk(tls=TLS(), greet=False)
    assert talk.goaways == [(0, 12)]
    assert talk.ending


PRELUDES = {
    "v1": b"PROXY TCP4 203.0.113.9 198.51.100.2 4711 443\r\n",
    "v2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
}


@pytest.mark.parametrize("version", PRELUDES)
async def test_a_proxy_header_where_none_is_taken(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told as that, however it is cut, and not as a wrong preface."""
    data = PRELUDES[version]
    for cut in range(1, len(data)):
        caplog.clear()
        talk = Talk(greet=False)
        talk.receive(data[:cut], data[cut:])
        (line,) = caplog.messages
        assert f"this is a PROXY {version} header; this listener takes none" in line, cut
        assert [each.kind for each in talk.sent][-1] == GOAWAY
