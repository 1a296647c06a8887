"""What `edgeserver serve` says when it cannot start: one line and an exit code."""

import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeserver.cli import cli
from tests.cli.processes import running, serving

# What the parent finds, before there is any other process.
BEFORE_WORKERS = {
    "host": (("--bind", "a..b:80"), 3, "'a..b'"),
    "certfile": (("--certfile", "no.pem"), 2, "no.pem"),
    "unset-certfile": (("--certfile", ""), 2, "--certfile must be"),
    "unset-crl": (("--crl", ""), 2, "--crl without"),
    "unset-trust": (("--trust", ""), 2, "names no proxy"),
    "descriptor": (("--bind", "fd:77"), 2, "--bind fd:77: "),
    "address": (("--bind", "192.0.2.1:80"), 3, "no interface"),
    "path": (("--bind", "unix:no/a.sock"), 3, "directory does not exist"),
}


@pytest.mark.parametrize("name", BEFORE_WORKERS)
def test_what_cannot_start(app_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one line on standard error, without a traceback, and the right exit code."""
    arguments, code, part = BEFORE_WORKERS[name]
    binds = () if "--bind" in arguments else ("--bind", "127.0.0.1:0")
    monkeypatch.chdir(app_dir)
    result = CliRunner().invoke(cli, ["serve", "main:hello", *binds, *arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert_one_line(result.stderr, part)


def test_logs_that_cannot_be_written(app_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are told at once, each with its own place and fix."""
    monkeypatch.chdir(app_dir)
    Path("edge.toml").write_text("[logs]\naccess-log = 'no/a'\n[audit]\naudit-log = 'no/b'\n")
    command = ["serve", "main:hello", "--bind", "127.0.0.1:0", "--config", "edge.toml"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    audit, access = result.stderr.splitlines()
    assert "edge.toml:4: [audit] audit-log no/b: " in audit
    assert "edge.toml:2: [logs] access-log no/a: " in access


@pytest.mark.parametrize(
    ("target", "arguments", "code", "part", "workers"),
    [
        pytest.param("absent:app", (), 2, "there is no module absent", "1", id="module-1"),
        pytest.param("absent:app", (), 2, "there is no module absent", "2", id="module-2"),
        pytest.param("main:absent", (), 2, "has no attribute absent", "1", id="attribute"),
        pytest.param("main:os", (), 2, "main:os: ", "1", id="not-callable"),
        pytest.param(
            "main:hello", ("--interface", "tornado"), 2, "start_request", "1", id="interface"
        ),
        pytest.param("main:lifespan", (), 3, "no database", "1", id="startup-1"),
        pytest.param("main:lifespan", (), 3, "no database", "2", id="startup-2"),
    ],
)
def test_what_no_worker_can_start(
    app_dir: Path, target: str, arguments: tuple[str, ...], code: int, part: str, workers: str
) -> None:
    """What a worker finds is said once, too, and ends the parent with the same code."""
    with serving(app_dir, target, *arguments, "--workers", workers) as process:
        assert process.wait() == code
        assert process.out == ""
        assert_one_line(process.err, part)


def test_certificates_that_cannot_be_made(app_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written the fix is one that `serve` has."""
    (app_dir / "certs").write_text("in the way")
    monkeypatch.chdir(app_dir)
    arguments = ["serve", "main:hello", "--bind", "https://127.0.0.1:0", "--dev-tls"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert_one_line(result.stderr, "--dev-tls: certs: ")
    assert "edgeserver certs dev --out DIR, and give --certfile and --keyfile" in result.stderr


def assert_one_line(text: str, part: str) -> None:
    """Check that an error is one line of ours that says something."""
    assert text.startswith("edgeserver: ")
    assert text.count("\n") == 1
    assert part in text


def test_a_directory_that_was_removed(tmp_path: Path) -> None:
    """Started in a directory that is gone, the command says so."""
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && exec "$0" -m edgeserver serve main:app'
    with running(["sh", "-c", script, sys.executable], tmp_path) as process:
        assert process.wait() == 2
        assert process.err.startswith("edgeserver: --app-dir .: ")
        assert process.err.count("\n") == 1


def test_the_same_address_twice(app_dir: Path) -> None:
    """An address given twice is not blamed on another process alone."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with serving(app_dir, "main:hello", "--bind", address, "--bind", address) as process:
        assert process.wait() == 3
        assert "is taken, by another process or another --bind" in process.err


def test_a_taken_port(app_dir: Path) -> None:
    """A port that another process has is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(app_dir, "main:hello", "--bind", f"127.0.0.1:{port}") as process:
            assert process.wait() == 3
            assert f"port {port} is taken" in process.err
            assert process.err.count("\n") == 1


def test_a_unix_socket_in_use(app_dir: Path) -> None:
    """A live server's socket file is never taken away."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(app_dir / "a.sock"))
        other.listen()
        with serving(app_dir, "main:hello", "--bind", "unix:a.sock") as process:
            assert process.wait() == 3
            assert "a running server answers there" in process.err
        assert (app_dir / "a.sock").exists()
