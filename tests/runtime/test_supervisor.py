"""What the parent of workers decides: conversations with made-up clocks and processes."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import pytest

from edgeserver.operate.report import ServerReport
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

TERM, KILL, QUIT = signal.SIGTERM, signal.SIGKILL, signal.SIGQUIT


class Talk:
    """A supervisor, a clock, and processes whose ids are 101, 102 and so on.

    Each method tells one event; `did` holds what was decided since it was looked at last, without
    what was said; `said` all that the operator was told, `told` all that the service manager was.
    """

    def __init__(
        self, count: int = 2, *, shared: bool = True, waits: bool = False, **limits: Any
    ) -> None:
        self.now_s = 1000.0
        self.said: list[str] = []
        self.rolls: list[bool] = []
        self.told: list[Tell] = []
        self.beating = True
        self.fails: str | None = None
        self._limits = Limits(**{"stop_timeout_s": 30.0, **limits})
        self._supervisor = Supervisor(
            count,
            self._limits,
            shared_queue=shared,
            waits_for_change=waits,
            jitter=lambda: 0.5,
        )
        self._did: list[Action] = []
        self._pids = iter(range(101, 1000))
        self._take(self._supervisor.begin(self.now_s))

    @property
    def did(self) -> list[Action]:
        """What was decided since this was asked last."""
        did, self._did = self._did, []
        return did

    @property
    def report(self) -> ServerReport:
        """How it stands now."""
        return self._supervisor.report(self.now_s)

    def ready(self, *pids: int) -> Talk:
        """These workers serve."""
        for pid in pids:
            self._take(self._supervisor.heard(pid, "ready wsgi", self.now_s))
        return self

    def says(self, pid: int, line: str) -> None:
        """A worker says something."""
        self._take(self._supervisor.heard(pid, line, self.now_s))

    def ends(self, pid: int, code: int) -> None:
        """A worker ends."""
        self._take(self._supervisor.ended(pid, code, self.now_s))

    def asks(self, number: signal.Signals) -> None:
        """The operator sends a signal."""
        self._take(self._supervisor.asked(number, self.now_s))

    def reconfigures(self, more: int, **limits: Any) -> None:
        """Another configuration is in force."""
        changed = Limits(**{"stop_timeout_s": 30.0, **limits})
        self._take(self._supervisor.reconfigure(more, changed, self.now_s, shared_queue=True))

    @property
    def draining(self) -> bool:
        """Whether nothing new should come."""
        return self._supervisor.is_draining

    def passes(
        self,
        seconds: float,
        *,
        stuck: Mapping[int, float] | None = None,
        memory: Mapping[int, int] | None = None,
        until: Action | None = None,
    ) -> None:
        """Let time pass, in steps of at most half a second; all beat but the stuck."""
        end_s = self.now_s + seconds
        while self.now_s < end_s and until not in self._did:
            self.now_s = min(end_s, self.now_s + 0.5)
            beats = dict.fromkeys(range(101, 200), self.now_s) | dict(stuck or {})
            self._take(self._supervisor.tick(self.now_s, beats, memory))

    def lives(self, within_s: float, beats: Mapping[int, float]) -> bool:
        """Return whether the service manager would be told that the service is well."""
        return self._supervisor.lives(self.now_s, beats, within_s)

    def sleeps(self, seconds: float) -> None:
        """Let time pass in which nobody ran, parent and workers."""
        beats = dict.fromkeys(range(101, 200), self.now_s)
        self.now_s += seconds
        self._take(self._supervisor.tick(self.now_s, beats))

    def _take(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Say):
                self.said.append(action.line)
                continue
            if isinstance(action, Rolled):
                self.rolls.append(action.done)
                continue
            if isinstance(action, Tell):
                self.told.append(action)
                continue
            self._did.append(action)
            if not isinstance(action, Start):
                continue
            if self.fails is not None:
                self._take(self._supervisor.not_forked(action.place, self.fails, self.now_s))
            else:
                self._supervisor.forked(action.place, next(self._pids), self.now_s)


def serving(count: int = 2, **settings: Any) -> Talk:
    """Return a conversation in which all workers serve for a while."""
    talk = Talk(count, **settings)
    talk.ready(101).ready(*range(102, 101 + count))
    talk.passes(10)
    assert talk.did
    return talk


def test_the_first_worker_starts_alone() -> None:
    """The others follow once it serves, and all are announced once."""
    talk = Talk(3)
    assert talk.did == [Start(1)]
    talk.ready(101)
    assert talk.did == [Start(2), Start(3)]
    talk.ready(102)
    assert talk.did == []
    talk.ready(103)
    assert talk.did == [Announce("wsgi")]


@pytest.mark.parametrize(("code", "exit_code"), [(2, 2), (3, 3), (1, 3), (-11, 3)])
def test_an_application_that_cannot_start(code: int, exit_code: int) -> None:
    """The first worker has said why; nothing is tried again."""
    talk = Talk(3)
    talk.ends(101, code)
    assert talk.did == [Start(1), StopListening(), Exit(exit_code)]


def test_a_worker_that_has_served_is_replaced_at_once() -> None:
    """Five seconds of service are enough, however often it happens."""
    talk = serving()
    for pid, nxt in ((102, 103), (103, 104), (104, 105)):
        talk.ends(pid, 7)
        assert talk.did == [Start(2)]
        assert talk.said[-1] == f"worker 2 (pid {pid}) ended with code 7; starting it again at once"
        talk.ready(nxt)
        talk.passes(5)
    assert talk.did == []


def test_crashes_in_a_row_wait_longer_and_longer() -> None:
    """Half a second, doubled up to thirty; one that has served sets it back."""
    talk = serving()
    talk.ends(102, 1)
    waits = []
    for pid in range(103, 111):
        talk.ready(pid)
        assert talk.did[-1] == Start(2)
        before_s = talk.now_s
        talk.ends(pid, 1)
        talk.passes(40, until=Start(2))
        waits.append(talk.now_s - before_s)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    talk.ready(111)
    talk.passes(6)
    talk.ends(111, 1)
    assert Start(2) in talk.did


def test_kills_from_outside_are_no_crash_loop() -> None:
    """Who is killed soon after its start comes back at once, and then after half a second."""
    talk = serving()
    for pid in range(102, 110):
        talk.ready(pid)
        talk.passes(0.9)
        talk.ends(pid, -9)
        when = "in 0.5 s" if pid > 103 else "at once"  # 102 has served for long
        assert talk.said[-1].endswith(f"was killed by signal 9; starting it again {when}")
        talk.passes(0.5)
    assert talk.did == [Start(2)] * 8


def test_who_is_killed_after_a_second_is_replaced_at_once() -> None:
    """That one has served; one that ends by itself so early still has to wait."""
    talk = serving()
    talk.passes(1)
    talk.ends(102, -9)
    assert talk.did == [Start(2)]
    assert talk.said[-1] == "worker 2 (pid 102) was killed by signal 9; starting it again at once"
    talk.ready(103)
    talk.passes(1)
    talk.ends(103, 1)
    assert talk.said[-1].endswith("ended with code 1; starting it again in 0.5 s")
    talk.passes(0.5)
    talk.ends(104, -9)
    assert talk.said[-1].endswith("was killed by signal 9; starting it again in 1 s")


def test_crashes_of_different_workers_do_not_add_up() -> None:
    """The delay is that of one place."""
    talk = Talk(3)
    talk.ready(101).ready(102, 103)
    talk.ends(102, 1)
    talk.ends(103, 1)
    assert [line.rpartition(" in ")[2] for line in talk.said] == ["0.5 s", "0.5 s"]


def test_the_queue_of_an_empty_place_is_closed() -> None:
    """While a place stays empty for long its clients go to the others."""
    talk = serving(shared=False)
    talk.ends(102, 1)
    talk.ready(103)
    talk.ends(103, 1)
    assert Drop(2) not in talk.did
    talk.passes(1)
    talk.ready(104)
    talk.ends(104, 1)
    assert Drop(2) in talk.did


@pytest.mark.parametrize("code", [2, 3, -11])
def test_a_start_that_fails_while_sources_are_watched(code: int) -> None:
    """Nothing ends: a change has it tried again, as often as it takes; TERM still ends it."""
    talk = Talk(2, waits=True)
    for pid in (101, 102):
        talk.ends(pid, code)
        assert talk.said[-1].endswith("; nothing serves before a source changes (--reload)")
        talk.passes(60)
        assert Exit(3) not in talk.did
        talk.asks(signal.SIGUSR2)
        assert talk.did == [Start(1)]
    talk.ready(103).ready(104)
    assert Announce("wsgi") in talk.did
    talk.asks(signal.SIGUSR2)
    assert talk.said[-1] == "SIGUSR2: replacing the workers, one after the other"


def test_workers_that_cannot_start_again_while_sources_are_watched() -> None:
    """It holds after they have served, too, for all of them."""
    talk = serving(waits=True)
    for pid in (101, 102):
        talk.ends(pid, 1)
    talk.passes(1)
    for pid in (103, 104):
        talk.ends(pid, 3)
    assert talk.said[-1].endswith("; nothing serves before a source changes (--reload)")
    assert StopListening() not in talk.did
    talk.passes(60)
    talk.asks(signal.SIGUSR2)
    assert talk.did == [Start(1), Start(2)]
    assert talk.rolls == [True]


def test_a_replacement_that_cannot_start() -> None:
    """While others serve it is tried again; where nobody does, the server ends with its code."""
    talk = serving()
    talk.ends(102, 1)
    talk.ends(103, 3)
    assert talk.said[-1].endswith("ended with code 3; starting it again in 0.5 s")
    assert Exit(3) not in talk.did
    talk.ends(101, 1)
    talk.ends(104, 3)
    talk.passes(1)
    talk.ends(105, 3)
    assert StopListening() in talk.did


def test_no_process_to_be_had() -> None:
    """Where the system gives none it is asked again."""
    talk = serving()
    talk.fails = "Resource temporarily unavailable"
    talk.ends(102, 1)
    assert talk.said[-1] == (
        "worker 2 cannot be started: Resource temporarily unavailable; trying again in 0.5 s"
    )
    talk.fails = None
    talk.passes(1)
    assert talk.did == [Start(2), Start(2)]


# Rolls.


def test_a_roll() -> None:
    """One worker after the other: the new one serves, then the old one is told to end."""
    talk = serving()
    talk.asks(signal.SIGUSR2)
    assert talk.did == [Start(1)]
    talk.passes(2)
    assert talk.did == []
    talk.ready(103)
    assert talk.did == [Send(101, TERM), Start(2)]
    talk.ends(101, 0)
    talk.ready(104)
    assert talk.did == [Send(102, TERM)]
    assert talk.said[-1] == "SIGUSR2: all workers were replaced"
    assert talk.rolls == [True]
    talk.ends(102, 0)
    talk.passes(40)
    assert talk.did == []


@pytest.mark.parametrize("done", [0, 1], ids=["first", "second"])
def test_a_roll_that_fails_is_given_up(done: int) -> None:
    """A new worker that does not start leaves the old ones, and the reason is said."""
    talk = serving()
    talk.asks(signal.SIGUSR2)
    if done:
        talk.ready(103)
        talk.ends(101, 0)
    talk.did  # noqa: B018  # what was decided so far is not asked about
    talk.ends(103 + done, 3)
    assert talk.did == []
    assert talk.said[-1] == (
        f"SIGUSR2: worker {1 + done} (pid {103 + done}) ended with code 3 before it served; the"
        " roll is given up, and the old workers stay"
    )
    assert talk.rolls == [False]
    talk.passes(40)
    assert talk.did == []
    talk.asks(signal.SIGUSR2)
    assert talk.did == [Start(1)]


def test_a_roll_whose_new_worker_never_starts() -> None:
    """The time limit of a start is one of a roll too."""
    talk = serving(start_timeout_s=5.0)
    talk.asks(signal.SIGUSR2)
    talk.says(103, "waits a database")
    talk.passes(5)
    assert talk.said[-2:] == [
        "worker 1 (pid 103) is still starting: it waits for a database",
        "worker 1 (pid 103) has not started in 5 s (--start-timeout): it waits for a database;"
        " its stacks follow",
    ]
    talk.passes(1)
    assert talk.did == [Start(1), Send(103, QUIT), Send(103, KILL)]
    talk.ends(103, -9)
    assert "did not start in time before it served; the roll is given up" in talk.said[-1]


def test_a_roll_asked_for_twice() -> None:
    """The second changes nothing."""
    talk = serving()
    talk.asks(signal.SIGUSR2)
    talk.asks(signal.SIGUSR2)
    assert talk.did == [Start(1)]
    assert talk.said[-1] == "SIGUSR2: the workers are being replaced already"


def test_a_roll_asked_for_at_the_start() -> None:
    """It begins once all serve: their code may be older than the question."""
    talk = Talk(2)
    talk.asks(signal.SIGUSR2)
    talk.ready(101).ready(102)
    assert talk.did == [Start(1), Start(2), Announce("wsgi"), Start(1)]


def test_a_crash_during_a_roll() -> None:
    """An old worker that crashes while its successor starts needs no other one."""
    talk = serving()
    talk.asks(signal.SIGUSR2)
    talk.ends(101, 1)
    assert talk.did == [Start(1)]
    talk.ready(103)
    assert talk.did == [Start(2)]
    talk.ready(104)
    assert talk.said[-1] == "SIGUSR2: all workers were replaced"


def test_a_crash_of_both_during_a_roll() -> None:
    """Where neither the old nor the new one is left the place is filled again."""
    talk = serving()
    talk.asks(signal.SIGUSR2)
    talk.ends(101, 1)
    talk.ends(103, 3)
    talk.passes(1)
    assert talk.did == [Start(1), Start(1)]
    talk.ready(104)
    assert talk.did == []


# More and fewer.


def test_one_worker_more_and_one_fewer() -> None:
    """TTIN adds a place, TTOU takes the last one away, and the only one stays."""
    talk = serving(1)
    talk.asks(signal.SIGTTIN)
    assert talk.did == [Start(2)]
    talk.ready(102)
    talk.asks(signal.SIGTTOU)
    assert talk.did == [Send(102, TERM)]
    talk.ends(102, 0)
    talk.asks(signal.SIGTTOU)
    assert talk.did == []
    assert talk.said[-1].startswith("SIGTTOU: this is the last worker, which stays")


def test_what_is_queued_for_one_that_goes() -> None:
    """Where each has its own queue another worker takes it over before that one ends."""
    talk = serving(2, shared=False)
    talk.asks(signal.SIGTTOU)
    assert talk.did == [Release(2), Start(1)]
    talk.ready(103)
    assert talk.did == [Send(101, TERM), Send(102, TERM)]
    talk.ends(101, 0)
    talk.ends(102, 0)
    talk.passes(40)
    assert talk.did == []


def test_a_takeover_that_fails_is_tried_again() -> None:
    """Who goes serves until somebody has taken over its queue."""
    talk = serving(2, shared=False)
    talk.asks(signal.SIGTTOU)
    talk.ends(103, 1)
    assert talk.did == [Release(2), Start(1), Start(1)]
    talk.ready(104)
    assert talk.did == [Send(101, TERM), Send(102, TERM)]


# What is stuck, and what is old.


def test_a_stuck_worker_is_replaced() -> None:
    """Its stacks are asked for, its place is filled at once, and it is killed."""
    talk = serving(worker_timeout_s=3.0)
    talk.passes(4, stuck={102: talk.now_s})
    assert talk.did == [Send(102, QUIT), Start(2), Send(102, KILL)]
    assert talk.said == [
        "worker 2 (pid 102) has done nothing for 3 s (--worker-timeout): its event loop is held by"
        " one call; replacing it; its stacks follow"
    ]
    talk.ends(102, -9)
    talk.ready(103)
    talk.passes(40)
    assert talk.did == []


def test_a_stuck_worker_does_not_hold_up_the_end() -> None:
    """A TERM that it cannot hear does not give it more time."""
    talk = serving(worker_timeout_s=3.0)
    stuck_s = talk.now_s
    talk.asks(TERM)
    talk.ends(101, 0)
    assert talk.did == [Send(101, TERM), Send(102, TERM), StopListening()]
    talk.passes(5, stuck={102: stuck_s})
    assert talk.did == [Send(102, QUIT), Send(102, KILL)]
    talk.ends(102, -9)
    assert talk.did == [Exit(0)]


def test_a_stuck_worker_in_the_middle_of_its_renewal() -> None:
    """Its successor is on the way already, and the roll goes on."""
    talk = serving(worker_timeout_s=3.0)
    talk.asks(signal.SIGUSR2)
    talk.passes(4, stuck={101: talk.now_s})
    talk.ends(101, -9)
    assert talk.did == [Start(1), Send(101, QUIT), Send(101, KILL)]
    talk.ready(103)
    assert talk.did == [Start(2)]


def test_a_machine_that_was_asleep() -> None:
    """Where the parent was not run either, nobody is called stuck."""
    talk = serving(worker_timeout_s=3.0)
    talk.sleeps(3600)
    talk.passes(2, stuck={101: 0.0, 102: 0.0})
    assert talk.did == []


def test_a_worker_that_asks_to_be_renewed() -> None:
    """One at a time, the new one first."""
    talk = serving()
    talk.says(101, "renew it is tired")
    talk.says(102, "renew it is tired")
    talk.passes(1)
    assert talk.did == [Start(1)]
    assert talk.said == ["worker 1 (pid 101) is renewed: it is tired"]
    talk.ready(103)
    assert talk.did == [Send(101, TERM), Start(2)]
    talk.ready(104)
    assert talk.did == [Send(102, TERM)]


def test_memory_and_lifetime() -> None:
    """A worker that takes too much, or has served long enough, is renewed."""
    talk = serving(max_memory=1000, max_lifetime_s=100.0)
    talk.passes(1, memory={101: 1000, 102: 1001})
    assert talk.did == [Start(2)]
    talk.ready(103)
    talk.ends(102, 0)
    talk.passes(90)
    assert talk.did == [Send(102, TERM), Start(1)]
    assert talk.said[-1] == (
        "worker 1 (pid 101) is renewed: it has served long enough (--max-lifetime)"
    )


def test_a_renewal_that_fails_is_tried_again_later() -> None:
    """The old worker stays for now."""
    talk = serving()
    talk.says(101, "renew it is tired")
    talk.passes(1)
    talk.ends(103, 3)
    assert talk.said[-1].endswith("ended with code 3 before it served; the old one stays")
    talk.passes(29)
    assert talk.did == [Start(1)]
    talk.passes(2)
    assert talk.did == [Start(1)]


# The end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end(number: signal.Signals) -> None:
    """All are told once, and the parent ends with the last one."""
    talk = serving()
    talk.asks(number)
    assert talk.did == [Send(101, TERM), Send(102, TERM), StopListening()]
    talk.ends(102, 0)
    talk.ends(101, -9)
    assert talk.did == [Exit(0)]


def test_the_end_has_a_time_limit() -> None:
    """Who does not end is killed, with a line for each, and the code is 0."""
    talk = serving(stop_timeout_s=5.0)
    talk.asks(TERM)
    talk.ends(101, 0)
    talk.passes(6)
    assert talk.did[-1] == Send(102, KILL)
    assert talk.said == ["worker 2 (pid 102) did not stop in time: killing it"]
    talk.ends(102, -9)
    assert talk.did == [Exit(0)]


def test_insisting() -> None:
    """Asked twice they end at once by themselves, asked three times they are killed."""
    talk = serving()
    talk.asks(TERM)
    talk.did  # noqa: B018  # see above
    talk.asks(TERM)
    assert talk.did == [Send(101, TERM), Send(102, TERM)]
    talk.asks(TERM)
    talk.passes(0.1)
    assert talk.did == [Send(101, KILL), Send(102, KILL)]
    talk.ends(101, -9)
    talk.ends(102, -9)
    assert talk.did == [Exit(128 + TERM)]


def test_the_end_in_the_middle_of_a_roll() -> None:
    """Old, new and leaving: each is told once, and nobody is started."""
    talk = serving()
    talk.asks(signal.SIGUSR2)
    talk.ready(103)
    assert talk.did == [Start(1), Send(101, TERM), Start(2)]
    talk.asks(TERM)
    assert talk.did == [Send(102, TERM), Send(103, TERM), Send(104, TERM), StopListening()]
    for pid in (101, 102, 103, 104):
        talk.ends(pid, 0)
    assert talk.did == [Exit(0)]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_what_is_passed_on(number: signal.Signals) -> None:
    """HUP and USR1 reach who serves, and nobody who could be ended by them."""
    talk = serving()
    talk.ends(102, 1)
    talk.did  # noqa: B018  # see above
    talk.asks(number)
    assert talk.did == [Send(101, number)]


def test_a_reload_reaches_who_was_starting() -> None:
    """A worker that was forked before is told to reload once it serves, and no later one."""
    talk = serving()
    talk.ends(102, 1)
    talk.passes(1)
    assert talk.did == [Start(2)]
    talk.asks(signal.SIGHUP)
    assert talk.did == [Send(101, signal.SIGHUP)]
    talk.ready(103)
    assert talk.did == [Send(103, signal.SIGHUP)]
    talk.ends(103, 1)
    talk.passes(1)
    talk.ready(104)
    assert talk.did == [Start(2)]


def test_another_number_of_workers() -> None:
    """A configuration with more or fewer workers adds and removes places; the last one stays."""
    talk = serving()
    talk.reconfigures(2)
    assert talk.did == [Start(3), Start(4)]
    assert talk.said[-1] == "workers: 4 workers from now on"
    talk.ready(103).ready(104)
    talk.reconfigures(-5)
    assert talk.did == [Send(104, TERM), Send(103, TERM), Send(102, TERM)]
    assert "this is the last worker" in talk.said[-1]


def test_other_limits() -> None:
    """What workers are held to changes while they serve."""
    talk = serving()
    talk.reconfigures(0, worker_timeout_s=3.0)
    talk.passes(3, stuck={101: talk.now_s})
    assert Send(101, QUIT) in talk.did


def test_a_stop_after_a_delay() -> None:
    """All serve on for a while, and crash and start as ever; then they are told to end."""
    talk = serving(drain_delay_s=5.0)
    assert not talk.draining
    talk.asks(TERM)
    assert talk.draining
    assert talk.said[-1].startswith("SIGTERM: stopping in 5 s (--drain-delay)")
    talk.ends(102, 1)
    talk.passes(4.5)
    assert talk.did == [Start(2)]
    talk.passes(1)
    assert talk.did == [Send(101, TERM), Send(103, TERM), StopListening()]


def test_asked_again_during_the_delay() -> None:
    """Somebody who insists does not wait for it."""
    talk = serving(drain_delay_s=5.0)
    talk.asks(TERM)
    talk.asks(signal.SIGINT)
    assert talk.did[:3] == [Send(101, TERM), Send(102, TERM), StopListening()]
    talk.passes(1)
    assert Send(101, KILL) in talk.did


# What the service manager is told.


def test_start_reload_and_end_are_told() -> None:
    """Ready when all serve, reloading until the last has reloaded, stopping."""
    talk = Talk(2)
    talk.ready(101)
    assert talk.told == []
    talk.ready(102)
    assert talk.told == [Tell("ready", "2 workers")]
    talk.asks(signal.SIGHUP)
    assert talk.told[1:] == [Tell("reloading", "SIGHUP: reloading")]
    talk.says(101, "reloaded")
    assert len(talk.told) == 2
    talk.says(102, "reloaded")
    assert talk.told[2:] == [Tell("ready", "2 workers")]
    talk.asks(TERM)
    assert talk.told[3:] == [Tell("stopping", "stopping: requests in flight may end")]


def test_a_reload_is_over_where_a_worker_ends_in_it() -> None:
    """Who is gone is not waited for."""
    talk = serving()
    talk.asks(signal.SIGHUP)
    talk.says(101, "reloaded")
    talk.ends(102, -9)
    assert [each.state for each in talk.told] == ["ready", "reloading", "ready"]


def test_a_roll_is_a_reload() -> None:
    """It is over with its last worker; one that was given up says why."""
    talk = serving()
    talk.asks(signal.SIGUSR2)
    talk.ready(103)
    assert [each.state for each in talk.told] == ["ready", "reloading"]
    talk.ready(104)
    assert talk.told[2:] == [Tell("ready", "2 workers")]
    talk.asks(signal.SIGUSR2)
    talk.ends(105, 3)
    assert talk.told[-1] == Tell(
        "ready",
        "2 workers; the roll was given up: worker 1 (pid 105) ended with code 3 before it served",
    )


def test_life_is_told_while_one_event_loop_turns() -> None:
    """One stuck worker is the parent's to replace; all of them are the service manager's."""
    talk = serving()
    stuck_s = talk.now_s - 20
    assert talk.lives(10, {101: stuck_s, 102: talk.now_s})
    assert not talk.lives(10, {101: stuck_s, 102: stuck_s})
    assert talk.lives(30, {101: stuck_s, 102: stuck_s})


def test_life_is_told_during_start_and_end() -> None:
    """Their own time limits bound them."""
    talk = Talk(1)
    assert talk.lives(1, {101: 0.0})
    talk.ready(101)
    talk.asks(TERM)
    assert talk.lives(1, {101: 0.0})
