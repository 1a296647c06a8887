"""What `serve` logs, whatever the application configures, and on which event loop it runs."""

import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cli.processes import Process, serving, url_of

CONFIGURED = """
import logging, logging.config

def configure():
    logging.config.dictConfig({
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"level": "WARNING", "handlers": ["console"]},
    })

WHEN

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        DURING
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    raise RuntimeError("the cause of the 500")
"""

TORNADO = """
import tornado.web

class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write("hello")

app = tornado.web.Application([("/hello", Hello)])
"""

LOOP = """
import asyncio

async def app(scope, receive, send):
    name = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    headers = [(b"content-length", b"%d" % len(name))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": name.encode()})
"""


def get(process: Process, path: str = "/hello") -> tuple[int, bytes]:
    """Return status and body of one request."""
    try:
        with urllib.request.urlopen(url_of(process) + path, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize(
    ("when", "during"), [("configure()", ""), ("", "configure()")], ids=["import", "startup"]
)
def test_errors_and_signals_are_heard(tmp_path: Path, when: str, during: str) -> None:
    """An application's `dictConfig`, with its defaults, silences neither a trace nor the end."""
    text = CONFIGURED.replace("WHEN", when).replace("DURING", during or "pass")
    (tmp_path / "main.py").write_text(text)
    with serving(tmp_path, "main:app", "--interface", "asgi") as process:
        assert get(process)[0] == 500
        process.wait_for("RuntimeError: the cause of the 500")
        process.send(signal.SIGTERM)
        process.wait_for("SIGTERM: stopping")
        assert process.wait() == 0
        assert "Traceback" in process.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--access-log", "-"), '"GET /hello HTTP/1.1" 200'),
        (("--access-log-format", "json"), '"target":"/hello"'),
    ],
    ids=["text", "json"],
)
def test_a_tornado_application_is_logged(
    tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    """A log that somebody asks for is written, whatever the application is."""
    (tmp_path / "main.py").write_text(TORNADO)
    with serving(tmp_path, "main:app", *arguments) as process:
        assert get(process) == (200, b"hello")
        process.wait_for(line)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert process.out.count("/hello") == 1


def test_a_tornado_application_logs_itself(tmp_path: Path) -> None:
    """Nobody asked, so its own log is the only one."""
    (tmp_path / "main.py").write_text(TORNADO)
    with serving(tmp_path, "main:app") as process:
        assert get(process) == (200, b"hello")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "/hello" not in process.out


@pytest.mark.parametrize(
    ("arguments", "loop"),
    [((), b"uvloop"), (("--loop", "uvloop"), b"uvloop"), (("--loop", "asyncio"), b"asyncio")],
    ids=["auto", "uvloop", "asyncio"],
)
def test_the_event_loop(tmp_path: Path, arguments: tuple[str, ...], loop: bytes) -> None:
    """`--loop` says which loop the application runs on."""
    (tmp_path / "main.py").write_text(LOOP)
    with serving(tmp_path, "main:app", *arguments) as process:
        assert get(process) == (200, loop)
