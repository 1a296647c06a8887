"""WebSockets over HTTP/2 (RFC 8441): what is asked for, what comes of it, and what it costs others.

What is spoken inside is tested where it is over HTTP/1.1, through `tests/http2/bridge.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeserver.errors import HTTPOutputError, StreamClosedError
from edgeserver.http2.limits import STREAM_CREDIT
from tests.http2.conversation import (
    DATA,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    App,
    Recorder,
    Talk,
    frame,
    number,
    settings,
)

SWITCHING = ("", 101, "Switching Protocols")
FIELDS = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", b"x")]
ENABLED = b"\0\x08\0\0\0\1"
CANCEL = 8


class Taker(asyncio.Protocol):
    """What takes a WebSocket over: it notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        """Note the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Note what has come."""
        self.data += data
        if data == b"boom":
            raise RuntimeError("boom")

    def eof_received(self) -> bool:
        """Note the end, and stay."""
        self.heard.append("eof")
        return True

    def pause_writing(self) -> None:
        """Note it."""
        self.heard.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.heard.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note how it ended."""
        self.heard.append("lost" if exc is None else "reset")

    def closed(self) -> bool:
        """Tell whether it has ended."""
        return bool(self.heard) and self.heard[-1] in ("lost", "reset")


class WebApp(App):
    """Accepts each WebSocket."""

    serves_websockets = True

    def __init__(self) -> None:
        super().__init__()
        self.takers: list[Taker] = []
        self.on_finish = self.accept

    def accept(self, request: Recorder) -> None:
        """Answer 101, and hand the stream over."""
        if not request.connection.upgrades:
            request.answer(b"ok")
            return
        taker = Taker()
        self.takers.append(taker)
        request.connection.write_headers(SWITCHING, [*FIELDS, (b"x-chosen", b"1")])
        request.connection.detach_to(taker)


def opened(**more: Any) -> tuple[Talk, Any, int, Any]:
    """Return a conversation with an open WebSocket, its application, stream and transport."""
    app = WebApp()
    talk = Talk(app=app, **more)
    stream = talk.ask("/ws", method="CONNECT", ends=False, protocol="websocket")
    return talk, app.takers[0], stream, app.takers[0].transport


@pytest.mark.parametrize(
    "how",
    [frame(DATA, END_STREAM, 1), frame(RST_STREAM, 0, 1, number(CANCEL))],
    ids=["end", "reset"],
)
async def test_its_request_has_ended_once_it_is_open(how: bytes) -> None:
    """What counts requests from now on does not count that, nor fail where the WebSocket ends."""
    talk, taker, stream, transport = opened()
    assert stream == 1
    tally = talk.service.keep_tally()
    talk.receive(how)
    transport.close()
    await talk.turn(1)
    assert taker.closed()
    talk.ask()
    await talk.turn(1)
    assert {code: count for code, count in tally.statuses().items() if count} == {200: 1}


async def test_it_is_announced_where_it_is_served() -> None:
    """SETTINGS say so for a delegate that says so, and for no other."""
    assert ENABLED in Talk(app=WebApp()).frames(SETTINGS)[0].payload
    assert ENABLED not in Talk().frames(SETTINGS)[0].payload


async def test_the_application_sees_the_handshake_of_http1() -> None:
    """GET with its fields and a key of our own; the client's key means nothing."""
    talk = Talk(app=WebApp())
    key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    more: dict[str, Any] = {"method": "CONNECT", "protocol": "websocket", "ends": False}
    talk.ask("/a?b", fields=[key, ("sec-websocket-version", "13"), ("x", "1"), ("x", "2")], **more)
    talk.ask("/a?b", **more)
    first, second = talk.app.requests
    assert first.head == ("GET", "/a?b", "HTTP/2")
    assert first.ended == ["finish"]
    raw = first.connection.raw
    assert raw[0] == (b"host", b"a.example")
    assert [value for name, value in raw if name == b"x"] == [b"1", b"2"]
    [known] = [value for name, value in raw if name == b"sec-websocket-key"]
    assert len(known) == 24
    assert known not in (key[1].encode(), second.connection.fields[b"sec-websocket-key"])
    assert second.connection.fields[b"connection"] == b"Upgrade"


async def test_a_101_is_a_200_without_an_end() -> None:
    """The handshake's own fields are not in it; the application's are."""
    talk, _, stream, transport = opened()
    [head] = talk.frames(HEADERS, stream)
    assert not head.flags & END_STREAM
    answer = talk.answer(stream)
    assert answer.status == 200
    assert answer.fields["x-chosen"] == "1"
    assert not {"upgrade", "connection", "sec-websocket-accept"} & set(answer.fields)
    assert transport.get_extra_info("peername") == ("192.0.2.7", 4711)


@pytest.mark.parametrize("code", [200, 204])
async def test_an_answer_that_is_no_101_is_no_success(code: int) -> None:
    """A client would take any 2xx for an open WebSocket: it is told 501."""
    talk = Talk(app=WebApp())
    talk.app.on_finish = lambda request: request.answer(b"", code)
    stream = talk.ask("/", method="CONNECT", ends=False, protocol="websocket")
    assert (talk.answer(stream).status, talk.answer(stream).reset) == (501, 0)


@pytest.mark.parametrize(
    ("protocol", "fields", "status"),
    [
        pytest.param("connect-udp", [], 501, id="another-protocol"),
        pytest.param("websocket", [("content-length", "3")], 400, id="a-body"),
    ],
)
async def test_what_is_refused(protocol: str, fields: list[tuple[str, str]], status: int) -> None:
    """The application does not hear of it, and the connection goes on."""
    talk = Talk(app=WebApp())
    stream = talk.ask("/", method="CONNECT", ends=False, protocol=protocol, fields=fields)
    assert talk.answer(stream).status == status
    assert not talk.app.requests
    assert talk.answer(talk.ask()).body == b"ok"


async def test_bytes_both_ways() -> None:
    """DATA is what the transport reads and writes; early bytes are not lost."""
    app = WebApp()
    app.on_finish = None
    talk = Talk(app=app)
    request = talk.request("/ws", method="CONNECT", ends=False, protocol="websocket")
    app.on_finish = lambda each: None
    talk.receive(request, frame(DATA, 0, 1, b"early "))
    app.accept(app.requests[0])
    talk.data(1, b"late")
    [taker] = app.takers
    assert taker.data == b"early late"
    taker.transport.write(b"an")
    taker.transport.write(bytearray(b"swer"))
    assert talk.answer(1).body == b"answer"


async def test_who_does_not_read_withholds_the_credit_of_the_stream() -> None:
    """As much as was allowed waits, counted as held; no other stream is held back."""
    talk, taker, stream, transport = opened()
    transport.pause_reading()
    for _ in range(STREAM_CREDIT // 16384):
        talk.data(stream, b"x" * 16384)
    assert taker.data == b""
    assert talk.service.budget.held == STREAM_CREDIT
    assert not talk.frames(WINDOW_UPDATE, stream)
    assert talk.answer(talk.ask()).body == b"ok"
    transport.resume_reading()
    await talk.turn()
    assert len(taker.data) == STREAM_CREDIT
    assert talk.service.budget.held == 0
    assert talk.frames(WINDOW_UPDATE, stream)
    talk.data(stream, b"more")
    assert taker.data.endswith(b"more")


async def test_who_is_not_read_pauses() -> None:
    """Beyond the window of the peer the application is told to wait, until there is more."""
    talk, taker, stream, transport = opened()
    transport.write(b"x" * 65535)
    assert talk.sent
    assert taker.heard == []
    transport.write(b"y" * 100_000)
    assert taker.heard == ["pause"]
    assert transport.get_write_buffer_size() == 100_000
    talk.receive(
        frame(WINDOW_UPDATE, 0, 0, number(100_000)),
        frame(WINDOW_UPDATE, 0, stream, number(100_000)),
    )
    assert len(talk.answer(stream).body) == 165_535
    await talk.turn()
    assert taker.heard == ["pause", "resume"]


ENDS = {
    "each side": (["write_eof", "theirs"], ["eof", "lost"], None),
    "theirs first": (["theirs", "close"], ["eof", "lost"], None),
    "closed while they are open": (["close"], ["lost"], 0),
    "aborted": (["abort"], ["reset"], CANCEL),
    "aborted in a half": (["write_eof", "abort"], ["reset"], CANCEL),
    "reset by them": (["reset"], ["reset"], None),
}


@pytest.mark.parametrize(("steps", "heard", "code"), ENDS.values(), ids=ENDS)
async def test_ends(steps: list[str], heard: list[str], code: int | None) -> None:
    """END_STREAM ends one direction, RST_STREAM both; the connection goes on."""
    talk, taker, stream, transport = opened()
    transport.write(b"last")
    for step in steps:
        assert talk.sent
        if step == "theirs":
            talk.data(stream, b"", ends=True)
        elif step == "reset":
            talk.receive(frame(RST_STREAM, 0, stream, number(CANCEL)))
        else:
            getattr(transport, step)()
    answer = talk.answer(stream)
    await talk.turn()
    assert taker.heard == heard
    assert answer.body == b"last"
    assert answer.ended == ("abort" not in steps[:1] and "reset" not in steps)
    assert answer.reset == code
    transport.write(b"nobody")
    transport.abort()
    assert talk.answer(stream).body == b"last"
    assert talk.answer(talk.ask()).body == b"ok"
    assert talk.service.budget.held == 0


async def test_a_stream_that_ends_before_it_is_accepted() -> None:
    """What has come is read all the same, then the end."""
    app = WebApp()
    app.on_finish = lambda each: None
    talk = Talk(app=app)
    stream = talk.ask("/ws", method="CONNECT", ends=False, protocol="websocket")
    talk.data(stream, b"all", ends=True)
    app.accept(app.requests[0])
    [taker] = app.takers
    assert (taker.data, taker.heard) == (b"all", ["eof"])
    taker.transport.close()
    await talk.turn()
    assert (talk.answer(stream).ended, taker.heard) == (True, ["eof", "lost"])


async def test_a_protocol_that_fails_ends_its_stream_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its error is logged, its stream ends, and the connection goes on."""
    talk, taker, stream, _ = opened()
    talk.data(stream, b"boom")
    await talk.turn()
    assert (talk.answer(stream).reset, taker.heard) == (CANCEL, ["reset"])
    assert "boom" in caplog.text
    assert talk.answer(talk.ask()).body == b"ok"


async def test_only_a_websocket_that_was_accepted_is_detached() -> None:
    """Others raise, and are answered as before; once it is over, it is closed."""
    app = WebApp()
    app.on_finish = lambda each: None
    talk = Talk(app=app)
    talk.ask()
    stream = talk.ask("/ws", method="CONNECT", ends=False, protocol="websocket")
    plain, asked = [each.connection for each in app.requests]
    with pytest.raises(HTTPOutputError, match="its connection carries others"):
        plain.detach()
    with pytest.raises(HTTPOutputError, match="once its 101 was written"):
        asked.detach()
    asked.write_headers(SWITCHING, FIELDS)
    asked.finish()
    assert not talk.answer(stream).ended
    talk.receive(frame(RST_STREAM, 0, stream, number(CANCEL)))
    with pytest.raises(StreamClosedError):
        asked.detach()


async def test_a_peer_that_takes_nothing() -> None:
    """Its stream is cancelled after the write timeout; the others go on."""
    talk, taker, stream, transport = opened(write_timeout=10)
    talk.receive(frame(WINDOW_UPDATE, 0, 0, number(1_000_000)))
    transport.write(b"x" * 200_000)
    assert talk.sent
    other = talk.ask()
    for _ in range(3):
        await talk.later(6)
        talk.connection.check_deadlines(asyncio.get_running_loop().time())
    await talk.turn()
    assert talk.answer(stream).reset == CANCEL
    assert taker.heard == ["pause", "reset"]
    assert talk.answer(other).body == b"ok"


async def test_many_messages_and_their_credit_are_no_flood() -> None:
    """A client that gives back each byte at once does so as often as it was sent something."""
    talk, _, stream, transport = opened()
    for _ in range(3000):
        transport.write(b"tick")
        talk.receive(
            frame(WINDOW_UPDATE, 0, 0, number(4)), frame(WINDOW_UPDATE, 0, stream, number(4))
        )
    assert not talk.goaways
    for _ in range(1200):
        talk.receive(frame(WINDOW_UPDATE, 0, stream, number(4)))
    assert talk.goaways == [(1, 11)]


async def test_several_on_one_connection() -> None:
    """Each has its own bytes and its own end, beside requests; they count as streams."""
    app = WebApp()
    talk = Talk(app=app, max_streams=3)
    streams = [
        talk.ask("/ws", method="CONNECT", ends=False, protocol="websocket") for _ in range(3)
    ]
    assert talk.answer(talk.ask()).reset == 7
    for stream in streams:
        talk.data(stream, b"%d" % stream)
    assert [taker.data for taker in app.takers] == [b"1", b"3", b"5"]
    app.takers[1].transport.abort()
    app.takers[0].transport.write(b"still")
    assert talk.answer(streams[0]).body == b"still"
    app.requests.clear()
    await talk.turn()
    assert talk.answer(talk.ask()).body == b"ok"


async def test_they_are_no_requests_in_flight() -> None:
    """A drain says the last stream and waits for them; the server's end leaves them be."""
    talk, taker, stream, transport = opened()
    waiting = talk.post()
    talk.connection.close()
    assert talk.answer(waiting).reset == CANCEL
    assert talk.goaways == [(waiting, 0)]
    assert not talk.service.connections.open
    assert talk.service.connections.detached_count() == 1
    talk.data(stream, b"still there")
    transport.write(b"yes")
    assert (taker.data, talk.answer(stream).body) == (b"still there", b"yes")
    transport.close()
    await talk.turn()
    assert talk.ending
    assert talk.app.closed == 1


async def test_the_connection_is_lost() -> None:
    """All of them hear it."""
    talk, taker, _, transport = opened()
    assert talk.connection.exchanges == []
    talk.transport.close()
    talk.connection.connection_lost(None)
    await talk.turn()
    assert taker.heard == ["reset"]
    transport.write(b"nobody")
    assert transport.get_extra_info("peername") is None
    assert transport.is_closing()


async def test_a_smaller_window_holds_for_them_too() -> None:
    """SETTINGS change the window of an open WebSocket as of any stream."""
    talk, _, stream, transport = opened()
    talk.receive(settings(_4=0))
    transport.write(b"x" * 10)
    assert talk.answer(stream).body == b""
    talk.receive(settings(_4=65535))
    assert talk.answer(stream).body == b"x" * 10


def handshakes(talk: Talk) -> bytes:
    """Return the request for another WebSocket."""
    return talk.request("/ws", method="CONNECT", ends=False, protocol="websocket")


async def test_websockets_that_are_reset_at_once() -> None:
    """They count as resets, and as streams for as long as an application has them."""
    talk = Talk(app=WebApp(), max_resets=20, max_streams=5)
    for _ in range(30):
        request = handshakes(talk)
        talk.receive(request, frame(RST_STREAM, 0, talk.next_id - 2, number(CANCEL)))
    await talk.turn()
    assert [code for _, code in talk.goaways] == [11]
    assert len(talk.app.requests) <= 5
    assert talk.ending


async def test_the_good_manners_of_a_client_are_no_resets() -> None:
    """One that resets its half once the server has ended the other does nothing wrong."""
    talk = Talk(app=WebApp(), max_resets=3, max_streams=100)
    for _ in range(10):
        talk.receive(handshakes(talk))
        stream = talk.next_id - 2
        talk.app.takers[-1].transport.write_eof()
        assert talk.answer(stream).ended
        talk.receive(frame(RST_STREAM, 0, stream, number(CANCEL)))
    assert not talk.goaways


async def test_more_than_its_credit() -> None:
    """A peer that sends on while nobody reads loses its stream, and what it has sent is let go."""
    talk, taker, stream, transport = opened()
    transport.pause_reading()
    for _ in range(STREAM_CREDIT // 16384 + 1):
        talk.data(stream, b"x" * 16384)
    await talk.turn()
    assert (talk.answer(stream).reset, taker.heard) == (3, ["reset"])
    assert talk.service.budget.held == 0
    assert talk.answer(talk.ask()).body == b"ok"


async def test_a_peer_that_never_accepts_the_end() -> None:
    """Closed while the windows are shut, a stream is cut after the write timeout."""
    talk, taker, stream, transport = opened(write_timeout=10)
    talk.receive(settings(_4=0))
    transport.write(b"last words")
    transport.close()
    talk.data(stream, b"thrown away")
    for _ in range(3):
        await talk.later(6)
        talk.connection.check_deadlines(asyncio.get_running_loop().time())
    await talk.turn()
    assert (talk.answer(stream).reset, taker.data, taker.heard) == (CANCEL, b"", ["reset"])
