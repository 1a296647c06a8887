"""The examples of `docs/examples/`, as they stand: each does what it is there to show."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from websockets.asyncio.client import connect

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.testing import serve
from tests.cli.processes import PATIENCE_S, serving, url_of

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
POLICY = TrustPolicy(["loopback"])
FORGED = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https"}
SEEN = {"client": "203.0.113.9", "scheme": "https"}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    """Import the example that the test names."""
    where, _, name = request.param.rpartition("/")
    monkeypatch.syspath_prepend(EXAMPLES / where)
    return importlib.import_module(name)


@pytest.mark.parametrize(
    ("example", "name"),
    [
        pytest.param("fastapi_hello", "app", id="FastAPI"),
        pytest.param("flask_hello", "app", id="Flask"),
        pytest.param("tornado_hello", "application", id="Tornado"),
    ],
    indirect=["example"],
)
def test_hello(example: ModuleType, name: str) -> None:
    """The framework sees the client and the scheme that the policy decided."""
    with serve(getattr(example, name), tls=False, trust=POLICY) as served:
        assert httpx.get(served.url, headers=FORGED).json() == SEEN


def test_django() -> None:
    """Django sees the same; it is configured once in a process, and so has one of its own."""
    with serving(EXAMPLES, "django_hello:application", "--trust", "loopback") as process:
        assert httpx.get(url_of(process), headers=FORGED).json() == SEEN
        process.send(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize("example", ["websocket_chat"], indirect=True)
async def test_the_chat(example: ModuleType) -> None:
    """What one member says comes to both, under the address of whoever said it."""
    with serve(example.app, tls=False, trust=POLICY) as served:
        url = f"ws://{served.host}:{served.port}/chat"
        async with (
            asyncio.timeout(PATIENCE_S),
            connect(url, additional_headers={"X-Forwarded-For": "203.0.113.9"}) as one,
            connect(url, additional_headers={"X-Forwarded-For": "203.0.113.10"}) as other,
        ):
            await other.send("hello")
            assert await other.recv() == "203.0.113.10: hello"
            assert await one.recv() == "203.0.113.10: hello"
            await one.send("good day")
            assert await other.recv() == "203.0.113.9: good day"


@pytest.mark.parametrize("example", ["sse"], indirect=True)
async def test_events(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events come one by one, and the server stops though the answer has no end."""
    monkeypatch.setattr(example, "INTERVAL_S", 0.001)
    with serve(example.app, tls=False) as served:
        async with (
            httpx.AsyncClient() as client,
            client.stream("GET", served.url + "/events") as answer,
        ):
            lines = aiter(answer.aiter_lines())
            seen = [await anext(lines) for _ in range(6)]
    assert seen == ["id: 1", "data: tick 1", "", "id: 2", "data: tick 2", ""]
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("example", ["client_certificate"], indirect=True)
def test_client_certificates(example: ModuleType) -> None:
    """Who shows a certificate is greeted by its name, and nobody else is answered."""
    with serve(example.app, ssl_options={"cert_reqs": "required"}) as served:
        with httpx.Client(verify=served.client_ssl_context) as client:
            text = client.get(served.url, headers={"SSL-Client-S-DN": "CN=root"}).text
            assert re.fullmatch(r"hello .*CN=developer@localhost.*\n", text)
        with httpx.Client(verify=served.ssl_context) as client, pytest.raises(httpx.HTTPError):
            client.get(served.url)


@pytest.mark.parametrize("example", ["forgotten_proxy/test_chain"], indirect=True)
def test_a_forgotten_proxy(example: ModuleType) -> None:
    """Each test of the example passes."""
    tests = [value for name, value in vars(example).items() if name.startswith("test_")]
    assert len(tests) == 3
    for each in tests:
        each()


def test_the_page_of_examples(tmp_path: Path) -> None:
    """The page shows every file, and its audit of two nginx says what the page says."""
    page = (EXAMPLES / "index.md").read_text()
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    assert set(re.findall(r"\{literalinclude\} (\S+)", page)) == files
    shutil.copytree(EXAMPLES / "forgotten_proxy", tmp_path, dirs_exist_ok=True)
    (command,) = re.findall(r"^\$ edgeserver (audit config .*)$", page, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "edgeserver", *shlex.split(command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error proxy-not-listed outer.conf" in done.stdout, done.stderr
    assert "fix   --trust 192.0.2.5\n" in done.stdout
    mended = [*shlex.split(command), "--trust", "192.0.2.5", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "edgeserver", *mended],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    json.loads(done.stdout)
