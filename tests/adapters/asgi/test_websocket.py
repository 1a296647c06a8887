"""The `websocket` connection scope over real sockets, against the client of `websockets`.

Each conversation is held over HTTP/1.1, and again over a stream of HTTP/2.
"""

import asyncio
import base64
import contextlib
import dataclasses
import logging
import os

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from edgeserver.adapters.asgi import MessageError
from edgeserver.errors import StreamClosedError
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.websocket.settings import HELD_MESSAGES
from tests.adapters import inside
from tests.adapters.asgi import serving as http1
from tests.adapters.asgi.serving import split
from tests.adapters.serving import STEP_S, hang_up, reset, until
from tests.http2.bridge import bridging
from tests.loops import on_both_loops

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}


@contextlib.asynccontextmanager
async def over_http2(app, **options):
    """Serve `app` behind a bridge that speaks HTTP/2 to it."""
    async with bridging() as bridge, http1.serving(app, **options) as served:
        bridge.target = served.port
        yield dataclasses.replace(served, port=bridge.port)


serving = None  # that of a test's version


@pytest.fixture(autouse=True, params=["HTTP/1.1", "HTTP/2"])
def version(request, monkeypatch):
    """Serve over HTTP/1.1, then over HTTP/2."""
    over = over_http2 if request.param == "HTTP/2" else http1.serving
    monkeypatch.setitem(globals(), "serving", over)
    return request.param


def handshake(**changes):
    """Return a handshake; a keyword changes the field of that name, None leaves it out."""
    fields = {
        "Host": "example.com",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
    }
    for name, value in changes.items():
        fields[name.replace("_", "-")] = value
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(["GET /ws HTTP/1.1", *lines, "", ""]).encode()


async def echo(scope, receive, send):
    """Accept, and send every message back."""
    assert await receive() == {"type": "websocket.connect"}
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def address(served):
    """Return where the WebSocket is."""
    return f"ws://127.0.0.1:{served.port}/ws"


async def close_of(client):
    """Wait until the server closes, and return its Close frame."""
    with pytest.raises(ConnectionClosed) as caught:
        await client.recv()
    return caught.value.rcvd


@contextlib.asynccontextmanager
async def raw_socket(served, request=None):
    """Open a WebSocket by hand; gives the reader, the writer and the head of the answer."""
    reader, writer = await served.connect()
    writer.write(request or handshake())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), STEP_S)
    try:
        yield reader, writer, head
    finally:
        await hang_up(writer)


def frame(opcode, data=b"", *, fin=True):
    """Return a frame as a client sends it."""
    return Frame(opcode, data, fin).serialize(mask=True, extensions=[])


async def read_frame(reader):
    """Return the opcode and the payload of the next frame."""
    first, size = await asyncio.wait_for(reader.readexactly(2), STEP_S)
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
    return Opcode(first & 15), await reader.readexactly(size)


def close_code(payload):
    """Return the code in the payload of a Close frame."""
    return int.from_bytes(payload[:2], "big")


@on_both_loops
class TestMessages:
    @pytest.mark.parametrize("compression", ["deflate", None])
    async def test_text_and_bytes_go_both_ways(self, compression):
        """Messages of every size come back as they were, compressed or not."""
        sent = ["", "ü" * 10, b"", os.urandom(200), "x" * 70_000, os.urandom(300_000)]
        async with (
            serving(echo, ws_per_message_deflate=True) as served,
            connect(address(served), compression=compression) as client,
        ):
            for message in sent:
                await client.send(message)
                assert await asyncio.wait_for(client.recv(), STEP_S) == message
            assert bool(client.protocol.extensions) == (compression is not None)

    async def test_fragments_become_one_message(self):
        """The application gets whole messages, also where a ping stands between two fragments."""
        async with serving(echo) as served, raw_socket(served) as (reader, writer, _):
            writer.write(frame(Opcode.TEXT, "ü".encode()[:1], fin=False))
            writer.write(frame(Opcode.PING, b"between"))
            writer.write(frame(Opcode.CONT, b"", fin=False))
            writer.write(frame(Opcode.CONT, "ü".encode()[1:]))
            assert await read_frame(reader) == (Opcode.PONG, b"between")
            assert await read_frame(reader) == (Opcode.TEXT, "ü".encode())

    async def test_frames_behind_the_handshake_are_not_lost(self):
        """A client that does not wait for the 101 has its first message read all the same."""
        early = handshake() + frame(Opcode.TEXT, b"early")
        async with serving(echo) as served, raw_socket(served, early) as (reader, _, head):
            assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            assert await read_frame(reader) == (Opcode.TEXT, b"early")

    async def test_compression_is_off_by_default(self):
        """A client that offers permessage-deflate, as browsers do, goes on without."""
        async with serving(echo) as served, connect(address(served)) as client:
            assert client.protocol.extensions == []

    async def test_messages_that_nobody_receives_are_not_read(self):
        """Reading pauses while messages wait, and goes on when they are received."""
        go_on = asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            await send(ACCEPT)
            await go_on.wait()
            for _ in range(1000):
                await receive()
            await send({"type": "websocket.send", "text": "all"})

        async with (
            serving(app) as served,
            connect(address(served), compression=None) as client,
        ):
            sending = asyncio.gather(*[client.send(b"x" * 10_000) for _ in range(1000)])
            [call] = served.adapter.calls
            await until(lambda: inside.websocket_read_paused(call))
            assert inside.held_messages(call) <= HELD_MESSAGES + 1
            go_on.set()
            assert await asyncio.wait_for(client.recv(), STEP_S) == "all"
            await sending

    async def test_a_client_that_does_not_read_holds_back_the_application(self):
        """Send waits; and pings are not answered into memory meanwhile."""
        sent = 0

        async def app(scope, receive, send):
            nonlocal sent
            await receive()
            await send(ACCEPT)
            with contextlib.suppress(StreamClosedError):
                while True:
                    await send({"type": "websocket.send", "bytes": b"x" * 65536})
                    sent += 1

        async with serving(app) as served:
            reader, writer = await served.connect(limit=1024)
            writer.write(handshake())
            await until(lambda: served.adapter.calls)
            [call] = served.adapter.calls
            await until(
                lambda: inside.websocket_has_begun(call) and inside.websocket_writing_paused(call)
            )
            assert inside.websocket_read_paused(call)
            assert sent < 1000
            reset(writer)
            await until(lambda: not served.adapter.calls)
            del reader


@on_both_loops
class TestHandshakes:
    async def test_the_scope(self, version):
        """The scope has the keys of the table; client and scheme are the resolved ones."""
        scopes = []

        async def app(scope, receive, send):
            scopes.append(scope)
            await echo(scope, receive, send)

        extra = {"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Proto": "https"}
        async with serving(app, server={"trust": TrustPolicy(["127.0.0.1"])}) as served:
            uri = address(served) + "?a=%20"
            async with connect(uri, subprotocols=["b", "a"], additional_headers=extra):
                pass
        [scope] = scopes
        assert scope["type"] == "websocket"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
        assert scope["http_version"] == version.removeprefix("HTTP/")
        assert scope["client"] == ("203.0.113.5", 0)
        proof = scope["extensions"]["edgeserver"]["explain"]()
        assert scope["scheme"] == {"https": "wss", "http": "ws"}[proof.resolved.protocol]
        assert (scope["path"], scope["query_string"]) == ("/ws", b"a=%20")
        assert list(scope["subprotocols"]) == ["b", "a"]
        assert (b"x-forwarded-for", b"203.0.113.5") in scope["headers"]
        assert scope["extensions"]["websocket.http.response"] == {}
        assert "method" not in scope
        assert "http.response.trailers" not in scope["extensions"]

    async def test_subprotocol_and_fields_of_the_application(self):
        """What the application chooses is in the 101."""

        async def app(scope, receive, send):
            await receive()
            fields = [(b"x-thing", b"1"), [b"set-cookie", b"a=b"]]
            await send({**ACCEPT, "subprotocol": "chat", "headers": fields})
            await receive()

        async with (
            serving(app) as served,
            connect(address(served), subprotocols=["chat"]) as client,
        ):
            assert client.subprotocol == "chat"
            assert client.response.headers["X-Thing"] == "1"
            assert client.response.headers["Set-Cookie"] == "a=b"

    @pytest.mark.parametrize(
        "request_",
        [
            pytest.param(handshake(Upgrade="h2c"), id="another-protocol"),
            pytest.param(
                handshake(Connection="close", Upgrade="websocket"), id="not-in-connection"
            ),
            pytest.param(handshake().replace(b"GET", b"POST"), id="post"),
            pytest.param(handshake(Content_Length="2") + b"ab", id="with-a-body"),
            pytest.param(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), id="http-1.0"),
        ],
    )
    async def test_other_upgrades_are_plain_requests(self, request_):
        """A server may ignore an Upgrade of HTTP/1.1: the application answers over HTTP."""

        async def app(scope, receive, send):
            assert scope["type"] in ("http", "websocket")
            if scope["type"] == "websocket":
                await receive()
                await send(CLOSE)
                return
            headers = [(b"connection", b"close")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"plain"})

        async with http1.serving(app) as served:
            status, _, body = split(await served.ask(request_))
        assert (status, body) == (200, b"plain") or status == 426

    @pytest.mark.parametrize("closing", [True, False], ids=["close", "denial"])
    async def test_the_application_may_refuse(self, closing):
        """Closing first is 403; the denial extension gives any answer, after which all closes."""

        async def app(scope, receive, send):
            await receive()
            if closing:
                await send(CLOSE)
                return
            start = {"type": "websocket.http.response.start", "status": 401}
            await send({**start, "headers": [(b"www-authenticate", b"Basic")]})
            body = {"type": "websocket.http.response.body"}
            await send({**body, "body": b"log", "more_body": True})
            await send({**body, "body": b" in"})
            assert (await receive())["type"] == "websocket.disconnect"

        async with serving(app) as served:
            with pytest.raises(InvalidStatus) as caught:
                await connect(address(served))
        response = caught.value.response
        assert response.status_code == (403 if closing else 401)
        if not closing:
            assert response.headers["WWW-Authenticate"] == "Basic"
            assert response.headers["Connection"] == "close"
            assert response.body == b"log in"

    async def test_a_client_that_leaves_during_the_handshake(self):
        """The application that has not answered yet hears of it, and its answer is an OSError."""
        asked, over = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            asked.set()
            assert await receive() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
            with pytest.raises(OSError, match="closed"):
                await send(ACCEPT)
            over.set()

        async with serving(app) as served:
            _, writer = await served.connect()
            writer.write(handshake())
            await asked.wait()
            reset(writer)
            await asyncio.wait_for(over.wait(), STEP_S)


@on_both_loops
class TestCloses:
    @pytest.mark.parametrize(
        ("code", "reason", "expected"),
        [
            pytest.param(1000, "", (1000, ""), id="normal"),
            pytest.param(4001, "why", (4001, "why"), id="with-a-reason"),
        ],
    )
    async def test_the_client_closes(self, code, reason, expected):
        """The application gets code and reason, and the client its own code back."""
        told = asyncio.get_running_loop().create_future()

        async def app(scope, receive, send):
            await receive()
            await send(ACCEPT)
            told.set_result(await receive())
            with pytest.raises(OSError, match="closed"):
                await send({"type": "websocket.send", "text": "late"})

        async with serving(app) as served:
            client = await connect(address(served))
            await client.close(code, reason)
            message = await asyncio.wait_for(told, STEP_S)
        assert (message["code"], message["reason"]) == expected
        assert client.close_code == code

    async def test_a_close_without_a_code_is_1005(self):
        """An empty Close frame is reported as the specification says."""
        told = asyncio.get_running_loop().create_future()

        async def app(scope, receive, send):
            await receive()
            await send(ACCEPT)
            told.set_result(await receive())

        async with serving(app) as served, raw_socket(served) as (reader, writer, _):
            writer.write(frame(Opcode.CLOSE))
            assert await read_frame(reader) == (Opcode.CLOSE, b"")
            assert await reader.read() == b""
        assert (await told)["code"] == 1005

    @pytest.mark.parametrize("way", ["close", "reset"])
    async def test_the_connection_is_lost(self, way):
        """Without a Close frame the code is 1006."""
        ready = asyncio.Event()
        told = asyncio.get_running_loop().create_future()

        async def app(scope, receive, send):
            await receive()
            await send(ACCEPT)
            ready.set()
            told.set_result(await receive())

        async with serving(app) as served:
            _, writer = await served.connect()
            writer.write(handshake())
            await ready.wait()
            if way == "reset":
                reset(writer)
            else:
                await hang_up(writer)
            message = await asyncio.wait_for(told, STEP_S)
        assert message == {"type": "websocket.disconnect", "code": 1006, "reason": ""}

    async def test_the_application_closes(self):
        """The client gets code and reason; messages afterwards raise, a second close does not."""
        over = asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            await send(ACCEPT)
            await send({**CLOSE, "code": 4000, "reason": "enough"})
            await send(CLOSE)
            with pytest.raises(OSError, match="closed"):
                await send({"type": "websocket.send", "text": "late"})
            assert (await receive())["type"] == "websocket.disconnect"
            over.set()

        async with serving(app) as served:
            client = await connect(address(served))
            close = await close_of(client)
            await asyncio.wait_for(over.wait(), STEP_S)
        assert (close.code, close.reason) == (4000, "enough")

    @pytest.mark.parametrize(
        ("frames", "code"),
        [
            pytest.param(frame(Opcode.TEXT, b"\xff"), 1007, id="not-utf-8"),
            pytest.param(frame(Opcode.BINARY, b"x" * 101), 1009, id="too-big"),
            pytest.param(
                frame(Opcode.BINARY, b"x" * 60, fin=False) + frame(Opcode.CONT, b"x" * 60),
                1009,
                id="too-big-in-fragments",
            ),
            pytest.param(frame(Opcode.CONT, b"x"), 1002, id="nothing-to-continue"),
            pytest.param(b"\x81\x01x", 1002, id="not-masked"),
            pytest.param(b"\x83\x80\0\0\0\0", 1002, id="unknown-opcode"),
        ],
    )
    async def test_what_breaks_the_rules_is_failed(self, frames, code):
        """The client gets the code of RFC 6455 section 7.4.1, and the application hears it too."""
        told = asyncio.get_running_loop().create_future()

        async def app(scope, receive, send):
            await receive()
            await send(ACCEPT)
            told.set_result(await receive())

        async with (
            serving(app, ws_max_size=100) as served,
            raw_socket(served) as (reader, writer, _),
        ):
            writer.write(frames)
            opcode, payload = await read_frame(reader)
            assert (opcode, close_code(payload)) == (Opcode.CLOSE, code)
            writer.write(b"x" * 100_000)  # nothing is read any more, and no reset either
            assert await asyncio.wait_for(reader.read(), STEP_S) == b""
        assert (await told)["code"] == code

    async def test_a_message_that_is_large_only_once_decompressed_is_too_big(self):
        """The limit is of the decompressed size."""
        async with serving(echo, ws_max_size=10_000, ws_per_message_deflate=True) as served:
            client = await connect(address(served), compression="deflate")
            await client.send("x" * 1_000_000)
            close = await close_of(client)
        assert close.code == 1009

    async def test_a_silent_client_is_cut(self):
        """One that does not answer pings is closed with 1011."""
        async with (
            serving(echo, ws_ping_interval=0.01, ws_ping_timeout=0.01) as served,
            raw_socket(served) as (reader, _, _),
        ):
            assert (await read_frame(reader))[0] is Opcode.PING
            opcode, payload = await read_frame(reader)
        assert (opcode, close_code(payload)) == (Opcode.CLOSE, 1011)
        assert payload[2:] == b"keepalive ping timeout"

    async def test_a_client_that_answers_pings_stays(self):
        """Pings go on as long as something comes back."""
        async with (
            serving(echo, ws_ping_interval=0.01, ws_ping_timeout=0.5) as served,
            raw_socket(served) as (reader, writer, _),
        ):
            for _ in range(3):
                opcode, payload = await read_frame(reader)
                assert opcode is Opcode.PING
                writer.write(frame(Opcode.PONG, payload))

    async def test_the_end_of_the_server_closes_with_1012(self):
        """Clients are told that the service restarts, and the application of the disconnect."""
        told = []

        async def app(scope, receive, send):
            await receive()
            await send(ACCEPT)
            told.append(await receive())

        async with serving(app) as served:
            client = await connect(address(served))
        close = await close_of(client)
        assert close.code == 1012
        assert told[0]["type"] == "websocket.disconnect"
        await until(lambda: served.server.open_connections == 0)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        pytest.param([], "without answering the handshake", id="sends-nothing"),
        pytest.param([RuntimeError("boom")], "boom", id="raises"),
        pytest.param(
            [{"type": "websocket.send", "text": "x"}], "'websocket.send'", id="send-first"
        ),
        pytest.param([{"type": "http.response.start"}], "'http.response.start'", id="http"),
        pytest.param([{**ACCEPT, "subprotocol": 1}], "'subprotocol' is 1", id="subprotocol-int"),
        pytest.param(
            [{**ACCEPT, "headers": [(b"Sec-WebSocket-Protocol", b"x")]}],
            "the handshake's own",
            id="subprotocol-field",
        ),
        pytest.param([{**ACCEPT, "headers": [("a", "b")]}], "not of bytes", id="fields-of-str"),
        pytest.param([{**ACCEPT, "headers": [(b"a", b"\r\n")]}], "CR or LF", id="injection"),
        pytest.param(
            [{"type": "websocket.http.response.start"}], "'status' is None", id="denial-no-status"
        ),
        pytest.param(
            [{"type": "websocket.http.response.start", "status": 400}, ACCEPT],
            "'websocket.accept' after",
            id="accept-after-denial",
        ),
    ],
)
async def test_failures_before_the_handshake_answer_500(messages, words, caplog):
    """The client gets an HTTP error, and the log the request and the why."""

    async def app(scope, receive, send):
        await receive()
        for message in messages:
            if isinstance(message, Exception):
                raise message
            await send(message)

    async with serving(app) as served:
        status, _, _ = split(await served.ask(handshake(Connection="Upgrade, close")))
    assert status == 500
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "WebSocket /ws from 127.0.0.1" in record.getMessage()
    assert words in caplog.text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param(RuntimeError("boom"), "boom", id="raises"),
        pytest.param(asyncio.CancelledError(), "CancelledError", id="awaits-what-was-cancelled"),
        pytest.param(ACCEPT, "'websocket.accept' after", id="accepts-twice"),
        pytest.param({"type": "websocket.send"}, "exactly one", id="sends-nothing"),
        pytest.param(
            {"type": "websocket.send", "text": "a", "bytes": b"a"}, "exactly one", id="sends-both"
        ),
        pytest.param({"type": "websocket.send", "text": b"a"}, "give a str", id="text-of-bytes"),
        pytest.param({"type": "websocket.send", "bytes": "a"}, "give bytes", id="bytes-of-text"),
        pytest.param({**CLOSE, "code": "x"}, "'code' is 'x'", id="code-str"),
        pytest.param({**CLOSE, "code": 1006}, "websocket.close", id="code-not-to-be-sent"),
        pytest.param({**CLOSE, "reason": "x" * 124}, "websocket.close", id="reason-too-long"),
    ],
)
async def test_failures_of_an_open_websocket_close_it_with_1011(message, words, caplog):
    """The client gets the code for internal errors, and the log the request and the why."""

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        if isinstance(message, BaseException):
            raise message
        await send(message)

    async with serving(app) as served:
        client = await connect(address(served))
        close = await close_of(client)
    assert close.code == 1011
    assert "WebSocket /ws from 127.0.0.1" in caplog.text
    assert words in caplog.text


async def test_an_application_that_returns_closes_normally(caplog):
    """The socket ends with the application."""

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)

    async with serving(app) as served:
        client = await connect(address(served))
        close = await close_of(client)
    assert close.code == 1000
    assert not [each for each in caplog.records if each.name.startswith("edgeserver")]


async def test_send_raises_where_the_mistake_is():
    """The application itself sees the error, and may go on."""

    async def app(scope, receive, send):
        await receive()
        with pytest.raises(MessageError, match=r"as answer to 'websocket\.connect'"):
            await send({"type": "websocket.nonsense"})
        await send(ACCEPT)
        with pytest.raises(MessageError, match="exactly one"):
            await send({"type": "websocket.send"})
        await send({"type": "websocket.send", "bytes": bytearray(b"fine")})

    async with serving(app) as served, connect(address(served)) as client:
        assert await client.recv() == b"fine"


async def test_a_scope_that_cannot_be_made_answers_500(caplog):
    """A failure before the application is called is answered and logged as one of its own."""

    async def app(scope, receive, send):
        raise AssertionError("it is never called")

    # A lone surrogate is not a path; nothing else that a scope is made of can fail.
    async with serving(app, root_path="/\udcff") as served:
        async with raw_socket(served) as (_, _, head):
            assert head.startswith(b"HTTP/1.1 500 ")
        await until(lambda: not served.adapter.calls)
    assert "Uncaught exception in WebSocket /ws from 127.0.0.1" in caplog.text
