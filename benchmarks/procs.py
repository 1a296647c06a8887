"""A server's processes: started on one core, waited for, weighed, and stopped.

Decides how the CPU time and the memory of a process tree are read from /proc. It must not know what
the server is or what is sent to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.model import SERVERS, BenchmarkError, Server

START_SECONDS = 20.0
STOP_SECONDS = 5.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ServerFailed(BenchmarkError):
    """A server that did not start, or that went away: what it said stands in the message."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(root: int) -> list[int]:
    """Return `root` and all its living descendants."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in task.read_text().split())
    return found


def cpu_seconds(root: int) -> float:
    """Return user and system time of the tree, children already waited for included."""
    ticks = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            # The name may hold spaces and brackets: count from behind it. proc(5): utime, stime,
            # cutime and cstime are the fields 14 to 17, the state behind the name is the third.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / TICKS_PER_SECOND


def core_seconds(core: int) -> float:
    """Return the time that `core` has been busy, whoever it was for."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            # proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
            return sum(int(value) for value in (*ticks[:3], *ticks[5:8])) / TICKS_PER_SECOND
    raise BenchmarkError(f"this machine has no core {core}")


def memory_kib(root: int) -> tuple[int, int]:
    """Return resident and proportional memory of the tree in KiB."""
    rss = pss = 0
    for pid in tree(root):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                rss += int(line.split()[1])
            elif line.startswith("Pss:"):
                pss += int(line.split()[1])
    return rss, pss


def compiled_home(python: Path) -> Path:
    """Return where the compiled package stands that goes with the environment of `python`."""
    return python.parent.parent / "compiled"


class Running:
    """A server that listens on `port`."""

    def __init__(
        self,
        server: Server,
        settings: tuple[str, ...],
        *,
        python: Path,
        core: int,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.server = server
        self.port = free_port()
        self._home = tempfile.TemporaryDirectory(prefix="bench-")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server does
        script = str(SERVERS / server.script)
        options = [str(self.port), *server.options, *settings]
        self._process = subprocess.Popen(
            [shutil.which("taskset") or "taskset", "-c", str(core), python, script, *options],
            stdout=self._said,
            stderr=subprocess.STDOUT,
            cwd=self._home.name,
            env={
                **os.environ,
                "TMPDIR": self._home.name,
                **({"PYTHONPATH": str(compiled_home(python))} if server.compiled else {}),
                **({"PYTHONPATH": server.home} if server.home else {}),
                **(environment or {}),
            },
            start_new_session=True,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline_s:
            self.check_alive()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise ServerFailed(f"{self.server.name} did not listen within {START_SECONDS:.0f} s")

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip()[-2000:]
            code = self._process.returncode
            raise ServerFailed(f"{self.server.name} ended with code {code}: {said}")

    def pause(self) -> None:
        """Stop the processes until `resume`: some are never idle, and would take the core."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let the processes go on."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        self.check_alive()
        return cpu_seconds(self.pid)

    def memory_kib(self) -> tuple[int, int]:
        self.check_alive()
        return memory_kib(self.pid)

    def stop(self) -> None:
        """End the server's own process group, at first politely."""
        self.resume()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._said.close()
        self._home.cleanup()


@contextlib.contextmanager
def running(
    server: Server,
    settings: tuple[str, ...],
    *,
    python: Path,
    core: int,
    environment: dict[str, str] | None = None,
) -> Iterator[Running]:
    """Run `server` for the length of a with block."""
    process = Running(server, settings, python=python, core=core, environment=environment)
    try:
        yield process
    finally:
        process.stop()
