"""The same head gets the same answer after any history of its connection.

What a connection remembers of one head for the next may be what is the same for both, and never
what depended on the first one's method, target or version.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.http1 import HTTP1Connection
from edgeserver.proxyheaders import TrustPolicy
from tests.http1.conversation import App, FakeTransport, TakingApp, Talk

LINES = [
    b"GET / HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET /b HTTP/1.2",
    b"GET / HTTP/2.0",
    b"HEAD / HTTP/1.1",
    b"HEAD / HTTP/1.0",
    b"POST /p HTTP/1.1",
    b"POST /p HTTP/1.0",
    b"OPTIONS * HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET http://a/x HTTP/1.1",
    b"GET http://b:81 HTTP/1.1",
    b"GET http://b/ HTTP/1.0",
    b"GET http://u@b/ HTTP/1.1",
    b"CONNECT b:443 HTTP/1.1",
    b"CONNECT b HTTP/1.1",
]

FIELDS = [
    [b"Host: a"],
    [b"Host: b"],
    [b"Host:"],
    [],
    [b"Host: a", b"Connection: keep-alive"],
    [b"Connection: Keep-Alive"],
    [b"Connection: keep-alive", b"X: 1", b"X: 2"],
    [b"Host: a", b"Connection: close"],
    [b"Host: a", b"Connection: keep-alive, x", b"Connection: y"],
    [b"Host: a", b"Connection: upgrade", b"Upgrade: x"],
    [b"Host: a", b"Connection: keep-alive, upgrade", b"Upgrade: x"],
    [b"Host: a", b"Connection: keep-alive", b"Upgrade: x"],
    [b"Host: a", b"Host: a"],
    [b"Host: a b"],
    [b"Host: a", b"X-Forwarded-For: 198.51.100.9", b"X-Forwarded-Proto: https"],
    [b"Host: a", b"Connection: keep-alive", b"Content-Length: 0"],
    [b"Host: a", b"Connection: keep-alive", b"Content-Length: 4"],
    [b"Connection: keep-alive", b"Content-Length: 4"],
    [b"Host: a", b"Connection: keep-alive", b"Content-Length: 4", b"Expect: 100-continue"],
    [b"Host: a", b"Connection: keep-alive", b"Transfer-Encoding: chunked"],
    [b"Host: a", b"Connection: keep-alive", b"Transfer-Encoding: gzip, chunked"],
    [b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 4"],
    [b"Host: a", b"Expect: 100-continue"],
    [b"Host: a", b"Content-Length: 4", b"Content-Encoding: gzip"],
]


def make(line: bytes, fields: list[bytes]) -> bytes:
    """Return a request: its head, and the body that this declares."""
    body = b""
    if b"Transfer-Encoding: chunked" in fields:
        body = b"4\r\nbody\r\n0\r\n\r\n"
    elif b"Content-Length: 4" in fields:
        body = b"body"
    return b"\r\n".join([line, *fields, b"", body])


SOME = [make(line, fields) for line in LINES[:2] for fields in FIELDS[:13]]
SOME += [make(line, FIELDS[0]) for line in LINES[2:]]
"""Some dozens of heads; those of HTTP/1.0 keep their connection where they ask for it."""

POLICY = TrustPolicy(["192.0.2.0/24"])


def connect(kind: str) -> Talk:
    """Return a fresh connection to a server of this kind."""
    app = App() if kind == "delegate" else TakingApp()
    talk = Talk(app=app, shared={"trust": None if kind == "no-policy" else POLICY})
    if kind == "tls":
        # Hosts differ in what they ask of clients: this connection was made for `a`.
        talk.connection = HTTP1Connection(talk.http1, None, lambda a, asked: asked == "b")
        talk.transport = FakeTransport()
        talk.transport.tell(sslcontext=object(), tls_info=SimpleNamespace(host="a"))
        talk.transport.protocol = talk.connection
        talk.connection.connection_made(talk.transport)
    return talk


KINDS = ["delegate", "take-request", "no-policy", "tls"]


def ask(talk: Talk, data: bytes, cut: int = 0) -> tuple[Any, ...]:
    """Send one request; return its answer, what the application saw of it, and what follows."""
    sent, count = len(talk.sent), len(talk.app.requests)
    talk.receive(*([data[:cut], data[cut:]] if cut else [data]))
    answer = re.sub(rb"\r\nDate: [^\r]*", b"", talk.sent[sent:])
    seen = []
    for request in talk.app.requests[count:]:
        connection = request.connection
        client = connection.client
        said = connection.raw, dict(connection.fields), list(request.headers.get_all())
        rest = connection.keep_alive, connection.upgrades, connection.plain, connection.until_close
        who = None if client is None else (client.remote_ip, client.protocol)
        seen.append((request.head, request.body, request.ended, *said, *rest, who))
    return answer, seen, talk.ending


FRESH: dict[tuple[str, bytes], tuple[Any, ...]] = {}


def check(kind: str, requests: Iterable[bytes], cut: int = 0) -> None:
    """Send requests on one connection, and compare each with a connection of its own."""
    talk = connect(kind)
    for data in requests:
        if (kind, data) not in FRESH:
            FRESH[kind, data] = ask(connect(kind), data)
        assert ask(talk, data, cut) == FRESH[kind, data]
        if talk.ending:
            talk = connect(kind)


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: b" ".join(fields).decode() or "none")
async def test_the_same_fields_with_every_other_line(fields: list[bytes]) -> None:
    """Of two request lines with the same fields neither changes what the other one means."""
    requests = [make(line, fields) for line in LINES]
    lasting = [data for data in requests if not ask(connect("take-request"), data)[2]]
    for first, second in itertools.product(lasting, requests):
        check("take-request", [first, first, second, first])


@pytest.mark.parametrize("kind", ["delegate", "tls"])
async def test_every_pair(kind: str) -> None:
    """A head that came twice, whose fields are kept then, changes no other head's answer."""
    lasting = [data for data in SOME if not ask(connect(kind), data)[2]]
    for first, second in itertools.product(lasting, SOME):
        check(kind, [first, first, second])


async def test_every_order_of_three() -> None:
    """Nor do two different ones before it, in any order."""
    few = [make(line, fields) for line in LINES[:2] for fields in FIELDS[2:6]]
    for order in itertools.permutations(few, 3):
        check("no-policy", order * 2)


@given(
    st.lists(st.builds(make, st.sampled_from(LINES), st.sampled_from(FIELDS)), max_size=20),
    st.sampled_from(KINDS),
    st.integers(0, 60),
)
@settings(max_examples=100, deadline=None)
def test_any_sequence(requests: list[bytes], kind: str, cut: int) -> None:
    """Each request of a long sequence, in one segment or two, is answered as on a fresh one."""

    async def run() -> None:
        # A head cut in two may be asked to go on with its body in between; that is no difference
        # in its answer, and comes only where the body is a segment of its own.
        if not any(b"Expect" in data for data in requests):
            check(kind, requests, cut)
        check(kind, requests)

    asyncio.run(run())
