"""What the parent of workers reports of itself: states, ends and rolls."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.runtime.test_supervisor import Talk, serving

USR2, TERM = signal.SIGUSR2, signal.SIGTERM


def _states(talk: Talk) -> list[tuple[int, str]]:
    return [(each.pid, each.state) for each in talk.report.workers]


def test_a_start() -> None:
    """It is ready once all serve, and says until then what is waited for."""
    talk = Talk(2)
    talk.says(101, "waits the import of main")
    talk.passes(3)
    assert talk.report.workers[0].waits_for == "the import of main"
    assert talk.report.workers[0].age_s == 3
    assert talk.report.not_ready() == [
        "0 of 2 workers have started",
        "worker 1 waits for the import of main",
    ]
    talk.ready(101).ready(102)
    assert talk.report.not_ready() == []
    assert _states(talk) == [(101, "serving"), (102, "serving")]
    assert talk.report.workers[0].waits_for == ""


def test_a_stop() -> None:
    """It is not ready from the signal on, while its workers leave."""
    talk = serving(1)
    talk.asks(TERM)
    talk.passes(2)
    assert _states(talk) == [(101, "leaving")]
    assert talk.report.workers[0].age_s == 2
    assert talk.report.not_ready() == ["the server drains: it was told to stop"]


def _stuck(talk: Talk) -> None:
    talk.passes(20, stuck={101: talk.now_s})
    talk.ends(101, -9)


def _late(talk: Talk) -> None:
    talk.ends(101, 1)
    talk.passes(20)
    talk.ends(103, -9)


def _too_slow(talk: Talk) -> None:
    talk.asks(TERM)
    talk.passes(40)
    talk.ends(101, -9)


@pytest.mark.parametrize(
    ("ends", "counted"),
    [
        (lambda talk: talk.ends(101, 7), {"exited": 1}),
        (lambda talk: talk.ends(101, 0), {"exited": 1}),
        (lambda talk: talk.ends(101, -9), {"killed": 1}),
        (lambda talk: (talk.asks(TERM), talk.ends(101, 0)), {"told": 1}),
        (_stuck, {"stuck": 1}),
        (_late, {"exited": 1, "start-timeout": 1}),
        (_too_slow, {"stop-timeout": 1}),
    ],
    ids=["code", "zero", "killed", "told", "stuck", "late", "too-slow"],
)
def test_ends(ends: Callable[[Talk], None], counted: dict[str, int]) -> None:
    """Each end of a worker counts by its reason."""
    talk = serving(2, worker_timeout_s=10.0, start_timeout_s=10.0)
    ends(talk)
    assert talk.report.ends == counted


def test_a_roll() -> None:
    """A roll has a number, runs, and is done when the last worker was replaced."""
    talk = serving(2)
    assert talk.report.roll.number == 0
    talk.asks(USR2)
    assert (talk.report.roll.number, talk.report.roll.state) == (1, "running")
    talk.asks(USR2)
    assert talk.report.roll.number == 1
    talk.ready(103)
    assert talk.report.roll.state == "running"
    talk.ready(104)
    assert (talk.report.roll.number, talk.report.roll.state) == (1, "done")
    talk.asks(USR2)
    assert (talk.report.roll.number, talk.report.roll.state) == (2, "running")


def test_a_roll_that_fails() -> None:
    """A new worker that does not start ends the roll, and it is said why."""
    talk = serving(2)
    talk.asks(USR2)
    talk.ends(103, 3)
    assert talk.report.roll.state == "failed"
    assert "the old workers stay" in talk.report.roll.said


def test_a_roll_before_the_start() -> None:
    """One that is asked for while workers start is the same one when it runs."""
    talk = Talk(1)
    talk.asks(USR2)
    assert (talk.report.roll.number, talk.report.roll.state) == (1, "waiting")
    talk.ready(101)
    assert (talk.report.roll.number, talk.report.roll.state) == (1, "running")
    talk.ready(102)
    assert (talk.report.roll.number, talk.report.roll.state) == (1, "done")


def test_a_roll_of_nobody() -> None:
    """One that finds every worker about to be started anew is over at once."""
    talk = serving(1)
    talk.ends(101, 7)
    talk.ends(102, 7)
    talk.asks(USR2)
    assert talk.report.roll.state == "done"


@pytest.mark.parametrize(("number", "wanted"), [(signal.SIGTTIN, 3), (signal.SIGTTOU, 1)])
def test_more_and_fewer(number: signal.Signals, wanted: int) -> None:
    """How many workers are wanted follows the signals."""
    talk = serving(2)
    talk.asks(number)
    assert talk.report.wanted == wanted
