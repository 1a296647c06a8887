"""The command `edgeserver audit report`: files in, one page out, exit codes, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeserver.audit.page.document import kind_of_report
from edgeserver.cli.audit import audit
from tests.audit.page.samples import REPORTS, ParsedPage

TESTS = Path(__file__).parent.parent
RIGHT, WRONG = (TESTS / "chains" / "corpus" / f"{name}-nginx.conf" for name in ("001", "003"))
LOG = TESTS / "audit" / "logs" / "206-caddy.jsonl"
EXPLAIN = ("--trust", "10.0.0.5", "--peer", "10.0.0.5", "-H", "X-Forwarded-For: 203.0.113.9")


def run(*words: str | Path, **settings: Any) -> Result:
    """Return what an audit command does."""
    return CliRunner().invoke(audit, [*map(str, words)], **settings)


@pytest.fixture
def reports(tmp_path: Path) -> dict[str, Path]:
    """Return a file for each kind of report."""
    paths = {}
    for name, value in REPORTS.items():
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(json.dumps(value))
    return paths


def test_one_page_of_several_files(reports: dict[str, Path], tmp_path: Path) -> None:
    """All files stand on one page, which is written whole; nothing is printed."""
    page = tmp_path / "audit.html"
    result = run("report", "-o", page, *reports.values())
    assert (result.exit_code, result.output) == (1, "")
    text = ParsedPage(page.read_text()).text
    for path in (reports["explain"], reports["config"]):
        assert str(path) in text
    assert [path.name for path in tmp_path.glob("audit.html*")] == ["audit.html"]


def test_standard_input_and_output(reports: dict[str, Path]) -> None:
    """`-` is standard input, and without -o the page is printed."""
    result = run("report", "-", input=reports["probe"].read_text())
    assert result.stdout.startswith("<!doctype html>\n<html")
    assert "shop.example" in result.stdout


def test_redacted(reports: dict[str, Path]) -> None:
    """No client is named, in curl lines and heads neither."""
    result = run("report", "--redact", *reports.values())
    assert "203.0.113.0/24" in result.stdout
    for client in ("203.0.113.250", "203.0.113.9<", "203.0.113.90"):
        assert client not in result.stdout


CONFIG = ("config", f"nginx:{WRONG}", "--trust", "192.0.2.10")
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "config": (CONFIG, ("--format", "json")),
    "logs": (("logs", str(LOG), "--trust", "192.0.2.5"), ("--format", "json")),
    "check": (("check", "audit.toml"), ("--format", "json")),
    "explain": (("explain", *EXPLAIN), ("--json",)),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_commands_write(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a command's JSON is that of its `--format html`, and so is the exit code."""
    monkeypatch.chdir(tmp_path)
    Path("audit.toml").write_text(
        f'[[chain]]\nname = "shop"\nproxies = ["nginx:{WRONG}"]\n'
        '[[chain.expect]]\nclient = "right"\n'
    )
    command, as_json = COMMANDS[name]
    result = run(*command, *as_json)
    Path("report.json").write_text(result.stdout)
    assert kind_of_report(json.loads(result.stdout)) == name
    page = run("report", "report.json")
    own = run(*command, "--format", "html")
    assert page.exit_code == own.exit_code == result.exit_code
    sections = [text.partition("<h2")[2] for text in (page.stdout, own.stdout)]
    assert sections[0]
    assert sections[0] == sections[1]


@pytest.mark.parametrize(
    ("report", "words", "code"),
    [
        ({"entries": [], "findings": []}, (), 0),
        ({"entries": [], "findings": [{"severity": "warning"}]}, (), 1),
        ({"entries": [], "findings": [{"severity": "warning"}]}, ("--fail-on", "error"), 0),
        ({"entries": [], "findings": [{"severity": "error"}]}, ("--fail-on", "error"), 1),
        ({"entries": [], "findings": [{"severity": "error"}]}, ("--fail-on", "never"), 0),
        ({"entries": [], "findings": [{"severity": "error", "known": True}]}, (), 0),
        ({"entries": [], "findings": [{"severity": "info", "code": "cannot-tell"}]}, (), 4),
        ({"log": {}, "cannot_tell": [{"what": "the scheme"}]}, (), 4),
        ({"log": {}, "findings": 7, "cannot_tell": "x"}, (), 0),
    ],
    ids=[
        *("nothing", "warning", "fails on errors", "error", "never", "known", "cannot tell"),
        *("a log that cannot", "odd"),
    ],
)
def test_exit_codes(report: dict[str, Any], words: tuple[str, ...], code: int) -> None:
    """The exit code is that of the command that found it, whatever else is on the page."""
    result = run("report", "-", *words, input=json.dumps(report))
    assert result.exit_code == code
    assert result.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "none of audit config, logs, check, probe or explain has written this"),
        ('{"runs": []}', "none of audit config"),
        ("<html>", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("9" * 5000, "this is not JSON"),
        ("\udcff", "this is not JSON"),
    ],
    ids=["empty", "SARIF", "HTML", "deep", "a long number", "binary"],
)
def test_what_is_no_report(content: str, says: str, tmp_path: Path) -> None:
    """Another file is refused, with its name and what to give instead; nothing is written."""
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    result = run("report", "-o", tmp_path / "page.html", path)
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert says in result.stderr
    assert "--format json" in result.stderr
    assert not (tmp_path / "page.html").exists()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """A file that cannot be read exits with 3, one that cannot be written with 2."""
    missing = run("report", tmp_path / "none.json")
    assert (missing.exit_code, "No such file" in missing.stderr) == (3, True)
    report = tmp_path / "r.json"
    report.write_text('{"entries": []}')
    lost = run("report", "-o", tmp_path / "none" / "page.html", report)
    assert (lost.exit_code, "-o" in lost.stderr) == (2, True)
    many = run("report", *([report] * 51))
    assert (many.exit_code, "at most 50" in many.stderr) == (2, True)
