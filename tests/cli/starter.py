"""A process that has imported the command already, and makes processes of it by forking.

A test of what a running server does pays for a fork, where it would pay for an interpreter and some
500 imports. What tests say of imports, and of the interpreter itself, they start themselves.

Asked over a socket, with JSON and file descriptors: `{"start": ...}` is answered by a process id,
`{"wait": PID}` by the exit code, once it is there.
"""

from __future__ import annotations

import fcntl
import importlib
import io
import json
import os
import signal
import socket
import sys
from typing import Any

from edgeserver.cli import main

__all__ = ["MOST_BYTES", "WARM", "serve_requests"]

MOST_BYTES = 256 * 1024
"""The longest message: an environment may be long."""

WARM = (
    "edgeserver.cli",
    "edgeserver.cli.banner",
    "edgeserver.cli.serve",
    "edgeserver.runtime.prepare",
    "edgeserver.runtime.processes",
    "edgeserver.runtime.sockets",
    "edgeserver.runtime.worker",
    "edgeserver.adapters.asgi.adapter",
    "edgeserver.audit.log",
    "edgeserver.tls.devcerts",
    "uvloop",
)
"""What each start would import."""


def serve_requests(control: socket.socket) -> None:
    """Do what is asked over `control`, until the other end is closed."""
    for name in WARM:
        importlib.import_module(name)
    while True:
        data, fds, _, _ = socket.recv_fds(control, MOST_BYTES, 16)
        if not data:
            return
        asked = json.loads(data)
        if "wait" in asked:
            answer: Any = _wait(asked["wait"])
        else:
            answer = _start(control, asked["start"], fds)
        for fd in fds:
            os.close(fd)
        control.send(json.dumps(answer).encode())


def _wait(pid: int) -> int | None:
    """Return the exit code of a process that was started here, or None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _start(control: socket.socket, request: dict[str, Any], fds: list[int]) -> int:
    """Fork a process that runs the command, and return its id.

    Args:
        control: Where requests come from, which is none of that process's business.
        request: `arguments`, `cwd`, `environment`, and `numbers`: which descriptor each one of
            `fds` is to be, of which the first two are standard output and error.
        fds: The descriptors.
    """
    pid = os.fork()
    if not pid:
        control.detach()
        _become(request, fds)
        sys.exit(main(request["arguments"]))  # it ends as any other process does
    return pid


def _become(request: dict[str, Any], fds: list[int]) -> None:
    """Make this process look as if it had been started from a shell."""
    # Above all that is wanted, so that none is overwritten before it is moved.
    highest = max(request["numbers"]) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, highest) for fd in fds]
    for fd, number in zip(moved, request["numbers"], strict=True):
        os.dup2(fd, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    keep = {0, *request["numbers"]}
    for fd in map(int, os.listdir("/dev/fd")):
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass  # the one that lists them
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["edgeserver", *request["arguments"]]
    sys.path[0] = request["cwd"]
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = open(number, "wb", 0, closefd=False)  # noqa: SIM115  # as long as the process
        setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", write_through=True))
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    serve_requests(socket.socket(fileno=int(sys.argv[1])))
