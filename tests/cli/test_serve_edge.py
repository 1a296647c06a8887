"""What `serve` does at the edge: https for everybody, and the proof of who a client is."""

import json
import os
import resource
import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trustme
from click.testing import CliRunner

from edgeserver.adapters.detect import make_delegate
from edgeserver.cli import cli
from edgeserver.cli.flags import APPLY_ORDER, apply_flags
from edgeserver.cli.serve import serve
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan
from tests.cli.processes import serving, url_of


@pytest.fixture
def trusting(app_dir: Path, authority: trustme.CA) -> ssl.SSLContext:
    """Write a certificate to `server.pem`, and return a client's context that trusts it."""
    pem = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    pem.write_to_path(str(app_dir / "server.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_the_redirect_to_https(app_dir: Path, trusting: ssl.SSLContext) -> None:
    """A plain port answers 308 with the same path on the https port, and that is served."""
    arguments = ("--certfile", "server.pem", "--bind", "127.0.0.1:0", "--http-redirect", "0")
    with serving(app_dir, "main:hello", *arguments) as process:
        secure, plain = url_of(process, 1), url_of(process, 2)
        process.wait_for("(redirects to https)")
        answer = httpx.get(f"{plain}/a?b=c")
        assert answer.status_code == 308
        assert answer.headers["location"] == f"{secure}/a?b=c"
        form = httpx.post(f"{plain}/form", content=b"x" * 100_000)
        assert (form.status_code, form.headers["location"]) == (308, f"{secure}/form")
        assert httpx.get(answer.headers["location"], verify=trusting).status_code == 200
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_the_redirect_names_the_public_port(app_dir: Path, trusting: ssl.SSLContext) -> None:
    """With PORT=PUBLIC clients are sent to PUBLIC, on each host of https; without Host nowhere."""
    binds = ("--bind", "127.0.0.1:0", "--bind", "127.0.0.2:0", "--http-redirect", "0=443")
    with serving(app_dir, "main:hello", "--certfile", "server.pem", *binds) as process:
        process.wait_for("(redirects to https)")
        plain = [url_of(process, number) for number in (3, 4)]
        assert [url.rpartition(":")[0] for url in plain] == ["http://127.0.0.1", "http://127.0.0.2"]
        for url in plain:
            answer = httpx.get(f"{url}/a", headers={"Host": "www.test:8080"})
            assert (answer.status_code, answer.headers["location"]) == (308, "https://www.test/a")
        host, _, port = plain[0].removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            raw = b"".join(iter(lambda: sock.recv(4096), b""))
        assert raw.startswith(b"HTTP/1.1 400 ")
        assert b"ocation" not in raw
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_strict_transport_security(app_dir: Path, trusting: ssl.SSLContext) -> None:
    """--hsts is sent over TLS, and never on a plain port, whatever a header claims."""
    binds = ("--bind", "https://127.0.0.1:0", "--bind", "http://127.0.0.1:0")
    arguments = ("--certfile", "server.pem", "--hsts", "300", "--xheaders", *binds)
    with serving(app_dir, "main:hello", *arguments) as process:
        secure, plain = url_of(process, 1), url_of(process, 2)
        process.wait_for("Strict-Transport-Security: max-age=300, with every answer over TLS")
        over_tls = httpx.get(secure, verify=trusting, headers={"X-Forwarded-Proto": "http"})
        assert over_tls.headers["strict-transport-security"] == "max-age=300"
        in_plain = httpx.get(plain, headers={"X-Forwarded-Proto": "https"})
        assert " https " in in_plain.text
        assert "strict-transport-security" not in in_plain.headers


def test_the_audit_log(app_dir: Path) -> None:
    """One JSON line for each request is there at the end, and SIGHUP begins a new file."""
    arguments = ("--trust", "127.0.0.1", "--audit-log", "audit.jsonl")
    path = app_dir / "audit.jsonl"
    with serving(app_dir, "main:hello", *arguments) as process:
        url = url_of(process)
        httpx.get(f"{url}/one", headers={"X-Forwarded-For": "203.0.113.9"})
        path.rename(app_dir / "audit.1")
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloaded")
        httpx.get(f"{url}/two", headers={"X-Forwarded-For": "evil"})
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert path.stat().st_mode & 0o7 == 0, "it holds addresses of people"
    assert (app_dir / "audit.1").stat().st_mode & 0o7 == 0
    _, first = map(json.loads, (app_dir / "audit.1").read_text().splitlines())
    _, second = map(json.loads, path.read_text().splitlines())
    assert (first["target"], first["client"], first["reason"]) == (
        "/one",
        "203.0.113.9",
        "first-untrusted",
    )
    assert (second["client"], second["verified"]) == ("127.0.0.1", False)
    assert [finding["code"] for finding in second["findings"]] == ["malformed-boundary"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--audit-log", "no/such/dir"), "--audit-log no/such/dir: No such file or directory"),
        (("--audit-sample", "0.5"), "--audit-sample without an audit log"),
        (
            ("--audit-log", "a", "--audit-findings", "--audit-sample", "0.5"),
            "--audit-sample and --audit-findings exclude each other",
        ),
        (("--certfile", "no.pem"), "--certfile no.pem does not exist; name a file that is there"),
        (("--certfile", "main.py"), "--certfile main.py holds no certificate"),
        (
            ("--dev-tls", "--ca-certs", "no.pem", "--cert-reqs", "required"),
            "--ca-certs no.pem does not exist; name a file",
        ),
        (("--hsts", "300"), "--hsts without a certificate"),
        (("--http-redirect", "0"), "--http-redirect 0 has no https"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_work(
    app_dir: Path, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag that cannot work stops the start with one sentence and exit code 2."""
    monkeypatch.chdir(app_dir)
    result = CliRunner().invoke(cli, ["serve", "main:hello", "--bind", ":0", *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("flag", ["--threads 3", "--root-path /a", "--no-ws-per-message-deflate"])
def test_what_means_nothing_to_an_application(
    app_dir: Path, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag of another kind of application is refused by its name."""
    monkeypatch.chdir(app_dir)
    context = serve.make_context("serve", ["main:hello", *flag.split()])
    plan = ServePlan(target=context.params.pop("target"))
    apply_flags(APPLY_ORDER, context.params, plan)
    with pytest.raises(ConfigurationError, match=f"{flag.split()[0]} means nothing to a callback"):
        make_delegate(
            "callback", lambda request: None, plan.adapter_options, spelled=plan.spell_option
        )


def test_what_a_worker_refuses(app_dir: Path) -> None:
    """And that ends the whole server, with one line."""
    with serving(app_dir, "main:hello", "--threads", "3") as process:
        assert process.wait() == 2
        assert "--threads means nothing to a callback" in process.err
        assert "Traceback" not in process.err


def test_more_connections_than_files(app_dir: Path) -> None:
    """The start lines warn where the limit of open files would be met first."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(app_dir, "main:hello", "--max-connections", str(soft)) as process:
        process.wait_for(f"warning: --max-connections {soft} is more than the limit of open files")
        process.wait_for(f"({soft}): raise that")


def test_an_audit_log_that_nobody_reads(app_dir: Path) -> None:
    """A named pipe without a reader stops the start instead of holding it for good."""
    os.mkfifo(app_dir / "pipe")
    with serving(app_dir, "main:hello", "--audit-log", "pipe") as process:
        assert process.wait() == 2
        assert process.err.startswith("edgeserver: --audit-log pipe: ")
