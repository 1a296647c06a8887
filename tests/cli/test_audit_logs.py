"""The command `edgeserver audit logs`: exit codes, text that folds, JSON, and what it refuses."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeserver.audit.chains import CODES
from edgeserver.audit.log import AuditLog
from edgeserver.cli.audit import audit
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy

LOGS = Path(__file__).parent.parent / "audit" / "logs"
TRUST = "192.0.2.5,198.51.100.0/24,10.0.0.0/8"


def run(*words: str, **settings: str) -> Result:
    """Return what the command says."""
    return CliRunner().invoke(audit, ["logs", *words], **settings)


def test_the_report_folds_at_80_columns() -> None:
    """The picture comes first, then findings with their fix; no line is wider than 80."""
    result = run(str(LOGS / "206-caddy.jsonl"), "--trust", TRUST, "--suggest")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith("33 requests, 2026-11-28 07:13:06")
    assert any("--> 192.0.2.6 --> this log  3 requests, not in --trust" in line for line in lines)
    assert any(line.startswith("error  forgotten-proxy") for line in lines)
    assert "(score 0.94)" in result.output
    assert max(map(len, lines)) <= 80


def test_json() -> None:
    """The report for programs has the chains, the findings with the parts of their scores."""
    result = run(str(LOGS / "206-caddy.jsonl"), "--trust", TRUST, "--format", "json",
                 "--against", "192.0.2.0/24")  # fmt: skip
    report = json.loads(result.output)
    assert (report["version"], report["exit"], report["log"]["format"]) == (1, 1, "caddy")
    assert report["chains"][0] == {"hops": ["192.0.2.5"], "requests": 15}
    first = report["findings"][0]
    assert (first["code"], first["subject"], first["score"]) == (
        "forgotten-proxy", "192.0.2.6", 0.9375,
    )  # fmt: skip
    assert set(first["parts"]) >= {"never alone", "different clients"}
    assert {"before": "192.0.2.6", "after": "203.0.113.130", "requests": 1} in report["against"]


def test_a_log_that_cannot_answer_says_so(tmp_path: Path) -> None:
    """Without the list nothing is proved: exit code 4, and the line to add."""
    path = tmp_path / "access.log"
    path.write_text(
        '192.0.2.5 - - [28/Nov/2026:07:13:03 +0000] "GET / HTTP/1.1" 200 2 "-" "curl/8"\n' * 5
    )
    result = run(str(path), "--trust", "192.0.2.5")
    assert result.exit_code == 4
    assert "cannot tell: x-forwarded-for is not in this log" in result.output
    assert "$http_x_forwarded_for" in result.output
    assert "nothing found" not in result.output


def test_fail_on() -> None:
    """Findings count for the exit code as far as they are asked to."""
    path = str(LOGS / "206-caddy.jsonl")
    assert run(path, "--trust", TRUST, "--fail-on", "never").exit_code == 0
    assert run(path, "--trust", f"{TRUST},192.0.2.6", "--fail-on", "error").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["/nowhere/*.log"], 3, "there is no such log"),
        (["{tmp}"], 3, "this is a directory"),
        (["{tmp}/empty"], 2, "the log is empty"),
        (["{tmp}/prose"], 2, "cannot guess the format"),
        (["{tmp}/prose", "--log-name", "nginx"], 2, "is a request in the format nginx"),
        (["{tmp}/prose", "--log-name", "iis"], 2, "write one of edgeserver"),
        (["{tmp}/prose", "--log-format", "$status"], 2, "no field of it is the peer"),
        (["{tmp}/prose", "--memory", "lots"], 2, "write such as 512MB"),
        (["{tmp}/prose", "--tmp", "{tmp}/nowhere"], 2, "nowhere: nothing can be written there"),
        (["{tmp}/prose", "--tmp", "{tmp}/prose"], 2, "prose: nothing can be written there"),
        (["{tmp}/prose", "--against", "x", "--trust", "::1"], 2, "--against: trusted proxy 'x'"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_refusals(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    """What cannot be read or guessed is said in one line, with the fix."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "prose").write_bytes(b"once upon a time\nthere was\xff a log\n")
    result = run(*(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert result.exit_code == code, result.output
    assert message in result.output


@pytest.mark.parametrize("name", ["nginx+xff", "gunicorn", "Combined", "httpd"])
def test_formats_have_several_names(name: str) -> None:
    """A format is found by the name of each product that writes it."""
    result = run(str(LOGS / "214-gunicorn.log"), "--log-name", name, "--format", "json")
    assert json.loads(result.output)["log"]["requests"] == 33


def test_no_progress_in_a_pipe() -> None:
    """Standard error stays empty where it is no terminal."""
    result = run(str(LOGS / "214-gunicorn.log"), "--trust", TRUST)
    assert result.stderr == ""


def test_a_torn_archive_is_named(tmp_path: Path) -> None:
    """What DuckDB cannot unpack is an error with the file's own name, exit code 3."""
    path = tmp_path / "access.log.gz"
    path.write_bytes(gzip.compress((LOGS / "214-gunicorn.log").read_bytes())[:-200])
    result = run(str(path))
    assert result.exit_code == 3
    assert result.output.count(str(path)) == 2
    assert "edgeserver-audit-" not in result.output


def test_standard_input() -> None:
    """`-` reads the log from standard input."""
    text = (LOGS / "214-gunicorn.log").read_text()
    result = run("-", "--trust", TRUST, input=text)
    assert result.exit_code == 1
    assert "33 requests" in result.output


def test_without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the command says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(str(LOGS / "214-gunicorn.log"))
    assert result.exit_code == 2
    assert "pip install 'edgeserver[audit]'" in result.output


def test_edgeservers_own_log_brings_its_policy(tmp_path: Path) -> None:
    """Version 2 holds the policy and what unlisted peers claimed, so it needs no flag."""
    policy = TrustPolicy([TrustedProxy("192.0.2.5", sets=["x-forwarded-proto"]), "unix:"])
    log = AuditLog(tmp_path / "audit.jsonl")
    for number in range(40):
        peer = "192.0.2.6" if number % 4 == 0 else "192.0.2.5"
        head = [(b"x-forwarded-for", b"203.0.113.%d" % number), (b"x-forwarded-proto", b"https")]
        bound = policy.bind(peer=peer, peer_port=1024 + number)
        log.record(
            partial(bound.report, head), "GET", f"/{number}", 1.8e9 + number, pairs=head,
            bound=bound, policy=policy,
        )  # fmt: skip
    log.close()
    result = run(str(tmp_path / "audit.jsonl"), "--format", "json")
    report = json.loads(result.output)
    assert (report["log"]["format"], report["log"]["requests"]) == ("edgeserver", 40)
    assert report["policy"]["proxies"] == ["192.0.2.5", "unix:"]
    assert [(each["code"], each["subject"]) for each in report["findings"]] == [
        ("forgotten-proxy", "192.0.2.6")
    ]
    assert report["cannot_tell"] == []


def test_every_code_is_documented() -> None:
    """The reference has each code with its severity, its meaning, an example and its fix."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "audit-logs.md").read_text()
    for code, entry in CODES.items():
        start, end = f"| `{code}` | {entry.severity} | {entry.meaning} | ", f" | {entry.fix} |"
        (row,) = (line for line in page.split("\n") if line.startswith(start))
        assert row.endswith(end)
        assert len(row) > len(start) + len(end), "an example"


def test_the_how_to_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows of its command is what the command prints."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "audit-logs.md").read_text()
    lines = page.partition("$ edgeserver audit logs access.log.gz ")[2].splitlines()
    arguments, shown = lines[0].split(), "\n".join(lines[1 : lines.index("...")])
    log = LOGS / "202-nginx-proxy-add-xff.log"
    (tmp_path / "access.log.gz").write_bytes(gzip.compress(log.read_bytes()))
    monkeypatch.chdir(tmp_path)
    result = run("access.log.gz", *arguments)
    assert result.output.startswith(f"{shown}\n")
