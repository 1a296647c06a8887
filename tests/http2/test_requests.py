"""Requests over HTTP/2, and what an application makes of them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from edgeserver.errors import HTTPOutputError
from tests.http2.conversation import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    SETTINGS,
    WINDOW_UPDATE,
    App,
    Recorder,
    Talk,
    frame,
    number,
)


async def test_a_request_is_answered() -> None:
    """Head, body and end of an answer that is in hand leave in one write."""
    talk = Talk()
    await talk.turn(1)
    before = talk.transport.writes
    stream = talk.ask("/path?query")
    await talk.turn(1)
    assert talk.transport.writes == before + 1
    assert talk.answer(stream) == (
        200,
        {"content-length": "2", "date": "x"},
        b"ok",
        True,
        None,
    )
    (request,) = talk.app.requests
    assert tuple(request.head) == ("GET", "/path?query", "HTTP/2")
    assert request.connection.raw == [(b"host", b"a.example")]
    assert request.ended == ["finish"]


async def test_what_the_server_says_first() -> None:
    """Its limits, and how much it takes on all streams together."""
    talk = Talk(greet=False, max_streams=7)
    first, second = talk.sent
    assert (first.kind, second.kind) == (SETTINGS, WINDOW_UPDATE)
    entries = [first.payload[start : start + 6] for start in range(0, len(first.payload), 6)]
    said = {int.from_bytes(each[:2], "big"): int.from_bytes(each[2:], "big") for each in entries}
    assert said == {3: 7, 4: 256 * 1024, 6: 64 * 1024, 9: 1}
    assert second.payload == number(1024 * 1024 - 65535)


async def test_streams_overlap_and_end_in_any_order() -> None:
    """An answer waits for no other; each has what was asked for."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    first, second = talk.ask("/1"), talk.ask("/2")
    assert talk.service.connections.in_flight == 2
    talk.app.requests[1].answer(b"two")
    talk.app.requests[0].answer(b"one")
    assert talk.answer(first).body == b"one"
    assert talk.answer(second).body == b"two"
    assert [each.stream for each in talk.sent if each.kind == HEADERS] == [second, first]
    assert talk.service.connections.in_flight == 0


@pytest.mark.parametrize("size", [1, 3, 16, 50])
async def test_input_cut_anywhere(size: int) -> None:
    """Whole conversations in segments of any size say the same."""
    whole = Talk(greet=False)
    pieces = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        frame(SETTINGS, 0, 0),
        whole.request("/1", ends=False, method="POST", fields=[("content-length", "6")]),
        frame(DATA, 0, 1, b"abc"),
        whole.request("/2"),
        frame(DATA, END_STREAM, 1, b"def"),
    ]
    data = b"".join(pieces)
    whole.receive(*[data[start : start + size] for start in range(0, len(data), size)])
    assert [request.body for request in whole.app.requests] == [b"abcdef", b""]
    assert [answer.status for answer in whole.answers.values() if answer.status] == [200, 200]


async def test_a_body_comes_piece_by_piece() -> None:
    """The application hears of each piece, and of the end; padding is not its business."""
    talk = Talk()
    stream = talk.post(fields=[("content-length", "6")])
    talk.data(stream, b"abc")
    talk.receive(frame(DATA, 8, stream, b"\x04de" + bytes(4)))
    talk.data(stream, b"f", ends=True)
    (request,) = talk.app.requests
    assert request.pieces == [b"abc", b"de", b"f"]
    assert request.ended == ["finish"]
    assert talk.answer(stream).status == 200


@pytest.mark.parametrize(
    ("fields", "raw"),
    [
        pytest.param([("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")],
                     [(b"cookie", b"a=1; b=2"), (b"x", b"y")], id="cookies are joined"),
        pytest.param([("host", "a.example"), ("x", "y")], [(b"x", b"y")], id="the same host"),
        pytest.param([("x", "1"), ("x", "2")], [(b"x", b"1"), (b"x", b"2")], id="a name repeats"),
        pytest.param([("te", "trailers")], [(b"te", b"trailers")], id="te"),
        pytest.param([("x", "")], [(b"x", b"")], id="an empty value"),
    ],
)  # fmt: skip
async def test_fields(fields: list[tuple[str, str]], raw: list[tuple[bytes, bytes]]) -> None:
    """What an application sees of them: `host` first, the others in order."""
    talk = Talk()
    talk.ask(fields=fields)
    assert talk.app.requests[0].connection.raw == [(b"host", b"a.example"), *raw]


async def test_a_host_without_an_authority() -> None:
    """It is moved to the front."""
    talk = Talk()
    talk.raw_request(
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("x", "y"), ("host", "b")]
    )
    assert talk.app.requests[0].connection.raw == [(b"host", b"b"), (b"x", b"y")]


@pytest.mark.parametrize(
    ("method", "pseudo", "target"),
    [
        pytest.param("OPTIONS", {"path": "*"}, "*", id="OPTIONS of *"),
        pytest.param("BREW", {"path": "/pot"}, "/pot", id="any method"),
    ],
)
async def test_targets(method: str, pseudo: dict[str, str], target: str) -> None:
    """A target is what it would be in HTTP/1."""
    talk = Talk()
    talk.ask(pseudo.pop("path"), method=method)
    assert talk.app.requests[0].head[:2] == (method, target)


async def test_connect() -> None:
    """Its target is the authority; it is no tunnel, the application answers."""
    talk = Talk()
    talk.raw_request([(":method", "CONNECT"), (":authority", "b.example:443")])
    assert talk.app.requests[0].head[:2] == ("CONNECT", "b.example:443")
    assert talk.app.requests[0].connection.raw == [(b"host", b"b.example:443")]


@pytest.mark.parametrize("protocol", ["websocket", "connect-udp"])
async def test_extended_connect(protocol: str) -> None:
    """What nobody speaks is told 501, and the log says what it was."""
    talk = Talk()
    stream = talk.ask(method="CONNECT", ends=False, protocol=protocol)
    assert (talk.answer(stream).status, talk.answer(stream).reset) == (501, 0)
    assert not talk.app.requests


LINE = ("", 200, "OK")


def answering(write: Any, method: str = "GET", **more: Any) -> tuple[Talk, int]:
    """Return a conversation in which a request was answered by `write`, and its stream."""
    talk = Talk(**more)
    talk.app.on_finish = write
    return talk, talk.ask(method=method)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"connection", b"close"), (b"keep-alive", b"5"), (b"transfer-encoding", b"chunked")],
        [(b"upgrade", b"h2c"), (b"proxy-connection", b"keep-alive")],
    ],
)
async def test_fields_of_a_connection_are_dropped(fields: list[tuple[bytes, bytes]]) -> None:
    """What is about HTTP/1's connections is not sent."""

    def write(request: Recorder) -> None:
        request.connection.write_headers(LINE, [*fields, (b"X-Y", b"z")], b"body", whole=True)
        request.connection.finish()

    talk, stream = answering(write)
    answer = talk.answer(stream)
    assert {*answer.fields} == {"x-y", "content-length", "date"}
    assert answer.body == b"body"


async def test_date_and_strict_transport_security() -> None:
    """Every answer has a date; over TLS it may say that clients stay there."""

    class TLS:
        version, cipher, host = "TLSv1.3", "TLS_AES_128_GCM_SHA256", "a.example"

    def write(request: Recorder) -> None:
        request.connection.write_headers(LINE, [], b"", whole=True)
        request.connection.finish()

    talk, stream = answering(write, tls=TLS(), shared={"strict_transport": "max-age=5"})
    fields = talk.answer(stream).fields
    assert fields["date"].endswith(" GMT")
    assert fields["strict-transport-security"] == "max-age=5"
    assert talk.frames(DATA) == []


@pytest.mark.parametrize(("method", "code"), [("HEAD", 200), ("GET", 304), ("GET", 204)])
async def test_answers_without_a_body(method: str, code: int) -> None:
    """They end with their head, whatever length it declares."""

    def write(request: Recorder) -> None:
        request.connection.write_headers(("", code, ""), [(b"content-length", b"5")])
        request.connection.finish()

    talk, stream = answering(write, method)
    (head,) = talk.frames(HEADERS, stream)
    assert head.flags == END_HEADERS | END_STREAM
    assert talk.answer(stream).status == code
    assert ("content-length" in talk.answer(stream).fields) == (code != 204)


async def test_trailers() -> None:
    """They are a last HEADERS, which ends the stream."""

    def write(request: Recorder) -> None:
        request.connection.write_headers(LINE, [(b"content-type", b"application/grpc")])
        request.connection.write(b"message")
        request.connection.set_trailers([(b"grpc-status", b"0")])
        request.connection.finish()

    talk, stream = answering(write)
    assert [each.kind for each in talk.sent if each.stream == stream] == [HEADERS, DATA, HEADERS]
    answer = talk.answer(stream)
    assert (answer.body, answer.fields["grpc-status"], answer.ended) == (b"message", "0", True)


async def test_informational_answers() -> None:
    """103 is a HEADERS before the answer; 101 has no meaning here."""

    def write(request: Recorder) -> None:
        request.connection.write_headers(("", 103, ""), [(b"link", b"</a.css>")])
        with pytest.raises(ValueError, match="101"):
            request.connection.write_headers(("", 101, ""), [])
        request.answer(b"ok")

    talk, stream = answering(write)
    assert len(talk.frames(HEADERS, stream)) == 2
    assert talk.answer(stream).status == 200


@pytest.mark.parametrize("early", [True, False])
async def test_100_continue(early: bool) -> None:
    """It is sent when the application takes the body, unless it answers before."""
    app = App()
    if early:
        app.on_head = lambda request: request.answer(b"no", 403)
    talk = Talk(app=app)
    stream = talk.post(fields=[("expect", "100-continue")])
    if early:
        assert talk.answer(stream)[0] == 403
        assert talk.answer(stream).reset == 0  # NO_ERROR: the body is not wanted
        return
    assert len(talk.frames(HEADERS, stream)) == 1
    talk.data(stream, b"body", ends=True)
    assert talk.answer(stream).status == 200
    assert len(talk.frames(HEADERS, stream)) == 2


@pytest.mark.parametrize(
    ("write", "code"),
    [
        pytest.param(lambda c: c.write(b"x"), 2, id="no head"),
        pytest.param(lambda c: c.finish(), 2, id="no answer"),
        pytest.param(
            lambda c: (c.write_headers(LINE, [(b"content-length", b"3")]), c.write(b"four")),
            2,
            id="too much",
        ),
        pytest.param(
            lambda c: (c.write_headers(LINE, [(b"content-length", b"3")], b"a"), c.finish()),
            2,
            id="too little",
        ),
        pytest.param(lambda c: c.abort(), 2, id="abort"),
    ],
)
async def test_a_broken_answer_resets_its_stream_alone(write: Any, code: int) -> None:
    """Another on the same connection goes on."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    broken, whole = talk.ask(), talk.ask()
    with contextlib.suppress(HTTPOutputError):
        write(talk.app.requests[0].connection)
    talk.app.requests[1].answer(b"ok")
    assert talk.answer(broken).reset == code
    assert talk.answer(whole).body == b"ok"
    assert not talk.ending


@pytest.mark.parametrize("place", ["on_head", "on_data", "on_finish"])
async def test_an_exception_of_one_stream_touches_no_other(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream is reset, and the log has the traceback."""
    talk = Talk()

    def fail(request: Recorder) -> None:
        if request.head.path == "/fail":
            raise ValueError("the application's")
        if place == "on_finish":
            request.answer(b"ok")

    setattr(talk.app, place, fail)
    failing = talk.post("/fail")
    talk.data(failing, b"x", ends=True)
    good = talk.ask("/good")
    assert talk.answer(failing).reset == 2
    assert talk.answer(good).body == b"ok"
    assert "the application's" in caplog.text


async def test_detach_says_why_not() -> None:
    """A stream's connection carries others."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.ask()
    connection = talk.app.requests[0].connection
    with pytest.raises(Exception, match="cannot be detached"):
        connection.detach()
    with pytest.raises(Exception, match="cannot be detached"):
        connection.detach_to(object())


async def test_a_stream_is_seen_from_below_but_not_written_to() -> None:
    """Tornado applications find the socket and the end there; bytes would break other requests."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    number = talk.ask()
    stream = talk.app.requests[0].connection.stream
    assert not stream.closed()
    with pytest.raises(HTTPOutputError, match="nothing can be written beside HTTP"):
        stream.write(b"x")
    stream.close()
    assert stream.closed()
    assert talk.answer(number).reset is not None
