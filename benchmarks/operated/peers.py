"""The servers that are operated: how each is started, rolled, and told to open its logs again.

Decides for each its own documented means. It must not know what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

START_S = 30.0
"""How long a server may take until both of its workers serve."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server.

    Args:
        name: Its name, and its module.
        run: Its command, behind `python -m`, with two workers.
        bind: Where it listens, `{port}` filled in.
        held: How it takes a listening socket, `{fd}` filled in; None where it takes none.
        graceful: How long requests in flight may take after a signal to stop, `{s}` filled in.
        watch: After how long a worker that does nothing is replaced, `{s}` filled in; None where
            there is no such thing.
        log: Its access log, to `{file}`; None where it has no file of its own.
        reopen: The signal for which it opens that again.
        roll: The signal for which it replaces its workers.
    """

    name: str
    run: tuple[str, ...]
    bind: tuple[str, ...]
    held: tuple[str, ...] | None
    graceful: tuple[str, ...]
    watch: tuple[str, ...] | None = None
    log: tuple[str, ...] | None = None
    reopen: signal.Signals | None = None
    roll: signal.Signals = signal.SIGHUP


PEERS = {
    each.name: each
    for each in (
        Peer(
            name="edgeserver",
            run=("edgeserver", "serve", "application:app", "--workers", "2"),
            bind=("--bind", "127.0.0.1:{port}"),
            held=("--bind", "fd:{fd}"),
            graceful=("--graceful-timeout", "{s}"),
            watch=("--worker-timeout", "{s}"),
            log=("--access-log", "{file}"),
            reopen=signal.SIGUSR1,
            roll=signal.SIGUSR2,
        ),
        Peer(
            name="uvicorn",
            run=("uvicorn", "application:app", "--workers", "2"),
            bind=("--host", "127.0.0.1", "--port", "{port}"),
            held=("--fd", "{fd}"),
            graceful=("--timeout-graceful-shutdown", "{s}"),
            watch=("--timeout-worker-healthcheck", "{s}"),
        ),
        Peer(
            name="gunicorn",
            run=("gunicorn", "application:app", "-k", "asgi", "-w", "2"),
            bind=("-b", "127.0.0.1:{port}"),
            held=("-b", "fd://{fd}"),
            graceful=("--graceful-timeout", "{s}"),
            watch=("--timeout", "{s}"),
            log=("--access-logfile", "{file}"),
            reopen=signal.SIGUSR1,
        ),
        Peer(
            name="granian",
            run=(
                *("granian", "application:app", "--interface", "asgi", "--workers", "2"),
                "--respawn-failed-workers",
            ),
            bind=("--host", "127.0.0.1", "--port", "{port}"),
            held=None,
            graceful=("--workers-kill-timeout", "{s}"),
        ),
        Peer(
            name="hypercorn",
            run=("hypercorn", "application:app", "-w", "2", "-k", "uvloop"),
            bind=("-b", "127.0.0.1:{port}"),
            held=("-b", "fd://{fd}"),
            graceful=("--graceful-timeout", "{s}"),
            log=("--access-logfile", "{file}"),
        ),
    )
}


def filled(words: Sequence[str] | None, **values: object) -> list[str]:
    """Return words of a command with their values; none where a server has no such thing."""
    return [each.format(**values) for each in words or ()]


class Site:
    """A directory to run servers in, and their workers.

    Args:
        directory: It.
        python: The Python of the servers.
    """

    def __init__(self, directory: Path, python: str = sys.executable) -> None:
        self.directory = directory
        self.python = python
        self._workers = directory / "workers"
        self._workers.mkdir()
        source = Path(__file__).with_name("application.py").read_text()
        (directory / "application.py").write_text(source)

    def forget(self) -> None:
        """Forget the workers of servers before."""
        for each in self._workers.iterdir():
            each.unlink()

    def workers(self) -> dict[int, float]:
        """Return the processes that serve or did, and since when."""
        return {
            int(each.name): float(each.read_text())
            for each in self._workers.iterdir()
            if each.name.isdigit()
        }

    def living(self) -> set[int]:
        """Return the processes that live and have begun to serve."""
        return {pid for pid in self.workers() if is_alive(pid)}

    async def until_new(self, known: set[int], count: int, timeout_s: float) -> float | None:
        """Wait until so many more serve; return since when all do, None if not in time."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            since = [at for pid, at in self.workers().items() if pid not in known]
            if len(since) >= count:
                return max(since)
            await asyncio.sleep(0.02)
        return None

    @contextlib.asynccontextmanager
    async def serving(
        self,
        command: Sequence[str],
        *,
        sock: socket.socket | None = None,
        environ: dict[str, str] | None = None,
        workers: int = 2,
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a server until its workers serve, and stop it at the end.

        Args:
            command: What follows `python -m`.
            sock: The listening socket that it inherits.
            environ: More for its environment.
            workers: How many they are.

        Raises:
            RuntimeError: It did not start.
        """
        known = set(self.workers())
        with (self.directory / "said").open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                *(self.python, "-m", *command),
                cwd=self.directory,
                env={**os.environ, "WORKERS": str(self._workers), **(environ or {})},
                stdout=said,
                stderr=said,
                pass_fds=() if sock is None else (sock.fileno(),),
                start_new_session=True,
            )
        try:
            if await self.until_new(known, workers, START_S) is None:
                raise RuntimeError(f"{command[0]} did not start: {self.said()[-2000:]}")
            yield process
        finally:
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 40)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own, made above
        await process.wait()

    def said(self) -> str:
        """Return all that servers have printed here."""
        return (self.directory / "said").read_text(errors="replace")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
