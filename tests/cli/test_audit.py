"""`edgeserver audit explain`: flags, pasted heads, pictures, JSON and exit codes."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeserver.cli.audit import audit, parse_pasted_head
from edgeserver.errors import ConfigurationError

TRUST = ("--trust", "10.0.0.0/8,173.245.48.0/20", "--peer", "10.0.3.7")
CHAIN = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 173.245.48.12"

PICTURE = """\
 hop  address        said by        verdict  why
  0   10.0.3.7       TCP            trusted  in 10.0.0.0/8
  1   173.245.48.12  10.0.3.7       trusted  in 173.245.48.0/20
  2   203.0.113.9    173.245.48.12  CLIENT   first untrusted address
  3   6.6.6.6        203.0.113.9    ignored  left of the client: anyone can write it
client 203.0.113.9  scheme http  verified
warn  conflict: X-Real-Ip says 6.6.6.6; it is not the configured source
      fix: have the proxy set or remove that header, or make it the source if it is the one your \
proxy sets
"""


def explain(*flags: str, stdin: bytes = b"") -> Result:
    """Run `edgeserver audit explain`."""
    return CliRunner().invoke(audit, ["explain", *flags], input=stdin)


def test_picture_of_the_specification() -> None:
    """Piped, it prints what the specification draws, with the fix, and exits 1 for the warning."""
    result = explain(*TRUST, "-H", CHAIN, "-H", "X-Real-Ip: 6.6.6.6")
    assert result.stdout == PICTURE
    assert result.exit_code == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a HTTP/1.1\r\nHost: a\r\n%s\r\nX-Real-Ip: 6.6.6.6\r\n\r\nX-Real-Ip: 1.1.1.1\r\n",
        b"\n%s\nX-Real-Ip: 6.6.6.6\n",
        b"> GET /a HTTP/1.1\n> %s\n> X-Real-Ip: 6.6.6.6\n> \n",
        b"> %s\r\n> X-Real-Ip:6.6.6.6\r\n>\r\n< HTTP/1.1 200 OK\r\n",
    ],
    ids=["request", "fields", "curl", "curl-crlf"],
)
@pytest.mark.parametrize("flag", [(), ("-",)], ids=["piped", "dash"])
def test_pasted_head(head: bytes, flag: tuple[str, ...]) -> None:
    """A head pasted on standard input gives the same picture as flags."""
    result = explain(*TRUST, *flag, stdin=head % CHAIN.encode())
    assert result.stdout == PICTURE
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--peer", "10.0.0.1"), 0, "client 10.0.0.1  scheme http  verified"),
        (("--peer", "9.9.9.9", "-H", "X-Real-Ip: 1.1.1.1"), 1, "untrusted-peer-claims"),
        (("--peer", "10.0.0.1", "--trust", "private"), 0, "info  trusted-peer-as-client"),
        (("--peer", "unix:", "--trust", "unix:", "-H", "X-Forwarded-For: 9.9.9.9"), 0, "9.9.9.9"),
        (("--peer", "10.0.0.1", "--scheme", "https"), 0, "scheme https"),
        (
            (
                "--peer",
                "10.0.0.1",
                "--trust",
                "private",
                "--source",
                "Forwarded",
                "-H",
                "Forwarded: for=9.9.9.9;proto=https",
            ),
            0,
            "client 9.9.9.9  scheme https",
        ),
        (
            (
                "--peer",
                "10.0.0.1",
                "--trust",
                "private",
                "--proto-header",
                "X-Scheme",
                "-H",
                "X-Scheme: https",
                "-H",
                "X-Forwarded-For: 9.9.9.9",
            ),
            0,
            "scheme https",
        ),
        (
            (
                "--peer",
                "10.0.0.1",
                "--trust",
                "private",
                "--proto-header",
                "none",
                "-H",
                "X-Forwarded-For: 9.9.9.9",
            ),
            0,
            "scheme http ",
        ),
        (
            (
                "--peer",
                "10.0.0.1",
                "--trust",
                "private",
                "--max-hops",
                "1",
                "-H",
                "X-Forwarded-For: 9.9.9.9, 10.0.0.2",
            ),
            1,
            "client 10.0.0.2",
        ),
        (
            (
                "--peer",
                "9.9.9.9",
                "--xheaders",
                "--trusted-downstream",
                "5.5.5.5",
                "-H",
                "X-Forwarded-For: 1.1.1.1, 5.5.5.5",
            ),
            1,
            "client 1.1.1.1",
        ),
        (("--peer", "10.0.0.1", "--trust", "10.0.0.2/26"), 1, "host-bits-set"),
    ],
)
def test_flags(flags: tuple[str, ...], code: int, words: str) -> None:
    """Every flag has its effect, and only a warning or worse makes the exit code 1."""
    result = explain(*flags)
    assert words in result.stdout
    assert result.exit_code == code, result.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--peer"),
        (("--peer", "nonsense"), "is not an address"),
        (("--peer", "10.0.0.1", "--trust", "privte"), "did you mean 'private'"),
        (("--peer", "10.0.0.1", "--trust", "0.0.0.0/0"), "is every address"),
        (("--peer", "10.0.0.1", "--source", "forwarded"), "add --trust"),
        (("--peer", "10.0.0.1", "--max-hops", "3"), "add --trust"),
        (("--peer", "10.0.0.1", "--max-hops", "0", "--trust", "private"), "from 1 on"),
        (("--peer", "10.0.0.1", "--xheaders", "--trust", "private"), "one of the two"),
        (("--peer", "10.0.0.1", "--xheaders", "--source", "forwarded"), "add --trust"),
        (("--peer", "10.0.0.1", "--trusted-downstream", "5.5.5.5"), "add --xheaders"),
        (("--peer", "10.0.0.1", "--scheme", "ftp"), "--scheme"),
        (("--peer", "10.0.0.1", "-H", "no colon"), "is not a header field"),
        (("--peer", "10.0.0.1", "-H", ": x"), "is not a header field"),
        (("--peer", "10.0.0.1", "--trust-file", "/absent/file"), "/absent/file"),
    ],
)
def test_usage_errors(flags: tuple[str, ...], words: str) -> None:
    """A wrong flag is one line on standard error that names it, and exit code 2."""
    result = explain(*flags)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_trust_file(tmp_path: Path) -> None:
    """Ranges from a file are shown with the file's name; a wrong line with its number."""
    path = tmp_path / "cdn.txt"
    path.write_text("10.0.0.0/8 # edge\n", encoding="utf-8")
    flags = ("--peer", "10.0.0.1", "--trust-file", str(path))
    result = explain(*flags, "-H", "X-Forwarded-For: 9.9.9.9")
    assert "in 10.0.0.0/8 (cdn.txt)" in result.stdout
    path.write_text("10.0.0.0/8\nnonsense\n", encoding="utf-8")
    result = explain(*flags)
    assert result.exit_code == 2
    assert f"{path}:2:" in result.stderr


def test_json() -> None:
    """`--json` prints the whole proof, and the exit code is the same."""
    result = explain(*TRUST, "--json", "--peer-port", "7", "-H", CHAIN, "-H", "X-Real-Ip: 6.6.6.6")
    shown = json.loads(result.stdout)
    assert (shown["client"], shown["verified"]) == ("203.0.113.9", True)
    assert [hop["verdict"] for hop in shown["hops"]] == ["trusted", "trusted", "client", "ignored"]
    assert shown["hops"][0]["port"] == 7
    assert [finding["code"] for finding in shown["findings"]] == ["conflict"]
    assert shown["findings"][0]["fix"]
    assert result.exit_code == 1


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["plain", "json"])
def test_everything_claimed_is_escaped(form: tuple[str, ...]) -> None:
    """No claimed byte reaches the terminal as it came."""
    head = b"X-Forwarded-For: \x1b[2J\x9b\xe2\x80\xae, \x1b]0;x\x07\nX_Forwarded\x1b: 1\n"
    result = explain("--trust", "private", "--peer", "10.0.0.1", *form, stdin=head)
    assert result.exit_code == 1
    assert result.stdout.replace("\n", "").isprintable()
    assert result.stdout.isascii()
    assert "x1b[2J" in result.stdout


@pytest.mark.parametrize(
    ("text", "line"),
    [(b"A: b\nnonsense\n", 2), (b"A: b\n folded\n", 2), (b"A : b\n", 1), (b"GET / x\n", 1)],
)
def test_pasted_line_that_is_no_field(text: bytes, line: int) -> None:
    """A pasted line that is not a field is named by its number."""
    with pytest.raises(ConfigurationError, match=f"standard input, line {line}: "):
        parse_pasted_head(text)


def test_pasted_head_is_bounded() -> None:
    """More than one head's worth of standard input is refused."""
    result = explain("--peer", "10.0.0.1", stdin=b"A: b\n" * 300_000)
    assert result.exit_code == 2
    assert "one request's head" in result.stderr


def on_terminal(*flags: str, env: dict[str, str]) -> tuple[int, str]:
    """Run the command with a pseudo-terminal for standard input and output."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "edgeserver", "audit", "explain", *flags]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", **env}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    chunks = []
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError as error:  # Linux says EIO where others say end of file
            if error.errno != errno.EIO:
                raise
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(parent)
    return process.wait(), b"".join(chunks).decode()


def test_terminal_shows_a_picture() -> None:
    """On a terminal the chain is drawn with its fixes, and nothing claimed gets through raw."""
    flags = (
        *TRUST,
        "-H",
        CHAIN.replace("6.6.6.6", "\x1b]0;x\x07[red]"),
        "-H",
        "X-Real-Ip: 6.6.6.6",
    )
    code, shown = on_terminal(*flags, env={"PYTHONIOENCODING": "utf-8"})
    assert code == 1
    assert "──▶" in shown
    assert "● CLIENT" in shown
    assert "fix:" in shown
    assert "\x1b]0;" not in shown
    assert "\\x1b]0;x\\x07[red]" in shown


def test_terminal_without_unicode_gets_plain_text() -> None:
    """A terminal that cannot show the signs gets the plain picture."""
    code, shown = on_terminal(*TRUST, "-H", CHAIN, env={"PYTHONIOENCODING": "ascii"})
    assert code == 0
    assert shown.isascii()
    assert "CLIENT   first untrusted address" in shown
