"""The entries of a policy: ranges, presets, and which one an address falls under."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import TrustConfigurationError
from edgeserver.proxyheaders.addresses import UNIX, Address, parse_peer
from edgeserver.proxyheaders.networks import (
    Network,
    NetworkTable,
    Rule,
    parse_network,
    render_network,
)


@pytest.mark.parametrize(
    ("entry", "rendered", "host_bits"),
    [
        ("10.0.0.0/8", "10.0.0.0/8", False),
        ("10.0.0.1", "10.0.0.1/32", False),
        ("10.0.0.2/26", "10.0.0.0/26", True),
        ("2001:DB8::/32", "2001:db8::/32", False),
        ("2001:db8::1/32", "2001:db8::/32", True),
        ("::1", "::1/128", False),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8", False),
        ("::ffff:10.0.0.1/104", "10.0.0.0/8", True),
        ("::ffff:10.0.0.1", "10.0.0.1/32", False),
        ("::ffff:0:0/96", "0.0.0.0/0", False),
        ("64:ff9b::/96", "64:ff9b::/96", False),
    ],
)
def test_entry(entry: str, rendered: str, host_bits: bool) -> None:
    """Every form of a range is one network, mapped ones as IPv4."""
    network = parse_network(entry)
    assert render_network(network) == rendered
    assert network.had_host_bits is host_bits


@pytest.mark.parametrize(
    ("entry", "fix"),
    [
        ("privte", "did you mean 'private'"),
        ("loopbak", "did you mean 'loopback'"),
        ("proxy.example", "names are not resolved"),
        ("", "names are not resolved"),
        ("*", "names are not resolved"),
        ("10.0.0.0/8 ", "white space around it: write '10.0.0.0/8'"),
        ("10.0.0.1\n", "white space around it: write '10.0.0.1'"),
        ("10.0.0.0/33", "0 to 32"),
        ("10.0.0.0/-1", "0 to 32"),
        ("10.0.0.0/08", "0 to 32"),
        ("10.0.0.0/", "0 to 32"),
        ("10.0.0.0/255.0.0.0", "0 to 32"),
        ("10.0.0.0/٨", "0 to 32"),
        ("2001:db8::/129", "0 to 128"),
        ("10.0.0/24", "names are not resolved"),
        ("010.0.0.0/8", "names are not resolved"),
        ("10.0.0.1:80", "neither port nor brackets"),
        ("[2001:db8::1]", "neither port nor brackets"),
        ("fe80::1%eth0", "no zone"),
        ("10.0.0.0/8,10.1.0.0/16", "0 to 32"),
        ("a, b", "one entry per list element"),
        ("unix", "write 'unix:'"),
        ("unix:/run/x", "write 'unix:'"),
    ],
)
def test_wrong_entry(entry: str, fix: str) -> None:
    """A wrong entry is named, with the likeliest fix."""
    with pytest.raises(TrustConfigurationError, match=re.escape(fix)) as caught:
        parse_network(entry)
    assert repr(entry) in str(caught.value)


def table(*entries: str, unix: bool = False) -> NetworkTable:
    """Return a table of plain entries."""
    return NetworkTable(
        [(parse_network(entry), Rule(entry)) for entry in entries],
        Rule("unix:") if unix else None,
    )


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("10.1.2.3", "10.1.0.0/16"),
        ("10.2.0.1", "10.0.0.0/8"),
        ("10.1.2.4", "10.1.2.4"),
        ("11.0.0.1", None),
        ("2001:db8::1", "2001:db8::/32"),
        ("2001:db9::1", None),
        ("::a01:203", None),
    ],
)
def test_longest_prefix_wins(address: str, rule: str | None) -> None:
    """The narrowest entry that holds an address is the one that counts."""
    found = table("10.0.0.0/8", "10.1.0.0/16", "10.1.2.4", "2001:db8::/32").find(
        parse_peer(address)
    )
    assert (found.text if found else None) == rule


def test_unix_peer_needs_its_own_entry() -> None:
    """A Unix peer falls under `unix:` and under no range."""
    assert table("10.0.0.0/8").find(UNIX) is None
    rule = table(unix=True).find(UNIX)
    assert rule is not None
    assert rule.text == "unix:"


def test_the_same_range_twice_adds_up() -> None:
    """Declarations of two entries for one range are joined, so their order does not matter."""
    network = parse_network("10.0.0.0/8")
    one, two = Rule("10.0.0.0/8", None, frozenset({b"a"})), Rule("10.0.0.0/8", "x", frozenset())
    for order in ((one, two), (two, one)):
        rule = NetworkTable([(network, item) for item in order]).find(parse_peer("10.0.0.1"))
        assert rule == Rule("10.0.0.0/8", "x", frozenset({b"a"}))


_NETWORKS = st.one_of(
    st.tuples(st.just(4), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.tuples(st.just(6), st.integers(2**96, 2**128 - 1), st.integers(0, 128)),
)


@given(_NETWORKS, st.integers(0, 2**128 - 1))
def test_agrees_with_the_standard_library(parts: tuple[int, int, int], other: int) -> None:
    """Membership is the standard library's, and a rendered network parses back."""
    version, value, prefix = parts
    bits = 32 if version == 4 else 128
    shift = bits - prefix
    network = Network(version, value >> shift << shift, prefix)
    assert parse_network(render_network(network)) == network
    rule = Rule("x")
    finder = NetworkTable([(network, rule)])
    reference = ipaddress.ip_network(render_network(network))
    for candidate in (value, other % (1 << bits)):
        ip = ipaddress.IPv4Address(candidate) if version == 4 else ipaddress.IPv6Address(candidate)
        found = finder.find(Address(version, candidate, str(ip)))
        assert (found is rule) is (ip in reference)
