"""`edgeserver audit config`: chains, formats, exit codes and hostile files."""

from __future__ import annotations

import gc
import importlib.util
import json
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeserver.chains.codes import CODES
from edgeserver.cli.audit import audit
from edgeserver.cli.audit_config import rarely_collecting

CORPUS = Path(__file__).parent.parent / "chains" / "corpus"
RIGHT, WRONG = CORPUS / "001-nginx.conf", CORPUS / "003-nginx.conf"
DOCS = Path(__file__).parents[2] / "docs"

INHERITED = """events {}
http {
  server {
    listen 80;
    server_name shop.example;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    location / { proxy_pass http://192.0.2.80:8000; }
    location /ws/ {
      proxy_pass http://192.0.2.80:8000;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
"""


def config(*arguments: str | Path) -> Result:
    """Run `edgeserver audit config`."""
    return CliRunner().invoke(audit, ["config", *map(str, arguments)])


def as_json(*arguments: str | Path) -> Any:
    """Run it for JSON."""
    return json.loads(config(*arguments, "--format", "json").stdout)


def test_picture_finding_and_fix(tmp_path: Path) -> None:
    """The picture comes first, then the finding with its line, a request and a line to paste."""
    path = tmp_path / "nginx.conf"
    path.write_text(INHERITED)
    result = config(f"nginx:{path}", "--trust", "192.0.2.10")
    assert result.exit_code == 1
    lines = result.stdout.split("\n")
    assert lines[0].startswith("edge    nginx")
    assert "  X-Forwarded-Proto  passed through  nobody sets it on /ws/" in lines
    assert any(line.startswith("SPOOFABLE  scheme  shop.example on /ws/") for line in lines)
    assert "nginx.conf:11: this location has its own" in result.stdout
    assert "  try   curl -H 'X-Forwarded-Proto: https' http://shop.example/ws/" in lines
    assert "  fix   at nginx.conf:11   proxy_set_header X-Forwarded-Proto $scheme;" in lines
    assert lines[-2] == "1 of 1 server has errors"


def test_prose_is_folded(tmp_path: Path) -> None:
    """No line of prose is wider than 80 columns; what is pasted stays on one line."""
    (tmp_path / "c").write_text(INHERITED)
    for line in config(f"nginx:{tmp_path / 'c'}").stdout.split("\n"):
        assert len(line) <= 80 or line.startswith(("  try", "  fix")) or " " not in line.strip()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((RIGHT,), 0),
        ((f"nginx:{RIGHT}",), 0),
        ((f"auto:{RIGHT}", "--trust", "192.0.2.10"), 0),
        ((WRONG,), 1),
        ((WRONG, "--fail-on", "never"), 0),
        ((WRONG, "--reachable", "app"), 0),
        ((f"haproxy:{CORPUS / '043-haproxy.cfg'}", "--fail-on", "error"), 0),
        (("outer:append@192.0.2.5", CORPUS / "043-haproxy.cfg"), 1),
        (("outer:append@192.0.2.5", CORPUS / "043-haproxy.cfg", "--fail-on", "error"), 0),
        (("outer:append@192.0.2.5", WRONG, "--reachable", "front"), 0),
        (("outer:append@192.0.2.5", WRONG, "--reachable", "inner"), 1),
        ((RIGHT, "--trust", "198.51.100.1"), 0),
        ((RIGHT, "--trust", "loopback"), 0),
        ((RIGHT, "--trust", "private,unix:"), 0),
        ((f"{RIGHT}@192.0.2.11", "--trust", "192.0.2.10"), 1),
        (("nginx:/nowhere/nginx.conf",), 3),
        (("bind9:/etc/x",), 2),
        (("outer:append", RIGHT), 2),
        (("outer:shout@192.0.2.5", RIGHT), 2),
        (("outer:append@192.0.2.5", f"{RIGHT}@192.0.2.5"), 2),
        ((RIGHT, "--reachable", "moon"), 2),
        ((RIGHT, "--lan", "moon"), 2),
        ((RIGHT, "--product-version", "moon"), 2),
        ((RIGHT, "--product-version", "1.22.1"), 0),
        ((RIGHT, "--server", "nobody.example"), 2),
        ((f"haproxy:{RIGHT}",), 2),
        ((), 2),
    ],
)
def test_exit_codes(arguments: tuple[str | Path, ...], code: int) -> None:
    """The exit code says proved, found, wrong use, unreadable or unknown."""
    result = config(*arguments)
    assert result.exit_code == code, result.output


def test_cannot_tell_names_the_line(tmp_path: Path) -> None:
    """What is not understood is named with file and line, and exits with 4."""
    path = tmp_path / "nginx.conf"
    path.write_text(RIGHT.read_text().replace("location / {", "access_by_lua_file x; location / {"))
    result = config(path)
    assert result.exit_code == 4
    assert "CANNOT TELL" in result.stdout
    assert "nginx.conf:6" in result.stdout
    assert "access_by_lua_file" in result.stdout
    found = as_json(path)["findings"][0]
    assert found["not_understood"][0]["where"]["line"] == 6


def test_what_is_not_understood_is_named_where_it_stands(tmp_path: Path) -> None:
    """Ways that are alike are tried once, and still each doubt has its own line."""
    location = "location / { proxy_pass http://a; proxy_set_header X-Forwarded-For $magic; }\n"
    servers = "".join(f"server {{ server_name {n}.example;\n{location}}}\n" for n in "abc")
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"events {{}}\nhttp {{\n{servers}}}\n")
        found = [
            (Path(each["where"]["file"]).name, each["where"]["line"])
            for each in as_json(f"nginx:{tmp_path / name}", "--proto-header", "none")["findings"]
        ]
        assert found == [(name, 4), (name, 7), (name, 10)]


def test_json() -> None:
    """JSON has the verdicts, what each proxy does, and a counterexample that can be sent."""
    report = as_json("outer:append@192.0.2.5", f"{WRONG}@192.0.2.10")
    assert (report["version"], report["exit"]) == (1, 1)
    assert [hop["name"] for hop in report["hops"]] == ["edge", "inner"]
    assert {use["name"]: use["does"] for use in report["hops"][1]["fields"]} == {
        "x-forwarded-for": "pass",
        "x-forwarded-proto": "pass",
    }
    assert {entry["from"]: entry["client"] for entry in report["entries"]} == {
        "edge": "right",
        "inner": "spoofable",
        "app": "right",
    }
    proof = report["findings"][0]["counterexample"]
    assert proof["client"] == "203.0.113.250"
    assert ["x-forwarded-for", "203.0.113.250"] in proof["send"]
    assert shlex.split(proof["curl"])[:3] == ["curl", "-H", "X-Forwarded-For: 203.0.113.250"]


def test_sarif() -> None:
    """SARIF has the rules, and a result with its place for each finding."""
    log = json.loads(config(WRONG, "--format", "sarif").stdout)
    run = log["runs"][0]
    assert log["version"] == "2.1.0"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(CODES)
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("003-nginx.conf")
    assert place["region"] == {"startLine": 6}
    assert run["results"][0]["level"] == "error"


def test_junit() -> None:
    """JUnit has two cases for each way in, and a failure for each that is wrong."""
    suite = ElementTree.fromstring(config(WRONG, "--format", "junit").stdout)
    assert suite.attrib["tests"] == str(len(suite))
    failed = [case.attrib["classname"] for case in suite if case.find("failure") is not None]
    assert failed == ["edge.client", "edge.scheme"]


def test_github() -> None:
    """GitHub's annotations stand at the line, one a finding."""
    lines = config(WRONG, "--format", "github").stdout.strip().split("\n")
    assert len(lines) == 2
    assert lines[0].startswith("::error file=")
    assert "003-nginx.conf,line=6,title=client-spoofable::" in lines[0]


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "github"])
def test_nothing_of_a_configuration_reaches_a_terminal(form: str, tmp_path: Path) -> None:
    """Names and paths with escapes, markup and newlines come out as printable ASCII."""
    hostile = "\x1b[31m<script>&\u202eé%0A::error::"
    path = tmp_path / "nginx.conf"
    text = INHERITED.replace("shop.example", hostile).replace("/ws/", f'"/ws/{hostile}"')
    path.write_text(text.replace("$proxy_add_x_forwarded_for", f"$magic{hostile}"))
    result = config(f"nginx:{path}", "--format", form)
    assert result.stdout.replace("\n", "").isprintable()
    assert result.stdout.isascii()
    if form == "junit":
        ElementTree.fromstring(result.stdout)
    if form == "github":
        assert all(line.count("::") >= 2 for line in result.stdout.strip().split("\n"))
        assert not any(line.startswith("::error::") for line in result.stdout.split("\n"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("binary", b"\x7fELF\0\0", "NUL byte"),
        ("empty", b"", "cannot guess"),
        ("open", b"http { server {", "not closed"),
        ("closed", b"http { } }", "unexpected '}'"),
        ("quote", b"http { server { listen '80; } }\n", "not closed"),
        ("deep", b"http " + b"{ a " * 5000, "nested"),
        ("itself", b"events {}\nhttp { include itself; }\n", "includes itself"),
        ("missing", b"http { include nowhere.conf; }\n", "cannot be read"),
        ("words", b"http { server { listen 80 } }\n", "';' is missing"),
    ],
)
def test_hostile_nginx(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    """A file that is none is refused in one line, with where and why."""
    path = tmp_path / name
    path.write_bytes(content)
    result = config(f"nginx:{path}" if name != "empty" else path)
    assert result.exit_code in (2, 3)
    assert words in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b]\n"
        + "".join(
            f"{chr(100 + n)}: &{chr(100 + n)} [{', '.join(['*' + chr(99 + n)] * 6)}]\n"
            for n in range(12)
        ),
        "[" * 3000,
        "entryPoints: !!python/object/apply:os.system [id]\n",
        "a: b: c\n",
        "static_resources: 1\n",
    ],
    ids=["laughs", "deep", "object", "syntax", "scalar"],
)
@pytest.mark.parametrize("kind", ["envoy", "traefik", "ingress-nginx", "istio"])
def test_hostile_yaml(kind: str, text: str, tmp_path: Path) -> None:
    """Aliases that grow, nesting and tags are refused, and make no object."""
    path = tmp_path / "file.yaml"
    path.write_text(text)
    result = config(f"{kind}:{path}")
    assert result.exit_code == 2
    assert result.output.startswith("edgeserver: ") or "Error" in result.output


def test_includes_and_globs(tmp_path: Path) -> None:
    """Includes are relative to the main file, also from within an included one."""
    (tmp_path / "sites").mkdir()
    (tmp_path / "nginx.conf").write_text("events {}\nhttp { include sites/*.conf; }\n")
    for name in ("a", "b"):
        (tmp_path / "sites" / f"{name}.conf").write_text(
            f"server {{ server_name {name}.example; location / {{ include pass; }} }}\n"
        )
    (tmp_path / "pass").write_text("proxy_pass http://192.0.2.80;\n")
    report = as_json(f"nginx:{tmp_path}")
    assert {way["server"] for way in report["entries"][0]["ways"]} == {"a.example", "b.example"}
    one = as_json(f"nginx:{tmp_path}", "--server", "a.example")
    assert {way["server"] for way in one["entries"][0]["ways"]} == {"a.example"}


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the parsers the command says what to install."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "crossplane" else found(name),
    )
    result = config(RIGHT)
    assert result.exit_code == 2
    assert "pip install 'edgeserver[audit]'" in result.output


def test_outer_proxy_that_is_not_listed() -> None:
    """The second of the two commonest mistakes: everybody is one client, and the fix is a flag."""
    result = config("outer:append@192.0.2.5", f"{RIGHT}@192.0.2.10", "--trust", "192.0.2.10")
    assert result.exit_code == 1
    assert "proxy-not-listed" in result.stdout
    assert "  fix   --trust 192.0.2.5" in result.stdout
    assert "a client at 203.0.113.66 is 192.0.2.5 for the app" in result.stdout
    # The proxy appends, as it should: no line of its configuration is blamed, or to be changed.
    assert "X-Forwarded-For is replaced here" not in result.stdout
    assert "proxy_set_header" not in result.stdout


def test_a_policy_that_nobody_typed_is_said() -> None:
    """Without --trust the app is taken to list the proxies, and that is said beside the report."""
    result = config(f"{RIGHT}@192.0.2.10")
    assert "the app is taken to list the proxies (192.0.2.10)" in result.stderr
    assert not config(f"{RIGHT}@192.0.2.10", "--trust", "192.0.2.10").stderr


def test_strangers_of_the_lan() -> None:
    """What a proxy believes of a private network is no proof where that network is named."""
    path = CORPUS / "096-traefik.yml"
    arguments = (f"traefik:{path}", "--trust", "192.0.2.10", "--source", "x-real-ip")
    assert config(*arguments).exit_code == 0
    result = as_json(*arguments, "--lan", "10.9.9.0/24")
    assert result["entries"][0]["client"] == "spoofable"
    assert result["findings"][0]["counterexample"]["from"] == "10.9.9.1"


def test_every_code_is_documented() -> None:
    """The reference has each code with its severity, its meaning, an example and its fix."""
    page = (DOCS / "reference" / "audit-config.md").read_text()
    for code, entry in CODES.items():
        start, end = f"| `{code}` | {entry.severity} | {entry.meaning} | ", f" | {entry.fix} |"
        (row,) = (line for line in page.split("\n") if line.startswith(start))
        assert row.endswith(end)
        assert len(row) > len(start) + len(end), "an example"


def test_cycles_are_looked_for_as_before_afterwards() -> None:
    """What spares the judgement the collector's time holds no longer than it, whatever happens."""
    usual = gc.get_threshold()
    within = []

    def judge() -> None:
        with rarely_collecting():
            within.append(gc.get_threshold()[0])
            raise KeyError

    with pytest.raises(KeyError):
        judge()
    assert within[0] > usual[0]
    assert gc.get_threshold() == usual
