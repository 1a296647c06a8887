"""Tornado's rules, rule by rule; `tests/e2e/test_tornado_oracle.py` asks Tornado itself."""

from __future__ import annotations

import pytest

from edgeserver.proxyheaders import TrustPolicy
from tests.proxyheaders.support import CLIENT, ask, codes, explain

PEER = "127.0.0.1"
FIRST, BAD, ALL = "first-untrusted", "malformed-boundary", "all-hops-trusted"


def tornado(*trusted: str) -> TrustPolicy:
    """Return Tornado's rules."""
    return TrustPolicy.tornado(trusted_downstream=list(trusted))


@pytest.mark.parametrize(
    ("lines", "trusted", "client", "reason"),
    [
        ([], [], PEER, "trusted-peer-as-client"),
        (["X-Forwarded-For: 6.6.6.6, 4.4.4.4"], [], "4.4.4.4", FIRST),
        (
            ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 4.4.4.4"],
            [],
            "4.4.4.4",
            FIRST,
        ),
        (["X-Forwarded-For: 6.6.6.6, 5.5.5.5"], ["5.5.5.5"], "6.6.6.6", FIRST),
        (["X-Forwarded-For: 6.6.6.6, 5.5.9.9"], ["5.5.0.0/16"], "6.6.6.6", FIRST),
        (["X-Forwarded-For: 6.6.6.6, ::FFFF:5.5.5.5"], ["5.5.5.5"], "6.6.6.6", FIRST),
        (
            ["X-Forwarded-For: 5.5.5.5, 7.7.7.7"],
            ["5.5.5.5", "7.7.7.7"],
            "5.5.5.5",
            ALL,
        ),
        (["X-Forwarded-For: 6.6.6.6,"], [], PEER, BAD),
        (["X-Forwarded-For: 6.6.6.6, nonsense"], [], PEER, BAD),
        (["X-Forwarded-For: unknown"], [], PEER, "unknown-boundary"),
        (["X-Real-Ip: 4.4.4.4", "X-Forwarded-For: 6.6.6.6"], [], "4.4.4.4", "x-real-ip"),
        (["X-Real-Ip: 5.5.5.5", "X-Forwarded-For: 6.6.6.6"], ["5.5.5.5"], "5.5.5.5", "x-real-ip"),
        (["X-Real-Ip: nonsense", "X-Forwarded-For: 6.6.6.6"], [], PEER, BAD),
        (["X-Real-Ip: ", "X-Forwarded-For: 6.6.6.6"], [], PEER, BAD),
        (["X-Real-Ip: 4.4.4.4", "X-Real-Ip: 4.4.4.4"], [], PEER, "repeated-singleton"),
        (["X-Real-Ip: 4.4.4.4, 4.4.4.4"], [], PEER, "repeated-singleton"),
        (["X-Real-Ip: [2001:DB8::1]:443"], [], "2001:db8::1", "x-real-ip"),
        (["Forwarded: for=4.4.4.4"], [], PEER, "trusted-peer-as-client"),
    ],
)
def test_address(lines: list[str], trusted: list[str], client: str, reason: str) -> None:
    """X-Real-Ip, else X-Forwarded-For from the right; only then is it validated."""
    answer = ask(tornado(*trusted), *lines, peer=PEER)
    assert (answer.remote_ip, answer.reason) == (client, reason)


@pytest.mark.parametrize(
    ("lines", "scheme", "expected"),
    [
        (["X-Scheme: https"], "http", "https"),
        (["X-Forwarded-Proto: https"], "http", "https"),
        (["X-Forwarded-Proto: https", "X-Scheme: http"], "http", "http"),
        (["X-Forwarded-Proto: https", "X-Scheme: ftp"], "http", "http"),
        (["X-Forwarded-Proto: https", "X-Scheme: "], "http", "http"),
        (["X-Forwarded-Proto: http"], "https", "http"),
        (["X-Scheme: http, https"], "http", "https"),
        (["X-Scheme: https", "X-Scheme: http"], "http", "http"),
        (["X-Scheme: WSS"], "http", "https"),
        (["X-Scheme: ftp"], "https", "https"),
        ([], "https", "https"),
    ],
)
def test_scheme(lines: list[str], scheme: str, expected: str) -> None:
    """X-Scheme, else X-Forwarded-Proto; the last element; an unusable X-Scheme hides the other."""
    assert ask(tornado(), *lines, peer=PEER, scheme=scheme).protocol == expected


def test_any_peer_is_believed() -> None:
    """The peer itself is never checked, whatever `trusted_downstream` says."""
    assert ask(tornado("10.0.0.1"), f"X-Real-Ip: {CLIENT}", peer="203.0.113.9").remote_ip == CLIENT
    assert ask(tornado(), f"X-Forwarded-For: {CLIENT}", peer="unix:").remote_ip == CLIENT
    assert ask(tornado(), peer="unix:").remote_ip == "0.0.0.0"


def test_nothing_is_hidden() -> None:
    """By Tornado's rules the application sees every header."""
    bound = tornado().bind(peer=PEER)
    assert bound.strip is None


def test_there_is_no_hop_limit() -> None:
    """Tornado walks as far as its list of proxies reaches."""
    line = "X-Forwarded-For: 6.6.6.6" + ", 5.5.5.5" * 500
    assert ask(tornado("5.5.5.5"), line, peer=PEER).remote_ip == "6.6.6.6"


def test_an_override_lasts_for_one_request() -> None:
    """On a keep-alive connection the next request starts from the peer again."""
    bound = tornado().bind(peer=PEER)
    raw = [(b"x-real-ip", b"4.4.4.4"), (b"x-scheme", b"https")]
    assert bound.resolve(raw, dict(raw)).remote_ip == "4.4.4.4"
    after = bound.resolve([], {})
    assert (after.remote_ip, after.protocol) == (PEER, "http")


def test_explanation_says_that_anybody_is_believed() -> None:
    """A claim that was believed from an unchecked peer is a warning; no claim is none."""
    provenance = explain(tornado(), "X-Real-Ip: 4.4.4.4", "X-Forwarded-For: 6.6.6.6", peer=PEER)
    assert codes(provenance) == ["any-peer-trusted", "conflict"]
    assert [(hop.field, hop.verdict) for hop in provenance.hops] == [
        ("TCP", "trusted"),
        ("x-real-ip", "client"),
    ]
    assert codes(explain(tornado(), peer=PEER)) == []
    assert codes(explain(tornado(), "X-Scheme: https", peer=PEER)) == ["any-peer-trusted"]
