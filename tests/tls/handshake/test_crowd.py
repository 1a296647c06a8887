"""Tests for `tls.handshake.crowd`: what one client is, and who has the most connections."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.support.ratelimit import address_key
from edgeserver.tls.handshake.crowd import Crowd, site_of
from tests.tls.waiters import Asker, v4, v6


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


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("203.0.113.9", bytes([203, 0, 113, 9])),
        ("2001:db8:1:2::1", bytes.fromhex("20010db80001")),
        ("2001:db8:1:ffff::1", bytes.fromhex("20010db80001")),
        ("2001:db8:2:2::1", bytes.fromhex("20010db80002")),
        ("", b""),
    ],
)
def test_site(address, site):
    """A site is a /48 of IPv6, else the client itself."""
    assert site_of(address_key(address)) == site


def gathered(*keys):
    """Return a crowd with one connection for each key, and the connections."""
    crowd, askers = Crowd(), [Asker(key) for key in keys]
    for each in askers:
        crowd.add(each)
    return crowd, askers


def test_clients_and_sites_are_known():
    """A client is known while it has a connection, and so are the others of its /48."""
    crowd, (here, _) = gathered(v6(1, 1), v4(1))
    assert (crowd.has(v6(1, 1)), crowd.has(v6(1, 2)), crowd.has(v4(2))) == (True, False, False)
    assert (crowd.knows(v6(1, 2)), crowd.knows(v6(2, 1)), crowd.knows(v4(1))) == (True, False, True)
    crowd.discard(here)
    assert (crowd.knows(v6(1, 1)), crowd.knows(v6(1, 2)), crowd.count) == (False, False, 1)


@pytest.mark.parametrize(
    ("keys", "count", "newest", "expected"),
    [
        pytest.param("abbb", 1, False, [1], id="the-most"),
        pytest.param("abbb", 1, True, [3], id="the-most-newest"),
        pytest.param("abbbcc", 3, False, [1, 2, 4], id="level-by-level"),
        pytest.param("abc", 2, False, [0, 1], id="equals-by-age"),
        pytest.param("ab", 9, False, [0, 1], id="no-more-than-there-are"),
        pytest.param("", 1, False, [], id="nobody"),
    ],
)
def test_most_crowded(keys, count, newest, expected):
    """The largest shrink first, each by its oldest or newest, and equals go by age."""
    crowd, askers = gathered(*(v4(ord(key)) for key in keys))
    found = crowd.most_crowded(count, newest=newest)
    assert sorted(askers.index(each) for each in found) == expected


def test_sites_shrink_before_clients():
    """A /48 of many /64s with one connection each has more than a client with two."""
    crowd, askers = gathered(v4(1), v4(1), *(v6(1, network) for network in range(4)), v6(2), v6(2))
    assert crowd.most_crowded(2) == askers[2:4]


def test_within_a_site_the_largest_client():
    """In a /48 those of the /64 go that has the most, not its neighbours'."""
    crowd, askers = gathered(v6(1, 1), v6(1, 2), v6(1, 2), v6(1, 2))
    assert crowd.most_crowded(2) == askers[1:3]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2))), st.integers(0, 12))
def test_most_crowded_is_one_at_a_time(members, count):
    """To ask for several is to ask for one as often, as far as the sizes that remain."""
    keys = [v6(site, network) for site, network in members]
    crowd, _ = gathered(*keys)
    other, _ = gathered(*keys)
    together = crowd.most_crowded(count)
    for each in together:
        crowd.discard(each)
    for _ in range(count):
        for each in other.most_crowded(1):
            other.discard(each)
    assert crowd.count == other.count == max(0, len(keys) - count)

    def sizes(of):
        left = of.most_crowded(of.count)
        return sorted(Counter(site_of(each.key) for each in left).values())

    assert sizes(crowd) == sizes(other)
