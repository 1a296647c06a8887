"""Real processes for tests: started, read line by line, signalled, and never left behind."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 30.0
"""How long anything may take before a test fails: much longer than it ever does."""


class Process:
    """A running command whose two outputs are read as lines.

    Args:
        arguments: The command and its arguments.
        cwd: Its directory.
        pass_fds: Descriptors that it inherits.
        variables: What its environment has beside that of the tests.
    """

    def __init__(
        self,
        arguments: list[str],
        cwd: Path,
        pass_fds: Sequence[int] = (),
        variables: dict[str, str] | None = None,
    ) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("EDGESERVER_")
        } | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **(variables or {})}
        self._popen = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
        )
        self.pid = self._popen.pid
        self.out = ""
        self.err = ""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._popen.stdout, selectors.EVENT_READ, "out")
        self._selector.register(self._popen.stderr, selectors.EVENT_READ, "err")

    def wait_for(self, text: str, *, times: int = 1, patience_s: float = PATIENCE_S) -> str:
        """Read until a whole line with `text` has come on either output, and return that line."""
        deadline_s = time.monotonic() + patience_s
        while True:
            whole = [*self.out.split("\n")[:-1], *self.err.split("\n")[:-1]]
            found = [line for line in whole if text in line]
            if len(found) >= times:
                return found[times - 1]
            if not self._read(deadline_s):
                raise AssertionError(f"no line with {text!r}:\n{self.out}\n{self.err}")

    def wait(self) -> int:
        """Read to the end of both outputs, and return the exit code."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._read(deadline_s):
            pass
        return self._popen.wait(PATIENCE_S)

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        self._popen.send_signal(number)

    def close_out(self) -> None:
        """Stop reading standard output, as a log reader that ends does."""
        assert self._popen.stdout is not None
        self._selector.unregister(self._popen.stdout)
        self._popen.stdout.close()

    def kill(self) -> None:
        """End the process if it still runs, and close its outputs."""
        self._popen.kill()
        self._popen.wait(PATIENCE_S)
        self._selector.close()
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()

    def _read(self, deadline_s: float) -> bool:
        """Read what there is; return False at the end of both outputs or after the deadline."""
        if not self._selector.get_map():
            return False
        events = self._selector.select(max(0.0, deadline_s - time.monotonic()))
        for key, _ in events:
            data = os.read(key.fd, 65536).decode("utf-8", "replace")
            if not data:
                self._selector.unregister(key.fileobj)
            setattr(self, key.data, getattr(self, key.data) + data)
        return bool(events)


@contextmanager
def running(
    arguments: list[str],
    cwd: Path,
    pass_fds: Sequence[int] = (),
    variables: dict[str, str] | None = None,
) -> Iterator[Process]:
    """Run a command for the length of a test."""
    process = Process(arguments, cwd, pass_fds, variables)
    try:
        yield process
    finally:
        process.send(signal.SIGTERM)  # a parent passes it on to its workers
        process.kill()


def python(*arguments: str) -> list[str]:
    """Return the command line of this Python."""
    return [sys.executable, *arguments]


def is_alive(pid: int) -> bool:
    """Tell whether a process exists that is not waiting to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def serving(app_dir: Path, target: str, *arguments: str) -> Iterator[Process]:
    """Run the command in the application's directory, on a free port unless told otherwise."""
    binds = () if "--bind" in arguments else ("--bind", "127.0.0.1:0")
    command = python("-m", "edgeserver", "serve", target, *binds, *arguments)
    with running(command, app_dir) as process:
        yield process


def url_of(process: Process, number: int = 1) -> str:
    """Return the address in the `number`th start line."""
    return process.wait_for("listening on ", times=number).split()[2]


def connect(process: Process) -> socket.socket:
    """Return a connection to the first address, with a time limit."""
    host, _, port = url_of(process).removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)
