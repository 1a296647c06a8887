"""A policy on one connection: what is remembered, and what the application does not see."""

from __future__ import annotations

from typing import Any

import pytest

from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from edgeserver.proxyheaders.cache import DecisionCache
from edgeserver.proxyheaders.stripping import DECLARABLE, SAFE_NAMES, StripSet
from tests.proxyheaders import inside
from tests.proxyheaders.support import CLIENT, NAMELESS, PROXY, STRANGER, FakePrelude, policy

FORWARDING = [
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-anything-at-all",
    b"x-real-ip",
    b"x-scheme",
    b"client-cert",
    b"client-cert-chain",
    b"client-cert-new",
]
ALIASES = [
    b"x_forwarded_for",
    b"x-forwarded_for",
    b"x_forwarded-anything",
    b"x_real_ip",
    b"x_scheme",
    b"client_cert",
    b"x_forwarded_client_cert",
]
OTHERS = [b"host", b"x-forwarded", b"x-request-id", b"x_request_id", b"forwarded-for", b"cf-ray"]


def left(names: list[bytes], trust: TrustPolicy, peer: str, **options: object) -> list[bytes]:
    """Return the names that the application sees, after checking every way to ask."""
    bound = trust.bind(peer=peer, **options)  # type: ignore[arg-type]  # options of bind
    strip = bound.strip
    if strip is None:
        return names
    hidden = strip.among(names)
    assert strip.among(names) == hidden  # now from what was learned
    assert strip.among(dict.fromkeys(names)) == hidden
    assert {name for name in names if name in strip} == hidden
    return [name for name in names if name not in hidden]


def test_an_unlisted_peer_loses_all_forwarding_headers() -> None:
    """Nothing that nobody vouches for reaches the application, in no spelling."""
    assert left(FORWARDING + ALIASES + OTHERS, policy(), STRANGER) == OTHERS


def test_the_configured_headers_are_hidden_too() -> None:
    """Source and scheme headers are hidden by whatever name they have, and their aliases."""
    trust = policy(source="CF-Connecting-IP", proto="X-Proto")
    names = [b"cf-connecting-ip", b"cf_connecting_ip", b"x-proto", b"x_proto", b"host"]
    assert left(names, trust, STRANGER) == [b"host"]
    assert left(names, trust, PROXY) == [b"cf-connecting-ip", b"x-proto", b"host"]


def test_keep_leaves_an_unlisted_peers_headers() -> None:
    """`unlisted="keep"` hides nothing of an unlisted peer, and they still do not count."""
    trust = policy(unlisted="keep")
    assert left(FORWARDING + ALIASES + OTHERS, trust, STRANGER) == FORWARDING + ALIASES + OTHERS
    answer = trust.resolve(peer=STRANGER, headers=[(b"x-forwarded-for", b"1.1.1.1")])
    assert answer.remote_ip == STRANGER


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [b"x-forwarded-for", b"x-forwarded-proto"]),
        ({"proto": None}, [b"x-forwarded-for"]),
        ({"proto": "x-scheme"}, [b"x-forwarded-for", b"x-scheme"]),
        ({"source": "x-real-ip"}, [b"x-forwarded-proto", b"x-real-ip"]),
        ({"source": "forwarded"}, [b"forwarded"]),
        ({"undeclared": "keep"}, FORWARDING),
        ({"unlisted": "keep"}, [b"x-forwarded-for", b"x-forwarded-proto"]),
    ],
    ids=["default", "no-proto", "x-scheme", "x-real-ip", "forwarded", "keep", "unlisted-keep"],
)
def test_a_listed_proxy_loses_what_it_does_not_declare(
    options: dict[str, Any], kept: list[bytes]
) -> None:
    """Beside source and scheme nothing is left that a client may have written; no alias ever is."""
    assert left(FORWARDING + ALIASES + OTHERS, policy(**options), PROXY) == kept + OTHERS


def test_undeclared_is_not_unlisted() -> None:
    """`undeclared="keep"` says nothing of a peer that is not listed, nor of a nameless prelude."""
    trust = policy(undeclared="keep")
    assert left(FORWARDING + ALIASES + OTHERS, trust, STRANGER) == OTHERS
    (prelude, *_) = NAMELESS.values()
    assert left(FORWARDING + ALIASES + OTHERS, trust, PROXY, prelude=prelude) == OTHERS


def test_a_listed_proxy_keeps_what_it_declares() -> None:
    """Declared headers stay, read by this server or not; their aliases never do."""
    sets = {"X-Forwarded-Host", "client-cert", "x-forwarded-user", "X-Real-Ip"}
    trust = policy(TrustedProxy(PROXY, sets=sets), proto=None)
    names = [b"x-forwarded-host", b"x_forwarded_host", b"client-cert", b"x-forwarded-port"]
    names += [b"x-forwarded-user", b"x-forwarded_user", b"x-real-ip", b"x_real_ip", b"forwarded"]
    kept = [b"x-forwarded-host", b"client-cert", b"x-forwarded-user", b"x-real-ip"]
    assert left(names, trust, PROXY) == kept


def test_a_scheme_that_is_not_declared_is_hidden() -> None:
    """Where proxies declare what they set, the scheme header of another one is a client's."""
    trust = policy("10.0.0.0/8", TrustedProxy(PROXY, sets={"x-forwarded-proto"}))
    names = [b"x-forwarded-for", b"x-forwarded-proto", b"host"]
    assert left(names, trust, PROXY) == names
    assert left(names, trust, "10.0.0.2") == [b"x-forwarded-for", b"host"]


def test_the_author_of_the_head_counts() -> None:
    """Behind a PROXY prelude the head is the source's, so its headers go where it is not listed."""
    names = [b"x-forwarded-for", b"host"]
    assert left(names, policy(), PROXY, prelude=FakePrelude()) == [b"host"]
    assert left(names, policy(), PROXY, prelude=FakePrelude(source="10.0.0.9")) == names


@pytest.mark.parametrize("prelude", NAMELESS.values(), ids=NAMELESS)
def test_behind_a_prelude_that_names_nobody_all_is_hidden(prelude: FakePrelude) -> None:
    """Whatever the policy says of the peer: its headers are whoever's it passes on."""
    trust = policy(TrustedProxy("10.0.0.0/8", sets={"x-forwarded-host"}), "unix:")
    assert left(FORWARDING + ALIASES + OTHERS, trust, PROXY, prelude=prelude) == OTHERS


def test_a_clean_head_keeps_its_fields() -> None:
    """Where nothing is to be removed the answer is empty, and the names are not changed."""
    names = {b"x-real-ip": b"1.1.1.1", b"host": b"a"}
    strip = policy().bind(peer=STRANGER).strip
    assert strip is not None
    assert strip.among(names) == {b"x-real-ip"}
    assert names == {b"x-real-ip": b"1.1.1.1", b"host": b"a"}
    assert not strip.among({b"host": b"a"})


def test_strip_set_is_a_frozenset_of_what_can_be_listed() -> None:
    """The names that can be listed are in the set itself."""
    strip = policy().bind(peer=STRANGER).strip
    assert isinstance(strip, frozenset)
    assert {b"forwarded", b"x-real-ip", b"x_real_ip", b"x-forwarded-for"} <= set(strip)
    assert "host" not in strip
    of_a_proxy = policy().bind(peer=PROXY).strip
    assert isinstance(of_a_proxy, frozenset)
    assert set(DECLARABLE) <= set(of_a_proxy)
    assert b"x-forwarded-for" not in set(of_a_proxy)


def test_names_are_learned_in_bounds() -> None:
    """A stranger's names cannot fill the memory, and are judged right past its bound."""
    strip = StripSet(everything=True, extra=[b"x-forwarded-for"])
    for number in range(5000):
        assert b"x-odd-%d" % number not in strip
        assert b"x-forwarded-odd-%d" % number in strip
        assert strip.among([b"x-real_odd-%d" % number, b"x-real-ip", b"x_real_ip"]) == {
            b"x-real-ip",
            b"x_real_ip",
        }
    assert b"x" * 5000 not in strip
    assert strip.learned <= 1024 + len(SAFE_NAMES) + len(strip)
    assert not strip.among(SAFE_NAMES)
    assert strip.among(set(strip)) == strip
    assert strip.learned <= 1024 + len(SAFE_NAMES) + len(strip)
    assert len(inside.stripped_shapes(strip)) <= 256
    assert all(sum(map(len, shape)) <= 512 for shape in inside.stripped_shapes(strip))


def resolved(trust: TrustPolicy, value: bytes, peer: str = PROXY) -> str:
    """Return the client for one chain on a new connection."""
    raw = [(b"x-forwarded-for", value)]
    return trust.bind(peer=peer).resolve(raw, dict(raw)).remote_ip


def test_decisions_are_shared_between_connections() -> None:
    """The same chain over another connection of the proxies is remembered from its second time."""
    trust = policy()
    raw = [(b"x-forwarded-for", CLIENT.encode())]
    answers = [trust.bind(peer=f"10.0.0.{n}").resolve(raw, dict(raw)) for n in range(1, 6)]
    assert answers[0] == answers[1]
    assert all(answer is answers[1] for answer in answers[1:])


@pytest.mark.parametrize("value", [b"nonsense", b"unknown", b"_x"])
def test_an_answer_that_is_the_peer_is_not_shared(value: bytes) -> None:
    """An unusable claim gives each connection its own peer, however often it was seen."""
    trust = policy()
    for _ in range(4):
        assert resolved(trust, value, "10.0.0.1") == "10.0.0.1"
        assert resolved(trust, value, "10.0.0.2") == "10.0.0.2"


def test_schemes_do_not_mix() -> None:
    """What was remembered for a TLS connection does not answer for a plain one."""
    trust = policy()
    raw = [(b"x-forwarded-for", CLIENT.encode())]
    for _ in range(3):
        for scheme in ("http", "https"):
            bound = trust.bind(peer=PROXY, scheme=scheme)
            assert bound.resolve(raw, dict(raw)).protocol == scheme


def test_long_values_are_never_keys() -> None:
    """A value over 256 bytes is decided each time and remembered nowhere."""
    trust = policy()
    value = b"6.6.6.6, " * 40 + CLIENT.encode()
    for name, other in ((b"x-forwarded-proto", b" " * 300 + b"https"), (b"host", b"a")):
        raw = [(b"x-forwarded-for", value), (name, other)]
        for _ in range(3):
            assert trust.bind(peer=PROXY).resolve(raw, dict(raw)).remote_ip == CLIENT
    raw = [(b"x-forwarded-for", CLIENT.encode()), (b"x-forwarded-proto", b" " * 300 + b"https")]
    assert trust.bind(peer=PROXY).resolve(raw, dict(raw)).protocol == "https"
    assert inside.decisions(trust) == 0


def test_a_flood_of_new_keys_pushes_out_nothing() -> None:
    """Of keys that never repeat only hashes are kept, in bounds."""
    cache: DecisionCache[int, str] = DecisionCache(8)
    cache.admit(-3, "kept", -3)
    assert cache.main == {}
    cache.admit(-3, "kept", -3)
    for number in range(1000):
        assert cache.recall(number) is None
        cache.admit(number, "flood", number)
    assert cache.main == {-3: "kept"}
    assert len(cache) <= 24


def test_repeated_keys_age_by_generations() -> None:
    """Even keys that all repeat are bounded, and those in use come back."""
    cache: DecisionCache[int, str] = DecisionCache(8)
    for number in range(100):
        if cache.main.get(0) is None and cache.recall(0) is None:
            cache.admit(0, "hot", 0)
        for _ in range(2):
            cache.admit(number + 1, "warm", number + 1)
        assert cache.main[number + 1] == "warm"
        assert len(cache) <= 24
    assert cache.main.get(0) == "hot" or cache.recall(0) == "hot"


def test_only_entries_of_proxies_are_remembered_apart() -> None:
    """The memory for single entries holds listed proxies, in bounds, and no client."""
    trust = policy()
    for number in range(3000):
        chain = f"198.51.{number >> 8}.{number & 255}, 10.0.0.2:{number + 1}, 10.0.0.3"
        assert resolved(trust, chain.encode()) == chain.partition(",")[0]
    assert len(inside.known_entries(trust)) <= 512
    assert all(entry.strip().startswith(b"10.") for entry in inside.known_entries(trust))


def test_a_flood_through_the_policy_is_bounded() -> None:
    """Neither a policy nor a connection grows with what strangers write."""
    trust = policy()
    bound = trust.bind(peer=PROXY)
    for number in range(6000):
        raw = [(b"x-forwarded-for", b"bad%d" % number)]
        bound.resolve(raw, dict(raw))
        raw = [(b"x-forwarded-for", b"198.51.%d.%d" % (number >> 8, number & 255))]
        bound.resolve(raw, dict(raw))
        bound.resolve(raw, dict(raw))
    assert inside.decisions(trust) <= 3 * 2048
    assert inside.own_decisions(bound) <= 8
