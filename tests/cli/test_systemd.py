"""Under systemd: what it is told, and the sockets that it passes, with a real process."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.processes import PATIENCE_S, Process, python, running

# What systemd does between fork and exec.
LAUNCHER = """
import os, sys
names, command = sys.argv[1], sys.argv[2:]
fds = [int(fd) for fd in os.environ["SOCKETS"].split(",") if fd]
high = [os.dup2(fd, 50 + index) for index, fd in enumerate(fds)]
for index, fd in enumerate(high):
    os.dup2(fd, 3 + index)
del os.environ["SOCKETS"]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, *command])
"""

APPLICATION = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    seen = sorted(name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY", "WATCHDOG")))
    return [repr(seen).encode()]
"""


class Manager:
    """The socket on which systemd would listen."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard: list[str] = []

    def wait_for(self, line: str) -> str:
        """Return the next message that has a line that begins so."""
        while True:
            message = self._sock.recv(4096).decode()
            self.heard.append(message)
            if any(each.startswith(line) for each in message.split("\n")):
                return message


@contextmanager
def _under_systemd(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    *flags: str,
    application: str = APPLICATION,
) -> Iterator[tuple[Process, Manager, list[int]]]:
    """Run the command as systemd would; give it, what it tells, and the ports of its sockets."""
    (tmp_path / "site_app.py").write_text(application)
    with ExitStack() as stack:
        notify = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(PATIENCE_S)
        socks = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        fds = [sock.fileno() for sock in socks]
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        monkeypatch.setenv("SOCKETS", ",".join(map(str, fds)))
        command = python("-c", LAUNCHER, ":".join(names), "-m", "edgeserver", "serve", *flags)
        command += ["site_app:app", "--no-access-log"]
        process = stack.enter_context(running(command, tmp_path, pass_fds=fds))
        yield process, Manager(notify), [sock.getsockname()[1] for sock in socks]


@pytest.mark.parametrize("single", [False, True], ids=["workers", "single-process"])
def test_the_messages_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: bool
) -> None:
    """READY once it serves, RELOADING and READY, STOPPING; life in between; nothing inherited."""
    flags = ["--bind", "systemd:web"] + (["--single-process"] if single else ["--workers", "2"])
    with _under_systemd(tmp_path, monkeypatch, ["web"], *flags) as (process, manager, ports):
        manager.wait_for("READY=1")
        with urlopen(f"http://127.0.0.1:{ports[0]}/", timeout=PATIENCE_S) as answer:
            assert answer.read() == b"[]"
        manager.wait_for("WATCHDOG=1")
        reloads = [signal.SIGHUP] if single else [signal.SIGHUP, signal.SIGUSR2]
        for number in reloads:
            process.send(number)
            assert "MONOTONIC_USEC=" in manager.wait_for("RELOADING=1")
            manager.wait_for("READY=1")
        process.send(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        manager.wait_for("EXTEND_TIMEOUT_USEC=")
        assert process.wait() == 0
    said = [each.partition("=")[0] for each in manager.heard]
    wanted = ["READY", *["RELOADING", "READY"] * len(reloads), "STOPPING"]
    assert [each for each in said if each in ("READY", "RELOADING", "STOPPING")] == wanted


def test_sockets_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may stand for several; those that nobody asks for are told."""
    names = ["web", "other", "web"]
    flags = ["--bind", "systemd:web"]
    with _under_systemd(tmp_path, monkeypatch, names, *flags) as (process, manager, ports):
        manager.wait_for("READY=1")
        for port in (ports[0], ports[2]):
            with urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S) as answer:
                assert answer.status == 200
        process.wait_for("sockets named other that nobody asks for; add --bind systemd:other")


def test_a_name_that_systemd_has_not_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a usage error that names those that were."""
    with _under_systemd(tmp_path, monkeypatch, ["web"], "--bind", "systemd:wbe") as (process, *_):
        assert process.wait() == 2
        assert (
            "--bind systemd:wbe: systemd has passed no socket of that name, but: web;"
            in process.err
        )


def test_an_application_that_cannot_start_is_never_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What systemd is told is that it ends, and the exit code says why."""
    broken = "raise RuntimeError('no database')"
    flags = ["--bind", "systemd:web"]
    with _under_systemd(tmp_path, monkeypatch, ["web"], *flags, application=broken) as parts:
        process, manager, _ = parts
        assert process.wait() in (2, 3)
        manager.wait_for("STOPPING=1")
        assert not any(each.startswith("READY") for each in manager.heard)
