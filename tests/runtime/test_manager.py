"""What systemd hears: real datagrams on real sockets."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeserver.runtime.manager import ServiceManager, take_manager


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """Return a socket that listens as systemd does."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[-60:] if request.param == "abstract" else name)
        sock.settimeout(10)
        yield sock


def _address(heard: socket.socket) -> str:
    name = heard.getsockname()
    return "@" + name[1:].decode() if isinstance(name, bytes) else name


def test_states(heard: socket.socket) -> None:
    """Each is one datagram of lines; a reload says when it began."""
    manager = ServiceManager(_address(heard))
    manager.ready("2 workers")
    assert heard.recv(999) == b"READY=1\nSTATUS=2 workers"
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.reloading("SIGHUP")
    reloading, began, status = heard.recv(999).split(b"\n")
    assert (reloading, status) == (b"RELOADING=1", b"STATUS=SIGHUP")
    assert int(began.removeprefix(b"MONOTONIC_USEC=")) >= before_us
    manager.stopping("ending")
    manager.needs(2.5)
    manager.lives()
    assert [heard.recv(999) for _ in range(3)] == [
        b"STOPPING=1\nSTATUS=ending",
        b"EXTEND_TIMEOUT_USEC=2500000",
        b"WATCHDOG=1",
    ]


def test_a_status_is_one_short_line(heard: socket.socket) -> None:
    """Whatever an error says, it brings no line of its own."""
    ServiceManager(_address(heard)).says("a\nREADY=1\n" + "b" * 999)
    said = heard.recv(9999)
    assert said.startswith(b"STATUS=a READY=1 bbb")
    assert len(said) == len("STATUS=") + 200


def test_nobody_listens(tmp_path: Path) -> None:
    """A server goes on where the service manager is gone."""
    ServiceManager(str(tmp_path / "gone")).ready("well")
    ServiceManager("/" + "x" * 200).ready("well")


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"NOTIFY_SOCKET": "/run/n"}, 0.0),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "5000000"}, 5.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "own"}, 5.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, 0.0),
        ({"NOTIFY_SOCKET": "vsock:2:9"}, None),
        ({"NOTIFY_SOCKET": "relative"}, None),
        ({"WATCHDOG_USEC": "5000000"}, None),
        ({}, None),
    ],
    ids=lambda value: "" if value is None else str(value),
)
def test_the_environment(environment: dict[str, str], watchdog_s: float | None) -> None:
    """It says where, and how often; its variables are removed, and nothing else."""
    environ = {"HOME": "/"} | environment
    if environ.get("WATCHDOG_PID") == "own":
        environ["WATCHDOG_PID"] = str(os.getpid())
    manager = take_manager(environ)
    assert environ == {"HOME": "/"}
    assert (None if manager is None else manager.watchdog_s) == watchdog_s
