"""What a connection on a plain port begins with is told in the same words however it is cut."""

from __future__ import annotations

import logging

import pytest

from edgeserver.proxyheaders.proxyprotocol.parse import Prelude, render_v1, render_v2
from tests.http1.conversation import Talk

NAMED = Prelude(1, "PROXY", "203.0.113.9", 4711, "198.51.100.2", 443)
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PRELUDES = {
    "v1": render_v1(NAMED) + REQUEST,
    "v1-unknown": b"PROXY UNKNOWN\r\n" + REQUEST,
    "v1-before-tls": render_v1(NAMED) + b"\x16\x03\x01\x02\x00\x01",
    "v1-after-an-empty-line": b"\r\n" + render_v1(NAMED),
    "v2": render_v2(NAMED) + REQUEST,
    "v2-local": render_v2(Prelude(2, "LOCAL")),
    "v2-with-an-empty-line-in-it": render_v2(NAMED)[:16] + b"\r\n\r\n" + render_v2(NAMED)[20:],
}
OTHERS = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "empty-lines": b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "nearly-v2": b"\r\n\r\n\0\r\nQUIX\n",
    "nearly-v2-at-once": b"\r\n\rX",
    "bare-cr": b"\rX",
    "proxy-as-a-method": b"PROXY /a b HTTP/1.1\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
}


def told(caplog: pytest.LogCaptureFixture, *segments: bytes) -> tuple[list[str], bytes]:
    """Return the lines about a connection that sends these segments, and what it is answered."""
    caplog.clear()
    caplog.set_level(logging.INFO)
    talk = Talk()
    talk.receive(*segments)
    return list(caplog.messages), talk.sent.partition(b"\r\nContent-Type")[2]


def cuts(data: bytes) -> list[tuple[bytes, ...]]:
    """Return `data` cut at each place, at all places, and in threes."""
    halves = [(data[:at], data[at:]) for at in range(1, len(data))]
    return [
        *halves,
        tuple(data[at : at + 1] for at in range(len(data))),
        tuple(data[at : at + 3] for at in range(0, len(data), 3)),
    ]


@pytest.mark.parametrize("name", [*PRELUDES, *OTHERS])
async def test_any_cut(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line, and always the same one, with the same answer."""
    data = {**PRELUDES, **OTHERS}[name]
    lines, answer = told(caplog, data)
    assert len(lines) == 1
    assert ("this is a PROXY v" in lines[0]) is (name in PRELUDES)
    for segments in cuts(data):
        assert told(caplog, *segments) == (lines, answer), segments


async def test_only_where_a_connection_begins(caplog: pytest.LogCaptureFixture) -> None:
    """After a request there is no PROXY header, whether or not the request came with it."""
    data = REQUEST + render_v1(NAMED)
    lines, _ = told(caplog, data)
    assert lines[0].startswith("Malformed HTTP message from ")
    for segments in cuts(data):
        assert told(caplog, *segments)[0] == lines, segments


async def test_a_body_that_begins_like_one(caplog: pytest.LogCaptureFixture) -> None:
    """What breaks a rule in a body is told as that."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines, _ = told(caplog, head, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
    assert lines[0].startswith("Malformed HTTP message from ")


async def test_an_empty_line_alone_is_no_request() -> None:
    """A connection on which only an empty line came is idle: a stop closes it at once."""
    talk = Talk()
    talk.receive(b"\r\n")
    talk.connection.close_if_idle()
    assert talk.ending
