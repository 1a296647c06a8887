"""Real applications, over HTTP/1.1 and, with TLS, HTTP/2: Starlette, FastAPI, Django.

The clients are real ones too: httpx, curl.

FastAPI is imported where it is tested, which takes a while; Django has a process of its own.
"""

import asyncio
import json

import httpx
from websockets.asyncio.client import connect

from tests.adapters.asgi import starlette_site
from tests.adapters.asgi.serving import GET, serving
from tests.adapters.serving import STEP_S, reset, until
from tests.cli.processes import serving as running_serve
from tests.cli.processes import url_of
from tests.e2e.site import program
from tests.loops import on_both_loops


@on_both_loops
class TestStarlette:
    async def test_requests(self, tls):
        """Pages, uploads, streams, files and background tasks work, over HTTP and HTTPS."""
        server, verify = tls
        app = starlette_site.make_application()
        async with serving(app, lifespan="on", server=server) as served:
            base = f"{'https' if server else 'http'}://127.0.0.1:{served.port}"
            async with httpx.AsyncClient(base_url=base, verify=verify, http2=True) as client:
                page = await client.get("/?x=1")
                assert page.json() == {"url": f"{base}/?x=1", "client": "127.0.0.1"}
                assert page.http_version == ("HTTP/2" if server else "HTTP/1.1")
                assert page.headers["x-tag"] == "1"
                assert (await client.post("/upload", content=b"x" * 500_000)).text == "500000"
                assert (await client.get("/stream")).text.startswith("000" * 100 + "001")
                text = (await client.get("/file")).text
                assert text.startswith('"""A Starlette application')
                part = await client.get("/file", headers={"Range": "bytes=0-2"})
                assert (part.status_code, part.content) == (206, b'"""')
                assert (await client.get("/fail")).status_code == 500
                assert (await client.get("/none")).status_code == 404
            await until(lambda: app.state.done)
        assert app.state.done == [500_000]

    async def test_websockets(self, tls):
        """A WebSocket works beside them, over ws and wss."""
        server, context = tls
        async with serving(starlette_site.make_application(), server=server) as served:
            scheme, extra = ("wss", {"ssl": context}) if server else ("ws", {})
            async with connect(f"{scheme}://127.0.0.1:{served.port}/ws", **extra) as client:
                await client.send("hello")
                assert await asyncio.wait_for(client.recv(), STEP_S) == "hello"

    async def test_a_stream_stops_when_its_client_leaves(self, caplog):
        """A generator that waits is cancelled, as with uvicorn, and nothing is logged."""
        app = starlette_site.make_application()
        async with serving(app) as served:
            reader, writer = await served.connect()
            writer.write(GET.replace(b"/ ", b"/endless "))
            await asyncio.wait_for(reader.readuntil(b"x" * 1000), STEP_S)
            reset(writer)
            await until(lambda: app.state.done)
            await until(lambda: not served.adapter.calls)
        assert app.state.done == ["stopped"]
        assert "ERROR" not in [each.levelname for each in caplog.records]

    async def test_forms(self):
        """A multipart upload is read by the framework."""
        async with (
            serving(starlette_site.make_application()) as served,
            httpx.AsyncClient() as client,
        ):
            files, data = {"file": ("f.txt", b"content")}, {"name": "n"}
            answer = await client.post(f"{served.url}/form", files=files, data=data)
        assert answer.text == "contentn"


async def test_fastapi(caplog, tls):
    """Validation, dependencies with cleanup, the lifespan's state and a WebSocket work."""
    server, verify = tls
    from contextlib import asynccontextmanager

    import fastapi

    closed = []

    @asynccontextmanager
    async def lifespan(app):
        yield {"pool": "a pool"}
        closed.append("pool")

    async def session():
        yield "session"
        closed.append("session")

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/items/{item_id}")
    async def item(item_id: int, request: fastapi.Request, s: str = fastapi.Depends(session)):
        return {"id": item_id, "pool": request.state.pool, "session": s}

    @app.websocket("/double/{number}")
    async def double(websocket: fastapi.WebSocket, number: int):
        await websocket.accept()
        await websocket.send_json({"double": 2 * number, "scheme": websocket.url.scheme})

    async with serving(app, lifespan="on", server=server) as served:
        secure = "s" if server else ""
        address = f"127.0.0.1:{served.port}"
        async with httpx.AsyncClient(
            base_url=f"http{secure}://{address}", verify=verify, http2=True
        ) as client:
            good = await client.get("/items/5")
            bad = await client.get("/items/x")
        if server:
            verify.set_alpn_protocols(["http/1.1"])  # httpx has asked for HTTP/2
        extra = {"ssl": verify} if server else {}
        async with connect(f"ws{secure}://{address}/double/21", **extra) as client:
            answer = json.loads(await asyncio.wait_for(client.recv(), STEP_S))
        await until(lambda: not served.adapter.calls)
    assert answer == {"double": 42, "scheme": f"ws{secure}"}
    assert good.json() == {"id": 5, "pool": "a pool", "session": "session"}
    assert bad.status_code == 422
    assert closed == ["session", "pool"]
    assert not [each for each in caplog.records if each.name.startswith("edgeserver")]


DJANGO = """
import asyncio, sys
import django
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(DEBUG=False, SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
django.setup()

def sync_view(request):
    return HttpResponse(f"{request.META['REMOTE_ADDR']} {len(request.body)}")

def secure_view(request):
    return HttpResponse(str(request.is_secure()))

async def async_view(request):
    await asyncio.sleep(0)
    return HttpResponse(request.GET["q"])

async def stream_view(request):
    async def pieces():
        for number in range(3):
            yield str(number)
    return StreamingHttpResponse(pieces())

urlpatterns = [
    path("sync", sync_view),
    path("secure", secure_view),
    path("async", async_view),
    path("stream", stream_view),
]

from django.core.asgi import get_asgi_application
app = get_asgi_application()
"""


def test_django(tmp_path, tls):
    """Views sync and async work, and so does a lifespan that Django does not take."""
    server, verify = tls
    # In a process of its own: Django can be set up but once in each.
    (tmp_path / "django_site.py").write_text(DJANGO)
    options = [f"--{name}={path}" for name, path in server.get("ssl_options", {}).items()]
    with running_serve(tmp_path, "django_site:app", *options) as process:
        with httpx.Client(base_url=url_of(process), verify=verify, http2=True) as client:
            assert client.get("/secure").text == str(bool(server))
            assert client.post("/sync", content=b"abc").text == "127.0.0.1 3"
            assert client.get("/async?q=%C3%BC").text == "\u00fc"
            assert client.get("/stream").text == "012"
            assert client.get("/none").status_code == 404
        process.wait_for("an ASGI application")


async def test_curl():
    """Curl uploads with Expect: 100-continue, and gets its answer."""

    async def app(scope, receive, send):
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message["body"])
            more = message["more_body"]
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        text = json.dumps({"size": size, "method": scope["method"]}).encode()
        await send({"type": "http.response.body", "body": text})

    async with serving(app) as served:
        command = [program("curl"), "-s", "-H", "Expect: 100-continue", "-T", "-", served.url]
        curl = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(curl.communicate(b"x" * 300_000), STEP_S)
    assert json.loads(out) == {"size": 300_000, "method": "PUT"}
