"""docs/how-to/configure.md and the reference of the file: their samples are run as they stand."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeserver.cli import cli
from edgeserver.config.file import parse_file
from edgeserver.config.model import SETTINGS, TABLES
from tests.e2e.site import address_of, fetch
from tests.e2e.test_how_to import blocks
from tests.tls import pki

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGE = "configure"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory with what the page's file names."""
    for name in list(os.environ):
        if name.startswith("EDGESERVER_") or name in ("PORT", "WEB_CONCURRENCY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tls").mkdir()
    pair = pki.write_pair(tmp_path / "tls", pki.make_leaf(pki.make_ca("Root")))
    Path(pair["certfile"]).rename("tls/fullchain.pem")
    Path(pair["keyfile"]).rename("tls/privkey.pem")
    Path("tls/privkey.pem").chmod(0o600)
    Path("edge.toml").write_text(blocks(PAGE, "toml")[0])
    return tmp_path


def run(line: str) -> tuple[int, str]:
    """Run a command of the page, and return its exit code and what it prints."""
    words = shlex.split(line)
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    assert words.pop(0) == "edgeserver"
    result = CliRunner(env=variables).invoke(cli, words)
    return result.exit_code, result.stdout


def console(start: str) -> str:
    """Return the command of the page that begins so, without what stands before it."""
    lines = "\n".join(blocks(PAGE, "console")).splitlines()
    return next(line[2:] for line in lines if f"edgeserver {start}" in line)


@pytest.mark.parametrize("number", [0, 1], ids=["listeners", "bind"])
def test_the_files_are_right(number: int) -> None:
    """Nothing is wrong with them, but for what a test's own certificate is warned about."""
    Path("edge.toml").write_text(blocks(PAGE, "toml")[number])
    code, said = run(console("check"))
    assert code in (0, 1), said
    assert "error" not in said


def test_the_wrong_file() -> None:
    """It is told what the page shows."""
    wrong, shown = blocks(PAGE, "toml")[2], blocks(PAGE, "text")[0]
    Path("edge.toml").write_text(wrong)
    assert run(console("check")) == (2, shown)


def test_what_is_in_force() -> None:
    """Each line of the sample is printed."""
    code, said = run(console("config"))
    assert code == 0
    for line in blocks(PAGE, "text")[1].splitlines():
        assert line == "..." or line in said.splitlines()


def test_variables_of_a_platform() -> None:
    """They count as the page says."""
    code, said = run(console("serve main:app").replace(" serve ", " config "))
    assert code == 0
    assert 'bind = [":8080"]  # PORT' in said
    assert "workers = 2  # WEB_CONCURRENCY" in said


def test_who_the_client_would_be() -> None:
    """The audit reads the same file."""
    _, said = run(console("audit explain"))
    assert "client 203.0.113.9" in said


def test_what_is_refused_by_name() -> None:
    """The line of the sample is that of the file of the page."""
    config = parse_file(Path("edge.toml").read_bytes(), "edge.toml")
    assert f"{config.listeners[0].place}: [[listener]] has changed" in blocks(PAGE, "text")[2]


async def test_the_program() -> None:
    """The server of the page believes on its private port alone."""
    names: dict[str, object] = {}
    exec(blocks(PAGE, "python")[0], names)
    make_server = names["make_server"]
    assert callable(make_server)
    server = make_server(0, 0)
    seen = [
        (await fetch(address_of(server, number), b"X-Forwarded-For: 203.0.113.9\r\n")).body
        for number in (0, 1)
    ]
    assert seen == [b"127.0.0.1", b"203.0.113.9"]
    server.stop()
    await server.close_all_connections()


def test_the_reference_has_each_table() -> None:
    """What is shown of the file is each table of settings, and the page names every exception."""
    text = (REFERENCE / "configuration-file.md").read_text()
    assert re.findall(r"^```\{configkeys\} (\w+)$", text, re.MULTILINE) == list(TABLES)
    for name in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", text):
        assert name in {*SETTINGS, *TABLES, "true", "false", "key"}, name
