"""The sum of what a server holds."""

from __future__ import annotations

import asyncio

import pytest

from edgeserver.support.held import SMALL, HeldBudget, HeldShare


@pytest.mark.parametrize(
    ("sizes", "exceeded"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([60, 39], False, id="below"),
        pytest.param([60, 40], True, id="full"),
        pytest.param([60, 140], True, id="beyond"),
        pytest.param([60, 140, -150], False, id="given back"),
    ],
)
def test_nothing_more_may_begin_from_the_limit_on(sizes: list[int], exceeded: bool) -> None:
    """The budget is exceeded as long as all of it is held, or more."""
    budget = HeldBudget(100)
    for size in sizes:
        if size < 0:
            budget.give(-size)
        else:
            budget.take(size)
    assert budget.held == sum(sizes)
    assert budget.exceeded is exceeded


class Body:
    """A holder that notes when it is told to let go, and does."""

    def __init__(self, budget: HeldBudget) -> None:
        self.budget = budget
        self.size = 0
        self.told = 0

    def take(self, size: int) -> asyncio.Future[None] | None:
        """Hold more; return what to wait for."""
        self.budget.take(size)
        self.size += size
        return self.budget.room(self, self.size)

    def leave(self) -> None:
        """Hold nothing more."""
        size, self.size = self.size, 0
        self.budget.leave(self, size)

    def let_go(self) -> None:
        """Note it."""
        self.told += 1
        self.leave()


async def test_beyond_the_budget_one_goes_on_and_the_others_wait() -> None:
    """The first beyond the budget comes to its end; who waited longest is next, and then all."""
    budget = HeldBudget(11 * SMALL)
    bodies = [Body(budget) for _ in range(4)]
    assert [body.take(2 * SMALL) for body in bodies] == [None] * 4
    waiting = [body.take(2 * SMALL) for body in bodies]
    assert [future is None for future in waiting] == [True, True, False, False]
    assert bodies[1].take(8 * SMALL) is None
    bodies[1].leave()
    assert [future.done() for future in waiting[2:]] == [True, False]  # 12 are held
    assert bodies[2].take(SMALL) is None
    bodies[0].leave()
    assert waiting[3].done()
    for body in bodies:
        body.leave()
    assert budget.held == 0
    assert [body.told for body in bodies] == [0] * 4


async def test_little_never_waits() -> None:
    """A body of at most 64 KiB goes on, whatever others hold."""
    budget = HeldBudget(1)
    first, small = Body(budget), Body(budget)
    first.take(2 * SMALL)
    assert small.take(SMALL) is None
    assert small.take(1) is not None
    small.leave()
    first.leave()
    assert budget.held == 0


async def test_who_has_waited_long_is_told_to_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never ends keeps the others waiting for so long and no longer."""
    monkeypatch.setattr("edgeserver.support.held.PATIENCE_S", 0.0)
    budget = HeldBudget(1)
    first, second = Body(budget), Body(budget)
    first.take(2 * SMALL)
    waiting = second.take(2 * SMALL)
    await waiting
    assert (first.told, second.told) == (0, 1)
    assert budget.held == 2 * SMALL
    first.leave()
    assert budget.held == 0


async def test_one_that_waits_and_leaves_waits_no_longer() -> None:
    """Its future is done, its time is over, and its place is nobody's."""
    budget = HeldBudget(1)
    first, second, third = Body(budget), Body(budget), Body(budget)
    first.take(2 * SMALL)
    left, stays = second.take(2 * SMALL), third.take(2 * SMALL)
    second.leave()
    assert left.done()
    assert not stays.done()
    first.leave()
    assert stays.done()
    assert third.take(SMALL) is None
    third.leave()
    assert budget.held == 0


@pytest.mark.parametrize(
    ("steps", "held"),
    [
        pytest.param([("count", 5), ("count", -2)], 3, id="more and fewer"),
        pytest.param([("count", 5), ("untaken", 4), ("untaken", 1)], 6, id="input in its place"),
        pytest.param([("untaken", 4), ("back", 0)], 0, id="given back"),
        pytest.param([("untaken", 4), ("back", 0), ("untaken", 3)], 3, id="and anew"),
        pytest.param([("back", 0), ("back", 0)], 0, id="nothing twice"),
    ],
)
def test_a_share_is_given_back_whole(steps: list[tuple[str, int]], held: int) -> None:
    """What one holder holds is counted in the budget, and given back once."""
    budget = HeldBudget(100)
    share = HeldShare(budget, Body(budget))
    for step, size in steps:
        if step == "count":
            share.count(size)
        elif step == "untaken":
            share.count_untaken(size)
        else:
            share.give_back()
    assert budget.held == share.size == held


async def test_a_share_waits_for_room() -> None:
    """Beyond the budget the second holder waits until the first has given back."""
    budget = HeldBudget(100)
    first, second = (HeldShare(budget, Body(budget)) for _ in range(2))
    for share in (first, second):
        share.count(2 * SMALL)
    assert first.room() is None
    waiting = second.room()
    assert waiting is not None
    assert not waiting.done()
    first.give_back()
    assert waiting.done()
    second.give_back()
    assert budget.held == 0
