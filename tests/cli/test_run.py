"""`edgeserver.run`: the command's settings, as arguments of a call in a program."""

import inspect
import signal
import sys
import traceback
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

import edgeserver
from edgeserver.cli.run_options import RunOptions
from edgeserver.config.model import SETTINGS
from edgeserver.errors import ConfigurationError, EdgeServerError
from tests.cli.processes import python, running, url_of

PROGRAM = """
import os, signal
import edgeserver

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["client"][0].encode()})

if __name__ == "__main__":
    edgeserver.run(%s, bind="127.0.0.1:0", trust=["loopback"], lifespan="off", %s)
    print("and on", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)
"""

KINDS = {
    "str": {"text", "file", "directory", "address", "rate"},
    "str | bool": {"output"},
    "int": {"number"},
    "int | str": {"bytes"},
    "float": {"seconds", "share"},
    "bool": {"switch", "toggle"},
}


@pytest.mark.parametrize(
    ("app", "settings"),
    [
        ("app", "workers=2"),
        ("app", "single_process=True, access_log='off'"),
        ('"program:app"', "workers=1"),
    ],
    ids=["workers", "single process", "by name"],
)
def test_a_program(tmp_path: Path, app: str, settings: str) -> None:
    """It serves until a signal, and goes on behind the call with its signals as they were."""
    (tmp_path / "program.py").write_text(PROGRAM % (app, settings))
    with running(python("program.py"), tmp_path) as process:
        url = url_of(process)
        answer = httpx.get(url, headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.text == "203.0.113.9"
        process.wait_for("an ASGI application")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "and on True" in process.out


def test_an_application_that_does_not_start(tmp_path: Path) -> None:
    """The program ends with the command's exit code and its one line."""
    program = "import edgeserver\nedgeserver.run('nothing:app', bind='127.0.0.1:0')\n"
    (tmp_path / "program.py").write_text(program)
    with running(python("program.py"), tmp_path) as process:
        assert process.wait() == 2
        assert "there is no module nothing" in process.err
        assert "Traceback" not in process.err


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"ssl_certfile": "x"}, TypeError, r"'ssl_certfile'; edgeserver serve has --certfile FILE"),
        ({"host": "::1", "bind": ":80"}, ConfigurationError, "bind and host exclude each other"),
        ({"wokers": 2}, TypeError, r"run\(\) has no setting 'wokers'; did you mean workers\?"),
        ({"factory": "no"}, TypeError, "factory='no' is neither True nor False"),
        ({"workers": 0}, ConfigurationError, "'workers': 0 is not a whole number"),
        ({"max_body_size": "big"}, ConfigurationError, "big is not a number of bytes"),
        (
            {"bind": "https://127.0.0.1:0"},
            ConfigurationError,
            r"add certfile FILE \(and keyfile FILE\), or dev_tls=True for development",
        ),
        (
            {"access_log": "off", "access_log_format": "json"},
            ConfigurationError,
            "^access_log off and access_log_format contradict each other",
        ),
        ({"source": "forwarded"}, ConfigurationError, "^source .*; add trust or trust_file"),
        ({"http2": 1}, TypeError, "http2=1 is neither True nor False"),
        ({"bind": "192.0.2.1:0"}, EdgeServerError, "^bind 192.0.2.1:0: no interface"),
    ],
    ids=[
        "foreign",
        "host",
        "name",
        "switch",
        "number",
        "bytes",
        "tls",
        "contradiction",
        "lone",
        "http2",
        "address",
    ],
)
def test_mistakes(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    """A complaint names the argument as it was written, and what to write."""
    with pytest.raises(error, match=says):
        edgeserver.run("main:app", **settings)


@pytest.mark.parametrize(
    "settings",
    [{"prot": 3}, {"log_level": "loud"}, {"trust": "10.0.0.0/33"}, {"certfile": "absent.pem"},
     {"host": "::1", "bind": ":80"}, {"bind": "192.0.2.1:0"}],
    ids=["name", "value", "entry", "file", "contradiction", "address"],
)  # fmt: skip
def test_mistakes_are_at_the_line_of_the_call(settings: dict[str, Any]) -> None:
    """A mistake has one traceback of two lines, the call and our own, and nothing chained."""
    with pytest.raises((TypeError, EdgeServerError)) as caught:
        edgeserver.run("main:app", **settings)
    shown = traceback.format_exception(caught.value)
    assert sum(line.startswith("Traceback") for line in shown) == 1
    assert len(caught.traceback) == 2


def test_all_of_a_mistake() -> None:
    """What was done before it is shown where that is asked for."""
    with pytest.raises(ConfigurationError) as caught:
        edgeserver.run("main:app", bind="nowhere", debug=True)
    assert len(caught.traceback) > 2


def test_the_name_of_an_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that has a name in the program is called by it, and else by its kind."""
    said: list[str] = []

    def open_plan(target: str, *args: object, **kwargs: object) -> None:
        said.append(target)
        raise ConfigurationError("enough")

    monkeypatch.setattr("edgeserver.cli.run.open_plan", open_plan)
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    app = types.SimpleNamespace()
    for name in ("", "shop"):
        if name:
            setattr(main, name, app)
        with pytest.raises(ConfigurationError, match="enough"):
            edgeserver.run(app)
    assert said == ["types:SimpleNamespace", "__main__:shop"]


def test_every_setting_is_an_argument() -> None:
    """The arguments that type checkers know are the settings of the command, with their kinds."""
    hints = typing.get_type_hints(RunOptions)
    expected = {}
    for each in (each for each in SETTINGS.values() if each.has_flag):
        kind: Any = (
            typing.Literal[each.choices]
            if each.kind == "choice"
            else next(eval(text) for text, kinds in KINDS.items() if each.kind in kinds)
        )
        expected[each.key] = (kind | Sequence[kind] if each.many else kind) | None
    differing = {name for name in {*hints, *expected} if hints.get(name) != expected.get(name)}
    assert not differing, "write these into cli/run_options.py as config/model.py has them"


def test_the_documentation_of_the_call() -> None:
    """The signature says that settings are keywords."""
    assert "settings" in inspect.signature(edgeserver.run).parameters
