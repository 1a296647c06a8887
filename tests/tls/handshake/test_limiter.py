"""Tests for `edgeserver.tls.handshake.limiter`: places, queues and turns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.tls.handshake.limiter import HandshakeTracker, Place, address_key


class Asker:
    """A connection that asks for a place."""

    def __init__(self, key=b"a"):
        self.key = key
        self.admitted = 0
        self.aborted = False

    def admit(self):
        """Note it."""
        self.admitted += 1

    def abort(self):
        """Note it."""
        self.aborted = True

    def time_out(self):
        """Never called here: no connection has a clock."""
        raise AssertionError


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", bytes([203, 0, 113, 9])),
        ("::ffff:203.0.113.9", bytes([203, 0, 113, 9])),
        ("2001:db8:1:2:3:4:5:6", bytes.fromhex("20010db800010002")),
        ("2001:db8:1:2::1", bytes.fromhex("20010db800010002")),
        ("fe80::1%eth0", bytes.fromhex("fe80000000000000")),
        ("", b""),
        (None, b""),
        ("no address", b""),
        ("nul\0byte", b""),
    ],
)
def test_address_key(address, key):
    """One client is an IPv4 address or a /64; what is no address has no key."""
    assert address_key(address) == key


def test_limit_in_all():
    """Above the limit connections wait, and get their places in order."""
    tracker = HandshakeTracker(max_handshakes=2)
    askers = [Asker(bytes([n])) for n in range(4)]
    assert [tracker.enter(each) for each in askers] == [Place.NOW] * 2 + [Place.QUEUED] * 2
    tracker.leave(askers[0].key)
    assert [each.admitted for each in askers] == [0, 0, 1, 0]
    tracker.leave(askers[1].key)
    assert [each.admitted for each in askers] == [0, 0, 1, 1]
    assert (tracker.running, tracker.waiting) == (2, 0)


def test_limit_per_client():
    """One address waits for itself while another goes on."""
    tracker = HandshakeTracker(max_per_client=1)
    first, second, other = Asker(), Asker(), Asker(b"b")
    assert tracker.enter(first) is Place.NOW
    assert tracker.enter(second) is Place.QUEUED
    assert tracker.enter(other) is Place.NOW
    tracker.leave(other.key)
    assert not second.admitted
    tracker.leave(first.key)
    assert second.admitted == 1


def test_unknown_addresses_have_no_limit_of_their_own():
    """Connections over a unix socket count only in all."""
    tracker = HandshakeTracker(max_handshakes=5, max_per_client=1)
    assert [tracker.enter(Asker(b"")) for _ in range(5)] == [Place.NOW] * 5


def test_clients_take_turns():
    """One with many waiting does not keep others from their turn."""
    tracker = HandshakeTracker(max_handshakes=1)
    running, many, one = Asker(b"z"), [Asker(b"a") for _ in range(3)], Asker(b"b")
    tracker.enter(running)
    for each in (*many, one):
        tracker.enter(each)
    tracker.leave(b"z")
    assert many[0].admitted == 1
    tracker.leave(b"a")
    assert one.admitted == 1
    assert not many[1].admitted


def test_newcomer_does_not_overtake():
    """Who comes while others of the same address wait, waits behind them."""
    tracker = HandshakeTracker(max_handshakes=2, max_per_client=1)
    first, second, third = Asker(), Asker(), Asker()
    tracker.enter(first)
    tracker.enter(second)
    tracker.enter(third)
    tracker.leave(b"a")
    assert (second.admitted, third.admitted) == (1, 0)


def test_cancel_gives_up_the_turn():
    """Who has left is not admitted."""
    tracker = HandshakeTracker(max_handshakes=1)
    first, second, third = Asker(), Asker(), Asker(b"b")
    for each in (first, second, third):
        tracker.enter(each)
    tracker.cancel(second)
    tracker.leave(b"a")
    assert (second.admitted, third.admitted) == (0, 1)
    assert tracker.waiting == 0


def test_full_queue_refuses():
    """The queue is bounded too."""
    tracker = HandshakeTracker(max_handshakes=1, max_waiting=1)
    assert tracker.enter(Asker()) is Place.NOW
    assert tracker.enter(Asker()) is Place.QUEUED
    assert tracker.enter(Asker()) is Place.REFUSED


def test_abort_all():
    """Every connection without an end to its handshake is ended."""
    tracker = HandshakeTracker()
    askers = [Asker(), Asker()]
    for each in askers:
        tracker.begin(each, None)
    tracker.abort_all()
    assert all(each.aborted for each in askers)


@given(
    st.lists(st.tuples(st.sampled_from(["enter", "leave", "cancel"]), st.integers(0, 3))),
    st.integers(1, 4),
    st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_books_balance(steps, total, per_client):
    """Whatever comes and goes: limits hold, nobody waits beside a free place, none is lost."""
    tracker = HandshakeTracker(max_handshakes=total, max_per_client=per_client)
    running, waiting = [], []
    for step, number in steps:
        key = bytes([number])
        if step == "enter":
            asker = Asker(key)
            place = tracker.enter(asker)
            (running if place is Place.NOW else waiting).append(asker)
        elif step == "leave":
            mine = [each for each in running if each.key == key]
            if mine:
                running.remove(mine[0])
                tracker.leave(key)
        else:
            mine = [each for each in waiting if each.key == key]
            if mine:
                waiting.remove(mine[-1])
                tracker.cancel(mine[-1])
        running += [each for each in waiting if each.admitted]
        waiting = [each for each in waiting if not each.admitted]
        counts = {each.key: sum(other.key == each.key for other in running) for each in running}
        assert tracker.running == len(running) <= total
        assert tracker.waiting == len(waiting)
        assert all(count <= per_client for count in counts.values())
        if len(running) < total:
            assert all(counts.get(each.key, 0) == per_client for each in waiting)
