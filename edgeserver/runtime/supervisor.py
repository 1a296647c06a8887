"""Several processes that serve the same sockets, and the parent that watches them.

Decides when a worker is started, restarted, told to stop or killed. It must not know what a worker
does: no event loop, thread or application exists on this side of the fork.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from edgeserver.cli.failures import EXIT_OK, EXIT_START, EXIT_USAGE

__all__ = ["Supervisor"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_STABLE_S = 60.0
_FIRST_DELAY_S = 0.5
_AT_ONCE_S = 1.0
"""How long a worker may take to end that is asked for the second time."""

_LONGEST_DELAY_S = 30.0

WorkerBody = Callable[[Callable[[str], None], int], int]
"""Serve until told to stop: `(ready, lifeline) -> exit code`, as `running.run_process` does."""


@dataclass
class _Worker:
    """One place for a worker, whichever process fills it."""

    number: int
    pid: int = 0
    started_s: float = 0.0
    ready: bool = False
    ready_fd: int = -1
    short_lives: int = 0
    restart_s: float | None = 0.0


class Supervisor:
    """Keeps a number of workers running until a signal ends them all.

    The first worker is started alone, so that an application which cannot start says so once.
    TERM and INT stop all gracefully, a second one at once; HUP is passed on. A worker that crashed
    is started again, at once and then with growing delays; one that could not start stops all.

    Args:
        count: How many workers.
        body: What a worker does, in its own process; it never returns into the parent's code.
        on_ready: Called once, when all are ready, with what the first worker said of itself.
        on_stop: Called once, when the workers are told to stop: what the parent holds for them is
            of no use from then on.
        say: Prints one line for the operator.
        stop_timeout_s: How long workers may take to stop before they are killed.
    """

    def __init__(
        self,
        count: int,
        body: WorkerBody,
        *,
        on_ready: Callable[[str], None],
        on_stop: Callable[[], None] = lambda: None,
        say: Callable[[str], None],
        stop_timeout_s: float,
    ) -> None:
        self._body = body
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._say = say
        self._stop_timeout_s = stop_timeout_s
        self._workers = [_Worker(number) for number in range(1, count + 1)]
        self._said: str | None = None
        self._announced = False
        self._stopping = False
        self._asked_again = False
        self._kill_s: float | None = None
        self._exit_code = EXIT_OK
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_w = socket.socketpair()
        # Nothing is ever written to it: its end of file tells workers that the parent is gone.
        self._lifeline, self._lifeline_w = os.pipe()

    def run(self) -> int:
        """Watch the workers until the last one has ended, and return the exit code."""
        self._wakeup.setblocking(False)
        self._wakeup_w.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)  # the wake-up descriptor says which it was
        signal.set_wakeup_fd(self._wakeup_w.fileno())
        while True:
            self._start_due()
            if not any(worker.pid for worker in self._workers) and self._stopping:
                return self._exit_code
            for key, _ in self._selector.select(self._patience_s()):
                if key.fileobj is self._wakeup:
                    self._on_wakeup()
                else:
                    self._on_ready_line(key.data)
            self._reap()
            if self._kill_s is not None and time.monotonic() >= self._kill_s:
                self._say("workers did not stop in time: killing them")
                self._kill_s = None
                self._send(signal.SIGKILL)

    def _patience_s(self) -> float | None:
        """Return how long nothing needs to be done unless something happens."""
        times = [] if self._kill_s is None else [self._kill_s]
        if not self._stopping and self._said is not None:
            times += [w.restart_s for w in self._workers if not w.pid and w.restart_s is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start_due(self) -> None:
        """Start each worker whose time has come; at first, only the first."""
        for worker in self._workers:
            if self._stopping or (self._said is None and worker.number > 1):
                return
            if worker.restart_s is not None and worker.restart_s <= time.monotonic():
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        """Fork one worker."""
        ready_r, ready_w = os.pipe()
        # A signal between the fork and the child's own handlers would be taken for the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(ready_r)
            self._become_worker(ready_w)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(ready_w)
        os.set_blocking(ready_r, False)
        self._selector.register(ready_r, selectors.EVENT_READ, worker)
        worker.pid, worker.ready, worker.ready_fd = pid, False, ready_r
        worker.started_s, worker.restart_s = time.monotonic(), None

    def _become_worker(self, ready_w: int) -> NoReturn:
        """Run the worker's body in the child, and end the process with its exit code."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._selector.close()
            self._wakeup.close()
            self._wakeup_w.close()
            os.close(self._lifeline_w)
            for other in self._workers:
                if other.ready_fd >= 0:
                    os.close(other.ready_fd)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A terminal sends INT to every process; the parent turns it into one TERM.
            signal.signal(signal.SIGINT, lambda *_: None)
            signal.signal(signal.SIGHUP, lambda *_: None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

            def ready(said: str) -> None:
                os.write(ready_w, said.encode("ascii"))
                os.close(ready_w)

            code = self._body(ready, self._lifeline)
        except SystemExit as error:  # the application ended its process
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # nothing may unwind into the parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _on_ready_line(self, worker: _Worker) -> None:
        """Hear that a worker is ready; an empty message means that it ended before."""
        try:
            said = os.read(worker.ready_fd, 100).decode("ascii")
        except BlockingIOError:  # it has ended, and a process that it left behind has the pipe
            said = ""
        self._forget_ready(worker)
        if not said:
            return
        worker.ready = True
        self._said = self._said or said
        if not self._announced and all(each.ready for each in self._workers):
            self._announced = True
            self._on_ready(self._said)

    def _forget_ready(self, worker: _Worker) -> None:
        """Close the pipe on which a worker says that it is ready."""
        if worker.ready_fd >= 0:
            self._selector.unregister(worker.ready_fd)
            os.close(worker.ready_fd)
            worker.ready_fd = -1

    def _on_wakeup(self) -> None:
        """Act on the signals that have come; a worker's end is seen by `_reap`."""
        try:
            numbers = self._wakeup.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._on_stop_signal(number)
            elif number == signal.SIGHUP:
                self._send(signal.SIGHUP)

    def _on_stop_signal(self, number: int) -> None:
        """Stop all workers: gracefully at first, at once when asked again."""
        if not self._stopping:
            self._stop()
            return
        self._exit_code = 128 + number
        if not self._asked_again:
            self._asked_again = True
            self._say("asked again to stop: ending the workers at once")
            self._kill_s = time.monotonic() + _AT_ONCE_S
            self._send(signal.SIGTERM)  # a worker that hears it twice still writes its logs
        else:
            self._kill_s = time.monotonic()

    def _stop(self) -> None:
        """Tell all workers to stop gracefully."""
        self._stopping = True
        self._kill_s = time.monotonic() + self._stop_timeout_s
        self._send(signal.SIGTERM)
        self._on_stop()

    def _send(self, number: signal.Signals) -> None:
        """Send a signal to every worker."""
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)  # not yet reaped, so the number is still its own

    def _reap(self) -> None:
        """Take note of every worker that has ended."""
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                if worker.ready_fd >= 0:
                    self._on_ready_line(worker)  # what it said before it ended still counts
                self._on_end(worker, os.waitstatus_to_exitcode(status))

    def _on_end(self, worker: _Worker, code: int) -> None:
        """Decide what follows the end of a worker."""
        pid, worker.pid = worker.pid, 0
        if self._stopping:
            return
        refused = code in (EXIT_USAGE, EXIT_START) or self._said is None
        if not worker.ready and refused:
            # It has said why; a second try would say the same.
            self._exit_code = code if code in (EXIT_USAGE, EXIT_START) else EXIT_START
            self._stop()
            return
        now_s = time.monotonic()
        stable = now_s - worker.started_s >= _STABLE_S
        worker.short_lives = 0 if stable else worker.short_lives + 1
        delay_s = min(_FIRST_DELAY_S * 2 ** (worker.short_lives - 2), _LONGEST_DELAY_S)
        delay_s = delay_s if worker.short_lives > 1 else 0.0
        worker.restart_s = now_s + delay_s
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        when = f"in {delay_s:g} s" if delay_s else "at once"
        self._say(f"worker {worker.number} (pid {pid}) {how}; starting it again {when}")
