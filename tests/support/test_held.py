"""The sum of what a server holds."""

from __future__ import annotations

import pytest

from edgeserver.support.held import HeldBudget


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
