"""What connections share: their count, the log of exchanges, the clock, and how all of them end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.errors import HTTPOutputError
from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService
from edgeserver.http1 import HTTP1Connection, HTTP1Shared
from edgeserver.proxyheaders import TrustPolicy
from tests.http1 import inside
from tests.http1.conversation import App, FakeTransport, Recorder, TakingApp, Talk, fields

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"


def logged(app: App | None = None, **limits: Any) -> tuple[Talk, list[Any]]:
    """Return a conversation, and what is logged of it."""
    lines: list[Any] = []

    def log(exchange: Any) -> None:
        lines.append(
            SimpleNamespace(
                status=exchange.status,
                sent=exchange.bytes_sent,
                line=(exchange.method, exchange.target, exchange.version),
                ip=exchange.remote_ip,
                duration_s=exchange.duration_s,
                host=exchange.headers.get("Host"),
            )
        )

    return Talk(app=app, shared={"access_log": log}, **limits), lines


# The access log.


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), (b"GET / HT", 408)],
    ids=["malformed", "late"],
)
@pytest.mark.parametrize("before", [False, True], ids=["first", "behind-a-request"])
async def test_a_head_that_was_not_read_is_logged(sent: bytes, status: int, before: bool) -> None:
    """It shows as `- - -`, with its status, from the peer: nobody vouched for any other address."""
    talk, lines = logged(header_timeout=10)
    if before:
        talk.service.trust = TrustPolicy.tornado()
        talk.receive(GET[:-2] + b"X-Real-Ip: 203.0.113.9\r\n\r\n")
    seen = len(talk.sent)
    talk.receive(sent)
    await talk.later(20)
    line = lines[-1]
    assert len(lines) == before + 1
    assert (line.line, line.status, line.ip) == (("-", "-", "-"), status, "192.0.2.7")
    assert line.sent == len(talk.sent) - seen > 0
    assert line.host is None
    talk.transport.abort()
    await talk.turn()
    assert len(lines) == before + 1


@pytest.mark.parametrize("app", [App, TakingApp], ids=["delegate", "take-request"])
async def test_access_log(app: Any) -> None:
    """Each exchange is logged once, at its end, with what was sent of it."""
    talk, lines = logged(app())
    talk.receive(GET)
    assert len(lines) == 1
    assert lines[0].sent == len(talk.sent)
    assert lines[0].status == 200
    assert lines[0].line == ("GET", "/x", "HTTP/1.1")
    assert lines[0].ip == "192.0.2.7"
    assert lines[0].host == "a"
    assert 0 <= lines[0].duration_s < 60
    talk.receive(GET * 2)
    assert len(lines) == 3


def write(request: Recorder) -> None:
    """Begin an answer of five bytes."""
    request.connection.write_headers(("", 206, "X"), fields(Content_Length="5"), b"abc")


def fail(request: Recorder) -> None:
    """Begin an answer, and fail."""
    write(request)
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("lost", 206),
        ("abort", 206),
        ("close", 206),
        ("fail", 206),
        ("too-little", 206),
        ("too-much", 206),
        ("half-closed", 206),
        ("write-timeout", 206),
        ("nothing-and-lost", 0),
        ("body-timeout", 408),
        ("body-cut", 0),
        ("body-refused", 400),
        ("body-too-large", 413),
    ],
)
async def test_what_breaks_is_logged_once(
    how: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """However an exchange ends it is logged once, with the status that was written."""
    talk, lines = logged(body_timeout=10, write_timeout=10, max_body_size=3)
    talk.app.on_finish = {"fail": fail, "nothing-and-lost": lambda request: None}.get(how, write)
    if how == "body-refused":
        talk.receive(POST.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"))
    elif how.startswith("body"):
        talk.receive(POST.replace(b"3", b"4") if how == "body-too-large" else POST)
    else:
        talk.receive(GET)
    connection = talk.app.requests[0].connection
    if how in ("lost", "nothing-and-lost"):
        await talk.turn()
        talk.transport.abort()
    elif how == "abort":
        connection.abort()
    elif how == "close":
        talk.service.connections.close()
    elif how == "too-little":
        with pytest.raises(HTTPOutputError):
            connection.finish()
    elif how == "too-much":
        with pytest.raises(HTTPOutputError):
            connection.write(b"def")
    elif how in ("half-closed", "body-cut"):
        talk.receive_eof()
    elif how == "body-refused":
        talk.receive(b"zz\r\n")
    await talk.later(20)
    await talk.later(20)
    talk.transport.abort()
    await talk.turn()
    assert [line.status for line in lines] == [status]
    assert lines[0].sent == len(talk.sent)


async def test_a_log_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """An access log that raises costs its line, and nothing else."""

    def log(exchange: Any) -> None:
        raise ZeroDivisionError

    talk = Talk(shared={"access_log": log})
    talk.receive(GET * 2)
    assert talk.statuses == [200, 200]
    assert [record.getMessage() for record in caplog.records] == [
        "Uncaught exception in the access log"
    ] * 2


# The end of all.


async def test_drain() -> None:
    """What is idle closes at once, what is in flight when it is answered, with `close`."""
    idle = Talk()
    talks = [idle, *(Talk(app=idle.app, http1=idle.http1) for _ in range(3))]
    busy, uploading, half = talks[1:]
    idle.app.on_finish = lambda request: None
    busy.receive(GET)
    uploading.receive(POST + b"a")
    half.receive(GET[:-2])
    idle.service.drain()
    waiting = asyncio.ensure_future(idle.service.connections.wait_empty())
    await idle.turn()
    assert [talk.transport.closed for talk in talks] == [True, False, False, False]
    idle.app.requests[0].answer(b"busy")
    assert b"\r\nConnection: close\r\n" in busy.sent
    assert busy.transport.closed
    idle.app.on_finish = None
    uploading.receive(b"bc" + GET)
    assert uploading.statuses == [200]
    assert uploading.ending
    uploading.receive_eof()
    assert not waiting.done()
    half.receive(b"\r\n")
    assert half.statuses == [200]
    await idle.turn()
    assert all(talk.transport.closed for talk in talks)
    assert waiting.done()
    assert not idle.service.connections.open


async def test_close() -> None:
    """Closing ends idle connections and cuts busy ones, whose applications are told."""
    talk = Talk()
    idle = FakeTransport()
    idle.protocol = HTTP1Connection(talk.http1)
    idle.protocol.connection_made(idle)
    told: list[int] = []
    talk.app.on_finish = lambda request: request.connection.set_close_callback(
        lambda: told.append(1)
    )
    talk.receive(GET)
    talk.service.connections.close()
    await talk.service.connections.wait_empty()
    await talk.service.connections.wait_empty()
    assert idle.closed
    assert not idle.aborted
    assert talk.transport.aborted
    assert told == [1]
    assert talk.app.closed == 2
    talk.connection.close()
    talk.connection.connection_lost(None)
    assert talk.app.closed == 2


async def test_close_during_a_linger() -> None:
    """A connection that lingers is closed with the others."""
    talk = Talk()
    talk.receive(b"rubbish\r\n\r\n")
    assert not talk.transport.closed
    talk.service.connections.close()
    assert talk.transport.closed


# Counting, and the clock.


async def test_connections_are_counted() -> None:
    """The server above is told of every change."""
    heard: list[str] = []
    talk = Talk(
        shared={"on_open": lambda: heard.append("+"), "on_close": lambda: heard.append("-")}
    )
    other = FakeTransport()
    other.protocol = HTTP1Connection(talk.http1)
    other.protocol.connection_made(other)
    talk.transport.abort()
    await talk.turn()
    other.abort()
    await talk.turn()
    assert heard == ["+", "+", "-", "-"]


async def test_the_clock_stops_without_connections_and_starts_again() -> None:
    """No timer runs for a server that nobody is connected to."""
    talk = Talk(idle_connection_timeout=10)
    assert inside.clock_runs(talk.service)
    talk.transport.abort()
    await talk.later(1)
    assert not inside.clock_runs(talk.service)
    await talk.later(1000)
    again = FakeTransport()
    again.protocol = HTTP1Connection(talk.http1)
    again.protocol.connection_made(again)
    await talk.later(5)
    assert not again.closed
    await talk.later(10)
    assert again.closed


async def test_each_loop_has_its_own_done_future() -> None:
    """A service that serves in a second loop hands out that loop's futures."""
    service = HTTPService(HTTPLimits(), App())
    here = service.ready_future(asyncio.get_running_loop())
    assert service.ready_future(asyncio.get_running_loop()) is here
    other = asyncio.new_event_loop()
    try:
        assert service.ready_future(other).get_loop() is other
    finally:
        other.close()


async def test_the_date_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Date of answers is at most a tick old."""
    talk = Talk()
    monkeypatch.setattr("edgeserver.http.clock.time.time", lambda: 784111777.9)
    await talk.later(1)
    talk.app.on_finish = lambda request: request.connection.write_headers(
        ("", 200, "OK"), [(b"content-length", b"0")]
    )
    talk.receive(GET)
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in talk.sent


# Who is believed.


async def test_another_trust_policy_from_the_next_request_on() -> None:
    """A policy put in force later judges the next request, also of a live connection."""
    believing = TrustPolicy.tornado()
    talk = Talk(shared={"trust": TrustPolicy.off()})
    data = GET[:-2] + b"X-Real-Ip: 203.0.113.9\r\nX-Scheme: https\r\n\r\n"
    seen = []
    talk.app.on_head = lambda request: seen.append(
        (request.connection.context.remote_ip, request.connection.context.protocol)
    )
    talk.receive(data)
    talk.service.trust = believing
    talk.receive(data)
    talk.receive(GET)
    talk.receive(data)
    talk.service.trust = TrustPolicy.off()
    talk.receive(data)
    peer, client = ("192.0.2.7", "http"), ("203.0.113.9", "https")
    assert seen == [peer, client, peer, client, peer]
    assert talk.app.requests[1].connection.client.remote_ip == "203.0.113.9"
    assert talk.app.requests[1].connection.explain() is not None


async def test_no_policy_at_all() -> None:
    """Without a policy the peer is the client, and there is nothing to explain."""
    talk = Talk()
    talk.receive(GET)
    connection = talk.app.requests[0].connection
    assert connection.client is None
    assert connection.explain() is None
    assert connection.remote_ip == "192.0.2.7"


async def test_a_policy_for_a_server_that_had_none() -> None:
    """A first policy judges live connections, too."""
    talk = Talk()
    data = GET[:-2] + b"X-Real-Ip: 203.0.113.9\r\n\r\n"
    talk.receive(data)
    assert talk.app.requests[0].connection.remote_ip == "192.0.2.7"
    talk.service.trust = TrustPolicy.tornado()
    talk.receive(data)
    assert talk.app.requests[1].connection.remote_ip == "203.0.113.9"


@pytest.mark.parametrize(
    "address", ["", "/run/x.sock", b"\x00x", None], ids=["unnamed", "path", "abstract", "none"]
)
async def test_unix_sockets(address: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A peer without an address is served, and logged as what it is."""
    caplog.set_level("INFO")
    http1 = HTTP1Shared(HTTPService(HTTPLimits(), App()))
    transport = FakeTransport(address)
    transport.protocol = connection = HTTP1Connection(http1)
    connection.connection_made(transport)
    assert connection.context.remote_ip == "0.0.0.0"
    connection.data_received(b"rubbish\r\n\r\n")
    assert "from unix:: " in caplog.records[0].getMessage()
    assert b" 400 " in transport.sent
