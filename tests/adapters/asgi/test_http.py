"""The `http` connection scope over real sockets: bodies both ways, disconnects, extensions."""

import asyncio
import contextvars
import sys

import httpx
import pytest

from edgeserver.adapters.asgi import ASGIAdapter
from tests import inside
from tests.adapters.asgi.serving import GET, answer, post, serving, split
from tests.adapters.serving import STEP_S, hang_up, reset, until
from tests.loops import on_both_loops


@on_both_loops
class TestAnswers:
    async def test_one_piece_is_one_answer_with_its_length(self):
        """A body in one message gets a Content-Length, which the application need not give."""

        async def app(scope, receive, send):
            await answer(send, b"hello", headers=[(b"content-type", b"text/plain")])

        async with serving(app) as served:
            status, fields, body = split(await served.ask())
        assert (status, body) == (200, b"hello")
        assert fields["content-length"] == "5"
        assert "transfer-encoding" not in fields

    async def test_several_pieces_are_chunks(self):
        """A body of unknown length is sent in chunks, each when it is there."""

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            for piece in (b"one", b"", b"two"):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})

        async with serving(app) as served:
            _, fields, body = split(await served.ask())
        assert fields["transfer-encoding"] == "chunked"
        assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"

    async def test_the_head_goes_out_with_an_empty_first_piece(self):
        """A first piece without bytes sends the head, since the client may wait for it."""
        go_on = asyncio.Event()

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 202})
            await send({"type": "http.response.body", "more_body": True})
            await go_on.wait()
            await send({"type": "http.response.body", "body": b"late"})

        async with serving(app) as served:
            reader, writer = await served.connect()
            writer.write(GET)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), STEP_S)
            assert head.startswith(b"HTTP/1.1 202 Accepted")
            go_on.set()
            assert await reader.read() == b"4\r\nlate\r\n0\r\n\r\n"
            await hang_up(writer)

    @pytest.mark.parametrize(
        ("method", "status", "body"),
        [
            pytest.param("HEAD", 200, b"", id="head"),
            pytest.param("GET", 204, b"", id="no-content"),
            pytest.param("GET", 304, b"", id="not-modified"),
        ],
    )
    async def test_answers_without_body(self, method, status, body):
        """What has no body by its status or method gets none, and the connection goes on."""

        async def app(scope, receive, send):
            whole = b"12345" if scope["method"] == "HEAD" else b""
            await answer(send, whole, status=status)

        request = f"{method} / HTTP/1.1\r\nHost: h\r\n\r\n".encode() + GET.replace(b"GET", b"HEAD")
        async with serving(app) as served:
            _, _, rest = split(await served.ask(request))
        assert split(rest)[0] == status
        assert split(rest)[2] == body

    async def test_requests_follow_each_other(self):
        """Pipelined requests are answered in their order, each by a call of its own."""

        async def app(scope, receive, send):
            await asyncio.sleep(0)
            await answer(send, scope["path"].encode())

        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(5)) + GET
        async with serving(app) as served:
            text = await served.ask(requests)
        places = [text.index(b"\r\n\r\n/%d" % n) for n in range(5)]
        assert places == sorted(places)

    async def test_fields_go_out_in_order_and_as_bytes(self):
        """Repeated fields stay apart, in order, and their bytes are not touched."""

        async def app(scope, receive, send):
            cookies = [[b"set-cookie", b"a=1"], (b"set-cookie", b"b=\xe9")]
            await answer(send, b"", headers=iter(cookies))

        async with serving(app) as served:
            text = await served.ask()
        assert b"set-cookie: a=1\r\nset-cookie: b=\xe9\r\n" in text

    async def test_names_in_title_case_do_not_escape_the_framing(self):
        """A Content-Length in another case is read all the same; Transfer-Encoding is dropped."""

        async def app(scope, receive, send):
            fields = [(b"Content-Length", b"2"), (b"Transfer-Encoding", b"chunked")]
            await answer(send, b"ok", headers=fields)

        async with serving(app) as served:
            status, fields, body = split(await served.ask())
        assert (status, body) == (200, b"ok")
        assert "transfer-encoding" not in fields


@on_both_loops
class TestRequestBodies:
    @pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
    async def test_a_body_comes_whole(self, size):
        """A body arrives in pieces whose last says so, and nothing is lost."""

        async def app(scope, receive, send):
            body, more = b"", True
            while more:
                message = await receive()
                assert message["type"] == "http.request"
                body += message["body"]
                more = message["more_body"]
            await answer(send, str(len(body)).encode())

        async with serving(app) as served:
            assert split(await served.ask(post(b"x" * size)))[2] == str(size).encode()

    async def test_a_get_finds_its_empty_body_at_once(self):
        """Receive returns the empty body of a GET, and once more only after a disconnect."""
        second = asyncio.Event()

        async def app(scope, receive, send):
            first = await receive()
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            assert not waiting.done()
            await answer(send, repr(first).encode())
            assert await waiting == {"type": "http.disconnect"}
            second.set()

        async with serving(app) as served:
            body = split(await served.ask())[2]
            await asyncio.wait_for(second.wait(), STEP_S)
        assert body == b"{'type': 'http.request', 'body': b'', 'more_body': False}"

    async def test_an_application_that_does_not_ask_is_not_flooded(self):
        """The server stops reading while nobody receives, and goes on when somebody does."""
        reading = asyncio.Event()

        async def app(scope, receive, send):
            await reading.wait()
            size, more = 0, True
            while more:
                message = await receive()
                size += len(message["body"])
                more = message["more_body"]
                assert len(message["body"]) <= 256 * 1024
            await answer(send, str(size).encode())

        size = 20_000_000
        async with serving(app) as served:
            reader, writer = await served.connect()
            writer.write(post(b"x" * size))
            await until(lambda: served.connection is not None)
            await until(lambda: inside.is_read_paused(served.connection))
            reading.set()
            assert split(await asyncio.wait_for(reader.read(), STEP_S))[2] == str(size).encode()
            await hang_up(writer)

    async def test_chunks_come_as_they_are_sent(self):
        """Each piece of a chunked body is received before the next is sent."""
        seen = asyncio.Queue()

        async def app(scope, receive, send):
            more = True
            while more:
                message = await receive()
                seen.put_nowait(message["body"])
                more = message["more_body"]
            await answer(send)

        head = (
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        async with serving(app) as served:
            reader, writer = await served.connect()
            writer.write(head)
            for piece in (b"one", b"three"):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                assert await asyncio.wait_for(seen.get(), STEP_S) == piece
            writer.write(b"0\r\n\r\n")
            assert split(await reader.read())[0] == 200
            await hang_up(writer)

    async def test_100_continue_waits_for_no_one(self):
        """A client that asks whether to send its body gets 100, or the refusal instead of it."""

        async def app(scope, receive, send):
            if scope["path"] == "/refuse":
                await answer(send, status=413)
                return
            await answer(send, (await receive())["body"])

        head = "POST {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\n"
        async with serving(app) as served:
            reader, writer = await served.connect()
            writer.write((head.format("/") + "Content-Length: 4\r\n\r\n").encode())
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"body")
            assert split(await reader.read())[2] == b"body"
            await hang_up(writer)
            refusal = await served.ask(
                (head.format("/refuse") + "Content-Length: 4\r\n\r\n").encode()
            )
        if sys.version_info >= (3, 12):  # before that the application has no first step at once
            assert split(refusal)[0] == 413


@on_both_loops
class TestDisconnects:
    @pytest.mark.parametrize("way", ["close", "reset"])
    async def test_receive_tells_that_the_client_left(self, way):
        """A long poll hears of it, and its task ends by itself."""
        waiting, told = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            waiting.set()
            assert await receive() == {"type": "http.disconnect"}
            told.set()

        async with serving(app) as served:
            _, writer = await served.connect()
            writer.write(GET)
            await asyncio.wait_for(waiting.wait(), STEP_S)
            if way == "reset":
                reset(writer)
            else:
                await hang_up(writer)
            await asyncio.wait_for(told.wait(), STEP_S)

    async def test_several_tasks_may_wait_and_one_be_cancelled(self):
        """Cancelling one receive leaves the others waiting."""
        told = []
        ready, over = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            tasks = [asyncio.ensure_future(receive()) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            ready.set()
            told.extend(await asyncio.gather(*tasks, return_exceptions=True))
            over.set()

        async with serving(app) as served:
            _, writer = await served.connect()
            writer.write(GET)
            await asyncio.wait_for(ready.wait(), STEP_S)
            await hang_up(writer)
            await asyncio.wait_for(over.wait(), STEP_S)
        assert isinstance(told[0], asyncio.CancelledError)
        assert told[1:] == [{"type": "http.disconnect"}] * 2

    async def test_a_client_that_only_stops_sending_gets_its_answer(self):
        """A half-closed connection still takes the answer, though receive says disconnect."""

        async def app(scope, receive, send):
            await receive()
            await receive()
            await answer(send, b"still here")

        async with serving(app) as served:
            reader, writer = await served.connect()
            writer.write(GET)
            writer.write_eof()
            assert split(await asyncio.wait_for(reader.read(), STEP_S))[2] == b"still here"
            await hang_up(writer)

    async def test_a_body_that_breaks_off_is_a_disconnect(self):
        """An application that waits for the rest of a body hears that it will not come."""
        told = asyncio.get_running_loop().create_future()

        async def app(scope, receive, send):
            first = await receive()
            assert first["more_body"]
            told.set_result(await receive())

        async with serving(app) as served:
            _, writer = await served.connect()
            writer.write(post(b"12345")[:-2])
            await asyncio.sleep(0)
            writer.write_eof()
            assert await asyncio.wait_for(told, STEP_S) == {"type": "http.disconnect"}
            await hang_up(writer)

    async def test_slow_readers_hold_back_the_application(self):
        """Send waits while the client takes nothing: memory stays bounded."""
        sent = 0

        async def app(scope, receive, send):
            nonlocal sent
            await send({"type": "http.response.start", "status": 200})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                sent += 1

        async with serving(app) as served:
            _, writer = await served.connect(limit=1024)
            writer.write(GET)
            await until(lambda: served.connection is not None)
            await until(lambda: inside.is_writing_paused(served.connection))
            assert sent < 1000
            reset(writer)


@on_both_loops
class TestExtensions:
    async def test_early_hints_come_before_the_head(self):
        """Each hint is a 103 of its own, with its links."""

        async def app(scope, receive, send):
            assert scope["extensions"]["http.response.early_hint"] == {}
            await send({"type": "http.response.start", "status": 200})
            links = [b"</style.css>; rel=preload", b"</app.js>; rel=preload"]
            await send({"type": "http.response.early_hint", "links": links})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await send({"type": "http.response.early_hint", "links": links})
            await send({"type": "http.response.body"})

        async with serving(app) as served:
            text = await served.ask()
        hint, _, rest = text.partition(b"\r\n\r\n")
        assert hint == (
            b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n"
            b"Link: </app.js>; rel=preload"
        )
        assert split(rest)[0] == 200
        assert text.count(b"103") == 1

    @pytest.mark.parametrize(
        ("field", "expected"),
        [
            pytest.param(b"TE: trailers\r\n", b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n", id="wanted"),
            pytest.param(
                b"TE: gzip, Trailers\r\n", b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n", id="too"
            ),
            pytest.param(b"", b"0\r\n\r\n", id="not-wanted"),
        ],
    )
    async def test_trailers_go_to_who_asks_for_them(self, field, expected):
        """A trailer section follows the body only where the client said TE: trailers."""

        async def app(scope, receive, send):
            assert scope["extensions"]["http.response.trailers"] == {}
            await send({"type": "http.response.start", "status": 200, "trailers": True})
            await send({"type": "http.response.body", "body": b"x"})
            first = {"headers": [(b"x-sum", b"1")], "more_trailers": True}
            await send({"type": "http.response.trailers", **first})
            await send({"type": "http.response.trailers", "headers": [(b"x-more", b"2")]})

        async with serving(app) as served:
            text = await served.ask(GET.replace(b"Host", field + b"Host", 1))
        assert split(text)[2] == b"1\r\nx\r\n" + expected

    async def test_trailers_have_no_place_beside_a_length(self):
        """An answer with a Content-Length is complete without them."""

        async def app(scope, receive, send):
            fields = [(b"content-length", b"1")]
            start = {"type": "http.response.start", "status": 200, "trailers": True}
            await send({**start, "headers": fields})
            await send({"type": "http.response.body", "body": b"x"})
            await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

        async with serving(app) as served:
            text = await served.ask(GET.replace(b"Host", b"TE: trailers\r\nHost", 1))
        assert split(text)[2] == b"x"


NAME = contextvars.ContextVar("NAME", default="fresh")


@on_both_loops
class TestTasks:
    async def test_each_request_has_a_context_of_its_own(self):
        """What a request sets in a context variable is gone in the next of the connection."""

        async def app(scope, receive, send):
            seen = NAME.get()
            NAME.set("stale")
            await answer(send, seen.encode())

        async with serving(app) as served, httpx.AsyncClient() as client:
            texts = [(await client.get(served.url)).text for _ in range(3)]
        assert texts == ["fresh"] * 3

    async def test_timeouts_and_the_current_task_work(self):
        """The application runs in a real Task: asyncio.timeout cancels inside of it."""

        async def app(scope, receive, send):
            task = asyncio.current_task()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            assert asyncio.current_task() is task is not None
            await answer(send)

        async with serving(app) as served:
            assert split(await served.ask())[0] == 200

    async def test_anyio_works(self):
        """A task group of anyio runs and is cancelled as anywhere."""
        import anyio

        async def app(scope, receive, send):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            await answer(send)

        async with serving(app) as served:
            assert split(await served.ask())[0] == 200

    async def test_the_first_step_is_taken_at_once(self):
        """From Python 3.12 on, the application has answered before its request's bytes are left."""
        steps = []

        async def app(scope, receive, send):
            steps.append("application")
            await answer(send)

        class Adapter(ASGIAdapter):
            def take_request(self, server_conn, request_conn):
                asyncio.get_running_loop().call_soon(steps.append, "next turn")
                super().take_request(server_conn, request_conn)

        async with serving(app, adapter=Adapter) as served:
            await served.ask()
        eager = ["application", "next turn"]
        assert steps == (eager if sys.version_info >= (3, 12) else eager[::-1])

    async def test_what_goes_on_after_the_answer_is_kept_alive(self):
        """A background task after the answer is not lost, and shutdown waits for it."""
        done = []

        async def app(scope, receive, send):
            await answer(send)
            for _ in range(10):
                await asyncio.sleep(0)
            done.append(scope["path"])

        async with serving(app) as served:
            assert split(await served.ask())[0] == 200
        assert done == ["/"]
