"""What becomes of a request when its application does what it should not.

Each row of these tables is a promise: what the client sees, and what the log says.
"""

import asyncio
import logging

import pytest

from edgeserver.adapters.asgi import MessageError
from edgeserver.adapters.asgi.http import UNHEARD_SENDS
from edgeserver.errors import HTTPOutputError, StreamClosedError
from tests.adapters.asgi.serving import GET, answer, post, serving, split
from tests.adapters.serving import STEP_S, hang_up, reset, until

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}
MORE = {**BODY, "more_body": True}


def playing(*messages):
    """Return an application that sends `messages`, an exception being raised instead."""

    async def app(scope, receive, send):
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            await send(message)

    return app


async def leave_during(served, ready):
    """Ask, leave once the application is `ready`, and wait until it has ended."""
    _, writer = await served.connect()
    writer.write(GET)
    await ready.wait()
    await hang_up(writer)
    await until(lambda: not served.adapter.calls)


def start(*fields, **keys):
    """Return a start of an answer with these fields."""
    return {**START, "headers": list(fields), **keys}


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        pytest.param([RuntimeError("boom")], "boom", id="raises-first"),
        pytest.param([START, RuntimeError("boom")], "boom", id="raises-after-the-start"),
        pytest.param([asyncio.CancelledError()], "CancelledError", id="awaits-what-was-cancelled"),
        pytest.param([], "without starting its answer", id="sends-nothing"),
        pytest.param([START], "without completing its answer", id="starts-only"),
        pytest.param([BODY], "'http.response.body' before", id="body-first"),
        pytest.param([START, START], "'http.response.start' after", id="two-starts"),
        pytest.param([{"type": "http.response.trailers"}], "trailers' before", id="trailers-first"),
        pytest.param([{"type": "http.nonsense"}], "'http.nonsense'", id="unknown"),
        pytest.param([{"type": "websocket.send"}], "'websocket.send'", id="of-another-scope"),
        pytest.param([{}], "{} (dict), which is not an ASGI message", id="no-type"),
        pytest.param([None], "None (NoneType)", id="no-dict"),
        pytest.param([{"type": 1}], "message 1 before", id="type-no-str"),
        pytest.param([{"type": "http.response.start"}], "'status' is None", id="no-status"),
        pytest.param([start(status="200")], "'status' is '200'", id="status-str"),
        pytest.param([start(status=101)], "'status' is 101", id="status-informational"),
        pytest.param([start(status=1000)], "'status' is 1000", id="status-of-four-digits"),
        pytest.param([start(headers=5)], "'headers' is 5", id="headers-no-iterable"),
        pytest.param([start(b"ab"), BODY], "pairs of bytes", id="header-no-pair"),
        pytest.param([start((b"a", 1)), BODY], "pairs of bytes", id="header-value-int"),
        pytest.param([start((b"a", b"1\r\nb: 2")), BODY], "CR or LF", id="header-injection"),
        pytest.param([start((b"a b", b"1")), BODY], "not a field name", id="header-name"),
        pytest.param([START, {**BODY, "body": "text"}], "'body' is 'text'", id="body-str"),
        pytest.param([start((b"content-length", b"5")), BODY], "says 5 bytes", id="too-short"),
        pytest.param([start((b"content-length", b"0")), BODY], "says 0 bytes", id="too-long"),
        pytest.param([start((b"content-length", b"-1")), BODY], "pairs of bytes", id="no-length"),
        pytest.param(
            [start((b"content-length", b"1"), (b"content-length", b"2")), BODY],
            "both 1 and 2",
            id="two-lengths",
        ),
        pytest.param(
            [START, {"type": "http.response.early_hint", "links": [b"a\r\nb"]}],
            "http.response.early_hint",
            id="hint-injection",
        ),
    ],
)
async def test_failures_before_the_head_answer_500(messages, words, caplog):
    """Nothing was written: the client gets an error page, the log the request and the why."""
    async with serving(playing(*messages)) as served:
        status, fields, body = split(await served.ask(GET.replace(b"/ ", b"/path?x=1 ")))
    assert (status, body) == (500, b"Internal Server Error\n")
    assert fields["content-type"] == "text/plain; charset=utf-8"
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.name == "edgeserver.application"
    assert "GET /path?x=1 HTTP/1.1 from 127.0.0.1" in record.getMessage()
    assert words in caplog.text


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        pytest.param([START, MORE, RuntimeError("boom")], "boom", id="raises"),
        pytest.param([START, MORE], "without completing its answer", id="returns"),
        pytest.param([START, MORE, START], "'http.response.start' after", id="second-start"),
        pytest.param([START, MORE, {**BODY, "body": 5}], "'body' is 5", id="body-int"),
        pytest.param(
            [start((b"content-length", b"3")), MORE, BODY], "1 bytes less", id="less-than-declared"
        ),
        pytest.param(
            [start((b"content-length", b"1")), MORE, MORE], "more data", id="more-than-declared"
        ),
        pytest.param(
            [start(trailers=True), BODY], "without completing its answer", id="no-trailers"
        ),
        pytest.param([start(trailers=True), BODY, BODY], "'http.response.body' after", id="no-end"),
        pytest.param(
            [
                start(trailers=True),
                BODY,
                {"type": "http.response.trailers", "headers": [(b"content-length", b"1")]},
            ],
            "trailer section",
            id="framing-in-trailers",
        ),
    ],
)
async def test_failures_after_the_head_cut_the_connection(messages, words, caplog):
    """The client sees that the answer is not complete; the log has the request and the why."""
    request = GET.replace(b"Connection: close", b"TE: trailers")
    async with serving(playing(*messages)) as served:
        status, fields, body = split(await served.ask(request))
    assert status == 200
    complete = body.endswith(b"0\r\n\r\n") or len(body) == int(fields.get("content-length", -1))
    assert not complete or "more data" in words
    assert [each.levelname for each in caplog.records if each.levelno >= logging.ERROR] == ["ERROR"]
    assert "GET / HTTP/1.1 from 127.0.0.1" in caplog.text
    assert words in caplog.text


async def test_send_raises_where_the_mistake_is():
    """The application itself sees the error, and may answer something else."""

    async def app(scope, receive, send):
        with pytest.raises(MessageError, match=r"'http\.response\.body' before"):
            await send(BODY)
        await send({**START, "headers": [(b"content-length", b"7")]})
        with pytest.raises(HTTPOutputError, match="says 7 bytes"):
            await send(BODY)
        await send({**BODY, "body": b"perfect"})

    async with serving(app) as served:
        assert split(await served.ask())[::2] == (200, b"perfect")


async def test_messages_after_the_end_are_ignored(caplog):
    """Any further messages on the channel will be ignored, as the specification says."""
    async with serving(playing(START, BODY, BODY, START, {"type": "http.nonsense"})) as served:
        assert split(await served.ask())[::2] == (200, b"x")
    assert not caplog.records


async def test_an_answer_before_the_body_ends_the_connection():
    """What is left of the body is not taken for a request: the answer goes out, then all closes."""

    async def app(scope, receive, send):
        await answer(send, b"enough")

    async with serving(app) as served:
        reader, writer = await served.connect()
        writer.write(post(b"x" * 1000).replace(b"Connection: close\r\n", b"")[:-1])
        assert split(await asyncio.wait_for(reader.read(), STEP_S))[2] == b"enough"
        await hang_up(writer)


async def test_an_answer_before_an_unread_body_keeps_a_whole_connection():
    """A body that has come whole and that nobody asked for does not end the connection."""

    async def app(scope, receive, send):
        await asyncio.sleep(0)
        await answer(send, scope["method"].encode())

    first = post(b"x" * 100_000).replace(b"Connection: close\r\n", b"")
    async with serving(app) as served:
        reader, writer = await served.connect()
        writer.write(first + GET)
        text = await asyncio.wait_for(reader.read(), STEP_S)
        await hang_up(writer)
    assert text.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_sends_after_a_disconnect_are_ignored_for_a_while(way, caplog):
    """An application that hears of the disconnect may end in its own way: nothing is raised."""
    ready, over = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        ready.set()
        await receive()
        await until(lambda: served.connection is None)
        await send(START)
        for _ in range(3):
            await send(MORE)
        await send(BODY)
        over.set()

    async with serving(app) as served:
        _, writer = await served.connect()
        writer.write(GET)
        await ready.wait()
        if way == "reset":
            reset(writer)
        else:
            # Unread input makes the kernel answer further bytes with a reset.
            await hang_up(writer)
            served.connection.abort()
        await asyncio.wait_for(over.wait(), STEP_S)
    assert not [each for each in caplog.records if each.levelno > logging.INFO]


async def test_an_application_that_never_listens_is_told_by_send(caplog):
    """One that goes on sending gets an OSError in the end, which is no error of the server's."""
    caplog.set_level(logging.INFO)
    sent = []

    async def app(scope, receive, send):
        await send(START)
        while True:
            await send(MORE)
            if served.connection is None:
                sent.append(1)

    async with serving(app) as served:
        reader, writer = await served.connect()
        writer.write(GET)
        await reader.readexactly(100)
        reset(writer)
        await until(lambda: not served.adapter.calls)
    assert len(sent) <= UNHEARD_SENDS
    [record] = [each for each in caplog.records if each.name == "edgeserver.application"]
    assert record.levelname == "INFO"
    assert (
        "The answer was not completed, since the connection was closed: GET /"
        in record.getMessage()
    )


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda error: error, id="bare"),
        pytest.param(lambda error: ExceptionGroup("tasks", [error]), id="group"),
    ],
)
async def test_errors_about_leaving_are_known_however_wrapped(wrap, caplog):
    """A framework may wrap the OSError: it is not logged as an error either way."""
    caplog.set_level(logging.INFO)
    ready = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        ready.set()
        await receive()
        try:
            raise StreamClosedError()
        except StreamClosedError as error:
            raise RuntimeError("the stream broke") from wrap(error)

    async with serving(app) as served:
        await leave_during(served, ready)
    assert "ERROR" not in [each.levelname for each in caplog.records]


async def test_other_errors_after_a_disconnect_are_logged(caplog):
    """A failure that has nothing to do with the connection is an error, whoever has left."""
    ready = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        ready.set()
        await receive()
        raise LookupError("a bug")

    async with serving(app) as served:
        await leave_during(served, ready)
    assert "LookupError: a bug" in caplog.text


async def test_an_application_that_hangs_is_cancelled_at_the_end(caplog):
    """One that ignores its disconnect lives until shutdown, which cancels it after a while."""
    ready = asyncio.Event()
    ended = []

    async def app(scope, receive, send):
        ready.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with serving(app, shutdown_timeout=0.01) as served:
        _, writer = await served.connect()
        writer.write(GET)
        await ready.wait()
        reset(writer)
        await until(lambda: served.connection is None)
        assert not ended
    assert ended == ["cancelled"]
    assert "shutdown_timeout" in caplog.text


async def test_a_failure_after_the_answer_is_only_logged(caplog):
    """A background task that fails does not touch the connection, which goes on."""

    async def app(scope, receive, send):
        await answer(send, b"fine")
        raise RuntimeError("in the background")

    async with serving(app) as served:
        text = await served.ask(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
    assert text.count(b"fine") == 2
    assert caplog.text.count("RuntimeError: in the background") == 2


async def test_an_application_of_another_kind_of_awaitable_works():
    """What the application returns need only be awaitable."""

    class Application:
        def __call__(self, scope, receive, send):
            return asyncio.ensure_future(answer(send, b"future"))

    async with serving(Application()) as served:
        assert split(await served.ask())[2] == b"future"


async def test_a_scope_that_cannot_be_made_answers_500(caplog):
    """A failure before the application is called is answered and logged as one of its own."""

    async def app(scope, receive, send):
        raise AssertionError("it is never called")

    # A lone surrogate is not a path; nothing else that a scope is made of can fail.
    async with serving(app, root_path="/\udcff") as served:
        said = await served.ask()
    assert said.startswith(b"HTTP/1.1 500 ")
    assert "Uncaught exception in GET / HTTP/1.1 from 127.0.0.1" in caplog.text


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param([BODY], id="whole"),
        pytest.param([MORE, MORE, BODY], id="in-pieces"),
        pytest.param([{**BODY, "body": b"", "more_body": True}, MORE, BODY], id="later"),
    ],
)
async def test_a_body_that_the_status_does_not_have(status, bodies, caplog):
    """It is dropped, one warning says so, and the connection goes on; as with WSGI."""
    async with serving(playing({**START, "status": status}, *bodies)) as served:
        said = await served.ask(GET.replace(b"Connection: close\r\n", b"") + GET)
    first, second = said.split(b"\r\n\r\n")[:2]
    assert first.startswith(b"HTTP/1.1 %d " % status)
    assert second.startswith(b"HTTP/1.1 %d " % status)
    assert said.endswith(b"\r\n\r\n")
    assert [each.levelname for each in caplog.records] == ["WARNING"] * 2
    assert f"gave a body with status {status}, which has none" in caplog.text


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body(status, caplog):
    """An application that gives none is not warned, however it says so."""
    empty = {**BODY, "body": b""}
    async with serving(
        playing({**START, "status": status}, {**empty, "more_body": True}, empty)
    ) as served:
        assert split(await served.ask())[::2] == (status, b"")
    assert not caplog.records
