"""Who the client is under a trust policy: the rules that decide, one by one."""

from __future__ import annotations

import pytest

from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from tests.proxyheaders.support import (
    CLIENT,
    NAMELESS,
    PROXY,
    STRANGER,
    FakePrelude,
    FakeSSL,
    ask,
    policy,
)

XFF = "X-Forwarded-For: "


@pytest.mark.parametrize(
    ("value", "max_hops", "client", "reason"),
    [
        (f"{CLIENT}, 10.0.0.2, 10.0.0.3", 3, CLIENT, "first-untrusted"),
        (f"{CLIENT}, 10.0.0.2, 10.0.0.3", 2, "10.0.0.2", "max-hops"),
        (f"{CLIENT}, 10.0.0.2, 10.0.0.3", 1, "10.0.0.3", "max-hops"),
        ("10.0.0.2", 1, "10.0.0.2", "max-hops"),
        ("10.0.0.2", 2, "10.0.0.2", "all-hops-trusted"),
        (CLIENT, 1, CLIENT, "first-untrusted"),
        ("nonsense, 10.0.0.2", 1, "10.0.0.2", "max-hops"),
        ("nonsense, 10.0.0.2", 2, PROXY, "malformed-boundary"),
    ],
)
def test_max_hops(value: str, max_hops: int, client: str, reason: str) -> None:
    """`max_hops` counts the entries examined; on a still trusted one that entry is taken."""
    answer = ask(policy(max_hops=max_hops), XFF + value)
    assert (answer.remote_ip, answer.reason) == (client, reason)
    assert answer.verified is (reason != "malformed-boundary")


def test_max_hops_counts_over_lines() -> None:
    """Two lines are one list for the hop limit too."""
    lines = [f"{XFF}{CLIENT}", f"{XFF}10.0.0.2", f"{XFF}10.0.0.3"]
    assert ask(policy(max_hops=2), *lines).remote_ip == "10.0.0.2"
    assert ask(policy(max_hops=3), *lines).remote_ip == CLIENT


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nonsense", "malformed-boundary"),
        ("", "malformed-boundary"),
        (f"{CLIENT},", "malformed-boundary"),
        (f"{CLIENT}, nonsense, 10.0.0.9", "malformed-boundary"),
        ("unknown", "unknown-boundary"),
        ("_hidden", "unknown-boundary"),
        (f"{CLIENT}, unknown, 10.0.0.9", "unknown-boundary"),
        ("255.255.255.255", "malformed-boundary"),
        ("224.0.0.5", "malformed-boundary"),
        ("ff02::1", "malformed-boundary"),
        ("::ffff:0.0.0.0", "malformed-boundary"),
    ],
)
def test_unusable_boundary_is_the_peer_unverified(value: str, reason: str) -> None:
    """Never the last good entry, never a skip: the socket peer, and it says so."""
    answer = ask(policy(), XFF + value, peer_port=41000)
    assert (answer.remote_ip, answer.port, answer.verified) == (PROXY, 41000, False)
    assert answer.reason == reason


def test_mapped_ranges_and_addresses_meet() -> None:
    """A mapped range, peer and entry are all compared as IPv4."""
    trust = TrustPolicy(["::ffff:10.0.0.0/104"])
    answer = ask(trust, f"{XFF}{CLIENT}, ::ffff:10.0.0.9", peer="::ffff:10.0.0.1")
    assert answer.remote_ip == CLIENT
    assert ask(trust, XFF + "::ffff:203.0.113.9").remote_ip == "203.0.113.9"


def test_port_and_zone_come_with_the_client() -> None:
    """What the boundary entry says besides the address is kept; the peer's port is not its."""
    trust = policy()
    assert ask(trust, XFF + "[2001:db8::1]:443", peer_port=9).port == 443
    assert ask(trust, XFF + "2001:db8::1", peer_port=9).port is None
    answer = ask(trust, XFF + "fe80::1%eth0")
    assert (answer.remote_ip, answer.zone) == ("fe80::1", "eth0")
    answer = ask(TrustPolicy([]), peer="fe80::1%lo", peer_port=7)
    assert (answer.remote_ip, answer.zone, answer.port) == ("fe80::1", "lo", 7)


@pytest.mark.parametrize(
    ("lines", "client", "reason"),
    [
        ([f"X-Real-Ip: {CLIENT}"], CLIENT, "first-untrusted"),
        ([f"X-Real-Ip: {CLIENT}", f"x-real-ip:  {CLIENT} "], CLIENT, "first-untrusted"),
        ([f"X-Real-Ip: {CLIENT}", "X-Real-Ip: 1.1.1.1"], PROXY, "repeated-singleton"),
        ([f"X-Real-Ip: {CLIENT}", "X-Real-Ip: "], PROXY, "repeated-singleton"),
        ([f"X-Real-Ip: {CLIENT}, {CLIENT}"], PROXY, "repeated-singleton"),
        ([f"X-Real-Ip: {CLIENT},"], PROXY, "repeated-singleton"),
        (["X-Real-Ip: unknown"], PROXY, "unknown-boundary"),
        (["X-Real-Ip: nonsense"], PROXY, "malformed-boundary"),
        (["X-Real-Ip: "], PROXY, "malformed-boundary"),
        (["X-Real-Ip: 10.0.0.9"], "10.0.0.9", "all-hops-trusted"),
        ([f"X-Forwarded-For: {CLIENT}"], PROXY, "trusted-peer-as-client"),
    ],
)
def test_single_address_header(lines: list[str], client: str, reason: str) -> None:
    """A header that holds one address: equal lines are one, anything more names nobody."""
    answer = ask(policy(source="X-Real-Ip"), *lines)
    assert (answer.remote_ip, answer.reason) == (client, reason)


def test_any_header_name_may_hold_the_address() -> None:
    """The name of a single-address header is free."""
    answer = ask(policy(source="Fastly-Client-IP"), f"FASTLY-CLIENT-IP: [{'2001:db8::7'}]:9")
    assert (answer.remote_ip, answer.port) == ("2001:db8::7", 9)


@pytest.mark.parametrize(
    ("lines", "scheme", "expected"),
    [
        (["X-Forwarded-Proto: https"], "http", "https"),
        (["X-Forwarded-Proto: HTTPS"], "http", "https"),
        (["X-Forwarded-Proto: http"], "https", "http"),
        (["X-Forwarded-Proto: https, http"], "http", "http"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "http", "http"),
        (["X-Forwarded-Proto: http,\thttps "], "http", "https"),
        (["X-Forwarded-Proto: WSS"], "http", "https"),
        (["X-Forwarded-Proto: ws"], "https", "http"),
        (["X-Forwarded-Proto: ftp"], "https", "https"),
        (["X-Forwarded-Proto: "], "https", "https"),
        (["X-Forwarded-Proto: https,"], "http", "http"),
        (["X-Forwarded-Proto: on"], "http", "http"),
        (["X-Forwarded-Proto: https\xa0"], "http", "http"),
        (["X-Scheme: https", "X-Forwarded-Ssl: on"], "http", "http"),
        ([], "https", "https"),
    ],
)
@pytest.mark.parametrize("address", ["good", "bad", "none"])
def test_scheme(lines: list[str], scheme: str, expected: str, address: str) -> None:
    """The rightmost element counts, whatever became of the address."""
    chain = {"good": [XFF + CLIENT], "bad": [XFF + "nonsense"], "none": []}[address]
    assert ask(policy(), *chain, *lines, scheme=scheme).protocol == expected


def test_scheme_header_is_configurable() -> None:
    """One scheme header counts, or none."""
    assert ask(policy(proto="X-Scheme"), "X-Scheme: https").protocol == "https"
    assert ask(policy(proto="X-Scheme"), "X-Forwarded-Proto: https").protocol == "http"
    assert ask(policy(proto=None), "X-Forwarded-Proto: https").protocol == "http"


@pytest.mark.parametrize(
    ("sets", "peer", "expected"),
    [
        ({"x-forwarded-proto"}, PROXY, "https"),
        ({"X-Forwarded-Proto", "x-forwarded-host"}, PROXY, "https"),
        ({"x-forwarded-proto"}, "10.0.0.2", "http"),
        ({"x-forwarded-host"}, PROXY, "http"),
        ({"x-forwarded-for"}, PROXY, "http"),
        ({"x-scheme"}, PROXY, "http"),
        (set(), PROXY, "https"),
        (set(), "10.0.0.2", "https"),
    ],
    ids=["it", "and-more", "of-another", "host", "source", "x-scheme", "none", "none-of-another"],
)
def test_scheme_where_proxies_declare(sets: set[str], peer: str, expected: str) -> None:
    """As soon as one proxy declares what it sets, the scheme is only of those that declare it."""
    trust = policy("10.0.0.0/8", TrustedProxy(PROXY, sets=sets))
    for _ in range(2):
        for other in ("10.0.0.3", PROXY):  # what is remembered is shared between proxies
            ask(trust, XFF + CLIENT, "X-Forwarded-Proto: https", peer=other)
        answer = ask(trust, XFF + CLIENT, "X-Forwarded-Proto: https", peer=peer)
        assert (answer.remote_ip, answer.protocol) == (CLIENT, expected)
        assert ask(trust, XFF + CLIENT, peer=peer, scheme="https").protocol == "https"


def test_the_scheme_of_an_element_needs_no_declaration() -> None:
    """With `Forwarded` whoever names the client wrote the element whole, its proto too."""
    trust = policy(TrustedProxy(PROXY, sets={"x-forwarded-host"}), source="forwarded")
    assert ask(trust, f"Forwarded: for={CLIENT};proto=https").protocol == "https"


def test_scheme_of_an_untrusted_peer_does_not_count() -> None:
    """Nothing in the head of an unlisted peer counts, the scheme neither."""
    answer = ask(policy(), XFF + "1.1.1.1", "X-Forwarded-Proto: https", peer=STRANGER)
    assert (answer.remote_ip, answer.protocol) == (STRANGER, "http")
    assert (answer.verified, answer.reason) == (True, "untrusted-peer")


@pytest.mark.parametrize(
    ("listed", "client", "reason"),
    [(True, CLIENT, "first-untrusted"), (False, "0.0.0.0", "untrusted-peer")],
)
def test_unix_peer(listed: bool, client: str, reason: str) -> None:
    """A Unix peer is trusted only where `unix:` is listed."""
    trust = TrustPolicy(["unix:"] if listed else ["0.0.0.0/0", "::/0"], allow_all=True)
    answer = ask(trust, XFF + CLIENT, peer="unix:")
    assert (answer.remote_ip, answer.reason) == (client, reason)


FIRST, BAD = "first-untrusted", "malformed-boundary"


@pytest.mark.parametrize(
    ("prelude", "lines", "client", "port", "reason", "protocol"),
    [
        (FakePrelude(), [], CLIENT, 56324, FIRST, "http"),
        (
            FakePrelude(),
            [XFF + "1.1.1.1", "X-Forwarded-Proto: https"],
            CLIENT,
            56324,
            "first-untrusted",
            "http",
        ),
        (FakePrelude(ssl=FakeSSL(True)), [], CLIENT, 56324, "first-untrusted", "https"),
        (FakePrelude(ssl=FakeSSL(False)), [], CLIENT, 56324, FIRST, "http"),
        (FakePrelude(source="10.0.0.7"), [XFF + CLIENT], CLIENT, None, FIRST, "http"),
        (
            FakePrelude(source="10.0.0.7", ssl=FakeSSL(True)),
            [XFF + CLIENT, "X-Forwarded-Proto: http"],
            CLIENT,
            None,
            "first-untrusted",
            "http",
        ),
        (FakePrelude(source="10.0.0.7"), [], "10.0.0.7", 56324, "all-hops-trusted", "http"),
        (
            FakePrelude(source="10.0.0.7"),
            [XFF + "unknown"],
            PROXY,
            41000,
            "unknown-boundary",
            "http",
        ),
        (FakePrelude(source="::ffff:192.0.2.1"), [], "192.0.2.1", 56324, FIRST, "http"),
        (
            FakePrelude(source="0.0.0.0"),
            [XFF + "1.1.1.1"],
            PROXY,
            41000,
            "malformed-boundary",
            "http",
        ),
        (FakePrelude(source="224.0.0.1"), [], PROXY, 41000, BAD, "http"),
    ],
)
def test_prelude(
    prelude: FakePrelude,
    lines: list[str],
    client: str,
    port: int | None,
    reason: str,
    protocol: str,
) -> None:
    """The PROXY source stands between the peer and the header, and the head is its own."""
    answer = ask(policy(), *lines, prelude=prelude, peer_port=41000)
    assert (answer.remote_ip, answer.port) == (client, port)
    assert (answer.reason, answer.protocol) == (reason, protocol)
    assert answer.prelude is prelude


def test_prelude_of_an_untrusted_peer_does_not_count() -> None:
    """A prelude from somebody not listed moves nothing, not even the scheme."""
    answer = ask(policy(), prelude=FakePrelude(ssl=FakeSSL(True)), peer=STRANGER)
    assert (answer.remote_ip, answer.protocol, answer.reason) == (
        STRANGER,
        "http",
        "untrusted-peer",
    )


@pytest.mark.parametrize("listed", [PROXY, "unix:"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "lines",
    [[], [XFF + CLIENT], ["X-Forwarded-Proto: https", "Forwarded: for=1.1.1.1"]],
    ids=["nothing", "address", "scheme"],
)
@pytest.mark.parametrize("prelude", NAMELESS.values(), ids=NAMELESS)
def test_a_prelude_that_names_nobody(
    prelude: FakePrelude, lines: list[str], scheme: str, listed: str
) -> None:
    """The client is the peer, unverified; no header counts, and the scheme is the connection's."""
    trust = TrustPolicy([PROXY, listed, "unix:"])
    peer, text = ("unix:", "0.0.0.0") if listed == "unix:" else (PROXY, PROXY)
    answer = ask(trust, *lines, prelude=prelude, peer=peer, peer_port=41000, scheme=scheme)
    assert (answer.remote_ip, answer.port, answer.protocol) == (text, 41000, scheme)
    assert (answer.verified, answer.reason) == (False, "prelude-names-nobody")
    assert answer.prelude is prelude


def test_an_impossible_source_says_nothing_else() -> None:
    """Where the address of a prelude is none that a client has, its TLS flag does not count."""
    answer = ask(policy(), prelude=FakePrelude(source="0.0.0.0", ssl=FakeSSL(True)))
    assert (answer.protocol, answer.reason) == ("http", BAD)


def test_prelude_holds_for_every_request() -> None:
    """On a keep-alive connection each request starts from the prelude again."""
    bound = policy().bind(peer=PROXY, prelude=FakePrelude(source="10.0.0.7", source_port=1))
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        raw = [(b"x-forwarded-for", client.encode())]
        for _ in range(3):
            assert bound.resolve(raw, dict(raw)).remote_ip == client
    assert bound.resolve([], {}).remote_ip == "10.0.0.7"


def test_preludes_of_two_connections_are_kept_apart() -> None:
    """What is remembered for one connection's prelude never answers for another."""
    trust = policy()
    raw = [(b"x-forwarded-for", CLIENT.encode())]
    preludes = [FakePrelude(source="10.0.0.7", source_port=port) for port in (1, 2)]
    bounds = [trust.bind(peer=PROXY, prelude=prelude) for prelude in preludes]
    for _ in range(4):
        for bound, prelude in zip(bounds, preludes, strict=True):
            assert bound.resolve(raw, dict(raw)).prelude is prelude
    assert trust.bind(peer=PROXY).resolve(raw, dict(raw)).prelude is None
