"""Heads whose fields are those of the one before: read once, and never what only looks the same."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.http1.head_cache import KEPT_FIELDS, KEPT_HEAD, LONGEST_WAIT
from edgeserver.http1.shared import KEEP_FIELDS_S
from edgeserver.proxyheaders import TrustPolicy
from tests.http1 import inside
from tests.http1.conversation import App, TakingApp, Talk

FIELDS = b"\r\nHost: a\r\nCookie: c=1\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n"
GET = b"GET / HTTP/1.1" + FIELDS


def kept(talk: Talk) -> list[bool]:
    """Return of each request whether it got the very fields of the one before."""
    fields = [request.connection.fields for request in talk.app.requests]
    return [False, *(a is b for a, b in itertools.pairwise(fields))]


def fields_kept(talk: Talk) -> Any:
    """Return the fields that the connection keeps, or None."""
    return inside.kept_fields(talk.connection)


def seen(talk: Talk) -> list[tuple[Any, ...]]:
    """Return what the application saw of each request."""
    return [(*request.head, request.connection.raw) for request in talk.app.requests]


@pytest.mark.parametrize("app", [App, TakingApp], ids=["delegate", "take-request"])
async def test_the_same_fields_again(app: Any) -> None:
    """From the third on they are shared, whatever the request line; each is answered as it says."""
    talk = Talk(app=app())
    lines = [b"GET / HTTP/1.1", b"GET /x?y=1 HTTP/1.1", b"HEAD /h HTTP/1.1", b"OPTIONS * HTTP/1.1"]
    lines += [b"BREW /pot HTTP/1.1", b"GET /7 HTTP/1.7"]
    for line in lines:
        talk.receive(line + FIELDS)
    assert kept(talk) == [False, False, *[True] * (len(lines) - 2)]
    for line, (method, target, version, raw) in zip(lines, seen(talk), strict=True):
        assert [method, target] == line.decode().split()[:2]
        assert version == "HTTP/1.1"
        assert raw == [(b"host", b"a"), (b"cookie", b"c=1"), (b"x-forwarded-for", b"198.51.100.9")]
    assert talk.statuses == [200] * len(lines)
    assert talk.sent.count(b"ok") == len(lines) - 1  # HEAD has no body


@pytest.mark.parametrize("app", [App, TakingApp], ids=["delegate", "take-request"])
async def test_the_host_of_a_target_with_kept_fields(app: Any) -> None:
    """A target that names a host replaces it for its own request alone, again and again."""
    talk = Talk(app=app())
    targets = b"/ / http://b:1/ http://b:1/ / http://c http://b:1/ / /".split()
    for line in (*(b"GET " + target for target in targets), b"CONNECT d:443"):
        talk.receive(line + b" HTTP/1.1" + FIELDS)
    hosts = [raw[0] for _, _, _, raw in seen(talk)]
    assert hosts == [(b"host", host) for host in b"a a b:1 b:1 a c b:1 a a d:443".split()]
    assert {raw[1:][0] for _, _, _, raw in seen(talk)} == {(b"cookie", b"c=1")}
    assert talk.statuses == [200] * 10


async def test_fields_of_a_target_with_a_host_are_not_kept() -> None:
    """What follows a request for another host gets its own `Host`, not that one."""
    talk = Talk()
    talk.receive(*[b"GET http://b/ HTTP/1.1" + FIELDS] * 3, GET, GET)
    assert [raw[0][1] for _, _, _, raw in seen(talk)] == [b"b", b"b", b"b", b"a", b"a"]


async def test_http_1_0_with_kept_fields() -> None:
    """The version counts, too: 1.0 closes."""
    talk = Talk()
    talk.receive(GET, GET, b"GET / HTTP/1.0" + FIELDS)
    assert kept(talk)[2]
    assert talk.transport.closed
    assert b"Connection: close" not in talk.sent.split(b"\r\n\r\n")[0]


async def test_no_application_changes_what_the_next_one_sees() -> None:
    """Neither by the mapping nor by the list; nor does what is hidden from one stay hidden."""
    talk = Talk()
    talk.app.on_head = lambda request: request.headers.update({"Cookie": "stolen", "X": "y"})
    talk.app.on_finish = lambda request: (request.connection.raw.clear(), request.answer(b"ok"))
    talk.receive(*[GET] * 4)
    assert kept(talk) == [False, False, True, True]
    assert len({str(request) for request in seen(talk)}) == 1
    assert talk.app.requests[-1].headers["Cookie"] == "stolen"
    talk.app.requests[-1].connection.hide_fields(frozenset({b"cookie"}))
    talk.app.on_head = None
    talk.receive(GET)
    assert talk.app.requests[-1].headers["Cookie"] == "c=1"


SMUGGLED = [
    b"GET / HTTP/1.1\r\nX: y",
    b"GET / HTTP/1.1\r\nX:y",
    b"GET / HTTP/1.1\r\nHost: b",
    b"GET / HTTP/1.1\r\nContent-Length: 5",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\nGET /2 HTTP/1.1",
    b"GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1",
    b"\r\nGET / HTTP/1.1",
    b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 15\r\n\r\nGET /2 HTTP/1.1",
    b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1",
    b"",
    b"GET / HTTP/1.1 ",
    b"GET  / HTTP/1.1",
    b"GET /\r HTTP/1.1",
    b"GET /\n HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET / HTTP/2.0",
    b"GET / HTTP/1.1\n",
    b"GET x HTTP/1.1",
    b"G@T / HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1",
    b"CONNECT / HTTP/1.1",
    b"GET /" + b"x" * KEPT_HEAD + b" HTTP/1.1",
]


@pytest.mark.parametrize("start", SMUGGLED, ids=ascii)
async def test_what_only_ends_like_the_one_before(start: bytes) -> None:
    """What stands before the fields is one request line, or is read as if nothing were kept."""
    talk, plain = Talk(), Talk()
    talk.receive(GET, GET)
    assert inside.kept_tail(talk.connection) == FIELDS
    talk.receive(start + FIELDS)
    plain.receive(GET, GET, (start + FIELDS)[:1], (start + FIELDS)[1:])
    assert seen(talk) == seen(plain)
    assert [r.body for r in talk.app.requests] == [r.body for r in plain.app.requests]
    assert (talk.sent, talk.ending) == (plain.sent, plain.ending)


LINES = [b"GET / HTTP/1.1", b"GET /b HTTP/1.1", b"HEAD / HTTP/1.1", b"GET / HTTP/1.0", *SMUGGLED]
TAILS = [
    FIELDS,
    b"\r\nHost: a\r\n\r\n",
    b"\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n",
    b"\r\nHost: a\r\nHost: a\r\n\r\n",
    b"\r\nX: 1\r\n\r\n",
    b"\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
    b"\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\r\n\r\n",
]


DATE = re.compile(rb"\r\nDate: [^\r]*")


@given(
    st.lists(
        st.tuples(st.sampled_from(LINES[:4]) | st.sampled_from(LINES), st.sampled_from(TAILS)),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_sequence(heads: list[tuple[bytes, bytes]], taking: bool) -> None:
    """Segment by segment or cut where nothing is ever kept: the same requests and answers."""

    async def check() -> None:
        talk, plain = (Talk(app=TakingApp() if taking else App()) for _ in range(2))
        for line, tail in heads:
            data = line + tail
            talk.receive(data)
            plain.receive(data[:3], data[3:])
        assert seen(talk) == seen(plain)
        # A refusal has the date, and the second may have passed in between.
        assert DATE.sub(b"", talk.sent) == DATE.sub(b"", plain.sent)
        assert talk.ending == plain.ending
        assert fields_kept(plain) is None

    asyncio.run(check())


async def test_fields_that_do_not_repeat() -> None:
    """They are kept ever more seldom, and again at once where they do repeat."""
    talk = Talk()

    def varied(count: int) -> int:
        """Return how often the connection keeps the fields of `count` heads, all different."""
        keeping = 0
        for _ in range(count):
            number = len(talk.app.requests)
            talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\nN: %d\r\n\r\n" % number)
            kept = fields_kept(talk)
            keeping += kept is talk.app.requests[-1].connection.fields
        return keeping

    assert varied(20) > 3
    varied(400)
    assert 1 <= varied(4 * LONGEST_WAIT) <= 4
    talk.receive(*[GET] * (LONGEST_WAIT + 3))
    assert kept(talk)[-1]
    talk.receive(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"GET /2 HTTP/1.1\r\nHost: b\r\n\r\n")
    assert kept(talk)[-2:] == [False, True]


async def test_what_is_never_kept() -> None:
    """The fields of a first request, and of a head that is long, or many, or repeats a name."""
    talk = Talk()
    talk.receive(GET)
    assert fields_kept(talk) is None
    many = b"\r\n".join(b"%d: x" % number for number in range(KEPT_FIELDS))
    for more in (b"L: " + b"x" * KEPT_HEAD, b"X: 1\r\nX: 2", many):
        talk.receive(*[b"GET / HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n\r\n"] * 4)
        assert fields_kept(talk) is None
        assert not any(kept(talk))
    assert not talk.http1.keeping


async def test_an_idle_connection_forgets() -> None:
    """What is kept goes after a while without a request, and where the connection closes."""
    talk = Talk(idle_connection_timeout=75)
    talk.receive(GET, GET, GET)
    await talk.later(KEEP_FIELDS_S - 2)
    assert fields_kept(talk) is not None
    talk.receive(GET)
    assert kept(talk)[-1]
    await talk.later(KEEP_FIELDS_S - 2)
    assert talk.connection in talk.http1.keeping
    await talk.later(4)
    assert fields_kept(talk) is None
    assert not talk.http1.keeping
    talk.receive(GET, GET)
    assert kept(talk)[-2:] == [False, True]
    talk.transport.abort()
    await talk.later(1)
    assert not talk.http1.keeping
    assert fields_kept(talk) is None


async def test_the_client_of_kept_fields() -> None:
    """It is decided once, counted each time, and anew as soon as another policy is in force."""
    policy = TrustPolicy(["192.0.2.0/24"])
    talk = Talk(shared={"trust": policy})
    talk.receive(*[GET] * 5)
    clients = [request.connection.client for request in talk.app.requests]
    assert [client.remote_ip for client in clients] == ["198.51.100.9"] * 5
    assert clients[2] is clients[3]
    assert policy.reason_counts["first-untrusted"] == 5
    talk.service.trust = TrustPolicy(["203.0.113.0/24"])
    talk.receive(GET, GET, GET)
    for request in talk.app.requests[-3:]:
        assert request.connection.raw == [(b"host", b"a"), (b"cookie", b"c=1")]
        assert ("X-Forwarded-For" in request.headers) is False
    assert [r.connection.client.remote_ip for r in talk.app.requests[-2:]] == ["192.0.2.7"] * 2
    assert talk.connection.context.remote_ip == "192.0.2.7"
    talk.service.trust = policy
    talk.receive(GET)
    assert talk.app.requests[-1].connection.client.remote_ip == "198.51.100.9"
