"""`serve` and the fixture `edgeserver_serve`: a real server, reached by real clients."""

import asyncio
import contextlib
import importlib.util
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edgeserver import HTTPHeaders, HTTPServerRequest
from edgeserver.errors import ConfigurationError
from edgeserver.httputil import ResponseStartLine
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.testing import serve

ROOT = Path(__file__).parents[2]


def app(request: HTTPServerRequest) -> None:
    """Answer with client and scheme."""
    body = f"{request.remote_ip} {request.protocol}".encode()
    headers = HTTPHeaders({"Content-Length": str(len(body))})
    assert request.connection is not None
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, body)
    request.connection.finish()


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with the name in the client's certificate."""
    start_response("200 OK", [])
    return [environ["wsgi.url_scheme"].encode()]


def test_over_https() -> None:
    """A client that trusts the test's authority is answered, and the request is in the log."""
    with serve(app) as served, httpx.Client(verify=served.ssl_context) as client:
        assert client.get(served.url + "/a?b").text == "127.0.0.1 https"
        (request,) = served.wait_for_log()
    assert (request.client, request.method, request.target) == ("127.0.0.1", "GET", "/a?b")
    assert request.status == 200
    assert request.bytes_sent > len("127.0.0.1 https")


def test_over_http() -> None:
    """Without TLS a client of the standard library needs nothing."""
    with serve(app, tls=False) as served:
        with urllib.request.urlopen(served.url) as answer:
            assert answer.read() == b"127.0.0.1 http"
        assert served.ca is None


def test_where_trustme_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is plain HTTP then, unless HTTPS is asked for."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with serve(app) as served:
        assert served.scheme == "http"


async def test_in_the_loop_of_a_test() -> None:
    """An asynchronous test asks it from its own event loop."""
    with serve(app, tls=False) as served:
        async with httpx.AsyncClient() as client:
            assert (await client.get(served.url)).status_code == 200


def test_options_are_those_of_listen() -> None:
    """A trust policy of the test decides who the client is, in the answer and in the log."""
    policy = TrustPolicy(["loopback"])
    with serve(app, tls=False, trust=policy) as served:
        answer = httpx.get(served.url, headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.text == "203.0.113.9 http"
        assert served.wait_for_log()[0].client == "203.0.113.9"


def test_client_certificates() -> None:
    """A server that asks for a certificate gets that of the test's client, or refuses."""
    with serve(wsgi, ssl_options={"cert_reqs": "required"}) as served:
        with httpx.Client(verify=served.client_ssl_context) as client:
            assert client.get(served.url).text == "https"
        with httpx.Client(verify=served.ssl_context) as client, pytest.raises(httpx.HTTPError):
            client.get(served.url)


def test_start_and_end_of_the_application() -> None:
    """The application has started when the block begins, and has stopped when it has ended."""
    states = []

    @contextlib.asynccontextmanager
    async def lifespan(application: Starlette) -> AsyncIterator[None]:
        states.append("started")
        yield
        states.append("stopped")

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    with serve(Starlette(routes=[Route("/", hello)], lifespan=lifespan), tls=False) as served:
        assert states == ["started"]
        assert httpx.get(served.url).text == "hello"
    assert states == ["started", "stopped"]
    assert not [each for each in threading.enumerate() if each.name == "edgeserver.testing"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(served.url)


def test_a_start_that_fails() -> None:
    """What the application's start raises is what the test sees, and nothing is left behind."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        raise RuntimeError("no database")

    with pytest.raises(Exception, match="no database"), serve(failing, tls=False, lifespan="on"):
        raise AssertionError("not reached")
    assert not [each for each in threading.enumerate() if each.name == "edgeserver.testing"]


def test_two_at_once() -> None:
    """Each server has its port and its log."""
    with serve(app, tls=False) as one, serve(app, tls=False) as other:
        httpx.get(one.url)
        assert one.port != other.port
        assert len(one.wait_for_log()) == 1
        assert other.log == []


def test_a_log_that_does_not_come() -> None:
    """Waiting for a request that nobody sends ends with what is missing."""
    with (
        serve(app, tls=False) as served,
        pytest.raises(TimeoutError, match="0 of 1 requests were answered"),
    ):
        served.wait_for_log(timeout=0.01)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tls": False, "ssl_options": {"cert_reqs": "required"}}, "contradict each other"),
        ({"ssl_options": object()}, "ssl_options is a dict in tests"),
        ({"tls": False, "threads": 3}, "threads"),
    ],
    ids=["tls", "ssl_options", "adapter"],
)
def test_mistakes(options: dict[str, Any], says: str) -> None:
    """A wrong option is refused in the test's own thread."""
    with pytest.raises(ConfigurationError, match=says), serve(app, **options):
        raise AssertionError("not reached")


PROGRAM = """
import httpx

def test_it(edgeserver_serve):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    served = edgeserver_serve(app, lifespan="off")
    assert httpx.get(served.url, verify=served.ssl_context).status_code == 204
"""


def test_the_fixture(tmp_path: Path) -> None:
    """A test of somebody else has the fixture, and its server ends with it."""
    (tmp_path / "test_program.py").write_text(PROGRAM)
    known = "edgeserver.pytestplugin"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:asyncio", "-p", known],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_entry_point() -> None:
    """The plugin is found by its own name, so that naming it by hand does no harm."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {
        "edgeserver.pytestplugin": "edgeserver.pytestplugin"
    }


def test_the_plugin_costs_nothing() -> None:
    """Every run of pytest imports it: neither an event loop nor a server comes with it."""
    code = (
        "import sys, pytest; before = set(sys.modules); import edgeserver.pytestplugin; "
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if name.startswith("edgeserver")} == {
        "edgeserver",
        "edgeserver.pytestplugin",
    }


def test_it_runs_beside_a_loop() -> None:
    """A test that runs a loop of its own twice finds the same server."""
    with serve(app, tls=False) as served:

        async def ask() -> int:
            async with httpx.AsyncClient() as client:
                return (await client.get(served.url)).status_code

        assert [asyncio.run(ask()), asyncio.run(ask())] == [200, 200]
