"""What `edgeserver serve` says when it cannot start: one line and an exit code."""

import socket
import sys
from pathlib import Path

import pytest

from tests.cli.processes import running, serving


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("target", "arguments", "code", "part"),
    [
        pytest.param("absent:app", (), 2, "there is no module absent", id="module"),
        pytest.param("main:absent", (), 2, "has no attribute absent", id="attribute"),
        pytest.param("main:os", (), 2, "main:os: ", id="not-callable"),
        pytest.param("main:hello", ("--interface", "tornado"), 2, "start_request", id="interface"),
        pytest.param("main:lifespan", (), 3, "no database", id="startup"),
        pytest.param("main:hello", ("--bind", "a..b:80"), 3, "'a..b'", id="host"),
        pytest.param("main:hello", ("--certfile", "no.pem"), 2, "no.pem", id="certfile"),
        pytest.param(
            "main:hello", ("--certfile", ""), 2, "--certfile must be", id="unset-certfile"
        ),
        pytest.param("main:hello", ("--crl", ""), 2, "--crl without", id="unset-crl"),
        pytest.param("main:hello", ("--trust", ""), 2, "names no proxy", id="unset-trust"),
        pytest.param("main:hello", ("--bind", "fd:77"), 2, "--bind fd:77: ", id="descriptor"),
        pytest.param("main:hello", ("--bind", "192.0.2.1:80"), 3, "no interface", id="address"),
        pytest.param(
            "main:hello", ("--bind", "unix:no/a.sock"), 3, "directory does not exist", id="path"
        ),
    ],
)
def test_what_cannot_start(
    app_dir: Path, target: str, arguments: tuple[str, ...], code: int, part: str, workers: str
) -> None:
    """It is one line on standard error, without a traceback, and the right exit code."""
    with serving(app_dir, target, *arguments, "--workers", workers) as process:
        assert process.wait() == code
        assert process.out == ""
        assert process.err.startswith("edgeserver: ")
        assert process.err.count("\n") == 1
        assert part in process.err


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
