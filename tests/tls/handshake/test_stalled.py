"""Tests for `tls.handshake.stalled`: who lets the server wait, and who goes when too many do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.tls.handshake.stalled import Stalled
from tests.tls.waiters import Asker, v4, v6


class Gone(Asker):
    """A connection that leaves when it is evicted."""

    def __init__(self, key, stalled):
        super().__init__(key)
        self.stalled = stalled

    def evict(self):
        """Leave."""
        self.evicted = True
        self.stalled.discard(self)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_known_clients(count):
    """Who stalls is known, and the rest of its /48, however many there are and were."""
    stalled = Stalled(1000)
    askers = [Asker(v6(1, n)) for n in range(count)]
    for each in askers:
        stalled.add(each)
    assert stalled.knows(v6(1, 0))
    assert stalled.knows(v6(1, 9999))
    assert not stalled.knows(v6(2, 0))
    for each in askers:
        stalled.close_books()
        stalled.discard(each)
    assert not stalled.knows(v6(1, 0))
    assert len(stalled) == 0


@given(
    st.lists(st.tuples(st.sampled_from(["add", "discard", "ask", "close"]), st.integers(0, 5))),
    st.integers(1, 12),
)
@settings(max_examples=200, deadline=None)
def test_books_are_true(steps, limit):
    """With books opened and closed at any time: the limit holds, and who stalls is known."""
    stalled = Stalled(limit)
    everybody = []
    for step, number in steps:
        here = [each for each in everybody if not each.evicted]
        if step == "add":
            everybody.append(Gone(v4(number), stalled))
            stalled.add(everybody[-1])
        elif step == "discard" and here:
            gone = here[number % len(here)]
            everybody.remove(gone)
            stalled.discard(gone)
        elif step == "ask":
            assert stalled.knows(v4(number)) is any(each.key == v4(number) for each in here)
        elif step == "close":
            stalled.close_books()
        assert len(stalled) == sum(not each.evicted for each in everybody) <= limit
    assert stalled.evicted >= sum(each.evicted for each in everybody)
