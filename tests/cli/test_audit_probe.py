"""`edgeserver audit probe` and `audit echo`: whom they talk to, exit codes, text and files."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeserver.audit import probe
from edgeserver.cli.audit import audit
from tests.cli.processes import python, running, serving, url_of
from tests.e2e.chain_of_two import PATH, TOKEN, YOU, echo_server
from tests.tls import pki


@pytest.fixture
def token(tmp_path: Path) -> str:
    """Return the file of a token."""
    path = tmp_path / "token"
    path.write_bytes(TOKEN + b"\n")
    return str(path)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PAUSE_S", 0.0)


def run(*words: str) -> Result:
    """Return what the command says."""
    return CliRunner().invoke(audit, ["probe", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["http://127.0.0.1"], "Missing option '--allow'"),
        (["http://127.0.0.1", "--allow", "localhost"], "127.0.0.1 is not one of --allow localhost"),
        (["http://127.0.0.1@evil.example/", "--allow", "127.0.0.1"], "not a URL"),
        (["http://evil.example/127.0.0.1", "--allow", "127.0.0.1"], "evil.example is not one"),
        (["http://x", "--allow", "x", "--from", "me"], "--from me: not an IP address"),
        (["http://x", "--allow", "x", "--bind", "\x1b"], r"--bind \x1b: not an IP address"),
        (["https://x", "--allow", "x", "--ca-certs", "/nowhere"], "--ca-certs /nowhere"),
        (["http://x", "--allow", "x", "--token-file", "/nowhere"], "--token-file /nowhere"),
    ],
    ids=["missing", "other", "userinfo", "path", "from", "bind", "cas", "token"],
)
def test_what_is_refused(words: list[str], message: str, token: str) -> None:
    """Nobody is talked to that --allow does not name; wrong flags end with 2."""
    result = run(*words, "--token-file", token, *words[3:])
    assert result.exit_code == 2
    assert message in result.stderr


def test_nobody_answers(token: str) -> None:
    """Without a proved answer it ends with 3, and says which address it has asked."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = run(f"http://127.0.0.1:{port}", "--allow", "127.0.0.1", "--token-file", token)
    assert result.exit_code == 3
    assert "127.0.0.1 is 127.0.0.1; probing 127.0.0.1" in result.stderr
    assert "no proved answer to an honest request" in result.stderr
    assert result.stdout == ""


async def test_the_report_folds_at_80_columns(token: str, tmp_path: Path) -> None:
    """The report has the chain first and the verdicts last; what is pasted stays on a line."""
    saved = tmp_path / "chain.json"
    async with echo_server(YOU) as server:
        result = await asyncio.to_thread(
            run, f"http://127.0.0.1:{server.port}", "--allow", "127.0.0.1", "--token-file", token,
            "--from", "198.51.100.7", "--bind", YOU, "--save", str(saved),
        )  # fmt: skip
    assert result.exit_code == 1, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"probe   http://127.0.0.1:{server.port}{PATH} at 127.0.0.1")
    assert any(line.startswith("chain   you (198.51.100.7) -> 127.0.0.66 -> app") for line in lines)
    assert "client  spoofable" in lines
    assert any(
        line.startswith("  try   curl -H 'X-Forwarded-For: 203.0.113.250'") for line in lines
    )
    assert all(len(line) <= 80 for line in lines if not line.startswith("  try"))
    value = json.loads(saved.read_text())
    assert (value["kind"], value["client"], value["scheme"]) == (
        "edgeserver-probe", "spoofable", "spoofable",
    )  # fmt: skip


async def test_https(token: str, tmp_path: Path) -> None:
    """A chain is probed over TLS, with the address of the name that listens; others are refused."""
    authority = pki.make_ca("Root")
    pair = pki.write_pair(tmp_path, pki.make_leaf(authority))
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.pem)
    async with echo_server(ssl_options=pair) as server:
        words = (f"https://localhost:{server.port}", "--allow", "localhost", "--token-file", token)
        result = await asyncio.to_thread(
            run, *words, "--ca-certs", str(ca_file), "--format", "json"
        )
        unknown = await asyncio.to_thread(run, *words)
    report = json.loads(result.stdout)
    assert (report["address"], report["scheme"]) == ("127.0.0.1", "right")
    assert report["app"]["scheme"] == "https"
    # nothing stands between: whether the client is right cannot be told from here
    assert (result.exit_code, report["client"]) == (4, "cannot-tell")
    assert unknown.exit_code == 3
    assert "the certificate is refused: " in unknown.stderr
    assert "--ca-certs FILE" in unknown.stderr


def test_serve_and_probe(token: str, tmp_path: Path) -> None:
    """A real server with two workers answers a probe; its workers share the nonces."""
    (tmp_path / "app.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'hello'})\n"
    )
    arguments = ("--audit-echo", PATH, "--audit-token-file", token, "--lifespan", "off")
    with serving(tmp_path, "app:app", *arguments, "--workers", "2") as process:
        url = url_of(process)
        result = run(url, "--allow", "127.0.0.1", "--token-file", token, "--format", "json")
        process.wait_for(f"audit echo: {PATH}")
    # ten a second are answered, and the others refused: with no pause that proves nothing
    report = json.loads(result.stdout)
    assert report["app"]["peer"] == "127.0.0.1"
    answered = sum(each["effect"] != "refused" for each in report["forgeries"])
    assert 0 < answered <= 30


def test_echo_alone(token: str, tmp_path: Path) -> None:
    """`audit echo` answers probes, and tells everybody else 404."""
    command = python("-m", "edgeserver", "audit", "echo", "--bind", "127.0.0.1:0",
                     "--token-file", token, "--trust", "127.0.0.66")  # fmt: skip
    with running(command, tmp_path) as process:
        url = url_of(process)
        result = run(url, "--allow", "127.0.0.1", "--token-file", token, "--format", "json")
        assert json.loads(result.stdout)["app"]["source"] == "x-forwarded-for"
        host, _, port = url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), 30) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 404 Not Found\r\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--audit-echo", PATH), "give both"),
        (("--audit-token-file", "{token}"), "give both"),
        (("--audit-echo", "echo", "--audit-token-file", "{token}"), "--audit-echo echo: not"),
        (("--audit-echo", "/a?b", "--audit-token-file", "{token}"), "not a path"),
        (("--audit-echo", PATH, "--audit-token-file", "/nowhere"), "--audit-token-file /nowhere"),
    ],
)  # fmt: skip
def test_serve_refuses(arguments: tuple[str, ...], words: str, token: str) -> None:
    """Flags that cannot work stop the start, with what to give."""
    from edgeserver.cli.serve import serve

    given = [each.replace("{token}", token) for each in arguments]
    result = CliRunner().invoke(serve, ["edgeserver.demo:app", "--bind", "127.0.0.1:0", *given])
    assert result.exit_code == 2
    assert words in result.stderr


def test_serve_warns_of_stale_ranges(tmp_path: Path) -> None:
    """A file of ranges past its age is in the start lines, with what to do."""
    (tmp_path / "cdn.txt").write_text(
        "# made by edgeserver audit ranges on 2020-01-01\n192.0.2.0/24\n"
    )
    arguments = ("--trust-file", "cdn.txt", "--trust-file-max-age", "30")
    with serving(tmp_path, "edgeserver.demo:app", *arguments) as process:
        assert "may be 30" in process.wait_for("warning: ranges-stale: cdn.txt is ")
