"""Tests for `edgeserver.tls.handshake.fair_queue`: whose turn it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.tls.handshake.fair_queue import SITE_CLIENTS, FairQueue
from tests.tls.waiters import Asker, v4, v6


def lined_up(*keys, per_client=32, stalling=frozenset()):
    """Return a queue with one connection for each key, in a turn, and the connections."""
    queue, askers = FairQueue(per_client, stalling.__contains__), [Asker(key) for key in keys]
    for each in askers:
        queue.add(each)
    queue.start_turn()
    return queue, askers


def drain(queue):
    """Return the keys of those who come next in this turn."""
    keys = []
    while (waiter := queue.take()) is not None:
        keys.append(waiter.key)
    return keys


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        pytest.param([v4(1)] * 3 + [v4(2)], [v4(1), v4(2), v4(1), v4(1)], id="v4"),
        pytest.param(
            [v6(1, 1), v6(1, 2), v6(1, 3), v6(2, 1)],
            [v6(1, 1), v6(2, 1), v6(1, 2), v6(1, 3)],
            id="a-site-is-one",
        ),
        pytest.param(
            [v6(1, 1), v6(1, 1), v6(1, 2)], [v6(1, 1), v6(1, 2), v6(1, 1)], id="within-a-site"
        ),
        pytest.param([b"", b"", v4(1)], [b"", v4(1), b""], id="unknown"),
    ],
)
def test_turns(keys, expected):
    """Sites take turns, and the clients of a site."""
    queue, _ = lined_up(*keys)
    assert drain(queue) == expected


def test_connections_of_a_client_keep_their_order():
    """A client's connections come as they came."""
    queue, askers = lined_up(*[v4(1)] * 4)
    assert [queue.take() for _ in range(4)] == askers


def test_those_with_nothing_stalled_come_first():
    """A client that lets the server wait comes after those that do not, but for every fourth."""
    stalling = {v4(0), v4(1)}
    queue, _ = lined_up(v4(0), v4(1), *(v4(n) for n in range(10, 16)), stalling=stalling)
    taken = drain(queue)
    assert [key in stalling for key in taken] == [False] * 3 + [True] + [False] * 3 + [True]


def test_client_that_stalls_meanwhile_goes_back():
    """Who gets something stalled while more of it waits, loses its place among the others."""
    stalling = set()
    queue, _ = lined_up(v4(1), v4(1), v4(2), v4(3), stalling=stalling)
    assert queue.take().key == v4(1)
    stalling.add(v4(1))
    assert drain(queue) == [v4(2), v4(3), v4(1)]


def test_share_of_a_turn():
    """Who has had its share waits for the next turn, behind the others."""
    queue, _ = lined_up(*[v4(1)] * 3, *[v4(2)] * 2, per_client=1)
    assert drain(queue) == [v4(1), v4(2)]
    queue.start_turn()
    assert drain(queue) == [v4(1), v4(2)]
    queue.start_turn()
    assert drain(queue) == [v4(1)]
    assert queue.crowd.count == 0


def test_site_has_a_share_too():
    """However many /64s a site has, it gets a few clients' share of a turn."""
    queue, _ = lined_up(*(v6(1, network) for network in range(100)), per_client=2)
    taken = drain(queue)
    assert len(taken) == 2 * SITE_CLIENTS
    queue.start_turn()
    assert len(drain(queue)) == 2 * SITE_CLIENTS


def test_unknown_addresses_have_no_share():
    """Connections over a unix socket have no limit of their own."""
    queue, _ = lined_up(*[b""] * 5, per_client=1)
    assert len(drain(queue)) == 5


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "take", "discard", "turn", "stall"]),
            st.integers(0, 2),
            st.integers(0, 2),
        )
    ),
    st.integers(1, 3),
)
@settings(max_examples=200, deadline=None)
def test_nobody_is_lost(steps, per_client):
    """Whatever comes and goes, everybody who waits is taken once, in the end."""
    stalling = set()
    queue = FairQueue(per_client, stalling.__contains__)
    waiting = []
    for step, site, network in steps:
        key = v6(site, network)
        if step == "add":
            waiting.append(Asker(key))
            queue.add(waiting[-1])
        elif step == "take" and (taken := queue.take()) is not None:
            waiting.remove(taken)
        elif step == "discard" and waiting:
            queue.discard(waiting.pop(site % len(waiting)))
        elif step == "turn":
            queue.start_turn()
        elif step == "stall":
            stalling ^= {key}
        assert queue.crowd.count == len(waiting)
    while waiting:
        queue.start_turn()
        taken = []
        while (waiter := queue.take()) is not None:
            taken.append(waiter)
        assert taken
        assert all(
            sum(each.key == key for each in taken) <= per_client for key in {t.key for t in taken}
        )
        for each in taken:
            waiting.remove(each)
    assert queue.take() is None
