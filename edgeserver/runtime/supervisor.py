"""The decisions of the parent of several workers: events in, actions out.

Decides when a worker is started, replaced, told to end or killed, and what the operator is told of
it. It must not know processes, sockets or clocks: `processes.py` tells what happened and when, and
does what is returned. So a test is a conversation.

A *place* is what a worker fills: there are as many as workers are wanted. A worker is STARTING,
then SERVING, then LEAVING: it was told to end, or is to be killed. While a place is renewed it has
two: the old one serves until the new one does.
"""

from __future__ import annotations

import math
import random
import signal
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from edgeserver.operate.report import Roll, ServerReport, WorkerReport
from edgeserver.runtime.exits import EXIT_OK, EXIT_START, EXIT_USAGE

__all__ = [
    "Action",
    "Announce",
    "Drop",
    "Exit",
    "Limits",
    "Release",
    "Rolled",
    "Say",
    "Send",
    "Start",
    "StopListening",
    "Supervisor",
    "Tell",
]

SERVED_S: Final = 5.0
"""A worker that has served for so long is replaced at once, however it ended."""

KILLED_S: Final = 1.0
"""So is one that was killed by somebody else, but for the second in a row that had served less."""

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0

TELL_START_S: Final = 2.0
"""After so long is said what a start waits for."""

DUMP_S: Final = 0.5
"""How long a worker that is stuck may take to print its stacks before it is killed."""

AT_ONCE_S: Final = 1.0
"""How long workers may take to end that were asked twice."""

MOST_PLACES: Final = 1024

FROZEN_S: Final = 5.0
"""A parent that was not looked at for so long was asleep, and so may its workers have been."""

JITTER: Final = 0.1
"""By which share lifetimes differ, so that workers are not all renewed together."""

STARTING: Final = "starting"
SERVING: Final = "serving"
LEAVING: Final = "leaving"


@dataclass(frozen=True)
class Start:
    """Start a worker for a place; `forked` or `not_forked` is told at once."""

    place: int


@dataclass(frozen=True)
class Send:
    """Send a signal to a worker."""

    pid: int
    number: signal.Signals


@dataclass(frozen=True)
class Say:
    """Tell the operator."""

    line: str


@dataclass(frozen=True)
class Tell:
    """Tell the service manager: `"ready"`, `"reloading"` or `"stopping"`, and the same in words."""

    state: str
    status: str


@dataclass(frozen=True)
class Announce:
    """All workers serve for the first time; `said` is what the first says of its application."""

    said: str


@dataclass(frozen=True)
class Release:
    """Nobody will be started for a place any more; what is queued there is others' to accept."""

    place: int


@dataclass(frozen=True)
class Drop:
    """Close the queue of a place, where it has its own: nobody will accept there for a while."""

    place: int


@dataclass(frozen=True)
class StopListening:
    """Hold the listening sockets no longer: nobody will be started any more."""


@dataclass(frozen=True)
class Exit:
    """End the parent, which has no worker left."""

    code: int


@dataclass(frozen=True)
class Rolled:
    """A roll has ended: all workers were replaced, or it was given up."""

    done: bool


Action = Rolled | Start | Send | Say | Tell | Announce | Release | Drop | StopListening | Exit


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The times and sizes that a worker is held to; 0 is no limit.

    Args:
        start_timeout_s: How long a worker may take to start.
        stop_timeout_s: How long one that was told to end may take.
        worker_timeout_s: How long its event loop may be held by one call.
        max_lifetime_s: How long it serves before it is renewed.
        max_memory: How many bytes of memory it may take before it is renewed.
        drain_delay_s: How long all serve on after a signal to stop.
    """

    start_timeout_s: float = 0.0
    stop_timeout_s: float
    worker_timeout_s: float = 0.0
    max_lifetime_s: float = 0.0
    max_memory: int = 0
    drain_delay_s: float = 0.0


@dataclass
class _Worker:
    """One process."""

    pid: int
    place: int
    started_s: float
    stage: str = STARTING
    served_s: float = 0.0  # since when it serves
    lifetime_s: float = 0.0  # how long it does, 0 for good
    waits_for: str = "the imports of the server itself"
    waits_s: float = math.inf  # since when, once it has said so
    told: bool = False  # whether the operator knows what its start waits for
    late: bool = False  # whether it is killed because it did not start in time
    wants: str = ""  # why it asks to be renewed
    fate: str = ""  # why it is killed; see `Supervisor.ends`
    left_s: float = 0.0  # since when it leaves
    dumping: bool = False  # whether it was told to print its stacks, and is killed then
    kill_s: float | None = None  # when it is killed

    def __str__(self) -> str:
        return f"worker {self.place} (pid {self.pid})"


@dataclass
class _Place:
    """Who serves, who is about to, and when somebody is to be started."""

    number: int
    current: _Worker | None = None
    successor: _Worker | None = None
    short_lives: int = 0  # in a row
    killed_early: bool = False  # whether the last one was killed before it had served `KILLED_S`
    due_s: float | None = None
    closing_s: float | None = None  # since when it goes, as soon as others accept in its place

    @property
    def is_empty(self) -> bool:
        """Whether no process fills it nor will soon."""
        return self.current is None and self.successor is None


@dataclass(frozen=True)
class _Renewal:
    """A worker to be replaced by a new one that serves first."""

    place: int
    why: str
    is_roll: bool = False


@dataclass
class _Renewals:
    """What is to be renewed, one after the other."""

    waiting: deque[_Renewal] = field(default_factory=deque)
    present: _Renewal | None = None

    def has(self, place: int) -> bool:
        """Return whether a place is to be renewed, or is being."""
        present = self.present is not None and self.present.place == place
        return present or any(each.place == place for each in self.waiting)


class Supervisor:
    """Decides for a number of workers until a signal ends them all.

    Each event returns the actions that follow from it, to be done in their order.

    Args:
        count: How many workers.
        limits: What they are held to.
        shared_queue: Whether all places accept from the same queue. Where each has its own, what is
            queued at a place that goes is to be accepted by others first.
        waits_for_change: Whether a worker that cannot start ends nothing: SIGUSR2 tries again.
        jitter: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        count: int,
        limits: Limits,
        *,
        shared_queue: bool = True,
        waits_for_change: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits
        self._shared_queue = shared_queue
        self._waits_for_change = waits_for_change
        self._awaits_change = False  # whether nobody serves before that
        self._jitter = jitter
        self._places = {number: _Place(number) for number in range(1, count + 1)}
        self._workers: dict[int, _Worker] = {}  # by process id, until it was reaped
        self._renewals = _Renewals()
        self._actions: list[Action] = []
        self._ends: Counter[str] = Counter()
        self._roll = Roll()  # the last one
        self._said: str | None = None  # what the first worker says of its application
        self._announced = False
        self._roll_asked = False  # before that
        self._reloading: set[int] = set()  # the processes that have not reloaded yet
        self._gave_up = ""  # why the last roll was given up
        self._told_reloading = False  # whether the service manager waits for the end of that
        self._stopping = False
        self._stop_s: float | None = None  # when that begins, once it was asked for
        self._reloaded_s = -math.inf  # when workers were last told to reload
        self._asked_again = False
        self._exit_code = EXIT_OK
        self._ticked_s: float | None = None
        self._awake_s = 0.0  # beats before this are not counted as missing
        self._renew_after_s = 0.0  # nothing is recycled before, because a successor has failed

    # What a driver asks.

    @property
    def announced(self) -> bool:
        """Whether all workers have served once."""
        return self._announced

    @property
    def is_draining(self) -> bool:
        """Whether the end has begun, or will within the drain delay: nothing new should come."""
        return self._stopping or self._stop_s is not None

    @property
    def is_rolling(self) -> bool:
        """Whether the workers are being replaced on request."""
        renewals = self._renewals
        present = renewals.present is not None and renewals.present.is_roll
        return present or any(each.is_roll for each in renewals.waiting)

    @property
    def is_busy(self) -> bool:
        """Whether a start or the end is under way, which time limits of its own bound."""
        return self._stopping or not self._announced

    def lives(self, now_s: float, beats: Mapping[int, float], within_s: float) -> bool:
        """Return whether the service is well: an event loop of one worker at least has turned.

        Args:
            now_s: The clock of all events.
            beats: When the event loop of each process last turned.
            within_s: How long ago that may be.
        """
        return self.is_busy or any(
            now_s - max(beats.get(worker.pid, now_s), self._awake_s) < within_s
            for worker in self._workers.values()
            if worker.stage == SERVING
        )

    def due_s(self) -> float | None:
        """Return when `tick` is to be called at the latest, None while nothing is awaited."""
        times = [worker.kill_s for worker in self._workers.values() if worker.kill_s is not None]
        times += [place.due_s for place in self._places.values() if place.due_s is not None]
        if self._stop_s is not None and not self._stopping:
            times.append(self._stop_s)
        for worker in self._workers.values():
            if worker.stage == STARTING:
                if not worker.told:
                    times.append(worker.waits_s + TELL_START_S)
                if self._limits.start_timeout_s:
                    times.append(worker.started_s + self._limits.start_timeout_s)
        return min(times, default=None)

    def report(self, now_s: float) -> ServerReport:
        """Return how it stands, without what only processes know."""
        return ServerReport(
            workers=tuple(
                WorkerReport(
                    place=each.place,
                    pid=each.pid,
                    state=each.stage,
                    age_s=now_s - self._since_s(each),
                    waits_for=each.waits_for if each.stage == STARTING else "",
                )
                for each in sorted(self._workers.values(), key=lambda each: (each.place, each.pid))
            ),
            wanted=sum(place.closing_s is None for place in self._places.values()),
            has_started=self._announced,
            is_stopping=self.is_draining,
            ends=dict(self._ends),
            roll=self._roll,
        )

    @staticmethod
    def _since_s(worker: _Worker) -> float:
        if worker.stage == STARTING:
            return worker.started_s
        return worker.served_s if worker.stage == SERVING else worker.left_s

    # Events.

    def begin(self, now_s: float) -> list[Action]:
        """The parent begins: the first worker is started alone.

        An application that cannot start says so once then.
        """
        self._places[1].due_s = now_s
        return self._settle(now_s)

    def forked(self, place: int, pid: int, now_s: float) -> None:
        """A worker was started; `Start` is answered by this or by `not_forked`."""
        worker = self._workers[pid] = _Worker(pid, place, now_s)
        filled = self._places[place]
        if filled.current is None:
            filled.current = worker
        else:
            filled.successor = worker

    def not_forked(self, place: int, reason: str, now_s: float) -> list[Action]:
        """The system gives no process."""
        filled = self._places[place]
        what = f"worker {place} cannot be started: {reason}"
        if filled.current is None:
            delay_s = self._delay(filled, counts=True)
            filled.due_s = now_s + delay_s
            self._say(f"{what}; trying again in {delay_s:g} s")
        else:
            self._renewal_failed(what, now_s)
        return self._settle(now_s)

    def heard(self, pid: int, line: str, now_s: float) -> list[Action]:
        """A worker said something: `waits WHAT`, `ready KIND`, `renew WHY`, or `reloaded`."""
        worker = self._workers.get(pid)
        word, _, rest = line.partition(" ")
        if word == "reloaded":
            self._reloading.discard(pid)
        if worker is None or worker.stage == LEAVING:
            return self._settle(now_s)
        if word == "waits":
            worker.waits_for, worker.waits_s, worker.told = rest, now_s, False
        elif word == "ready" and worker.stage == STARTING:
            self._on_ready(worker, rest, now_s)
        elif word == "renew":
            worker.wants = rest
        return self._settle(now_s)

    def ended(self, pid: int, code: int, now_s: float) -> list[Action]:
        """A worker has ended: with an exit code, or by a signal where `code` is negative."""
        worker = self._workers.pop(pid, None)
        self._reloading.discard(pid)
        if worker is not None:
            self._ends[_reason_of(worker, code)] += 1
        if worker is not None and not self._stopping:
            self._on_end(worker, code, now_s)
        return self._settle(now_s)

    def asked(self, number: int, now_s: float) -> list[Action]:
        """The operator has sent the parent a signal."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._on_stop_signal(number, now_s)
        elif self._stopping:
            pass  # nothing else matters any more
        elif number == signal.SIGHUP:
            self._say("SIGHUP: what can be reloaded is; code is not, SIGUSR2 replaces the workers")
            self._reloaded_s = now_s
            self._reloading.update(self._pass_on(signal.SIGHUP))
            self._tell_reloading("SIGHUP: reloading")
        elif number == signal.SIGUSR1:
            self._pass_on(signal.SIGUSR1)
        elif number == signal.SIGUSR2 and self._awaits_change:
            self._begin_again(now_s)
        elif number == signal.SIGUSR2:
            self._on_roll_signal()
        elif number == signal.SIGTTIN:
            self._add_place(now_s)
        elif number == signal.SIGTTOU:
            self._remove_place(now_s)
        return self._settle(now_s)

    def reconfigure(
        self, count: int, limits: Limits, now_s: float, *, shared_queue: bool
    ) -> list[Action]:
        """Another configuration is in force: so many workers, held to these limits.

        Args:
            count: How many more workers than before; fewer where it is negative.
            limits: What they are held to.
            now_s: The clock of all events.
            shared_queue: Whether all places accept from the same queue.
        """
        self._limits = limits
        self._shared_queue = shared_queue
        for _ in range(count):
            self._add_place(now_s, "workers")
        for _ in range(-count):
            self._remove_place(now_s, "workers")
        return self._settle(now_s)

    def tick(
        self, now_s: float, beats: Mapping[int, float], memory: Mapping[int, int] | None = None
    ) -> list[Action]:
        """Time has passed; to be called about once a second.

        Args:
            now_s: The clock of all events.
            beats: When the event loop of each process last turned, by the same clock.
            memory: How many bytes each process takes, where that was looked at.
        """
        if self._ticked_s is not None and now_s - self._ticked_s > FROZEN_S:
            self._awake_s = now_s
        self._ticked_s = now_s
        if self._stop_s is not None and self._stop_s <= now_s and not self._stopping:
            self._stop(now_s)
        for worker in list(self._workers.values()):
            if worker.kill_s is not None and worker.kill_s <= now_s:
                self._kill(worker)
            elif worker.dumping:
                pass
            elif worker.stage == STARTING:
                self._check_start(worker, now_s)
            elif self._is_stuck(worker, now_s, beats):
                self._on_stuck(worker, now_s)
            elif worker.stage == SERVING:
                self._check_age(worker, now_s, (memory or {}).get(worker.pid, 0))
        return self._settle(now_s)

    # The end of each event.

    def _settle(self, now_s: float) -> list[Action]:
        """Start who is due, go on with renewals, and return what is to be done."""
        if self._stopping:
            if not self._workers:
                self._actions.append(Exit(self._exit_code))
        else:
            for place in self._places.values():
                if place.due_s is not None and place.due_s <= now_s:
                    place.due_s = None
                    self._actions.append(Start(place.number))
            self._go_on_renewing()
            if self._told_reloading and not self._reloading and not self.is_rolling:
                self._told_reloading = False
                given_up = f"; the roll was given up: {self._gave_up}" if self._gave_up else ""
                self._actions.append(Tell("ready", self._wanted() + given_up))
        actions, self._actions = self._actions, []
        return actions

    def _say(self, line: str) -> None:
        self._actions.append(Say(line))

    def _tell_reloading(self, status: str) -> None:
        """Tell the service manager, which then waits until `_settle` finds nothing under way."""
        if self._announced:
            self._told_reloading = True
            self._actions.append(Tell("reloading", status))

    def _pass_on(self, number: signal.Signals) -> list[int]:
        """Send a signal to all who serve, and return their process ids."""
        pids = [worker.pid for worker in self._workers.values() if worker.stage == SERVING]
        self._actions += [Send(pid, number) for pid in pids]
        return pids

    # Starts.

    def _on_ready(self, worker: _Worker, said: str, now_s: float) -> None:
        worker.stage, worker.served_s = SERVING, now_s
        if worker.started_s <= self._reloaded_s:
            # It has what was in force when it was forked.
            self._actions.append(Send(worker.pid, signal.SIGHUP))
        spread = 1 + JITTER * (2 * self._jitter() - 1)
        worker.lifetime_s = self._limits.max_lifetime_s * spread
        place = self._places[worker.place]
        if place.successor is worker:
            old, place.current, place.successor = place.current, worker, None
            if old is not None:
                self._leave(old, now_s)
        for closing in list(self._places.values()):
            if closing.closing_s is not None and closing.closing_s <= worker.started_s:
                self._close_place(closing, now_s)
        self._renewed(worker.place)
        if self._said is None:
            self._said = said
            for other in self._places.values():
                if other.is_empty and other.due_s is None:
                    other.due_s = now_s
        if not self._announced and all(
            each.current is not None and each.current.stage == SERVING
            for each in self._places.values()
        ):
            self._announced = True
            self._actions.append(Announce(self._said))
            self._actions.append(Tell("ready", self._wanted()))
            if self._roll_asked:
                self._on_roll_signal()

    def _check_start(self, worker: _Worker, now_s: float) -> None:
        """Say what a long start waits for, and give up one that takes too long."""
        limit_s = self._limits.start_timeout_s
        age_s = now_s - worker.started_s
        if limit_s and age_s >= limit_s:
            worker.late, worker.fate = True, "start-timeout"
            self._say(
                f"{worker} has not started in {limit_s:g} s (--start-timeout): it waits for"
                f" {worker.waits_for}; its stacks follow"
            )
            self._dump(worker, now_s)
        elif not worker.told and now_s - worker.waits_s >= TELL_START_S:
            worker.told = True
            self._say(f"{worker} is still starting: it waits for {worker.waits_for}")

    # Ends.

    def _on_end(self, worker: _Worker, code: int, now_s: float) -> None:
        """Decide what follows the end of a worker."""
        place = self._places.get(worker.place)
        if place is None or worker.stage == LEAVING:
            return  # it was told to, and nobody waits for it
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if worker.late:
            how, code = "did not start in time", EXIT_START
        if worker is place.successor:
            place.successor = None
        else:
            place.current = None
        if self._is_renewed(worker):
            self._renewal_failed(f"{worker} {how} before it served", now_s)
        if place.closing_s is not None or place.current is not None:
            return
        if place.successor is not None:  # who is on the way anyhow
            self._say(f"{worker} {how}; its successor is starting already")
            return
        refused = worker.stage == STARTING and code in (EXIT_USAGE, EXIT_START)
        if self._said is None or (refused and not self._is_anybody_serving()):
            # It has said why; a second try would say the same.
            if self._waits_for_change:
                self._awaits_change = True
                self._say(f"{worker} {how}; nothing serves before a source changes (--reload)")
                return
            self._exit_code = code if code in (EXIT_USAGE, EXIT_START) else EXIT_START
            self._stop(now_s)
            return
        # Whoever kills a process from outside says nothing about the application.
        was_killed = code == -signal.SIGKILL
        has_served = worker.stage == SERVING
        served_s = now_s - worker.served_s if has_served else 0.0
        is_early, again = served_s < KILLED_S, place.killed_early
        place.killed_early = was_killed and is_early
        if served_s >= SERVED_S:
            place.short_lives, delay_s = 0, 0.0
        elif was_killed and has_served and not (is_early and again):
            delay_s = 0.0
        else:
            delay_s = self._delay(place, counts=not was_killed)
        place.due_s = now_s + delay_s
        if delay_s > FIRST_DELAY_S and self._is_anybody_serving():
            self._actions.append(Drop(place.number))  # clients go to the others
        when = f"in {delay_s:g} s" if delay_s else "at once"
        self._say(f"{worker} {how}; starting it again {when}")

    def _begin_again(self, now_s: float) -> None:
        """Start who could not be started; something has changed."""
        self._awaits_change = False
        self._say("SIGUSR2: starting again")
        if self._announced:
            self._actions.append(Rolled(done=True))
        for place in self._places.values():
            if place.is_empty and (self._said is not None or place.number == 1):
                place.due_s = now_s

    def _delay(self, place: _Place, *, counts: bool) -> float:
        """Return how long a place stays empty after a worker that has not served for long."""
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(place.short_lives, 16), LONGEST_DELAY_S)
        place.short_lives += counts
        return delay_s

    def _is_anybody_serving(self) -> bool:
        return any(worker.stage == SERVING for worker in self._workers.values())

    def _leave(self, worker: _Worker, now_s: float) -> None:
        """Tell a worker to end."""
        if worker.stage != LEAVING:
            worker.stage, worker.left_s = LEAVING, now_s
        worker.kill_s = now_s + self._limits.stop_timeout_s
        self._actions.append(Send(worker.pid, signal.SIGTERM))

    def _dump(self, worker: _Worker, now_s: float) -> None:
        """Have a worker print the stacks of its threads, which needs nothing of its own code."""
        worker.dumping, worker.kill_s = True, now_s + DUMP_S
        self._actions.append(Send(worker.pid, signal.SIGQUIT))

    def _kill(self, worker: _Worker) -> None:
        worker.kill_s = math.inf
        if worker.stage == LEAVING and not worker.dumping:
            worker.fate = "stop-timeout"
            self._say(f"{worker} did not stop in time: killing it")
        worker.dumping = True
        self._actions.append(Send(worker.pid, signal.SIGKILL))

    # What is stuck, or old.

    def _is_stuck(self, worker: _Worker, now_s: float, beats: Mapping[int, float]) -> bool:
        limit_s = self._limits.worker_timeout_s
        beat_s = max(beats.get(worker.pid, now_s), self._awake_s)
        return bool(limit_s) and now_s - beat_s >= limit_s

    def _on_stuck(self, worker: _Worker, now_s: float) -> None:
        limit_s = self._limits.worker_timeout_s
        was_serving, worker.stage = worker.stage == SERVING, LEAVING
        worker.fate, worker.left_s = "stuck", now_s
        follows = "replacing it; its stacks follow" if was_serving else "its stacks follow"
        self._say(
            f"{worker} has done nothing for {limit_s:g} s (--worker-timeout): its event loop is"
            f" held by one call; {follows}"
        )
        self._dump(worker, now_s)
        place = self._places.get(worker.place)
        if place is None or not was_serving or self._stopping:
            return
        place.current, place.successor = place.successor, None
        if place.current is None:
            place.due_s = now_s

    def _check_age(self, worker: _Worker, now_s: float, memory: int) -> None:
        """Renew a worker that has served long enough, or takes too much memory."""
        limits = self._limits
        if now_s < self._renew_after_s or self._renewals.has(worker.place):
            return
        if worker.wants:
            self._renew(worker.place, worker.wants)
        elif limits.max_memory and memory > limits.max_memory:
            self._renew(worker.place, f"it takes {memory} bytes of memory (--max-memory)")
        elif worker.lifetime_s and now_s - worker.served_s >= worker.lifetime_s:
            self._renew(worker.place, "it has served long enough (--max-lifetime)")

    # Renewals: a roll, recycling.

    def _on_roll_signal(self) -> None:
        if not self._announced:
            self._roll_asked = True
            self._note_roll("waiting", "the workers are still starting")
            self._say("SIGUSR2: the workers are still starting, and are replaced once they serve")
            return
        if self.is_rolling:
            self._say("SIGUSR2: the workers are being replaced already")
            return
        self._say("SIGUSR2: replacing the workers, one after the other")
        self._gave_up = ""
        self._tell_reloading("SIGUSR2: replacing the workers")
        self._note_roll("running", "replacing the workers, one after the other")
        self._renewals.waiting.clear()  # a roll renews all
        for number in self._places:
            self._renewals.waiting.append(_Renewal(number, "SIGUSR2", is_roll=True))

    def _note_roll(self, state: str, said: str) -> None:
        """Note how far a roll is; a new one begins where the last one is over."""
        begins = self._roll.state in ("none", "done", "failed")
        self._roll = Roll(number=self._roll.number + begins, state=state, said=said)

    def _renew(self, place: int, why: str) -> None:
        """Have the worker of a place replaced once its turn comes."""
        if not self._stopping and self._announced:
            self._renewals.waiting.append(_Renewal(place, why))

    def _go_on_renewing(self) -> None:
        """Start the next successor, if none is starting."""
        renewals = self._renewals
        while renewals.present is None and renewals.waiting:
            renewal = renewals.waiting.popleft()
            place = self._places.get(renewal.place)
            if place is None or place.closing_s is not None or place.current is None:
                continue  # it goes, or is about to be started anew anyhow
            if place.current.stage != SERVING:
                continue
            renewals.present = renewal
            if not renewal.is_roll:
                self._say(f"{place.current} is renewed: {renewal.why}")
            self._actions.append(Start(place.number))
        if self._roll.state == "running" and renewals.present is None:
            self._note_roll("done", "all workers were replaced, or are started anew anyhow")

    def _is_renewed(self, worker: _Worker) -> bool:
        """Return whether this worker is the one that a renewal waits for."""
        present = self._renewals.present
        return worker.stage == STARTING and present is not None and present.place == worker.place

    def _renewed(self, place: int) -> None:
        """Go on to the next renewal, if the present one was of this place."""
        renewals = self._renewals
        renewal = renewals.present
        if renewal is None or renewal.place != place:
            return
        renewals.present = None
        if renewal.is_roll and not any(each.is_roll for each in renewals.waiting):
            self._note_roll("done", "all workers were replaced")
            self._say("SIGUSR2: all workers were replaced")
            self._actions.append(Rolled(done=True))

    def _renewal_failed(self, what: str, now_s: float) -> None:
        """A successor cannot serve: the old worker stays, and so do all that were to follow."""
        renewals = self._renewals
        is_roll = renewals.present is not None and renewals.present.is_roll
        renewals.present = None
        renewals.waiting.clear()
        self._renew_after_s = now_s + LONGEST_DELAY_S
        if is_roll:
            self._gave_up = what
        prefix = "SIGUSR2: " if is_roll else ""
        rest = "the roll is given up, and the old workers stay" if is_roll else "the old one stays"
        if is_roll:
            self._note_roll("failed", f"{what}; {rest}")
        self._say(f"{prefix}{what}; {rest}")
        if is_roll:
            self._actions.append(Rolled(done=False))
        for place in self._places.values():
            if place.closing_s is not None:
                renewals.waiting.append(self._takeover())

    # More and fewer.

    def _add_place(self, now_s: float, why: str = "SIGTTIN") -> None:
        number = max(self._places) + 1
        if number > MOST_PLACES:
            self._say(f"{why}: there are {MOST_PLACES} workers, and no more can be")
            return
        self._places[number] = _Place(number, due_s=now_s if self._said is not None else None)
        self._say(f"{why}: {self._wanted()} from now on")

    def _remove_place(self, now_s: float, why: str = "SIGTTOU") -> None:
        staying = [place for place in self._places.values() if place.closing_s is None]
        if len(staying) == 1:
            self._say(f"{why}: this is the last worker, which stays; SIGTERM stops the server")
            return
        place = staying[-1]
        place.closing_s = now_s
        self._say(f"{why}: {self._wanted()} from now on")
        if self._shared_queue or not self._announced:
            self._close_place(place, now_s)
            return
        # Who is started from now on accepts what is queued there.
        self._actions.append(Release(place.number))
        self._renewals.waiting.appendleft(self._takeover())

    def _takeover(self) -> _Renewal:
        """Return the renewal after which a place that goes may go."""
        staying = [number for number, place in self._places.items() if place.closing_s is None]
        return _Renewal(staying[0], "it takes over what is queued for one that goes")

    def _close_place(self, place: _Place, now_s: float) -> None:
        del self._places[place.number]
        for worker in (place.current, place.successor):
            if worker is not None and worker.stage != LEAVING:
                self._leave(worker, now_s)

    def _wanted(self) -> str:
        count = sum(place.closing_s is None for place in self._places.values())
        return "1 worker" if count == 1 else f"{count} workers"

    # The end.

    def _on_stop_signal(self, number: int, now_s: float) -> None:
        """Stop all workers: gracefully at first, at once when asked again."""
        if not self.is_draining:
            delay_s = self._limits.drain_delay_s
            if not delay_s:
                self._stop(now_s)
                return
            self._stop_s = now_s + delay_s
            self._say(
                f"{signal.Signals(number).name}: stopping in {delay_s:g} s (--drain-delay); until"
                " then connections are accepted"
            )
            return
        if not self._stopping:
            self._stop(now_s)
        self._exit_code = 128 + number
        if self._asked_again:
            for worker in self._workers.values():
                worker.kill_s = now_s
            return
        self._asked_again = True
        self._say("asked again to stop: ending the workers at once")
        for worker in self._workers.values():
            # One that hears it twice still writes its logs.
            self._leave(worker, now_s)
            worker.kill_s = now_s + AT_ONCE_S

    def _stop(self, now_s: float) -> None:
        """Tell all workers to stop gracefully; those that were told before are not told twice."""
        self._stopping = True
        self._actions.append(Tell("stopping", "stopping: requests in flight may end"))
        for worker in self._workers.values():
            if worker.stage != LEAVING and not worker.late:
                self._leave(worker, now_s)
        self._actions.append(StopListening())


def _reason_of(worker: _Worker, code: int) -> str:
    """Return why a worker has ended, in a word for a count."""
    if worker.fate:
        return worker.fate
    if worker.stage == LEAVING:
        return "told"
    if code < 0:
        return "killed"
    return "not-started" if worker.stage == STARTING else "exited"
