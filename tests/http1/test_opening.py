"""How a request begins: whether it may be served here, who asks, and what of it is seen."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.errors import HTTPInputError
from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService
from edgeserver.http1 import HTTP1Connection, HTTP1Shared
from edgeserver.httputil import HTTPHeaders, RequestStartLine
from edgeserver.iostream import IOStream
from edgeserver.proxyheaders import TrustPolicy
from tests.http1.conversation import App, FakeTransport, Recorder, TakingApp, Talk, request_of

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def secure_talk(misdirected: Any = None, **shared: Any) -> Talk:
    """Return a conversation over what looks like TLS made for the host `a`."""
    talk = Talk(shared=shared)
    talk.connection = HTTP1Connection(talk.http1, None, misdirected)
    talk.transport = transport = FakeTransport()
    transport.tell(sslcontext=object(), tls_info=SimpleNamespace(host="a"))
    transport.protocol = talk.connection
    talk.connection.connection_made(transport)
    return talk


# What the application sees.


async def test_the_head_as_the_application_sees_it() -> None:
    """Start line and headers are of our own classes, and the exchange says the same."""
    talk = Talk()
    talk.receive(b"PUT /x?y HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\n\r\n")
    (request,) = talk.app.requests
    assert request.head == RequestStartLine("PUT", "/x?y", "HTTP/1.1")
    assert isinstance(request.headers, HTTPHeaders)
    assert request.headers.get_list("x") == ["1", "2"]
    connection = request.connection
    assert (connection.method, connection.target, connection.version) == request.head
    assert connection.raw == [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")]
    assert connection.headers is connection.headers


async def test_the_local_address() -> None:
    """An application may ask where the connection came in, as long as it is there."""
    talk, request = request_of()
    talk.transport.tell(sockname=("127.0.0.1", 80))
    assert request.connection.local_address == ("127.0.0.1", 80)
    talk.transport.abort()
    await talk.turn()
    assert request.connection.local_address is None


ONE_HOST = [
    (b"GET http://B.test:81/x HTTP/1.1", b"X: 1\r\nhOsT: a\r\nX: 2", b"B.test:81"),
    (b"GET http://b HTTP/1.1", b"Host: a", b"b"),
    (b"GET HTTPS://[::1]?x HTTP/1.1", b"Host: a", b"[::1]"),
    (b"GET http://b/ HTTP/1.1", b"Host:", b"b"),
    (b"GET http://b/ HTTP/1.1", b"Host: b", b"b"),
    (b"GET http://b:/ HTTP/1.0", b"Cookie: c", b"b:"),
    (b"GET http://b/ HTTP/1.0", b"X: 1\r\nX: 2", b"b"),
    (b"OPTIONS http://b HTTP/1.1", b"Host: a", b"b"),
    (b"CONNECT b:443 HTTP/1.1", b"Host: a", b"b:443"),
    (b"CONNECT [::1]:443 HTTP/1.0", b"Cookie: c", b"[::1]:443"),
    (b"OPTIONS * HTTP/1.1", b"Host: a", b"a"),
    (b"GET /http://b/ HTTP/1.1", b"Host: a", b"a"),
    (b"GET //b/ HTTP/1.1", b"Host: a", b"a"),
]
"""Request line, fields, and the one host of the request."""


@pytest.mark.parametrize("app", [App, TakingApp], ids=["delegate", "take-request"])
@pytest.mark.parametrize("trust", [None, TrustPolicy.off()], ids=["no-policy", "policy"])
@pytest.mark.parametrize(("line", "lines", "host"), ONE_HOST, ids=ascii)
async def test_a_request_has_one_host(
    app: Any, trust: Any, line: bytes, lines: bytes, host: bytes
) -> None:
    """The target's host replaces the received one in both faces of the headers, where it stood."""
    talk = Talk(app=app(), shared={"trust": trust})
    talk.receive(line + b"\r\n" + lines + b"\r\n\r\n")
    (request,) = talk.app.requests
    raw = request.connection.raw
    received = [name.partition(b":")[0].lower() for name in lines.split(b"\r\n")]
    names = received if b"host" in received else [b"host", *received]
    assert [name for name, _ in raw] == names
    assert dict(raw)[b"host"] == request.connection.fields[b"host"] == host
    assert request.headers.get_list("Host") == [host.decode()]
    assert request.head[1] == line.split()[1].decode()


@pytest.mark.parametrize("app", [App, TakingApp], ids=["delegate", "take-request"])
async def test_fields_that_a_policy_strips(app: Any) -> None:
    """What a peer claims that no policy lists is not there for the application."""
    policy = TrustPolicy(["198.51.100.0/24"])
    talk = Talk(app=app(), shared={"trust": policy})
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX: y\r\n\r\n")
    (request,) = talk.app.requests
    assert request.headers is not None
    assert dict(request.headers.get_all()) == {"Host": "a", "X": "y"}
    assert request.connection.client.remote_ip == "192.0.2.7"
    assert talk.statuses == [200]


async def test_the_audit_log() -> None:
    """Each request's proof is offered to the audit log, also of one that is answered at once."""
    records: list[Any] = []

    def record(*args: Any, pairs: Any, **more: Any) -> None:
        assert list(pairs) == [(b"host", b"a")]
        records.append((args[0](), *args[1:3]))

    audit = SimpleNamespace(record=record)
    talk = Talk(shared={"trust": TrustPolicy.off(), "audit_log": audit})
    talk.receive(GET * 2)
    assert [line[1:] for line in records] == [("GET", "/")] * 2
    assert records[0][0] is not None


@pytest.mark.parametrize("error", [ZeroDivisionError(), HTTPInputError("no")], ids=["500", "400"])
async def test_take_request_that_fails(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A failure in the one call is treated as one in the three."""
    talk = Talk(app=TakingApp())

    def fail(request: Recorder) -> None:
        raise error

    talk.app.on_finish = fail
    talk.receive(GET * 2)
    refused = isinstance(error, HTTPInputError)
    assert talk.statuses == ([400] if refused else [])
    assert talk.ending
    assert len(talk.app.requests) == 1
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == (not refused)


@pytest.mark.parametrize("error", [HTTPInputError("a\r\nforged \x1b[2J"), HTTPInputError("\u2603")])
async def test_an_applications_refusal_forges_no_line(
    error: HTTPInputError, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever an application puts into its refusal is escaped, in the log and in the answer."""
    caplog.set_level(logging.INFO)
    talk = Talk()

    def fail(request: Recorder) -> None:
        raise error

    talk.app.on_finish = fail
    talk.receive(GET)
    message = caplog.records[0].getMessage()
    assert message.isascii()
    assert message.isprintable()
    assert talk.sent.partition(b"\r\n\r\n")[2].count(b"\n") == 1
    assert b"\x1b" not in talk.sent


# Over TLS.


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GET, 200),
        (GET.replace(b": a", b": b"), 421),
        (GET.replace(b" / ", b" http://a/ ").replace(b": a", b": b"), 200),
        (GET.replace(b" / ", b" http://b/ "), 421),
        (b"GET http://a/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
        (b"GET http://b/ HTTP/1.0\r\n\r\n", 421),
        (b"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", 421),
        (b"GET / HTTP/1.0\r\n\r\n", 421),
    ],
    ids=[
        *("same", "other", "target-wins", "other-in-target", "only-target", "only-other"),
        *("connect", "none"),
    ],
)
async def test_misdirected(data: bytes, status: int) -> None:
    """A host that TLS was not made for is refused where that matters: the target's, or Host's."""
    talk = secure_talk(lambda made_for, asked: made_for != asked)
    talk.receive(data)
    assert talk.statuses == [status]
    assert talk.ending == (status == 421)


@pytest.mark.parametrize("lines", [b"", b"Expect: nothing\r\nContent-Length: 0\r\n"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_strict_transport_security(method: bytes, lines: bytes) -> None:
    """Over TLS every answer says so, once, unless the application does."""
    talk = secure_talk(strict_transport="max-age=9")
    data = GET[:-2].replace(b"GET", method) + lines + b"\r\n"
    talk.receive(data)
    assert talk.sent.count(b"\r\nStrict-Transport-Security: max-age=9\r\n") == 1
    talk.app.on_finish = lambda request: request.connection.write_headers(
        ("", 204, "No Content"), [(b"strict-transport-security", b"max-age=0")]
    )
    talk.receive(data)
    assert talk.sent.lower().count(b"strict-transport-security") == 2


async def test_strict_transport_security_with_an_expected_body() -> None:
    """A request that expects something unknown does not take it away."""
    talk = secure_talk(strict_transport="max-age=9")
    talk.receive(GET[:-2] + b"Expect: nothing\r\nContent-Length: 1\r\n\r\nx")
    assert b"\r\nStrict-Transport-Security: max-age=9\r\n" in talk.sent


async def test_strict_transport_security_of_a_refusal() -> None:
    """What is refused over TLS says it too."""
    talk = secure_talk(strict_transport="max-age=9")
    talk.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert talk.sent.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nStrict-Transport-Security: max-age=9\r\n" in talk.sent


async def test_strict_transport_security_is_for_tls() -> None:
    """In plain nothing of it is said: RFC 6797 section 7.2."""
    talk = Talk(shared={"strict_transport": "max-age=9"})
    talk.receive(GET)
    assert b"Strict" not in talk.sent


@pytest.mark.parametrize(("protocol", "scheme"), [(None, "https"), ("http", "http")])
async def test_the_scheme(protocol: str | None, scheme: str) -> None:
    """The scheme is the connection's own, or what the server was told to say."""
    talk = secure_talk(protocol=protocol)
    talk.receive(GET)
    assert talk.app.requests[0].connection.context.protocol == scheme


async def test_no_bulk_reading_over_tls() -> None:
    """What comes out of TLS is in pieces already."""
    talk = secure_talk()
    talk.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    assert talk.transport.protocol is talk.connection
    talk.receive(b"x" * 100_000)
    assert len(talk.app.requests[0].body) == 100_000


async def test_a_peer_that_nobody_can_name() -> None:
    """A connection that was reset before it was accepted is not taken for a Unix socket's."""
    http1 = HTTP1Shared(HTTPService(HTTPLimits(), App()))
    transport = FakeTransport(None)
    transport.tell(socket=SimpleNamespace(family=2))
    transport.protocol = connection = HTTP1Connection(http1)
    connection.connection_made(transport)
    assert transport.aborted


# What an exchange has besides.


async def test_trailers_of_an_answer() -> None:
    """Trailers follow a chunked body, and are left out where there is no place for them."""
    talk, request = request_of()
    request.connection.write_headers(("", 200, "OK"), [(b"date", b"x")], b"abc")
    request.connection.set_trailers([(b"x-sum", b"9")])
    request.connection.finish()
    assert talk.sent.endswith(b"3\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n")
    talk, request = request_of(version="1.0")
    request.connection.write_headers(("", 200, "OK"), [(b"date", b"x")], b"abc")
    request.connection.set_trailers([(b"x-sum", b"9")])
    request.connection.finish()
    assert talk.sent.endswith(b"\r\n\r\nabc")


async def test_detach_to_another_protocol() -> None:
    """A protocol takes the connection over, with what came behind the request."""
    talk, request = request_of()
    talk.receive(b"more")
    stream = IOStream()
    request.connection.detach_to(stream)
    assert await stream.read_bytes(4) == b"more"
    assert talk.service.connections.detached_count() == 1


async def test_a_close_callback_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of a close callback is logged, and the connection ends all the same."""
    talk, request = request_of()

    def fail() -> None:
        raise ZeroDivisionError

    request.connection.set_close_callback(fail)
    talk.transport.abort()
    await talk.turn()
    assert talk.app.closed == 1
    assert [record.getMessage() for record in caplog.records] == ["Uncaught exception"]


async def test_a_close_callback_is_cleared() -> None:
    """No callback is called after the answer, nor one that was taken back."""
    told: list[int] = []
    talk, request = request_of()
    request.connection.set_close_callback(lambda: told.append(1))
    request.connection.set_close_callback(None)
    talk.transport.abort()
    await talk.turn()
    talk, request = request_of()
    request.connection.set_close_callback(lambda: told.append(1))
    request.answer(b"ok")
    talk.transport.abort()
    await talk.turn()
    assert told == []
