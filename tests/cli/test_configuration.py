"""`edgeserver check` and `edgeserver config`, and who else reads the file."""

import os
import re
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from edgeserver.cli import cli
from edgeserver.cli.configuration import differences
from edgeserver.cli.sources import SettingSources
from edgeserver.errors import ConfigurationError

HEAD = '[application]\napp = "main:app"\n'


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory of one's own, with an environment that says nothing."""
    for name in list(os.environ):
        if name.startswith("EDGESERVER_"):
            monkeypatch.delenv(name)
    for name in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return tmp_path


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, arguments)


def check(text: str, *arguments: str) -> tuple[int, list[str]]:
    """Return the exit code of a check, and what it prints."""
    Path("edge.toml").write_text(text)
    result = run("check", "edge.toml", *arguments)
    return result.exit_code, result.stdout.splitlines()


def test_nothing_is_wrong() -> None:
    """A right file is told so; what it names is not made."""
    code, lines = check(HEAD + '[audit]\naudit-log = "audit.jsonl"\n[tls]\ndev-tls = true\n')
    assert (code, lines) == (0, ["edge.toml: nothing is wrong"])
    assert os.listdir() == ["edge.toml"]


def test_a_warning_is_a_finding() -> None:
    """What a server would start with, and is odd, has an exit code of its own."""
    code, lines = check(HEAD + '[proxies]\ntrust = ["10.0.0.1/8"]\n')
    assert code == 1
    assert lines[0].startswith(
        "warning: edge.toml:4: [proxies] trust: host-bits-set: 10.0.0.1/8 has bits set"
    )


WRONG = [
    ("[proxies]\nsource = 'forwarded'\n", ["edge.toml:4: [proxies] source says what to make of"]),
    ("[audit]\naudit-log = 'no/a'\n",
     ["edge.toml:4: [audit] audit-log no/a: its directory does not exist; name a file"]),
    ("[audit]\naudit-sample = 0.5\n",
     ["edge.toml:4: [audit] audit-sample without an audit log; add [audit] audit-log FILE"]),
    ("[proxies]\ntrust-file = ['no', 'empty']\n",
     ['edge.toml:4: [proxies] trust-file[0] "no": the file of ranges cannot be read',
      'edge.toml:4: [proxies] trust-file[1] "empty": no range in it']),
    ("[tls]\ncertfile = 'no.pem'\nkeyfile = 'no.key'\n",
     ["edge.toml:4: [tls] certfile no.pem does not exist; name a file",
      "edge.toml:5: [tls] keyfile no.key does not exist; name a file"]),
    ("[tls]\ncertfile = 'empty'\n", ["edge.toml:4: [tls] certfile empty"]),
    ("[tls]\nkeyfile = 'empty'\n", ["edge.toml:4: [tls] keyfile without a certificate; add [tls]"]),
    ("[listening]\nbind = 'https://:1'\n",
     ['edge.toml:4: [listening] bind[0] "https://:1": https needs a certificate; add [tls]']),
    ("[listening]\nbind = ':1,proxy=v2'\n", ["nobody may send the prelude; name the proxies with"]),
    ("[process]\nsingle-process = true\nworkers = 2\n", ["[process] single-process and [process]"]),
    ("[[listener]]\nbind = 'http://:1'\ncertfile = 'empty'\n",
     ['edge.toml:4: [[listener]] bind[0] "http://:1": it says http://, and has a certificate']),
    ("[[listener]]\nbind = ':1'\nkeyfile = 'empty'\n", ["[[listener]] keyfile without a cert"]),
    ("[[listener]]\nbind = ':1'\nsource = 'forwarded'\n", ["[[listener]] source says what to"]),
    ("[[listener]]\nbind = ':1'\ntrust-file = ['no']\n",
     ['edge.toml:5: [[listener]] trust-file[0] "no": the file of ranges cannot be read']),
    ("[application]\n", ["edge.toml:3: this is not TOML: cannot declare"]),
    ("[audit]\naudit-findings = true\n[proxies]\nxheaders = true\ntrust = ['unix:']\n",
     ["edge.toml:6: [proxies] xheaders believes every peer", "edge.toml:4: [audit] audit-find"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "starts"), WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_what_is_wrong(text: str, starts: list[str]) -> None:
    """Each thing is a line with its place, in the words of the file; they are told together."""
    Path("empty").write_text("")
    code, lines = check(HEAD + text)
    assert code == 2
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert start in line
        assert not re.search(r"(?<!\w)--[a-z]", line)


def test_serve_says_the_same() -> None:
    """It does not start, and says everything, a line each."""
    Path("edge.toml").write_text(HEAD + "[process]\nworkers = 0\nlop = 1\n")
    result = run("serve", "--config", "edge.toml")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "edgeserver: edge.toml:4: [process] workers: 0 is not a whole number from 1 to 1024; give"
        " one",
        'edgeserver: edge.toml:5: [process] unknown key "lop"; did you mean loop?',
    ]


def test_nothing_names_the_application() -> None:
    """A file without one is told where to write it."""
    code, lines = check("[process]\nworkers = 1\n")
    assert code == 2
    assert 'app = "main:app" in [application]' in lines[0]


def test_the_application_is_imported_where_asked() -> None:
    """`--import` finds what is wrong with it; without, its code is not run."""
    Path("main.py").write_text("1 / 0\n")
    assert check(HEAD)[0] == 0
    code, (line,) = check(HEAD, "--import")
    assert code == 2
    failure = "importing main failed with ZeroDivisionError"
    assert line.startswith(f"edge.toml:2: [application] app: {failure}")


def test_certificates_are_opened(directory: Path) -> None:
    """One whose key is another's is found, and one that is right is not."""
    authority = trustme.CA()
    first, second = authority.issue_cert("a.test"), authority.issue_cert("b.test")
    first.cert_chain_pems[0].write_to_path("a.pem")
    for name, pair in (("a.key", first), ("b.key", second)):
        pair.private_key_pem.write_to_path(name)
        Path(name).chmod(0o600)
    text = HEAD + "[tls]\ncertfile = 'a.pem'\nkeyfile = 'KEY'\n"
    code, lines = check(text.replace("KEY", "b.key"))
    assert code == 2
    assert lines[0].startswith("edge.toml:5: [tls] keyfile b.key")
    code, lines = check(text.replace("KEY", "a.key"))
    assert code in (0, 1), lines


def test_files_that_are_missing_are_told_beside_a_wrong_value(directory: Path) -> None:
    """Who mends the value would meet them one after the other."""
    text = f"""{HEAD}
[process]
workers = "many"
[proxies]
trust-file = ["ranges.txt"]
[[listener]]
bind = "https://:8443"
certfile = "a.pem"
keyfile = "a.key"
"""
    (directory / "a.key").touch()
    code, lines = check(text)
    assert code == 2
    whats = ("workers: many", 'trust-file[0] "ranges.txt"', "certfile a.pem")
    assert len(lines) == len(whats)
    for what, line in zip(whats, lines, strict=True):
        assert what in line


def test_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables count, with and without a file."""
    monkeypatch.setenv("EDGESERVER_WORKES", "2")
    monkeypatch.setenv("EDGESERVER_APP", "main:app")
    result = run("check")
    assert result.exit_code == 1
    assert "did you mean EDGESERVER_WORKERS?" in result.stdout
    monkeypatch.setenv("EDGESERVER_BACKLOG", "")
    Path("edge.toml").write_text("")
    monkeypatch.setenv("EDGESERVER_CONFIG", "edge.toml")
    result = run("check")
    assert result.exit_code == 2
    assert "EDGESERVER_BACKLOG is empty" in result.stdout


def test_nothing_to_check() -> None:
    """Without a file and without an application it says how to name one."""
    result = run("check")
    assert result.exit_code == 2
    assert result.stderr.startswith("edgeserver: no FILE is named, and no variable names one")


def test_what_is_in_force() -> None:
    """Each line has its origin, and the second spelling of a flag is named as it was typed."""
    Path("edge.toml").write_text(HEAD + "[process]\nworkers = 2\ndrain-idle = '2s'\n")
    result = run("config", "--config", "edge.toml", "-w", "3", "--port", "81")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for line in (
        'app = "main:app"  # edge.toml:2',
        'bind = ["127.0.0.1:81"]  # --port',
        "workers = 3  # --workers",
        "drain-idle = 2  # edge.toml:5",
        'max-held = "512M"  # default',
    ):
        assert line in lines
    Path("again.toml").write_text(result.stdout)
    again = run("config", "--config", "again.toml").stdout
    values = [
        [line.split("  # ")[0] for line in each.splitlines()] for each in (again, result.stdout)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("arguments", "bind"),
    [
        (["--port", "81"], "127.0.0.1:81"),
        (["--host", "0.0.0.0"], "0.0.0.0:8000"),
        (["--host", "::1", "--port", "81"], "[::1]:81"),
        (["-b", ":81"], ":81"),
    ],
    ids=" ".join,
)
def test_second_spellings(arguments: list[str], bind: str) -> None:
    """What other servers call the address is taken for ours."""
    assert f'bind = ["{bind}"]' in run("config", *arguments).stdout


def test_two_spellings_at_once() -> None:
    """Which of them counts is not guessed; and a wrong one is named as it was typed."""
    result = run("config", "--bind", ":1", "--host", "a", "--port", "2")
    assert "--bind and --host --port exclude each other" in result.stderr
    result = run("serve", "main:app", "--port", "x")
    assert "the port is x" in result.stderr


CHAIN = """
[proxies]
trust = ["10.0.0.1"]
[listening]
bind = [":80"]
[[listener]]
bind = "127.0.0.1:81"
trust = ["10.0.0.2"]
"""


@pytest.mark.parametrize(
    ("arguments", "client"),
    [
        (["--listener", "127.0.0.1:81"], "client 203.0.113.9"),
        (["--listener", ":80"], "client 10.0.0.2"),
        (["--listener", ":80", "--trust", "10.0.0.2"], "client 203.0.113.9"),
    ],
    ids=["its own", "that of all", "a flag"],
)
def test_audit_reads_the_file(arguments: list[str], client: str) -> None:
    """`audit explain` takes whom to believe from it, for the listener that is named."""
    Path("edge.toml").write_text(CHAIN)
    head = ("--peer", "10.0.0.2", "-H", "X-Forwarded-For: 203.0.113.9")
    result = run("audit", "explain", *head, "--config", "edge.toml", *arguments)
    assert client in result.stdout


def test_audit_needs_to_know_which_listener() -> None:
    """Where listeners differ the command does not choose."""
    Path("edge.toml").write_text(CHAIN)
    result = run("audit", "explain", "--peer", "10.0.0.2", "-H", "A: b", "--config", "edge.toml")
    assert result.exit_code == 2
    assert "say which one with --listener :80 or 127.0.0.1:81" in result.stderr
    result = run("audit", "explain", "--peer", "::1", "--listener", ":80")
    assert "add --config FILE" in result.stderr
    Path("edge.toml").write_text(CHAIN.replace("10.0.0.2", "10.0.0.256"))
    result = run("audit", "config", "outer:append@192.0.2.1", "--config", "edge.toml")
    assert 'edge.toml:8: [[listener]] trust[0] "10.0.0.256"' in result.stderr


def test_audit_in_the_words_of_the_file() -> None:
    """What contradicts itself there is named as it is written there."""
    Path("edge.toml").write_text("[proxies]\nxheaders = true\ntrust = ['10.0.0.1']\n")
    result = run("audit", "explain", "--peer", "::1", "-H", "A: b", "--config", "edge.toml")
    assert result.stderr.startswith("edgeserver: edge.toml:2: [proxies] xheaders believes every")


def test_a_flag_counts_before_the_file() -> None:
    """As for each command; and a flag that is wrong is named as a flag."""
    Path("edge.toml").write_text("[proxies]\ntrust = ['10.0.0.1']\n")
    sources = SettingSources({}, "edge.toml", {})
    assert sources.effective(sources.load()).values["trust"] == ("10.0.0.1",)
    with pytest.raises(ConfigurationError, match=r"absent\.toml: the configuration cannot be"):
        SettingSources({}, "absent.toml", {}).load()


RUNNING = ["[process]", "workers = 2  # edge.toml:2", "loop = \"auto\"  # default", "",
           "[[listener]]  # edge.toml:4", 'bind = ":1"  # edge.toml:5']  # fmt: skip


def test_what_differs_from_what_runs() -> None:
    """Values count, wherever they come from; each listener is compared with its own."""
    moved = [line.replace("edge.toml:2", "--workers") for line in RUNNING]
    assert differences(RUNNING, moved) == ["# nothing differs now"]
    now = [
        "[process]",
        "workers = 3  # --workers",
        *RUNNING[3:],
        "[[listener]]",
        'bind = ":2"  # x:7',
    ]
    assert differences(RUNNING, now) == [
        "# what differs now:",
        "#   [process] now: workers = 3  # --workers",
        "#             running: workers = 2  # edge.toml:2",
        "#   [process] now: nothing",
        '#             running: loop = "auto"  # default',
        '#   [[listener]] 2 now: bind = ":2"  # x:7',
        "#                  running: nothing",
    ]


def test_what_runs_needs_an_admin_socket() -> None:
    """Without one nobody can be asked, and where nobody listens that is said."""
    result = run("config", "main:app", "--running")
    assert "add --admin unix:PATH" in result.stderr
    result = run("config", "main:app", "--running", "--admin", "unix:absent.sock")
    assert "is the server running, with the same --admin" in result.stderr
