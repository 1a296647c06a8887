"""Tests for `tls.handshake.limiter`: slots, turns, and what becomes of stalled handshakes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.tls.handshake.limiter import AT_ONCE, TURN_S, HandshakeLimiter, Slot
from tests.tls.waiters import Asker, Turns, crowded, v4, v6


def stall(limiter, *keys):
    """Return connections with these keys, after a hello that had its slot."""
    askers = [Asker(key, limiter=limiter) for key in keys]
    for each in askers:
        assert limiter.acquire(each) is Slot.NOW
        limiter.stalled.add(each)
        limiter.running = 0  # the loop turns between them
    return askers


def test_slots_of_a_turn():
    """Above the slots of a turn connections wait, and get one in the next, in order."""
    limiter, turns = crowded(slots=2)
    askers = [Asker(v4(n)) for n in range(5)]
    assert [limiter.acquire(each) for each in askers] == [Slot.QUEUED] * 5
    assert (limiter.running, limiter.waiting, len(turns.planned)) == (2, 5, 1)
    turns.give()
    assert [each.admitted for each in askers] == [1, 1, 0, 0, 0]
    turns.give()
    assert [each.admitted for each in askers] == [1, 1, 1, 1, 0]
    turns.give()
    assert (limiter.running, limiter.waiting, turns.planned) == (1, 0, [])
    assert limiter.acquire(Asker()) is Slot.NOW


def test_few_slots_are_had_without_a_turn():
    """The first of a turn do not wait; a queue of one is over with the next turn."""
    turns = Turns()
    limiter = HandshakeLimiter(plan=turns, clock=lambda: 0.0)
    assert [limiter.acquire(Asker()) for _ in range(AT_ONCE)] == [Slot.NOW] * AT_ONCE
    assert len(turns.planned) == 1
    assert limiter.acquire(Asker()) is Slot.QUEUED
    turns.give()
    assert (limiter.waiting, turns.planned) == (0, [])
    assert limiter.acquire(Asker()) is Slot.NOW


def test_newcomer_does_not_overtake():
    """While somebody waits newcomers wait too, though the turn has slots left."""
    limiter, turns = crowded(max_per_client=1)
    first, second, third = Asker(), Asker(), Asker()
    limiter.acquire(first)
    limiter.acquire(second)
    turns.give()
    assert limiter.acquire(third) is Slot.QUEUED
    turns.give()
    assert (first.admitted, second.admitted, third.admitted) == (1, 1, 0)


def test_limit_per_client_of_a_turn():
    """A client's further connections wait for the next turn while another's go on."""
    limiter, turns = crowded(slots=8, max_per_client=1)
    mine, other = [Asker(v4(1)) for _ in range(2)], Asker(v4(2))
    for each in (*mine, other):
        limiter.acquire(each)
    turns.give()
    assert [each.admitted for each in (*mine, other)] == [1, 0, 1]
    turns.give()
    assert mine[1].admitted == 1


def test_turn_has_a_time():
    """Dear steps end a turn before its slots do, and each turn does one at least."""
    now = [0.0]
    limiter, turns = crowded(slots=8, clock=lambda: now[0])

    class Dear(Asker):
        def admit(self):
            super().admit()
            now[0] += TURN_S / 2

    askers = [Dear() for _ in range(4)]
    for each in askers:
        limiter.acquire(each)
    turns.give()
    assert [each.admitted for each in askers] == [1, 1, 0, 0]
    turns.give()
    assert [each.admitted for each in askers] == [1, 1, 1, 1]


def test_error_in_a_step_does_not_stop_the_turns():
    """The next in the queue has its turn after one whose step failed."""
    limiter, turns = crowded(slots=4)

    class Broken(Asker):
        def admit(self):
            raise RuntimeError("made by the test")

    after = Asker()
    limiter.acquire(Broken())
    limiter.acquire(after)
    with pytest.raises(RuntimeError, match="made by the test"):
        turns.give()
    turns.give()
    assert after.admitted == 1


def test_cancel_gives_up_the_turn():
    """Who has left is not admitted."""
    limiter, turns = crowded()
    first, second = Asker(), Asker(v4(1))
    limiter.acquire(first)
    limiter.acquire(second)
    limiter.cancel(first)
    turns.give()
    assert (first.admitted, second.admitted, limiter.waiting) == (0, 1, 0)


def test_full_queue_refuses():
    """The queue is bounded: of the client with the most the last come goes, or is not let in."""
    limiter, turns = crowded(max_waiting=2)
    first, second, third, other = Asker(), Asker(), Asker(), Asker(v4(1))
    second.evict = lambda: limiter.cancel(second)
    assert [limiter.acquire(each) for each in (first, second)] == [Slot.QUEUED] * 2
    assert limiter.acquire(third) is Slot.REFUSED
    assert limiter.acquire(other) is Slot.QUEUED
    assert (limiter.waiting, len(turns.planned)) == (2, 1)
    turns.give()
    turns.give()
    assert [each.admitted for each in (first, second, third, other)] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param([v4(1)], id="one-address"),
        pytest.param([v4(n) for n in range(1, 9)], id="eight-addresses"),
        pytest.param([v6(1, n) for n in range(4500)], id="one-site"),
        pytest.param([v4(n) for n in range(4500)], id="many-addresses"),
    ],
)
@pytest.mark.parametrize("count", [64, 4500])
def test_stalled_handshakes_hold_no_slot(addresses, count):
    """However many are stalled, both flights of the next handshake go on at once."""
    limiter = HandshakeLimiter(plan=Turns())
    stall(limiter, *(addresses[n % len(addresses)] for n in range(count)))
    assert len(limiter.stalled) == count
    honest = Asker(addresses[0], limiter=limiter)
    assert limiter.acquire(honest) is Slot.NOW
    limiter.stalled.add(honest)
    assert limiter.acquire_again(honest) is Slot.NOW
    assert (limiter.waiting, len(limiter.stalled), limiter.stalled.evicted) == (0, count, 0)


def test_flood_of_hellos_waits_for_itself():
    """In front of 4,000 hellos of 8 addresses somebody else's two flights take a turn each."""
    limiter, turns = crowded(slots=16)
    flood = [Asker(v4(n % 8), limiter=limiter) for n in range(4000)]
    for each in flood:
        limiter.acquire(each)
    turns.give()
    honest = Asker(v4(99), limiter=limiter)
    assert limiter.acquire(honest) is Slot.QUEUED
    turns.give()
    assert honest.admitted == 1
    assert limiter.acquire_again(honest) is Slot.QUEUED
    turns.give()
    assert honest.admitted == 2
    assert sum(each.admitted for each in flood) == 16 * 3 - 2


def test_flood_of_one_site_waits_for_itself():
    """4,000 hellos of as many /64s of one /48 are one site's."""
    limiter, turns = crowded(slots=16)
    for n in range(4000):
        limiter.acquire(Asker(v6(1, n)))
    honest = [Asker(v6(n, 1)) for n in range(2, 10)]
    for each in honest:
        limiter.acquire(each)
    turns.give()
    assert all(each.admitted for each in honest)


def test_oldest_of_the_most_is_evicted():
    """Above the limit those go that waited longest, of the client with the most: not others."""
    limiter = HandshakeLimiter(max_stalled=6, plan=Turns())
    honest = stall(limiter, v4(1), v4(2))
    flood = stall(limiter, *[v4(9)] * 8)
    assert [each.evicted for each in flood] == [True] * 4 + [False] * 4
    assert not any(each.evicted for each in honest)
    assert (len(limiter.stalled), limiter.stalled.evicted) == (6, 4)


def test_flood_of_a_site_evicts_itself():
    """A /48 with a /64 for every connection evicts its own; a client beside it keeps its two."""
    limiter = HandshakeLimiter(max_stalled=32, plan=Turns())
    honest = stall(limiter, v4(1), v4(1), v6(2, 1), v6(2, 2))
    flood = stall(limiter, *(v6(1, n) for n in range(1000)))
    assert not any(each.evicted for each in honest)
    assert len(limiter.stalled) == 32 - len(limiter.stalled) % 2
    assert (
        limiter.stalled.evicted
        == sum(each.evicted for each in flood)
        == 1004 - len(limiter.stalled)
    )


def test_flood_of_single_connections_evicts_the_oldest():
    """Where nobody has more than others, those go that waited longest."""
    limiter = HandshakeLimiter(max_stalled=16, plan=Turns())
    askers = stall(limiter, *(v4(n) for n in range(20)))
    assert [each.evicted for each in askers] == [True] * 4 + [False] * 16


def test_handshake_that_goes_on_is_not_evicted():
    """Whose client has sent something waits for a slot, not for the client."""
    limiter, turns = crowded(max_stalled=1)
    turns.planned.clear()
    limiter.running = 0
    (first,) = stall(limiter, v4(1))
    limiter.running = 1
    assert limiter.acquire_again(first) is Slot.QUEUED
    stall_next = Asker(v4(2), limiter=limiter)
    limiter.stalled.add(stall_next)
    assert (first.evicted, stall_next.evicted, len(limiter.stalled)) == (False, False, 1)


def test_counts():
    """The counts show who has slots, who waits, who is stalled and who was evicted."""
    limiter, _ = crowded(slots=1, max_stalled=2)
    limiter.acquire(Asker(v4(1)))
    for each in [Asker(v4(2), limiter=limiter) for _ in range(3)]:
        limiter.stalled.add(each)
    counts = limiter.counts
    assert (counts.running, counts.waiting, counts.stalled, counts.evicted) == (1, 1, 2, 1)
    assert counts.max_stalled == 2


def test_abort_all():
    """Every connection without an end to its handshake is ended."""
    limiter = HandshakeLimiter()
    askers = [Asker(), Asker()]
    for each in askers:
        limiter.begin(each, None)
    limiter.abort_all()
    assert all(each.aborted for each in askers)


@given(
    st.lists(
        st.tuples(st.sampled_from(["enter", "go on", "leave", "cancel", "turn"]), st.integers(0, 3))
    ),
    st.integers(1, 4),
    st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_books_balance(steps, total, per_client):
    """Whatever comes and goes: limits hold, a turn comes while somebody waits, none is lost."""
    limiter, turns = crowded(slots=total, max_per_client=per_client)
    stalled, waiting = [], []

    def ask(asker, place):
        if place is Slot.NOW:
            limiter.stalled.add(asker)
            stalled.append(asker)
        else:
            waiting.append(asker)

    for step, number in steps:
        if step == "enter":
            asker = Asker(bytes([number]), limiter=limiter)
            ask(asker, limiter.acquire(asker))
        elif step == "go on" and stalled:
            asker = stalled.pop(number % len(stalled))
            asker.admitted = 0
            ask(asker, limiter.acquire_again(asker))
        elif step == "leave" and stalled:
            limiter.stalled.discard(stalled.pop(0))
        elif step == "cancel" and waiting:
            limiter.cancel(waiting.pop())
        elif step == "turn" and turns.planned:
            turns.give()
            served = [each for each in waiting if each.admitted]
            waiting = [each for each in waiting if not each.admitted]
            stalled += served
            keys = [each.key for each in served]
            assert len(served) <= total
            assert all(keys.count(key) <= per_client for key in keys)
            if len(served) < total:
                assert all(keys.count(each.key) == per_client for each in waiting)
        assert limiter.running <= total
        assert (limiter.waiting, len(limiter.stalled)) == (len(waiting), len(stalled))
        assert len(turns.planned) >= bool(waiting)


def test_one_after_the_other_never_waits():
    """Where the loop turns between the steps they are had at once, however many come."""
    turns = Turns()
    limiter = HandshakeLimiter(plan=turns, clock=lambda: 0.0)
    for _ in range(10 * AT_ONCE):
        assert limiter.acquire(Asker()) is Slot.NOW
        while turns.planned:
            turns.give()
