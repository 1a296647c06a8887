"""Heads and bodies made to cost as much as they can: none costs more than its length.

No time is asserted: each input is so long that a parser which looks at it again and again, for each
of its bytes, would take minutes.
"""

from __future__ import annotations

import pytest

from edgeserver.errors import HTTPInputError
from edgeserver.http1.framing import parse_body_length
from edgeserver.http1.head import parse_head
from edgeserver.httputil import HTTPHeaders, ResponseStartLine
from edgeserver.tls.handshake.plain_http import render_plain_http_answer
from tests.http1.conversation import App, Recorder, Talk
from tests.http1.corpus import chunked

LONG = 2**19
SPACES = b" " * LONG


@pytest.mark.parametrize(
    "field",
    [
        (b"content-length", b"1" + SPACES + b"1"),
        (b"content-length", b"1," + SPACES + b"1" + SPACES + b"1"),
        (b"content-length", b"1" * LONG),
        (b"content-length", b"1," * LONG),
        (b"transfer-encoding", b"a" + SPACES + b"b"),
        (b"transfer-encoding", b"a" + b"\t " * LONG + b"b"),
        (b"transfer-encoding", b"chunked," * LONG + b"chunked"),
    ],
    ids=["spaces", "spaces-twice", "digits", "list", "coding", "coding-tabs", "codings"],
)
def test_framing_in_linear_time(field: tuple[bytes, bytes]) -> None:
    """A long value of a field that frames the body is refused after one look."""
    with pytest.raises(HTTPInputError):
        parse_body_length([field])


@pytest.mark.parametrize(
    "line",
    [
        b"Host: " + b"a" * LONG + b"<",
        b"Host: " + b"%41" * LONG + b"%",
        b"Host: [" + b":" * LONG,
        b"X: " + b"\r" * LONG,
        b"X" + SPACES + b": y",
        b"X" * LONG,
    ],
    ids=["host", "host-percent", "host-bracket", "returns", "name-spaces", "no-colon"],
)
def test_lines_in_linear_time(line: bytes) -> None:
    """A long line that breaks a rule is refused after one look."""
    with pytest.raises(HTTPInputError):
        parse_head(b"GET / HTTP/1.1\r\n" + line, 10)


@pytest.mark.parametrize(
    "value",
    [b"x" + SPACES + b"x", SPACES + b"\x00", b" \t" * LONG + b"\r", b"a" * LONG],
    ids=["spaces-inside", "spaces-before", "return", "letters"],
)
def test_plain_http_on_tls_in_linear_time(value: bytes) -> None:
    """Plain HTTP on a TLS port is answered after one look at its Host."""
    answer = render_plain_http_answer(b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")
    assert b"an https:// URL" in answer


async def test_a_flood_of_tiny_chunks_yields() -> None:
    """Chunks of one byte do not keep the event loop, however many come at once."""
    talk = Talk()
    talk.receive(chunked(b"1\r\na\r\n" * 10000 + b"0\r\n\r\n"))
    (request,) = talk.app.requests
    assert 0 < len(request.body) < 5000
    await talk.turn()
    assert request.body == b"a" * 10000
    assert talk.statuses == [200]


async def test_an_upgrade_leaves_its_line_in_the_access_log() -> None:
    """A peer cannot pass the log by asking for another protocol: the 101 is logged, once."""
    app = App()
    ended: list[tuple[int, int]] = []

    def upgrade(request: Recorder) -> None:
        request.connection.write_headers(
            ResponseStartLine("HTTP/1.1", 101, "Switching Protocols"), HTTPHeaders()
        )
        request.connection.detach()

    app.on_finish = upgrade
    talk = Talk(
        app=app, shared={"access_log": lambda each: ended.append((each.status, each.bytes_sent))}
    )
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    talk.receive_eof()
    await talk.turn()
    assert ended == [(101, len(talk.sent))]
