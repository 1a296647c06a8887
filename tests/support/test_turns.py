"""The budget of a turn: who goes on at once, who waits, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

from edgeserver.support.turns import TurnBudget, turns_of

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


class Clock:
    """A clock that stands still until somebody works."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Worker:
    """Has `left` units to do, each of `unit_s` on the clock, and notes in `seen` what it did."""

    def __init__(
        self, name: str, left: int, unit_s: float, budget: TurnBudget, clock: Clock, seen: list[str]
    ) -> None:
        self.name, self.left, self.unit_s = name, left, unit_s
        self.budget, self.clock, self.seen = budget, clock, seen

    def go_on(self) -> None:
        """Do units as long as there is time, and wait with the rest."""
        while self.left:
            self.left -= 1
            self.clock.now_s += self.unit_s
            self.seen.append(self.name)
            if self.left and self.budget.spent():
                self.budget.wait(self.go_on)
                break


def make(
    turn_s: float = 10.0, slice_s: float = 2.0
) -> tuple[TurnBudget, Callable[[str, int, float], Worker], list[str]]:
    """Return a budget of whole seconds, what makes workers for it, and what they have done."""
    clock, seen = Clock(), []
    budget = TurnBudget(asyncio.get_running_loop(), turn_s=turn_s, slice_s=slice_s, clock=clock)
    return budget, lambda name, left, unit_s: Worker(name, left, unit_s, budget, clock, seen), seen


async def turns(count: int = 1) -> None:
    """Give the loop some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_begins_goes_on_for_a_slice() -> None:
    """The first question of a turn begins its time: work goes on for a slice, then it waits."""
    _, worker, seen = make(slice_s=3.0)
    worker("a", 10, 1.0).go_on()
    assert len(seen) == 4
    await turns()
    assert len(seen) == 7


async def test_a_single_unit_never_waits() -> None:
    """However much time is spent, what is one unit is done at once."""
    _, worker, seen = make()
    for name in "abc":
        worker(name, 9, 5.0).go_on()
    worker("small", 1, 5.0).go_on()
    assert seen == ["a", "a", "b", "c", "small"]


async def test_those_that_wait_take_turns() -> None:
    """Who waits is served in order, a slice each, and nobody twice before all have been."""
    _, worker, seen = make(slice_s=2.0)
    for name in "abc":
        worker(name, 7, 1.0).go_on()
    seen.clear()
    await turns()
    assert "".join(seen) == "aabbcc"
    await turns()
    assert "".join(seen) == "aabbccaabbcc"


async def test_a_turn_ends_however_many_wait() -> None:
    """Those that wait share the time of one turn; who had none is first in the next."""
    _, worker, seen = make(turn_s=6.0, slice_s=2.0)
    for name in "abcdefgh":
        worker(name, 30, 1.0).go_on()
    seen.clear()
    await turns()
    assert "".join(seen) == "aabbcc"
    worker("x", 2, 1.0).go_on()  # comes fresh into a turn that is spent: one unit, then the queue
    assert "".join(seen) == "aabbccx"
    await turns()
    assert "".join(seen) == "aabbccx" + "ddeeff"
    await turns()
    assert "".join(seen) == "aabbccx" + "ddeeff" + "gghhaa"


async def test_a_long_unit_does_not_lose_the_others() -> None:
    """One unit longer than a turn ends that turn, and the others have theirs."""
    _, worker, seen = make(turn_s=4.0, slice_s=2.0)
    for name in "abc":
        worker(name, 3, 50.0).go_on()
    seen.clear()
    await turns(3)
    assert "".join(seen) == "abc"


async def test_an_exception_of_one_keeps_nobody_else_waiting() -> None:
    """What one call raises is the loop's to report; those behind it are served."""
    loop = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(repr(context["exception"])))
    budget, _, _ = make()
    done = []

    def fail() -> None:
        raise ValueError("mine")

    budget.wait(fail)
    budget.wait(lambda: done.append(1))
    await turns(3)
    assert done == [1]
    assert reported == ["ValueError('mine')"]


async def test_a_coroutine_waits_too() -> None:
    """A future is done in a later turn; who has given it up is not minded."""
    budget, _, _ = make()
    given_up = budget.later()
    given_up.cancel()
    future = budget.later()
    assert not future.done()
    await turns(2)
    assert future.done()


async def test_who_waits_does_not_inherit_a_context() -> None:
    """What waits is called in the context that the budget was made in, not in who asked first."""
    budget, _, _ = make()
    seen = []
    context_set = asyncio.Event()

    async def ask() -> None:
        NAME.set("somebody")
        budget.wait(lambda: seen.append(NAME.get()))
        context_set.set()

    await asyncio.create_task(ask())
    await turns(2)
    assert seen == ["nobody"]


async def test_one_budget_for_a_loop() -> None:
    """All that ask for a loop's budget share it."""
    loop = asyncio.get_running_loop()
    budget = turns_of(loop)
    assert turns_of(loop) is budget


def test_each_loop_has_its_own() -> None:
    """Another loop has another budget, and a loop that is gone leaves none behind."""

    async def ask() -> TurnBudget:
        return turns_of(asyncio.get_running_loop())

    assert asyncio.run(ask()) is not asyncio.run(ask())


async def test_a_turn_is_short_where_a_connection_was_accepted() -> None:
    """Those that wait get one unit of it, and whole turns again once nobody comes."""
    budget, worker, seen = make(turn_s=10.0, slice_s=2.0)
    for name in "abc":
        worker(name, 99, 1.0).go_on()
    await turns()
    whole = len(seen)
    for _ in range(3):
        budget.accepted()
        seen.clear()
        await turns()
        assert len(seen) == 1
    seen.clear()
    await turns()
    assert len(seen) > 5 < whole


async def test_who_comes_fresh_in_a_short_turn_does_one_unit() -> None:
    """The time that is left for accepting goes to nobody else."""
    budget, worker, seen = make()
    worker("a", 99, 1.0).go_on()
    budget.accepted()
    await turns()
    seen.clear()
    worker("fresh", 9, 1.0).go_on()
    assert seen == ["fresh"]
