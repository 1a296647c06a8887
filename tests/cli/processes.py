"""Real processes for tests: started, read line by line, signalled, and never left behind."""

from __future__ import annotations

import atexit
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.starter import MOST_BYTES

PATIENCE_S = 30.0
"""How long anything may take before a test fails: much longer than it ever does."""


_COMMAND = [sys.executable, "-m", "edgeserver"]


class _Starter:
    """The process that starts others by forking; see `starter`. It ends with this one."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.cli.starter", str(theirs.fileno())]
            root = Path(__file__).parents[2]
            self._popen = subprocess.Popen(command, cwd=root, pass_fds=(theirs.fileno(),))

    def ask(self, request: dict[str, Any], fds: Sequence[int] = ()) -> Any:
        """Return the answer to a request."""
        socket.send_fds(self._control, [json.dumps(request).encode()], fds)
        return json.loads(self._control.recv(MOST_BYTES))

    def end(self) -> None:
        """Let it end."""
        self._control.close()
        self._popen.wait(PATIENCE_S)


@functools.cache
def _starter() -> _Starter:
    """Return the one of this run."""
    starter = _Starter()
    atexit.register(starter.end)
    return starter


class _Forked:
    """A process that the starter has made, with the part of `Popen`'s interface that is used."""

    def __init__(
        self,
        arguments: list[str],
        cwd: Path,
        environment: dict[str, str],
        pass_fds: Sequence[int],
    ) -> None:
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        request = {
            "arguments": arguments,
            "cwd": str(cwd),
            "environment": environment,
            "numbers": [1, 2, *pass_fds],
        }
        self.pid: int = _starter().ask({"start": request}, [out_end, err_end, *pass_fds])
        os.close(out_end)
        os.close(err_end)
        self.stdout, self.stderr = open(out, "rb", 0), open(err, "rb", 0)  # noqa: SIM115
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None."""
        if self._code is None:
            self._code = _starter().ask({"wait": self.pid})
        return self._code

    def wait(self, timeout: float) -> int:
        """Return the exit code once it is there."""
        deadline_s = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline_s, "the process does not end"
            time.sleep(0.002)  # it is not this process's child, so nothing tells of its end
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


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
        self._popen: Any
        if arguments[: len(_COMMAND)] == _COMMAND:
            forked = arguments[len(_COMMAND) :]
            self._popen = _Forked(forked, cwd, environment, pass_fds)
        else:
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

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds that no line tells."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{self.out}\n{self.err}"
            time.sleep(0.01)

    def wait(self) -> int:
        """Read to the end of both outputs, and return the exit code."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._read(deadline_s):
            pass
        code: int = self._popen.wait(PATIENCE_S)
        return code

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
