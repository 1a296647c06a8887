"""The parent of several workers: forks, signals, pipes.

Decides how what the `Supervisor` decides is done, and how it hears what happened. It must not know
what a worker does: no event loop, thread or application exists on this side of the fork.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

from edgeserver.errors import EdgeServerError
from edgeserver.operate.report import GAUGES, ServerReport
from edgeserver.runtime.link import Beats, ParentLink, SharedText
from edgeserver.runtime.manager import ServiceManager
from edgeserver.runtime.supervisor import (
    Action,
    Announce,
    Drop,
    Exit,
    Limits,
    Release,
    Rolled,
    Say,
    Send,
    Start,
    StopListening,
    Supervisor,
    Tell,
)
from edgeserver.support.counters import ROW_BYTES, CounterRow

__all__ = [
    "Change",
    "Listening",
    "Operators",
    "Queues",
    "Reconfigured",
    "WorkerBody",
    "run_workers",
]

_PASSED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
_SIGNALS = (*_PASSED, signal.SIGCHLD)

TICK_S = 1.0

MORE_S = 10.0
"""For how long the service manager is asked to wait on, at each tick of a start or an end."""

MEMORY_EVERY_S = 5.0

LINES = 20
"""How many of the lines for the operator are kept to be shown again."""

COMMANDS = {"reload": signal.SIGHUP, "roll": signal.SIGUSR2, "drain": signal.SIGTERM}
"""What operators ask for by name, and the signal that does the same."""

WorkerBody = Callable[[ParentLink], int]
"""Serve until told to stop, and return the exit code; called in a process of its own."""


class Queues(Protocol):
    """The listening sockets, as the parent handles them; see `sockets.PlaceSockets`."""

    def open(self, place: int) -> None:
        """Make sure that a place has sockets."""
        ...

    def release(self, place: int) -> None:
        """Give the sockets of a place to all who are started from now on."""
        ...

    def drop(self, place: int) -> None:
        """Close the sockets of a place that nobody fills for a while."""
        ...

    def close(self) -> None:
        """Close all."""
        ...


class Reconfigured(Protocol):
    """The configuration in force, as the parent has it read again; see `reconfigure.py`."""

    text: SharedText

    def reload(self) -> Change:
        """Read it again for SIGHUP; nothing has changed where it raises.

        Raises:
            EdgeServerError: Something is wrong, or cannot change without new workers.
        """
        ...

    def reread(self) -> Change:
        """Read it again for a roll; nothing has changed where it raises.

        Raises:
            EdgeServerError: Something is wrong, or cannot change without a new start.
        """
        ...

    def rolled(self, *, done: bool) -> Change | None:
        """Close what nobody needs any more; where the roll was given up, go back."""
        ...


class Change(NamedTuple):
    """What another configuration means for the parent.

    Args:
        more: How many workers more; fewer where it is negative.
        limits: What workers are held to.
        shared_queue: Whether all places have the same sockets.
    """

    more: int
    limits: Limits
    shared_queue: bool


class Listening(Protocol):
    """The admin listener once it listens; see `operate.endpoint.Endpoint`."""

    def tick(self) -> None:
        """Close what has taken too long; called about once a second."""
        ...

    def due_s(self) -> float | None:
        """Return when that has something to do; None while nobody is connected."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def close_in_child(self) -> None:
        """Close what a worker has got of it."""
        ...


Operators = Callable[
    [selectors.BaseSelector, Callable[[bool], ServerReport], Callable[[str], str]], Listening
]
"""Has an admin listener listen: with the selector that calls it, what returns how the server
stands, and what does one of `COMMANDS`."""


@dataclass
class _Process:
    """What the parent holds for a worker."""

    pid: int
    pipe: int  # -1 once it was closed
    slot: int
    row: CounterRow | None  # what it counts into
    memory: int = 0  # how many bytes it took when that was looked at
    text: bytes = b""  # of a line that is not whole yet


def run_workers(
    count: int,
    body: WorkerBody,
    *,
    limits: Limits,
    queues: Queues,
    shared_queue: bool,
    on_ready: Callable[[str], None],
    say: Callable[[str], None],
    waits_for_change: bool = False,
    configuration: Reconfigured | None = None,
    manager: ServiceManager | None = None,
    operators: Operators | None = None,
) -> int:
    """Keep `count` workers running until a signal ends them all, and return the exit code.

    TERM and INT stop all gracefully, a second one at once; HUP and USR1 are passed on; USR2
    replaces the workers, one after the other; TTIN and TTOU add and remove one.

    Args:
        count: How many workers.
        body: What a worker does, in its own process; it never returns into the parent's code.
        limits: What workers are held to.
        queues: The listening sockets.
        shared_queue: Whether all places have the same sockets.
        on_ready: Called once, when all serve, with what the first worker said of itself.
        say: Prints one line for the operator.
        waits_for_change: Whether a worker that cannot start ends nothing.
        manager: The service manager that is told of start, reload, life and end, if there is one.
        operators: Has the admin listener listen, if there is one; workers count then.
        configuration: What is read again by HUP and USR2; None where there is nothing to read.
    """
    supervisor = Supervisor(
        count, limits, shared_queue=shared_queue, waits_for_change=waits_for_change
    )
    parent = _Parent(
        supervisor,
        body,
        limits,
        queues,
        on_ready=on_ready,
        say=say,
        manager=manager,
        operators=operators,
        configuration=configuration,
    )
    return parent.run()


class _Parent:
    """Does what the supervisor decides."""

    def __init__(
        self,
        supervisor: Supervisor,
        body: WorkerBody,
        limits: Limits,
        queues: Queues,
        *,
        on_ready: Callable[[str], None],
        say: Callable[[str], None],
        configuration: Reconfigured | None,
        manager: ServiceManager | None,
        operators: Operators | None,
    ) -> None:
        self._supervisor = supervisor
        self._body = body
        self._limits = limits
        self._queues = queues
        self._on_ready = on_ready
        self._configuration = configuration
        self._print = say
        self._manager = manager
        # Twice within the time after which the service manager gives the service up.
        self._tick_every_s = TICK_S
        if manager is not None and manager.watchdog_s:
            self._tick_every_s = min(TICK_S, manager.watchdog_s / 2)
        self._beats = Beats()
        self._processes: dict[int, _Process] = {}  # by process id, until reaped
        self._exit_code: int | None = None
        self._ticked_s = 0.0
        self._weighed_s = 0.0  # when memory was looked at
        self._begun_s = time.monotonic()
        self._lines: deque[str] = deque(maxlen=LINES)  # what was said last
        self._said = 0  # how many lines there were
        self._rows: dict[int, CounterRow] = {}  # by slot, of processes that have ended too
        self._own_row = CounterRow(bytearray(ROW_BYTES))  # what this process counts
        self._selector = selectors.DefaultSelector()
        self._admin: Listening | None = None
        if operators is not None:
            self._admin = operators(self._selector, self._report, self._command)
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
        self._do(self._supervisor.begin(time.monotonic()))
        while self._exit_code is None:
            for key, _ in self._selector.select(self._patience_s()):
                if key.fileobj is self._wakeup:
                    self._on_wakeup()
                elif callable(key.data):
                    key.data()
                else:
                    self._on_lines(key.data)
            self._reap()
            self._tick()
        if self._admin is not None:
            self._admin.close()
        return self._exit_code

    def _patience_s(self) -> float:
        """Return how long nothing needs to be done unless something happens."""
        now_s = time.monotonic()
        due_s = self._supervisor.due_s()
        next_s = self._ticked_s + self._tick_every_s
        if self._admin is not None:
            next_s = min(next_s, self._admin.due_s() or next_s)
        return max(0.0, (next_s if due_s is None else min(next_s, due_s)) - now_s)

    def _tick(self) -> None:
        if self._admin is not None:
            self._admin.tick()
        now_s = time.monotonic()
        due_s = self._supervisor.due_s()
        if now_s - self._ticked_s < self._tick_every_s and (due_s is None or due_s > now_s):
            return
        self._ticked_s = now_s
        beats = {pid: self._beats.stamped_s(each.slot) for pid, each in self._processes.items()}
        memory: dict[int, int] = {}
        if self._limits.max_memory and now_s - self._weighed_s >= MEMORY_EVERY_S:
            self._weigh(now_s)
            memory = {pid: each.memory for pid, each in self._processes.items()}
        self._do(self._supervisor.tick(now_s, beats, memory))
        if self._manager is not None:
            self._tell_of_life(self._manager, now_s, beats)

    def _tell_of_life(
        self, manager: ServiceManager, now_s: float, beats: Mapping[int, float]
    ) -> None:
        """Tell the service manager that the service is well, or needs more time."""
        if self._supervisor.is_busy:
            manager.needs(MORE_S)
        if manager.watchdog_s and self._supervisor.lives(now_s, beats, manager.watchdog_s):
            manager.lives()

    def _weigh(self, now_s: float) -> None:
        """Look how much memory each process takes."""
        self._weighed_s = now_s
        for process in self._processes.values():
            process.memory = _memory_of(process.pid)

    # Actions.

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(place):
                    self._start(place)
                case Send(pid, number):
                    os.kill(pid, number)  # not yet reaped, so the number is still its own
                case Say(line):
                    self._say(line)
                case Tell(state, status):
                    self._tell(state, status)
                case Announce(said):
                    self._on_ready(said)
                case Release(place):
                    self._queues.release(place)
                case Drop(place):
                    self._queues.drop(place)
                case Rolled(done):
                    self._on_rolled(done=done)
                case StopListening():
                    # Else clients would still connect while the last requests end, and wait for
                    # nobody.
                    self._queues.close()
                case Exit(code):
                    self._exit_code = code

    def _tell(self, state: str, status: str) -> None:
        manager = self._manager
        if manager is None:
            return
        match state:
            case "ready":
                manager.ready(status)
            case "reloading":
                manager.reloading(status)
            case "stopping":
                manager.stopping(status)
                manager.needs(self._limits.stop_timeout_s + MORE_S)

    def _start(self, place: int) -> None:
        """Fork one worker."""
        self._queues.open(place)
        pipe_r, pipe_w = os.pipe()
        slot = self._beats.take_slot()
        row = self._row_of(slot)
        # A signal between the fork and the child's own handlers would be taken for the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(pipe_r)
            os.close(pipe_w)
            self._beats.give_back(slot)
            reason = error.strerror or str(error)
            self._do(self._supervisor.not_forked(place, reason, time.monotonic()))
            return
        if pid == 0:
            os.close(pipe_r)
            self._become_worker(place, pipe_w, slot, row)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(pipe_w)
        os.set_blocking(pipe_r, False)
        process = self._processes[pid] = _Process(pid, pipe_r, slot, row)
        self._selector.register(pipe_r, selectors.EVENT_READ, process)
        self._supervisor.forked(place, pid, time.monotonic())

    def _row_of(self, slot: int) -> CounterRow | None:
        """Return the row of whoever has a slot; what was counted there before stays.

        Not of a place: two processes are at one while it is renewed, and would write over each
        other's numbers.
        """
        if self._admin is None:
            return None
        row = self._rows.get(slot)
        if row is None:
            row = self._rows[slot] = CounterRow()
        row.write_text(b"{}")
        for family in GAUGES:
            row.clear(family)
        return row

    def _become_worker(self, place: int, pipe: int, slot: int, row: CounterRow | None) -> NoReturn:
        """Run the worker's body in the child, and end the process with its exit code."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._selector.close()
            if self._admin is not None:
                self._admin.close_in_child()
            self._wakeup.close()
            self._wakeup_w.close()
            os.close(self._lifeline_w)
            for other in self._processes.values():
                if other.pipe >= 0:
                    os.close(other.pipe)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _print_stacks_on(signal.SIGQUIT)
            # The others are the parent's, which turns a terminal's INT into one TERM. They are not
            # set to be ignored: programs that the application starts would inherit that.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            link = ParentLink(
                place,
                pipe,
                self._lifeline,
                beats=self._beats,
                slot=slot,
                is_renewed=self._supervisor.announced,
                text=None if self._configuration is None else self._configuration.text,
                row=row,
            )
            code = self._body(link)
            # As at the end of any program: what an application exports or flushes there.
            atexit._run_exitfuncs()
        except SystemExit as error:  # the application ended its process
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # nothing may unwind into the parent's code
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(code)

    # What operators are told, and ask.

    def _say(self, line: str) -> None:
        """Tell the operator, and remember it for a while."""
        self._said += 1
        self._lines.append(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}")
        self._print(line)

    def _report(self, with_memory: bool) -> ServerReport:
        """Return how the server stands."""
        now_s = time.monotonic()
        if with_memory and now_s - self._weighed_s >= MEMORY_EVERY_S:
            self._weigh(now_s)
        report = self._supervisor.report(now_s)
        workers = []
        for each in report.workers:
            process = self._processes.get(each.pid)
            if process is not None:
                each = replace(
                    each,
                    silent_s=now_s - self._beats.stamped_s(process.slot),
                    memory=process.memory,
                    row=process.row,
                )
            workers.append(each)
        return replace(
            report,
            workers=tuple(workers),
            uptime_s=now_s - self._begun_s,
            said=tuple(self._lines),
            rows=(self._own_row, *self._rows.values()),
        )

    def _command(self, name: str) -> str:
        """Do what an operator asks for by name; return why it is not done, else nothing."""
        before = self._said
        if self._on_signal(COMMANDS[name]):
            return ""
        lines = list(self._lines)[-(self._said - before) :] if self._said > before else []
        return "; ".join(lines) or f"{name} was refused; the server's log says why"

    # Events.

    def _on_lines(self, process: _Process) -> None:
        """Hear what a worker has said; at its end of file, nothing more will come."""
        while process.pipe >= 0:
            try:
                data = os.read(process.pipe, 4096)
            except BlockingIOError:
                return
            if not data:
                self._close_pipe(process)
                return
            *lines, process.text = (process.text + data).split(b"\n")
            for line in lines:
                said = line.decode("utf-8", "replace")
                self._do(self._supervisor.heard(process.pid, said, time.monotonic()))

    def _close_pipe(self, process: _Process) -> None:
        if process.pipe >= 0:
            self._selector.unregister(process.pipe)
            os.close(process.pipe)
            process.pipe = -1

    def _on_wakeup(self) -> None:
        """Act on the signals that have come; a worker's end is seen by `_reap`."""
        try:
            numbers = self._wakeup.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in _PASSED:
                self._on_signal(number)

    def _on_signal(self, number: int) -> bool:
        """Do what a signal asks for; say whether it is done."""
        if not self._may_ask(number):
            return False
        self._do(self._supervisor.asked(number, time.monotonic()))
        return True

    def _may_ask(self, number: int) -> bool:
        """Read the configuration again where a signal asks for it; False where it is wrong."""
        configuration, supervisor = self._configuration, self._supervisor
        if configuration is None or number not in (signal.SIGHUP, signal.SIGUSR2):
            return True
        if supervisor.is_draining or (number == signal.SIGUSR2 and not supervisor.announced):
            # At the end nothing counts any more, and at the start it was read a moment ago.
            return True
        if supervisor.is_rolling:
            if number == signal.SIGHUP:
                self._say("SIGHUP: the workers are being replaced; ask again once they are")
            return number == signal.SIGUSR2
        try:
            if number == signal.SIGHUP:
                change = configuration.reload()
            else:
                change = configuration.reread()
        except EdgeServerError as error:
            name = signal.Signals(number).name
            for line in str(error).split("\n"):
                self._say(f"{name}: {line}")
            if number == signal.SIGHUP:
                self._own_row.add("reloads_total", "refused")
            kept = "the old workers stay" if number == signal.SIGUSR2 else "nothing was changed"
            self._say(f"{name}: {kept}")
            return False
        self._reconfigure(change)
        return True

    def _reconfigure(self, change: Change) -> None:
        self._limits = change.limits
        self._do(
            self._supervisor.reconfigure(
                change.more, change.limits, time.monotonic(), shared_queue=change.shared_queue
            )
        )

    def _on_rolled(self, *, done: bool) -> None:
        if self._configuration is not None:
            change = self._configuration.rolled(done=done)
            if change is not None:
                self._reconfigure(change)

    def _reap(self) -> None:
        """Take note of every process that has ended, orphans that are ours as PID 1 too."""
        while self._processes:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            process = self._processes.get(pid)
            if process is None:
                continue
            self._on_lines(process)  # what it said before it ended still counts
            self._close_pipe(process)
            del self._processes[pid]
            self._beats.give_back(process.slot)
            code = os.waitstatus_to_exitcode(status)
            self._do(self._supervisor.ended(pid, code, time.monotonic()))


def _print_stacks_on(number: signal.Signals) -> None:
    """Have a signal print the stacks of all threads, even while C code holds the interpreter."""
    try:
        faulthandler.register(number, all_threads=True)
    except (RuntimeError, ValueError, AttributeError, OSError):
        pass  # standard error was closed at start, or is no file


def _memory_of(pid: int) -> int:
    """Return how many bytes a process takes, what it shares counted in parts; 0 if unknown."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass  # it has ended, or this system does not tell
    return 0
