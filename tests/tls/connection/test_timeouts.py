"""Tests for `edgeserver.tls.connection.timeouts`: one timer for many."""

import asyncio

from edgeserver.tls.connection.timeouts import Timeouts
from tests.tls import inside
from tests.tls.wire import both_loops


@both_loops
async def test_expires_in_order():
    """What is added first expires first, each once."""
    expired = []
    done = asyncio.Event()

    def note(item):
        expired.append(item)
        if item == "last":
            done.set()

    deadlines = Timeouts(0.01, note)
    for item in ("first", "second", "last"):
        deadlines.add(item)
    await done.wait()
    assert expired == ["first", "second", "last"]
    assert len(deadlines) == 0
    assert not inside.is_scheduled(deadlines)


@both_loops
async def test_discarded_does_not_expire():
    """What ended in time is forgotten, and what was added later has its whole time."""
    expired = []
    done = asyncio.Event()
    deadlines = Timeouts(0.02, lambda item: (expired.append(item), done.set()))
    loop = asyncio.get_running_loop()
    deadlines.add("ended")
    deadlines.discard("ended")
    deadlines.discard("never there")
    woken = asyncio.Event()
    loop.call_later(0.01, woken.set)
    await woken.wait()
    started = loop.time()
    deadlines.add("late")
    await done.wait()
    assert expired == ["late"]
    assert loop.time() - started > 0.01  # more than what was left of the first one's time


@both_loops
async def test_again_keeps_the_first_time():
    """Adding twice neither doubles an item nor prolongs its time."""
    expired = []
    done = asyncio.Event()
    deadlines = Timeouts(0.01, lambda item: (expired.append(item), done.set()))
    deadlines.add("one")
    deadlines.add("one")
    await done.wait()
    assert expired == ["one"]


@both_loops
async def test_added_while_expiring():
    """An item added from inside the callback gets a timer of its own time."""
    expired = []
    done = asyncio.Event()

    def note(item):
        expired.append(item)
        if item == "a":
            deadlines.add("b")
        else:
            done.set()

    deadlines = Timeouts(0.01, note)
    deadlines.add("a")
    await done.wait()
    assert expired == ["a", "b"]
