"""Tornado itself as the oracle of its contract: the same heads to Tornado, and to ours.

A real Tornado `HTTPServer` answers each head over a real socket with the address and the scheme
that it takes; `TrustPolicy.tornado(...)` must say the same, but where the specification lists a
difference, and there exactly what it says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders as TornadoHeaders
from tornado.httputil import HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from edgeserver.proxyheaders import TrustPolicy

PEER = "127.0.0.1"
NGINX_LIKE = ("5.5.5.5", "7.7.7.7")


class Answer(NamedTuple):
    """What a server takes a request for."""

    remote_ip: str
    protocol: str


@dataclass(frozen=True)
class Case:
    """One head.

    Args:
        lines: Its forwarding fields, each character one byte.
        ours: What we answer, where the specification says that it is not Tornado's answer.
        why: The rule of the specification by which it differs.
    """

    lines: tuple[str, ...]
    ours: Answer | None = None
    why: str = ""


def same(*lines: str) -> Case:
    """Return a head that both must take for the same."""
    return Case(lines)


def differs(why: str, answer: Answer, *lines: str) -> Case:
    """Return a head on which the specification goes beyond Tornado."""
    return Case(lines, answer, why)


def http(remote_ip: str) -> Answer:
    """Return an answer over plain HTTP."""
    return Answer(remote_ip, "http")


GRAMMAR = "the address grammar is ours"
TEXT = "the text is RFC 5952's"
PARSED = "addresses are compared, not strings"
SCHEMES = "scheme names are case-insensitive, ws and wss are http and https"

CASES = [
    same(),
    same("X-Real-Ip: 4.4.4.4"),
    same("X-Real-IP: 2620:0:1cfe:face:b00c::3"),
    same("X-Real-Ip: www.example.com"),
    same("X-Real-Ip: "),
    same("X-Real-Ip: 4.4.4.4, 6.6.6.6"),
    same("X-Real-Ip: 4.4.4.4", "X-Real-Ip: 6.6.6.6"),
    same("X-Real-Ip: 4.4.4.4", "X-Real-Ip: 4.4.4.4"),
    same("X-Real-Ip: 4.4.4.4", "X-Forwarded-For: 6.6.6.6"),
    same("X-Forwarded-For: 6.6.6.6", "X-Real-Ip: 4.4.4.4"),
    same("X-Forwarded-For: 6.6.6.6", "X-Real-Ip: nonsense"),
    same("X-Forwarded-For: 6.6.6.6", "X-Real-Ip: "),
    same("X-Real-Ip: 5.5.5.5", "X-Forwarded-For: 6.6.6.6"),
    same("X-Forwarded-For: 4.4.4.4"),
    same("X-Forwarded-For: 127.0.0.1, 4.4.4.4"),
    same("X-Forwarded-For: 6.6.6.6, 4.4.4.4, 5.5.5.5"),
    same("X-Forwarded-For: 6.6.6.6, 5.5.5.5, 7.7.7.7"),
    same("X-Forwarded-For: 5.5.5.5, 7.7.7.7"),
    same("X-Forwarded-For: 6.6.6.6, 5.5.5.5", "X-Forwarded-For: 7.7.7.7"),
    same("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 4.4.4.4"),
    same("X-Forwarded-For: 4.4.4.4,"),
    same("X-Forwarded-For: ,4.4.4.4"),
    same("X-Forwarded-For: "),
    same("X-Forwarded-For: ,"),
    same("X-Forwarded-For: unknown"),
    same("X-Forwarded-For: unknown, 4.4.4.4"),
    same("X-Forwarded-For: 4.4.4.4, unknown"),
    same("X-Forwarded-For: 4.4.4.4, unknown, 5.5.5.5"),
    same("X-Forwarded-For: \t4.4.4.4\t"),
    same("X-Forwarded-For: ::1, 2620:0:1cfe:face:b00c::3"),
    same("X-Forwarded-For: 256.1.1.1"),
    same("X-Forwarded-For: 1.2.3.4.5"),
    same("X-Forwarded-For: 4.4.4.4\xff"),
    same("X-Forwarded-For: 4.4.4.4 5.5.5.5"),
    same("X-Forwarded-For: 4.4.4.4<script>"),
    same('X-Forwarded-For: 4.4.4.4, "5.5.5.5"'),
    same("X_Forwarded_For: 4.4.4.4", "X_Real_Ip: 4.4.4.4"),
    same("Forwarded: for=4.4.4.4;proto=https"),
    same("X-Scheme: https"),
    same("X-Forwarded-Proto: https"),
    same("X-Forwarded-Proto: http, https"),
    same("X-Forwarded-Proto: https, http"),
    same("X-Forwarded-Proto: https", "X-Forwarded-Proto: http"),
    same("X-Forwarded-Proto: https,"),
    same("X-Forwarded-Proto: unknown"),
    same("X-Forwarded-Proto: https", "X-Scheme: http"),
    same("X-Forwarded-Proto: https", "X-Scheme: unknown"),
    same("X-Forwarded-Proto: https", "X-Scheme: "),
    same("X-Scheme: https", "X-Scheme: http"),
    same("X-Forwarded-Ssl: on"),
    same("X-Forwarded-For: nonsense", "X-Forwarded-Proto: https"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: 127.1"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: 0x7f.1"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: 010.0.0.1"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: 2130706433"),
    differs(GRAMMAR, http(PEER), "X-Real-Ip: 4.4.4.\xb2"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: 0.0.0.0"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: 224.0.0.1"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: 255.255.255.255"),
    differs(GRAMMAR, http(PEER), "X-Forwarded-For: ::"),
    differs(GRAMMAR, http("4.4.4.4"), "X-Forwarded-For: 4.4.4.4:80"),
    differs(GRAMMAR, http("2001:db8::1"), "X-Forwarded-For: [2001:db8::1]"),
    differs(GRAMMAR, http("2001:db8::1"), "X-Forwarded-For: [2001:db8::1]:443"),
    differs(GRAMMAR, http("4.4.4.4"), "X-Forwarded-For: ::ffff:4.4.4.4"),
    differs(GRAMMAR, http("fe80::1"), "X-Forwarded-For: fe80::1%1"),
    differs(TEXT, http("2001:db8::abcd"), "X-Forwarded-For: 2001:DB8::ABCD"),
    differs(TEXT, http("2001:db8::1"), "X-Real-Ip: 2001:db8:0:0:0:0:0:1"),
    differs(PARSED, http("4.4.4.4"), "X-Forwarded-For: 4.4.4.4, 5.5.5.5:80"),
    differs(PARSED, http("4.4.4.4"), "X-Forwarded-For: 4.4.4.4, ::ffff:5.5.5.5"),
    differs(SCHEMES, Answer(PEER, "https"), "X-Forwarded-Proto: HTTPS"),
    differs(SCHEMES, Answer(PEER, "https"), "X-Scheme: wss"),
]


class Oracle:
    """A Tornado server with `xheaders=True`."""

    def __init__(self) -> None:
        def answer(request: HTTPServerRequest) -> None:
            assert request.connection is not None
            body = json.dumps([request.remote_ip, request.protocol]).encode()
            request.connection.write_headers(
                ResponseStartLine("HTTP/1.1", 200, "OK"),
                TornadoHeaders({"Content-Length": str(len(body))}),
                body,
            )
            request.connection.finish()

        self.server = HTTPServer(answer, xheaders=True, trusted_downstream=list(NGINX_LIKE))
        sockets = bind_sockets(0, "127.0.0.1")
        self.port: int = sockets[0].getsockname()[1]
        self.server.add_sockets(sockets)

    async def ask(self, lines: tuple[str, ...]) -> Answer:
        """Return what Tornado takes a head for, over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = ["GET / HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""]
            writer.write("\r\n".join(head).encode("latin-1"))
            response = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        status, _, rest = response.partition(b"\r\n")
        assert status == b"HTTP/1.1 200 OK", response
        return Answer(*json.loads(rest.partition(b"\r\n\r\n")[2]))


@pytest_asyncio.fixture
async def oracle() -> AsyncIterator[Oracle]:
    """Give a running Tornado server."""
    running = Oracle()
    yield running
    running.server.stop()
    await running.server.close_all_connections()


def ours(lines: tuple[str, ...]) -> Answer:
    """Return what our contract takes a head for."""
    policy = TrustPolicy.tornado(trusted_downstream=list(NGINX_LIKE))
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.encode("latin-1"), value.strip(" \t").encode("latin-1")))
    resolved = policy.resolve(peer=PEER, headers=headers)
    assert policy.explain(peer=PEER, headers=headers).resolved == resolved
    return Answer(resolved.remote_ip, resolved.protocol)


@pytest.mark.parametrize("case", CASES, ids=lambda case: " | ".join(case.lines) or "nothing")
async def test_tornado_agrees(case: Case, oracle: Oracle) -> None:
    """Ours answers as Tornado does, or differs exactly where and how the specification says."""
    theirs = await oracle.ask(case.lines)
    mine = ours(case.lines)
    if case.ours is None:
        assert mine == theirs
    else:
        assert mine == case.ours
        assert mine != theirs, f"no difference any more: {case.why}"
