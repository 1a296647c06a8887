"""The README: its commands and samples are run, and its figures are the measured ones."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from edgeserver.cli import cli
from tests.cli.processes import serving, url_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MEASURED = (ROOT / "benchmarks" / "README.md").read_text()


def samples(language: str) -> list[str]:
    """Return the blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_two_commands() -> None:
    """`make run` and `make test` are what they always were."""
    assert {"$ make run\n", "$ make test\n"} <= set(samples("console"))


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("FastAPI(", "an ASGI application"),
        ("Flask(", "a WSGI application"),
        ("# hello.py", "a callback (request)"),
    ],
    ids=["FastAPI", "Flask", "callback"],
)
def test_the_applications(tmp_path: Path, word: str, kind: str) -> None:
    """Each application runs by the command that the README gives, and sees its client."""
    (sample,) = [each for each in samples("python") if word in each]
    (tmp_path / "main.py").write_text(sample)
    with serving(tmp_path, "main:app") as process:
        assert "127.0.0.1" in httpx.get(url_of(process)).text
        lines = [line for line in process.out.splitlines() if not line.startswith("20")]
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert lines[1] == f"serving main:app, {kind}, with 1 worker"
    if word == "FastAPI(":
        lines[0] = re.sub(r":[0-9]+\b", ":8000", lines[0])
        shown = samples("console")[0].splitlines()[2:]
        assert shown == lines
        tutorial = (ROOT / "docs" / "tutorial" / "index.md").read_text()
        assert f"{shown[0]}\n" in tutorial


def test_the_picture() -> None:
    """`audit explain` prints the six lines that stand there."""
    (block,) = [each for each in samples("console") if "audit explain" in each]
    command, _, shown = block.partition("\n")
    done = CliRunner().invoke(cli, shlex.split(command)[2:], prog_name="edgeserver")
    assert done.stdout == shown
    assert shown.count("\n") == 6


def test_the_program(tmp_path: Path) -> None:
    """The sample of a test of one's own chain is one, and passes."""
    (sample,) = [each for each in samples("python") if "assert_client" in each]
    names: dict[str, object] = {}
    exec(sample, names)
    test = names["test_a_stranger_cannot_choose_the_client"]
    assert callable(test)
    test()


def rows_of(title: str, server: str) -> list[str]:
    """Return the row of a server in the first table below a title of the benchmarks."""
    part = MEASURED[MEASURED.index(title) :]
    return next(
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in part.splitlines()
        if line.startswith(f"| {server} ")
    )


@pytest.mark.parametrize(
    ("row", "title", "server", "column"),
    [
        ("to a callback, next to Tornado", "(`http`)\n\n##### minimal", "edgeserver", 3),
        ("next to uvicorn", "(`asgi`)", "edgeserver-asgi", 3),
        ("next to granian", "(`asgi`)", "edgeserver-asgi", 5),
        ("next to gunicorn", "(`wsgi`)", "edgeserver-wsgi", 4),
        ("next to Tornado's own server", "(`tornado`)", "edgeserver-tornado", 3),
        ("over TLS, next to nginx", "(`tls`)", "edgeserver", 3),
        ("handshake, next to nginx", "(`tls-handshake`)", "edgeserver", 3),
    ],
    ids=["tornado", "uvicorn", "granian", "gunicorn", "tornado-web", "tls", "handshake"],
)
def test_the_ratios(row: str, title: str, server: str, column: int) -> None:
    """Each ratio is the median that the benchmarks report, as they round it or to three places."""
    (shown,) = re.findall(rf"^\| .*{re.escape(row)} \| ([0-9.]+) \|$", README, re.MULTILINE)
    if row.startswith("to a callback"):
        title = "##### browser: ten fields"
    measured = rows_of(title, server)[column].split(" ")[0]
    assert float(shown) == pytest.approx(float(measured), abs=0.0005)


def test_links() -> None:
    """Every relative link names a file of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 8
    assert not [each for each in links if not (ROOT / each).exists()]
