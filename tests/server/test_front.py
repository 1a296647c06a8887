"""What is done with each request before the application has it: ids, shedding, slow requests."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import tornado.web

from edgeserver.adapters.detect import make_delegate
from edgeserver.audit.log import AuditLog
from edgeserver.errors import ConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.logs.access import AccessLog
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.site import address_of, answer, connected, fetch, serve, tell

ID = {"request_id_header": "X-Request-ID"}
PROXY = {"trust": TrustPolicy(["127.0.0.1"])}


async def asgi_tell(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Tell the request's id as an ASGI application finds it, in both places."""
    known = scope["extensions"]["edgeserver"]["request_id"]
    found = dict(scope["headers"])[b"x-request-id"].decode()
    body = json.dumps([known, found]).encode()
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def wsgi_tell(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Tell it as a WSGI application finds it."""
    start_response("200 OK", [])
    return [json.dumps([environ["edgeserver.request_id"], environ["HTTP_X_REQUEST_ID"]]).encode()]


def callback_tell(request: Any) -> None:
    """Tell it as a callback finds it."""
    answer(request, json.dumps([request.request_id, request.headers["X-Request-ID"]]))


APPLICATIONS = {"asgi": asgi_tell, "wsgi": wsgi_tell, "callback": callback_tell}


@pytest.mark.parametrize("kind", APPLICATIONS)
@pytest.mark.parametrize("listed", [True, False], ids=["proxy", "stranger"])
async def test_an_id_is_the_same_everywhere(kind: str, listed: bool, tmp_path: Path) -> None:
    """Application, answer, access log and audit log call a request by one name."""
    lines = io.StringIO()
    audit = AuditLog(tmp_path / "audit.jsonl")
    trust = PROXY if listed else {}
    delegate = make_delegate(kind, APPLICATIONS[kind], {})
    options: dict[str, Any] = {"access_log": AccessLog(lines, "json"), "audit_log": audit}
    async with serve(delegate, **ID, **trust, **options) as server:
        got = await fetch(address_of(server), b"X-Request-ID: from-outside\r\n")
    audit.close()
    options["access_log"].close()
    told = got.fields["x-request-id"]
    assert (told == "from-outside") is listed
    assert json.loads(got.body) == [told, told]
    assert json.loads(lines.getvalue())["request_id"] == told
    recorded = (tmp_path / "audit.jsonl").read_text().splitlines()[-1]
    assert json.loads(recorded)["request_id"] == told


async def test_repeated_heads_have_ids_of_their_own() -> None:
    """A connection that repeats its head gets a new id each time."""
    async with serve(**ID) as server, connected(address_of(server)) as client:
        ids = [(await client.ask()).fields["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3


async def test_an_application_may_say_the_id_itself() -> None:
    """What the application writes in that field is not said twice."""

    def app(request: Any) -> None:
        request.connection.write_headers(
            ("HTTP/1.1", 204, "No Content"), [(b"x-request-id", b"mine")]
        )
        request.connection.finish()

    async with serve(app, **ID) as server, connected(address_of(server)) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.lower().count(b"x-request-id:") == 1
    assert b"mine" in head


async def test_a_refusal_has_the_id_too() -> None:
    """The answer to a body that is too long can be found in the logs."""
    async with serve(max_body_size=10, **ID) as server, connected(address_of(server)) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")
        assert (await client.answer()).status == 200
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"b\r\n12345678901\r\n0\r\n\r\n")
        refused = await client.answer()
    assert refused.status == 413
    assert len(refused.fields["x-request-id"]) == 32


async def test_too_many_requests_of_one_client(caplog: pytest.LogCaptureFixture) -> None:
    """The client is the resolved one: others behind the same proxy are served."""
    async with serve(client_rate="1/h", **PROXY) as server:
        async with connected(address_of(server)) as client:
            first = await client.ask(b"X-Forwarded-For: 203.0.113.9\r\n")
            again = await client.ask(b"X-Forwarded-For: 203.0.113.9\r\n")
            other = await client.ask(b"X-Forwarded-For: 203.0.113.8\r\n")
            own = [(await client.ask()).status for _ in range(2)]
        assert server.shed == {"max-in-flight": 0, "client-rate": 1, "client-connections": 0}
    assert [each.status for each in (first, again, other)] == [200, 429, 200]
    assert 3500 < int(again.fields["retry-after"]) <= 3600
    assert own == [200, 200]
    assert "203.0.113.9 is told 429: too many requests (client_rate)" in caplog.text


async def test_a_body_of_a_refused_request() -> None:
    """A body that nobody will read ends the connection, after the answer."""
    async with serve(client_rate="1/h") as server, connected(address_of(server)) as client:
        await client.ask()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        refused = await client.answer()
        assert refused.status == 429
        assert refused.fields["connection"] == "close"
        assert await client.ended()


async def test_too_many_requests_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """More than so many are told to come back, and served once others have ended."""
    waiting: list[Any] = []
    async with serve(waiting.append, max_in_flight=2) as server:
        where = address_of(server)
        async with connected(where) as one, connected(where) as two, connected(where) as three:
            for client in (one, two):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while len(waiting) < 2:
                await asyncio.sleep(0)
            busy = await three.ask()
            assert (busy.status, busy.fields["retry-after"]) == (503, "5")
            answer(waiting.pop(), "done")
            assert (await two.answer()).status == 200
            await three.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while len(waiting) < 2:
                await asyncio.sleep(0)
        assert server.shed["max-in-flight"] == 1
    assert "so many are in flight (max_in_flight)" in caplog.text


async def test_who_leaves_makes_room() -> None:
    """A client that leaves in the middle is served no longer, and counts no longer."""
    waiting: list[Any] = []
    # One that closes its side may still read: it counts as gone once it takes nothing.
    async with serve(waiting.append, max_in_flight=1, write_timeout=0.1) as server:
        async with connected(address_of(server)) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while not waiting:
                await asyncio.sleep(0)
        while server.open_connections:
            await asyncio.sleep(0)
        async with connected(address_of(server)) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while len(waiting) < 2:
                await asyncio.sleep(0)


async def test_too_many_connections_of_one_client() -> None:
    """The request on one too many is told 429, and that connection is closed."""
    async with serve(client_connections=1) as server:
        async with connected(address_of(server)) as one:
            assert (await one.ask()).status == 200
            async with connected(address_of(server)) as two:
                refused = await two.ask()
                assert refused.status == 429
                assert await two.ended()
            assert (await one.ask()).status == 200
        while server.open_connections:
            await asyncio.sleep(0)
        assert (await fetch(address_of(server))).status == 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"client_rate": "20"}, "write 20/s"),
        ({"client_connections": -1}, "client_connections"),
        ({"request_id_header": "Host"}, "X-Request-ID"),
        ({"slow_request": 0}, "slow_request"),
    ],
    ids=["in-flight", "rate", "connections", "ids", "slow"],
)
def test_settings_that_cannot_work(options: dict[str, Any], words: str) -> None:
    """A wrong setting is refused when the server is made."""
    with pytest.raises(ConfigurationError, match=words):
        HTTPServer(tell, **options)


def test_nothing_is_shed_by_default() -> None:
    """A server that bounds nothing counts nothing."""
    assert HTTPServer(tell).shed == {}


# What a slow request waits for, as each adapter says it.

_GO_ON = threading.Event()


async def asgi_waits(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Wait for good."""
    await asyncio.get_running_loop().create_future()


async def callback_waits(request: Any) -> None:
    """Wait for good."""
    await asyncio.get_running_loop().create_future()


def wsgi_waits(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Hold a thread until the test is over."""
    _GO_ON.wait(30)
    start_response("200 OK", [])
    return []


class TornadoWaits(tornado.web.RequestHandler):
    """A handler of Tornado's that waits."""

    async def get(self) -> None:
        await asyncio.get_running_loop().create_future()


WAITING = {
    "asgi": (asgi_waits, "in asgi_waits"),
    "callback": (callback_waits, "in callback_waits"),
    "wsgi": (wsgi_waits, "in wsgi_waits"),
    "tornado": (tornado.web.Application([("/", TornadoWaits)]), "in get"),
}


@pytest.mark.parametrize("kind", WAITING)
async def test_where_an_application_waits(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """File, line and function of the application stand in the log while it waits."""
    app, where = WAITING[kind]
    delegate = make_delegate(kind, app, {})
    _GO_ON.clear()
    # The shortest time limit says how often is looked.
    options = {"slow_request": 0.01, "header_timeout": 0.1}
    async with serve(delegate, **options) as server, connected(address_of(server)) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while "slow request" not in caplog.text:
            await asyncio.sleep(0.01)
        _GO_ON.set()
    line = caplog.records[0].getMessage()
    assert where in line
    assert Path(__file__).name in line


async def test_a_slow_client_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Where it is the body that is waited for, the application is not blamed."""
    options = {"slow_request": 0.01, "header_timeout": 5}
    async with serve(**options) as server, connected(address_of(server)) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1")
        while "slow request" not in caplog.text:
            await asyncio.sleep(0.01)
    assert "waits for the client, of whose body more is to come" in caplog.text
