"""Where the server's own lines go, whatever an application or an operator has set up."""

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.logs.setup import ErrorLog, StderrHandler, reopen_files
from edgeserver.support.loggers import app_log, gen_log

ROOT = logging.getLogger()
OURS = logging.getLogger("edgeserver")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was."""
    kept = ROOT.handlers[:], ROOT.level, OURS.handlers[:], OURS.level, OURS.propagate
    yield
    ROOT.handlers[:], OURS.handlers[:] = kept[0], kept[2]
    ROOT.setLevel(kept[1])
    OURS.setLevel(kept[3])
    OURS.propagate = kept[4]
    logging.captureWarnings(False)


def _log(**options: Any) -> tuple[ErrorLog, io.StringIO]:
    stream = io.StringIO()
    return ErrorLog(stream=stream, **options), stream


def test_text() -> None:
    """A line has the time in UTC, the process, the level and the text."""
    log, stream = _log()
    log.begin()
    gen_log.info("said %s", "so")
    gen_log.debug("not said")
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z \[{os.getpid()}\] INFO said so\n",
        stream.getvalue(),
    )


def test_json() -> None:
    """Each line is an object, one with a traceback too."""
    log, stream = _log(format="json", worker=3)
    log.begin()
    try:
        raise LookupError("\x1b[2J\n")
    except LookupError:
        app_log.exception("failed")
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().isascii()
    assert (line["level"], line["logger"], line["worker"]) == (
        "ERROR",
        "edgeserver.application",
        3,
    )
    assert line["exception"].startswith("Traceback")


def test_a_long_traceback_is_one_write() -> None:
    """What a pipe would not take whole is cut in the middle."""
    log, stream = _log(format="json")
    log.begin()
    gen_log.error("x" * 50_000 + "the end", exc_info=ValueError("y" * 50_000 + "the cause"))
    assert len(stream.getvalue()) <= 4096
    line = json.loads(stream.getvalue())
    assert line["message"].endswith("the end")
    assert line["exception"].endswith("the cause")


def test_levels() -> None:
    """The level decides; what is for the operator is always said."""
    log, stream = _log(level="ERROR", has_level=True)
    log.begin()
    gen_log.warning("not said")
    gen_log.error("an error")
    log.say("the parent's")
    assert [line.rpartition("] ")[2] for line in stream.getvalue().splitlines()] == [
        "ERROR an error",
        "INFO the parent's",
    ]


def test_an_application_that_set_up_logging() -> None:
    """Its own handlers get our lines, unless somebody asked for a format."""
    theirs = io.StringIO()
    for options, heard in (({}, (0, 1)), ({"is_asked": True}, (1, 0))):
        log, stream = _log(**options)
        log.begin()
        ROOT.addHandler(logging.StreamHandler(theirs))
        log.settle()
        gen_log.info("a line")
        assert (stream.getvalue().count("a line"), theirs.getvalue().count("a line")) == heard
        log.end()
        ROOT.handlers.clear()
        theirs.truncate(0)


def test_all_of_standard_error_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """What the application's loggers would write as text there is JSON too."""
    ROOT.handlers.clear()  # pytest's own
    log = ErrorLog(format="json", is_asked=True)
    log.begin()
    logging.basicConfig(level=logging.INFO)
    log.settle()
    logging.getLogger("theirs").info("a line")
    log.finish()
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["logger"] for line in lines] == ["theirs"]


def test_an_operators_configuration(tmp_path: Path) -> None:
    """It decides where lines go; where it says nothing of them they are still heard."""
    path = tmp_path / "their.log"
    handler = {"class": "logging.FileHandler", "filename": str(path)}
    config = {
        "version": 1,
        "disable_existing_loggers": True,
        "handlers": {"file": handler},
        "loggers": {"edgeserver": {"handlers": ["file"]}},
    }
    log, stream = _log()
    log.begin(config, "a.toml")
    log.settle()
    gen_log.info("one")
    path.rename(tmp_path / "their.log.1")
    reopen_files()
    gen_log.info("two")
    logging.getLogger("edgeserver").handlers[0].close()
    assert (tmp_path / "their.log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"
    assert stream.getvalue() == ""
    OURS.handlers.clear()
    ROOT.handlers.clear()
    log, stream = _log()
    log.begin({"version": 1}, "a.toml")
    gen_log.info("still heard")
    assert "still heard" in stream.getvalue()


def test_a_configuration_that_cannot_be_used() -> None:
    """A wrong one is refused at start."""
    log, _ = _log()
    with pytest.raises(ConfigurationError, match=r"--log-config a\.toml: "):
        log.begin({"version": 5}, "a.toml")


def test_a_record_that_cannot_be_formatted() -> None:
    """A mistake in a log call is a line, and not a traceback on standard error."""
    log, stream = _log()
    log.begin()
    gen_log.info("%d items", "no")
    assert "logs what cannot be written: TypeError" in stream.getvalue()


def test_a_reader_that_has_stopped() -> None:
    """Who logs never waits; what is lost is counted, and said."""
    read_fd, write_fd = os.pipe()
    with open(write_fd, "w") as stream:
        handler = StderrHandler(stream)
        record = logging.LogRecord("a", logging.INFO, "", 0, "x" * 1000, (), None)
        for _ in range(3000):
            handler.handle(record)
        assert handler.dropped > 0
        seen = b""
        while b"lines dropped" not in seen:
            seen += os.read(read_fd, 65536)
        assert handler.finish(30)
        total = seen.count(b"x" * 1000 + b"\n")
    os.close(read_fd)
    assert total + handler.dropped == 3000


def test_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was started with it closed logs nothing, and goes on."""
    monkeypatch.setattr(sys, "stderr", None)
    log = ErrorLog()
    log.begin()
    log.settle()
    log.say("nothing")
    log.end()
