"""`edgeserver audit check`: expectations, ranges, logs, baselines, formats and exit codes."""

from __future__ import annotations

import json
import os
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeserver.audit.check import CHECK_CODES, all_rules
from edgeserver.cli.audit import audit
from tests.chains.sarif import check_sarif

CORPUS = Path(__file__).parent.parent / "chains" / "corpus"
LOGS = Path(__file__).parent.parent / "audit" / "logs"
DOCS = Path(__file__).parents[2] / "docs"

GOOD = """events {}
http { server { listen 80; server_name shop.example;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  location / { proxy_pass http://192.0.2.80; }
} }
"""
PASSES = GOOD.replace("proxy_set_header X-Forwarded-For $remote_addr;", "")
PLAIN = PASSES.replace("proxy_set_header X-Forwarded-Proto $scheme;", "")
UNKNOWN = GOOD.replace("location / {", "location / { access_by_lua_file x;")

POLICY = '[policy]\ntrust = ["192.0.2.10"]\n'
CHAIN = '[[chain]]\nname = "shop"\nproxies = ["nginx:nginx.conf@192.0.2.10"]\n'
EXPECT = '[[chain.expect]]\nclient = "right"\nscheme = "right"\nfrom = ["edge"]\n'


def write(tmp_path: Path, nginx: str, text: str) -> Path:
    """Write a configuration and the file of a check; return the latter."""
    (tmp_path / "nginx.conf").write_text(nginx)
    path = tmp_path / "audit.toml"
    path.write_text(text)
    return path


def check(*words: str | Path) -> Result:
    """Run `edgeserver audit check`."""
    return CliRunner().invoke(audit, ["check", *map(str, words)])


def as_json(*words: str | Path) -> Any:
    """Run it for JSON."""
    return json.loads(check(*words, "--format", "json").stdout)


def codes(report: Any) -> list[tuple[str, str]]:
    """Return what was found, with its severity."""
    return [(each["code"], each["severity"]) for each in report["findings"]]


@pytest.mark.parametrize(
    ("nginx", "more", "code", "found"),
    [
        (GOOD, "", 0, []),
        (GOOD, EXPECT, 0, []),
        (PASSES, "", 1, ["client-spoofable"]),
        (PASSES, EXPECT, 1, ["client-spoofable", "expectation-failed"]),
        (PASSES, EXPECT.replace('client = "right"', 'client = "spoofable"'), 0, []),
        (PLAIN, EXPECT.replace('client = "right"', 'client = "spoofable"'), 1,
         ["scheme-spoofable", "expectation-failed"]),
        (GOOD, EXPECT.replace('client = "right"', 'client = "lost"'), 1, ["expectation-failed"]),
        (GOOD, EXPECT.replace('"right"\nfrom', '{ http = "right" }\nfrom'), 0, []),
        (PLAIN, EXPECT.replace('"right"\nscheme = "right"',
                               '"spoofable"\nscheme = { http = "spoofable" }'), 0, []),
        (PLAIN, EXPECT.replace('"right"\nscheme = "right"',
                               '"spoofable"\nscheme = { https = "unreachable" }'), 1,
         ["scheme-spoofable"]),
        (UNKNOWN, "", 4, ["cannot-tell", "cannot-tell"]),
        (UNKNOWN, EXPECT, 4, ["cannot-tell"] * 4),
    ],
    ids=["good", "good-expected", "wrong", "wrong-expected-right", "wrong-expected",
         "scheme-wrong", "right-not-expected", "http", "http-spoofable", "https-alone", "unknown",
         "unknown-expected"],
)  # fmt: skip
def test_expectations(nginx: str, more: str, code: int, found: list[str], tmp_path: Path) -> None:
    """What is expected does not count, and what is not as expected does."""
    path = write(tmp_path, nginx, POLICY + CHAIN + more)
    report = as_json(path)
    assert report["exit"] == check(path).exit_code == code
    counted = [name for name, severity in codes(report)
               if severity != "info" or name == "cannot-tell"]  # fmt: skip
    assert sorted(counted) == sorted(found)


def test_a_verdict_that_one_finding_tells_of_twice(tmp_path: Path) -> None:
    """Two places may share a line; where only one of them is expected, the other still counts."""
    chain = ('[[chain]]\nproxies = ["outer:pass@192.0.2.5", "nginx:nginx.conf@192.0.2.10"]\n'
             '[[chain.expect]]\nclient = "spoofable"\nfrom = ["edge"]\n')  # fmt: skip
    append = GOOD.replace("$remote_addr", "$proxy_add_x_forwarded_for")
    path = write(tmp_path, PASSES, POLICY.replace('"192', '"192.0.2.5", "192') + chain)
    report = as_json(path)
    assert report["exit"] == 1
    assert ("client-spoofable", "error") in codes(report)
    path = write(tmp_path, append, POLICY.replace('"192', '"192.0.2.5", "192') + chain)
    counted = [name for name, severity in codes(as_json(path)) if severity == "error"]
    assert "client-spoofable" not in counted


def test_text_folds_at_80_columns(tmp_path: Path) -> None:
    """Sections come first with their verdicts, then findings with file, request and fix."""
    path = write(tmp_path, PASSES, POLICY + CHAIN + EXPECT)
    result = check(path)
    lines = result.stdout.splitlines()
    assert lines[0] == "policy  trusts 192.0.2.10"
    assert lines[1].startswith("chain   shop  edge nginx")
    assert "  client  edge spoofable (right expected), app right" in lines
    assert any(line.startswith("error chain shop: expectation-failed audit.toml:6:")
               for line in lines)  # fmt: skip
    assert any(line.startswith("  try   curl -H 'X-Forwarded-For: ") for line in lines)
    assert lines[-1] == "2 errors"
    assert all(len(line) <= 80 or line.startswith("  try") or " " not in line.strip()
               for line in lines)  # fmt: skip


def test_the_usual_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument it is audit.toml in the working directory."""
    write(tmp_path, GOOD, POLICY + CHAIN)
    monkeypatch.chdir(tmp_path)
    result = check()
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "as expected")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (None, 3, "audit.toml: cannot be read"),
        ("", 2, "nothing to check"),
        ('[policy]\ntrust = ["x/y"]\n' + CHAIN, 2, "[policy]: trust"),
        (CHAIN.replace("nginx.conf", "nowhere.conf"), 3, "nowhere.conf: the configuration cannot"),
        (CHAIN + 'reachable = ["moon"]', 2, "chain shop: reachable moon"),
        (CHAIN + 'lan = ["moon"]', 2, "chain shop: lan:"),
        (CHAIN + 'server = "moon"', 2, "chain shop: server moon"),
        (CHAIN + 'observed = "nowhere"', 3, "what a probe saw cannot be read"),
        (CHAIN + 'observed = "nginx.conf"', 2, "audit probe --save"),
        (CHAIN + EXPECT.replace("edge", "moon"), 2, "from 'moon': strangers reach edge, app"),
        ('[[ranges]]\nfile = "nowhere"\nmax-age = "1d"', 2, "nowhere"),
        ('[[log]]\nfiles = ["nowhere*"]', 3, "there is no such log"),
        ('[[log]]\nfiles = ["nginx.conf"]', 2, "log nginx.conf:"),
    ],
    ids=["missing", "empty", "trust", "unreadable", "reachable", "lan", "server", "observed",
         "not-observed", "from", "ranges", "log", "not-a-log"],
)  # fmt: skip
def test_what_is_refused(text: str | None, code: int, words: str, tmp_path: Path) -> None:
    """Wrong files are told with the place, in the file's own words."""
    path = write(tmp_path, GOOD, text or "")
    if text is None:
        path.unlink()
    result = check(path)
    assert result.exit_code == code, result.output
    assert words in result.stderr


def test_ranges_have_a_greatest_age(tmp_path: Path) -> None:
    """The date that `audit ranges` writes counts; without one, that of the file system."""
    text = '[[ranges]]\nfile = "cdn.txt"\nmax-age = "30d"\n'
    path = write(tmp_path, GOOD, text)
    ranges = tmp_path / "cdn.txt"
    ranges.write_text("192.0.2.0/24\n")
    assert check(path).exit_code == 0
    old = time.time() - 31 * 86400
    os.utime(ranges, (old, old))
    assert codes(as_json(path)) == [("ranges-stale", "warning")]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for date, code in ((today, 0), ("2020-01-01", 1)):
        ranges.write_text(f"# made by edgeserver audit ranges on {date}\n192.0.2.0/24\n")
        os.utime(ranges, (old, old))
        assert check(path).exit_code == code


def test_logs(tmp_path: Path) -> None:
    """A log's findings count, and what it cannot tell."""
    log = f'[[log]]\nfiles = ["{LOGS / "206-caddy.jsonl"}"]\n'
    path = write(tmp_path, GOOD, '[policy]\ntrust = ["192.0.2.5", "10.0.0.0/8"]\n' + log)
    report = as_json(path)
    assert report["exit"] == 1
    assert ("forgotten-proxy", "error") in codes(report)
    silent = tmp_path / "access.log"
    line = '192.0.2.5 - - [28/Nov/2026:07:13:03 +0000] "GET / HTTP/1.1" 200 2 "-" "curl/8"\n'
    silent.write_text(line * 5)
    path = write(tmp_path, GOOD, POLICY.replace(".10", ".5") + '[[log]]\nfiles = "access.log"\n')
    report = as_json(path)
    assert (report["exit"], codes(report)) == (4, [("cannot-tell", "info")])


def test_a_baseline(tmp_path: Path) -> None:
    """What is known does not count, wherever its line went; what is new does."""
    path = write(tmp_path, PASSES, POLICY + CHAIN)
    baseline = tmp_path / "known.json"
    arguments = (path, "--baseline", baseline)
    assert check(path, "--update-baseline").exit_code == 2
    assert check(*arguments).exit_code == 3
    assert check(*arguments, "--update-baseline").exit_code == 0
    (tmp_path / "nginx.conf").write_text("# moved\n\n" + PASSES)
    result = check(*arguments)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "as expected; 1 known")
    (tmp_path / "nginx.conf").write_text(PLAIN)
    report = as_json(*arguments)
    assert report["exit"] == 1
    assert {each["code"]: each["known"] for each in report["findings"]} == {
        "client-spoofable": True, "scheme-spoofable": False,
    }  # fmt: skip
    (tmp_path / "nginx.conf").write_text(GOOD)
    assert "1 of the baseline no longer found" in check(*arguments).stdout


def test_a_baseline_does_not_hide_another_doubt(tmp_path: Path) -> None:
    """What cannot be told is known by what is not understood, not by its place alone."""
    path = write(tmp_path, UNKNOWN, POLICY + CHAIN)
    arguments = (path, "--baseline", tmp_path / "known.json")
    assert check(*arguments, "--update-baseline").exit_code == 0
    (tmp_path / "nginx.conf").write_text(UNKNOWN.replace("access_by_lua_file", "magic_headers"))
    assert check(*arguments).exit_code == 4


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2, "findings": []}', "[" * 9999])
def test_what_is_no_baseline(content: str, tmp_path: Path) -> None:
    """Anything else is refused: it would make everything new, or nothing."""
    path = write(tmp_path, GOOD, POLICY + CHAIN)
    (tmp_path / "known.json").write_text(content)
    result = check(path, "--baseline", tmp_path / "known.json")
    assert result.exit_code == 2
    assert "not a baseline" in result.stderr


@pytest.mark.parametrize(
    ("policy", "edge", "code", "message"),
    [
        ('config = "edge.toml"', '[proxies]\ntrust = ["192.0.2.10"]', 0, ""),
        ('config = "edge.toml"', '[proxies]\ntrust = ["192.0.2.99"]', 1, "proxy-not-listed"),
        ('config = "edge.toml"\ntrust = "192.0.2.10"', '[proxies]\ntrust = ["::1"]', 0, ""),
        ('config = "edge.toml"', "[proxies]\ntrust = 5", 2, "edge.toml"),
        ('config = "edge.toml"', "[proxies]\nxheaders = true", 2, "believes every peer"),
        ('config = "edge.toml"', "]", 2, "edge.toml"),
        ('config = "none.toml"', "", 2, "none.toml"),
        ('listener = ":80"', "", 2, "listener names one of a file; add config"),
        (
            'config = "edge.toml"\nlistener = "127.0.0.1:81"',
            '[proxies]\ntrust = ["::1"]\n'
            '[[listener]]\nbind = "127.0.0.1:81"\ntrust = ["192.0.2.10"]',
            0,
            "",
        ),
    ],
    ids=["file", "other", "flag", "type", "xheaders", "toml", "missing", "alone", "listener"],
)
def test_the_policy_of_a_server(
    tmp_path: Path, policy: str, edge: str, code: int, message: str
) -> None:
    """`config` takes what the application believes from the file that serves it."""
    (tmp_path / "edge.toml").write_text(edge)
    path = write(tmp_path, GOOD, f"[policy]\n{policy}\n{CHAIN}")
    result = check(path)
    assert (result.exit_code, message in result.output) == (code, True), result.output
    assert str(tmp_path) in result.output or code != 2


def test_sarif(tmp_path: Path) -> None:
    """SARIF is valid, with all rules, fingerprints, and what the baseline knows."""
    path = write(tmp_path, PLAIN, POLICY + CHAIN + EXPECT)
    log = json.loads(check(path, "--format", "sarif").stdout)
    check_sarif(log)
    run = log["runs"][0]
    assert len(run["results"]) == 4
    assert "baselineState" not in run["results"][0]
    assert len({each["partialFingerprints"]["edgeserver/v1"] for each in run["results"]}) == 4
    baseline = tmp_path / "known.json"
    check(path, "--baseline", baseline, "--update-baseline")
    log = json.loads(check(path, "--format", "sarif", "--baseline", baseline).stdout)
    check_sarif(log)
    assert all(each["suppressions"] for each in log["runs"][0]["results"])


def test_sarif_of_configurations(tmp_path: Path) -> None:
    """The SARIF of `audit config` is valid, too."""
    write(tmp_path, PLAIN, "")
    words = ["config", f"nginx:{tmp_path / 'nginx.conf'}", "--format", "sarif"]
    check_sarif(json.loads(CliRunner().invoke(audit, words).stdout))
    words[1:2] = ["outer:append@192.0.2.5", words[1]]
    check_sarif(json.loads(CliRunner().invoke(audit, words).stdout))


def test_junit(tmp_path: Path) -> None:
    """JUnit has a case for each verdict that holds and a failure for each finding."""
    path = write(tmp_path, PASSES, POLICY + CHAIN + EXPECT)
    suite = ElementTree.fromstring(check(path, "--format", "junit").stdout)
    assert suite.attrib["failures"] == "2"
    passed = [case.attrib["name"] for case in suite if not len(case)]
    assert passed == ["edge scheme", "app client", "app scheme", "checked"]
    path = write(tmp_path, UNKNOWN, POLICY + CHAIN)
    suite = ElementTree.fromstring(check(path, "--format", "junit").stdout)
    assert (suite.attrib["failures"], suite.attrib["skipped"]) == ("0", "2")


def test_github(tmp_path: Path) -> None:
    """Annotations stand at the lines of the configuration and of the check's file."""
    path = write(tmp_path, PASSES, POLICY + CHAIN + EXPECT)
    lines = check(path, "--format", "github").stdout.strip().split("\n")
    assert len(lines) == 2
    assert all(line.startswith("::error file=") for line in lines)
    assert any("audit.toml,line=6,title=expectation-failed::" in line for line in lines)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "github"])
def test_nothing_of_a_file_reaches_a_terminal(form: str, tmp_path: Path) -> None:
    """Names with escapes and markup come out as printable ASCII, in every format."""
    hostile = "\\u001b[31m<b>&\\u202e%0A::error::"
    text = POLICY + CHAIN.replace('"shop"', f'"{hostile}"') + EXPECT
    path = write(tmp_path, PASSES.replace("location /", 'location "/\x1b[2J<i>\u202e"'), text)
    result = check(path, "--format", form)
    assert result.exit_code == 1
    assert result.stdout.isascii()
    assert result.stdout.replace("\n", "").isprintable()
    if form == "junit":
        ElementTree.fromstring(result.stdout)
    if form == "sarif":
        check_sarif(json.loads(result.stdout))


def test_codes_have_one_meaning_each() -> None:
    """No code of one table stands in another, and those of a check are documented."""
    rules = all_rules()
    assert len({rule.code for rule in rules}) == len(rules)
    page = (DOCS / "reference" / "audit-check.md").read_text()
    for rule in CHECK_CODES.values():
        start = f"| `{rule.code}` | {rule.severity} | {rule.meaning} | "
        (row,) = (line for line in page.split("\n") if line.startswith(start))
        assert row.endswith(f" | {rule.fix} |")
