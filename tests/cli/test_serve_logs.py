"""What `serve` logs, whatever the application configures, and on which event loop it runs."""

import concurrent.futures
import http.client
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import Process, connect, serving, url_of

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
        with error:
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


def test_a_rotation_under_load_loses_no_line(tmp_path: Path) -> None:
    """Access log and audit log are renamed and opened again by USR1 while requests come."""
    (tmp_path / "main.py").write_text(LOOP)
    logs = ("--access-log", "access.log", "--audit-log", "audit.log")
    with serving(tmp_path, "main:app", "--workers", "2", *logs) as process:
        url = url_of(process)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask_many, url, 50) for _ in range(4)]
            for number in range(3):
                for name in ("access.log", "audit.log"):
                    process.until((tmp_path / name).exists)
                    (tmp_path / name).rename(tmp_path / f"{name}.{number}")
                process.send(signal.SIGUSR1)
                process.wait_for("SIGUSR1: log files opened again", times=2 * (number + 1))
            assert sum(each.result() for each in asking) == 200
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert len(lines_of(tmp_path, "access.log")) == 200
    assert len([line for line in lines_of(tmp_path, "audit.log") if '"target"' in line]) == 200


def ask_many(url: str, count: int) -> int:
    """Ask for one path so many times on a connection, and return how often that was answered."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    answered = 0
    for _ in range(count):
        connection.request("GET", "/")
        answered += connection.getresponse().read() == b"uvloop"
    connection.close()
    return answered


def lines_of(folder: Path, name: str) -> list[str]:
    """Return the lines of a log, of the files that it was renamed to as well."""
    return [line for path in folder.glob(f"{name}*") for line in path.read_text().splitlines()]


def test_both_streams_are_json(tmp_path: Path) -> None:
    """Every line on either stream is an object, from the first to the last."""
    (tmp_path / "main.py").write_text(CONFIGURED.replace("WHEN", "").replace("DURING", "pass"))
    flags = ("--interface", "asgi", "--log-format", "json")
    with serving(tmp_path, "main:app", *flags, "--slow-request", "60") as process:
        line = json.loads(process.wait_for("listening on "))
        url = line["message"].split()[2]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/x", timeout=30)
        refused.value.close()
        process.wait_for('"target":"/x"')
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    errors = [json.loads(line) for line in process.err.splitlines()]
    assert all(each["time"].endswith("Z") for each in errors)
    (failed,) = [each for each in errors if each["level"] == "ERROR"]
    assert failed["exception"].endswith("RuntimeError: the cause of the 500")
    assert failed["worker"] == 1
    (asked,) = [json.loads(line) for line in process.out.splitlines()]
    assert (asked["target"], asked["status"], asked["worker"]) == ("/x", 500, 1)


def test_a_full_disk_serves_on(tmp_path: Path) -> None:
    """A log that cannot be written is said, and costs nobody an answer."""
    (tmp_path / "main.py").write_text(LOOP)
    with serving(tmp_path, "main:app", "--access-log", "/dev/full") as process:
        assert [get(process)[0] for _ in range(3)] == [200, 200, 200]
        process.wait_for("access log: cannot write")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


LOG_CONFIG = """
[formatters.mine]
"()" = "main.Formatter"

[handlers.mine]
class = "logging.StreamHandler"
formatter = "mine"

[root]
level = "INFO"
handlers = ["mine"]
"""

FORMATTER = """
import logging

class Formatter(logging.Formatter):
    def format(self, record):
        return "mine: " + record.getMessage()
"""


def test_an_operators_log_config(tmp_path: Path) -> None:
    """The file of `--log-config` decides, and may name the application's own classes."""
    (tmp_path / "main.py").write_text(FORMATTER + LOOP)
    (tmp_path / "logs.toml").write_text(LOG_CONFIG)
    with serving(tmp_path, "main:app", "--log-config", "logs.toml") as process:
        assert get(process)[0] == 200
        process.send(signal.SIGTERM)
        process.wait_for("mine: SIGTERM: stopping")
        assert process.wait() == 0


def test_flags_are_named_as_they_were_typed(tmp_path: Path) -> None:
    """What a limit is called in the log is what somebody can change."""
    (tmp_path / "main.py").write_text(LOOP)
    with serving(tmp_path, "main:app", "--max-header-size", "200") as process:
        with connect(process) as client:
            client.sendall(b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n\r\n")
            assert b" 414 " in client.recv(1000)
        process.wait_for("over 200 bytes (--max-header-size)")
        with httpx.Client(http1=False, http2=True, base_url=url_of(process)) as client:
            assert client.get("/").status_code == 431
        process.wait_for("too large (--max-header-size, --max-header-fields)")
