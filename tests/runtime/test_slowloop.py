"""The event loop that is held: found by a look from outside, said once it turns again."""

import sys

import pytest

from edgeserver.runtime.slowloop import LoopWatch


class Clock:
    """A clock that goes as a test says."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the present."""
        return self.now_s


def _watch(clock: Clock) -> LoopWatch:
    return LoopWatch(1.0, clock=clock, find_frame=lambda: sys._getframe())


def test_a_turn_that_takes_long(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once how long the loop was held, and where it was found."""
    clock = Clock()
    watch = _watch(clock)
    clock.now_s += 1.2
    watch.look()
    clock.now_s += 0.5
    watch.look()
    watch.turned()
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith("the event loop was held for 1.7 s (--slow-loop): ")
    assert "test_slowloop.py:" in line
    watch.turned()
    assert len(caplog.records) == 1


def test_turns_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that turns in time is not talked about, nor is one that nobody looked at."""
    clock = Clock()
    watch = _watch(clock)
    for step_s in (0.9, 0.9, 5.0):
        watch.look()
        clock.now_s += step_s
        watch.turned()
    assert not caplog.records
