"""Whose request a stream is: each has its own client, proof, audit line and line in the log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.proxyheaders import TrustPolicy
from tests.http2.conversation import RST_STREAM, App, Talk, frame, number
from tests.proxyheaders.test_vectors import VECTORS, expected_of, policy_of

PROXY = "192.0.2.7"


def keeping(app: App | None = None, **options: Any) -> Talk:
    """Return a conversation whose application answers nothing by itself."""
    app = App() if app is None else app
    app.on_finish = lambda request: None
    return Talk(app=app, **options)


def from_client(ip: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the fields of a proxy that passes on a request of `ip`."""
    return [("x-forwarded-for", ip), *more]


async def test_streams_in_flight_have_each_its_own_client() -> None:
    """Two clients come through one proxy, and neither ever sees the other's."""
    talk = keeping(shared={"trust": TrustPolicy([PROXY])})
    talk.ask("/1", fields=from_client("198.51.100.1", ("x-forwarded-proto", "https")))
    talk.ask("/2", fields=from_client("203.0.113.2"))
    talk.ask("/3", fields=from_client("198.51.100.1", ("x-forwarded-proto", "https")))
    one, two, three = [request.connection for request in talk.app.requests]
    for connection, ip, scheme in (
        (one, "198.51.100.1", "https"),
        (two, "203.0.113.2", "http"),
        (three, "198.51.100.1", "https"),
    ):
        assert (connection.remote_ip, connection.protocol) == (ip, scheme)
        assert (connection.context.remote_ip, connection.context.protocol) == (ip, scheme)
        assert connection.client.remote_ip == ip
        assert connection.explain().resolved.remote_ip == ip
        assert connection.context.peer_ip == PROXY


async def test_requests_that_repeat_have_the_client_that_they_name() -> None:
    """Blocks that are known, with other paths, among those of other clients."""
    talk = Talk(shared={"trust": TrustPolicy([PROXY])})
    ips = [f"198.51.100.{n % 3 + 1}" for n in range(30)]
    for place, ip in enumerate(ips):
        talk.ask(f"/{place}", fields=from_client(ip))
    assert [request.connection.remote_ip for request in talk.app.requests] == ips
    assert [request.head.path for request in talk.app.requests] == [f"/{n}" for n in range(30)]


def sendable(vector: dict[str, Any]) -> bool:
    """Tell whether HTTP/2 can carry a vector's fields as they are, and in one frame."""
    return sum(len(value) for _, value in vector["headers"]) < 10_000 and not any(
        value != value.strip(" \t") or any(ord(each) < 0x20 or ord(each) == 0x7F for each in value)
        for _, value in vector["headers"]
    )


@pytest.mark.parametrize(
    "vector", [each for each in VECTORS if sendable(each)], ids=lambda vector: vector["id"]
)
async def test_the_vectors_on_streams_that_overlap(vector: dict[str, Any]) -> None:
    """Each example is answered as alone, however many others are open on its connection."""
    config = vector["config"]
    is_https = config.get("tls") or config.get("protocol") == "https"
    shared = {"trust": policy_of(vector), "protocol": "https" if is_https else "http"}
    talk = keeping(peer=vector["peer"], shared=shared)
    fields = [(name.lower(), value) for name, value in vector["headers"]]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    talk.ask("/before", fields=from_client("192.0.2.200"))
    for path in ("/first", "/again"):
        block = talk.encoder.encode(
            [(b":method", b"GET"), (b":scheme", b"http"), (b":path", path.encode()),
             (b":authority", b"a"), *raw]
        )  # fmt: skip
        stream, talk.next_id = talk.next_id, talk.next_id + 2
        talk.receive(frame(1, 5, stream, block))
        talk.ask("/between", fields=from_client("192.0.2.201"))
    expected = expected_of(vector)
    found = {each.head.path: each.connection for each in talk.app.requests}
    for path in ("/first", "/again"):
        seen = {
            key: getattr(found[path], key)
            if key in ("remote_ip", "protocol")
            else getattr(found[path].client, key)
            for key in expected
        }
        assert seen == expected


async def test_fields_that_nobody_vouches_for_are_hidden() -> None:
    """From the application; a proof still has them."""
    talk = keeping(shared={"trust": TrustPolicy(["10.0.0.0/8"])})
    talk.ask(fields=from_client("198.51.100.1"))
    connection = talk.app.requests[0].connection
    assert b"x-forwarded-for" not in connection.fields
    assert (b"x-forwarded-for", b"198.51.100.1") in connection.head_pairs
    assert connection.remote_ip == PROXY


async def test_each_stream_is_audited() -> None:
    """With the request that it is about."""
    lines: list[tuple[str, str]] = []

    def record(explain: Any, method: str, target: str, now: float, **more: Any) -> None:
        lines.append((target, explain().resolved.remote_ip))

    talk = keeping(
        shared={
            "trust": TrustPolicy([PROXY]),
            "audit_log": SimpleNamespace(record=record),
        }
    )
    for place in (1, 2, 1):
        talk.ask(f"/{place}", fields=from_client(f"198.51.100.{place}"))
    assert lines == [("/1", "198.51.100.1"), ("/2", "198.51.100.2"), ("/1", "198.51.100.1")]


async def test_each_stream_has_a_line_in_the_access_log() -> None:
    """At its end, whoever ends it: whole, reset by its client, refused, or never read."""
    lines: list[tuple[str, str, int, str]] = []
    talk = keeping(
        shared={
            "trust": TrustPolicy([PROXY]),
            "access_log": lambda each: lines.append(
                (each.target, each.version, each.status, each.remote_ip)
            ),
        },
        max_header_size=2000,
        max_body_size=5,
    )
    talk.ask("/whole", fields=from_client("198.51.100.1"))
    talk.ask("/reset", fields=from_client("198.51.100.2"))
    talk.app.requests[0].answer(b"ok")
    talk.receive(frame(RST_STREAM, 0, 3, number(8)))
    talk.ask(fields=[("x", "y" * 2500)])
    talk.post("/big", fields=from_client("198.51.100.3", ("content-length", "6")))
    assert lines == [
        ("/whole", "HTTP/2", 200, "198.51.100.1"),
        ("/reset", "HTTP/2", 0, "198.51.100.2"),
        ("-", "-", 431, PROXY),
        ("/big", "HTTP/2", 413, "198.51.100.3"),
    ]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_beyond_the_limit(declared: bool) -> None:
    """413 is a real answer; then the rest of the body is not wanted."""
    talk = keeping(max_body_size=100)
    stream = talk.post(fields=[("content-length", "101")] if declared else [])
    if not declared:
        talk.data(stream, bytes(100))
        talk.data(stream, b"x")
    answer = talk.answer(stream)
    assert (answer.status, answer.ended, answer.reset) == (413, True, 0)
    assert talk.app.requests[0].ended == ["close"]


async def test_an_application_may_allow_more() -> None:
    """As in HTTP/1, for one request."""
    talk = Talk(max_body_size=100)
    talk.app.on_head = lambda request: request.connection.set_max_body_size(200)
    stream = talk.post(fields=[("content-length", "150")])
    talk.data(stream, bytes(150), ends=True)
    assert talk.answer(stream).status == 200


async def test_no_room_for_a_body() -> None:
    """503, and the reason; requests without a body go on."""
    talk = Talk(max_held=10)
    talk.service.budget.take(10)
    refused = talk.post()
    assert (talk.answer(refused).status, talk.answer(refused).fields["retry-after"]) == (503, "5")
    assert talk.answer(talk.ask()).status == 200


async def test_a_request_for_another_host_than_tls_was_made_for() -> None:
    """421, for that stream; the connection goes on."""

    class TLS:
        version, cipher, host = "TLSv1.3", "TLS_AES_128_GCM_SHA256", "a.example"

    lines: list[tuple[int, str]] = []
    talk = Talk(
        tls=TLS(),
        misdirected=lambda made_for, asked: made_for != asked,
        shared={"access_log": lambda each: lines.append((each.status, each.remote_ip))},
    )
    assert talk.answer(talk.ask()).status == 200
    assert talk.answer(talk.ask(authority="b.example")).status == 421
    assert talk.answer(talk.ask()).status == 200
    refused = talk.post(authority="b.example")
    assert (talk.answer(refused).status, talk.answer(refused).reset) == (421, 0)
    assert [status for status, _ in lines] == [200, 421, 200, 421]
    assert {ip for _, ip in lines} == {PROXY}


async def test_gzip_bodies_are_decompressed() -> None:
    """As in HTTP/1, where the server is told to."""
    import gzip

    talk = Talk(decompress_request=True)
    stream = talk.post(fields=[("content-encoding", "gzip")])
    talk.data(stream, gzip.compress(b"body"), ends=True)
    assert talk.answer(stream).status == 200
    assert talk.app.requests[0].body == b"body"
