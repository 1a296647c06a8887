"""Standard streams on a bad day: full, closed, gone, or a terminal that can do little."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeserver.cli.terminal import ProgressLine, is_coloured, is_terminal

EXPLAIN = ("audit", "explain", "--trust", "10.0.0.2", "--peer", "10.0.0.2", "-H", "A: b")


def run(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a shell's redirection."""
    script = f'"$0" -m edgeserver "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", script, sys.executable, *arguments],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [EXPLAIN, (*EXPLAIN, "--json"), ("--help",), ("--version",)], ids=" ".join
)
def test_a_full_disk(arguments: tuple[str, ...]) -> None:
    """Output that cannot be written is one line that says so, and no success."""
    done = run(">/dev/full", *arguments)
    assert done.returncode == 3
    assert done.stderr.startswith("edgeserver: standard output cannot be written: No space")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(EXPLAIN, 0), (("--help",), 0), (("tls", "check", "cert.pem"), 2), (("serve", "a:b"), 2)],
    ids=["explain", "help", "tls", "serve"],
)
def test_closed_output(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    """Where there is no standard output the exit code is still the answer."""
    done = run(">&-", *arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode == code


def test_closed_input() -> None:
    """A head that can come from nowhere is asked for."""
    done = run("<&-", *EXPLAIN[:-2])
    assert done.returncode == 2
    assert done.stderr.startswith("edgeserver: standard input is closed")


def test_a_reader_that_is_gone() -> None:
    """`| head -0` ends the command without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "edgeserver", *EXPLAIN],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
    ids=["terminal", "dumb", "no-color", "no-color-empty"],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    """Colours are for terminals that have them and users who want them."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    master, slave = os.openpty()
    try:
        with os.fdopen(slave, "w") as terminal, open(os.devnull, "w") as nowhere:
            assert is_terminal(terminal)
            assert is_coloured(terminal) is coloured
            assert not is_coloured(nowhere)
        assert not is_coloured(None)
    finally:
        os.close(master)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_how_far_a_long_work_is() -> None:
    """A terminal has one line that grows and goes; a pipe, or nothing at all, has none."""
    screen, pipe = Screen(), io.StringIO()
    for stream in (screen, pipe, None):
        line = ProgressLine(stream, "reading")
        assert line.is_shown is (stream is screen)
        line.clear()
        line.show(0.5)
        line.show(1.5)
        line.clear()
    assert pipe.getvalue() == ""
    first, second, blank, after = screen.getvalue().split("\r")[1:]
    assert first == f"reading [{'#' * 15}{'.' * 15}]  50%"
    assert second == f"reading [{'#' * 30}] 100%"
    assert (blank.strip(), after) == ("", "")
