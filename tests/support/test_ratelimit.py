"""Warnings that a stranger can repeat: so many for an address, so many in all, and a count."""

from __future__ import annotations

import logging

import pytest

from edgeserver.support.ratelimit import (
    IN_ALL,
    PER_ADDRESS,
    WINDOW_S,
    LimitedLog,
    RateLimit,
    address_key,
)


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
        ("unix:", b""),
        ("no address", b""),
        ("nul\0byte", b""),
    ],
    ids=["ipv4", "mapped", "ipv6", "same-64", "zone", "empty", "none", "unix", "words", "nul"],
)
def test_address_key(address: str | None, key: bytes) -> None:
    """One client is an IPv4 address or a /64; what is no address has no key."""
    assert address_key(address) == key


def test_one_address_has_a_handful() -> None:
    """However often one address asks, it gets its few lines; the rest is counted."""
    limit = RateLimit()
    assert sum(limit.permits(7.0, b"a") for _ in range(2000)) == PER_ADDRESS
    assert limit.suppressed == 2000 - PER_ADDRESS
    assert limit.permits(7.0, b"b")


def test_all_addresses_share_a_number() -> None:
    """A flood from everywhere gets no more than the number in all, however many they are."""
    limit = RateLimit()
    written = sum(limit.permits(7.0, number.to_bytes(4, "big")) for number in range(10_000))
    assert written == IN_ALL
    assert limit.suppressed == 10_000 - IN_ALL


def test_who_has_no_address_counts_in_all_only() -> None:
    """A unix socket's peers cannot be told apart: they share what there is in all."""
    limit = RateLimit(per_address=1, in_all=3)
    assert [limit.permits(0.0) for _ in range(5)] == [True] * 3 + [False] * 2


def test_a_minute_begins_with_its_first_line() -> None:
    """Lines are permitted again a minute after the first, and what was missed is told once."""
    limit = RateLimit(per_address=1)
    assert [limit.permits(30.0, b"a"), limit.permits(89.9, b"a")] == [True, False]
    assert limit.missed(89.9) == 0
    assert limit.missed(30.0 + WINDOW_S) == 1
    assert limit.missed(30.0 + WINDOW_S) == 0
    assert limit.permits(30.0 + WINDOW_S, b"a")


def test_what_was_missed_is_not_lost_by_another_line() -> None:
    """A line that begins the next minute does not take the count of the last with it."""
    limit = RateLimit(per_address=1)
    for now_s in (0.0, 1.0, 2.0, 60.0):
        limit.permits(now_s, b"a")
    assert limit.suppressed == 2
    assert limit.missed(120.0) == 2


@pytest.mark.parametrize(
    ("per_address", "in_all"), [(2, 9), (9, 2)], ids=["of-an-address", "in-all"]
)
def test_the_last_line_is_known(per_address: int, in_all: int) -> None:
    """Whoever writes the last line of a minute can say so."""
    limit = RateLimit(per_address=per_address, in_all=in_all)
    last = []
    for _ in range(2):
        assert limit.permits(0.0, b"a")
        last.append(limit.last)
    assert last == [False, True]
    assert not limit.permits(0.0, b"a")


def test_lines_of_a_log_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    """Each address has its share; what was not written is counted, and told with the next line."""
    now = [0.0]
    logger = logging.getLogger("edgeserver.test")
    caplog.set_level(logging.INFO, logger.name)
    log = LimitedLog(
        logger, logging.INFO, "odd knocks", limit=RateLimit(per_address=1), clock=lambda: now[0]
    )
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"):
        log.write(address, "a knock from %s", address)
    now[0] = WINDOW_S
    log.write("192.0.2.1", "a knock")
    assert caplog.messages == [
        "a knock from 192.0.2.1",
        "a knock from 192.0.2.2",
        "odd knocks: 2 more in the minute before were not logged one by one",
        "a knock",
    ]
