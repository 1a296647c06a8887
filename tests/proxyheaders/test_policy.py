"""A trust policy's configuration: what it takes, what it refuses, what it warns of."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError, TrustConfigurationError
from edgeserver.proxyheaders import REASONS, TrustedProxy, TrustPolicy
from edgeserver.proxyheaders.explanation.codes import make_finding
from tests.proxyheaders import inside
from tests.proxyheaders.support import CLIENT, FakePrelude, ask, policy


def test_defaults() -> None:
    """The defaults are the specification's."""
    trust = TrustPolicy(["10.0.0.0/8"])
    assert (trust.source, trust.proto, trust.max_hops) == (
        "x-forwarded-for",
        "x-forwarded-proto",
        20,
    )
    assert (trust.unlisted, trust.undeclared) == ("strip", "strip")
    assert trust.proxies == ("10.0.0.0/8",)
    assert trust.warnings == ()
    assert "10.0.0.0/8" in repr(trust)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proxies": ["privte"]}, "'privte' is not an address or range: did you mean 'private'?"),
        ({"proxies": ["0.0.0.0/0"]}, "'0.0.0.0/0' is every address"),
        ({"proxies": ["::/0"]}, "allow_all=True"),
        ({"proxies": ["::ffff:0:0/96"]}, "'::ffff:0:0/96' is every address"),
        ({"proxies": ["10.0.0.1/0"]}, "is every address"),
        (
            {"proxies": ["128.0.0.0/1", "10.0.0.0/8", "64.0.0.0/2", "0.0.0.0/2"]},
            "trusted proxies '0.0.0.0/2', '64.0.0.0/2', '128.0.0.0/1' are together every IPv4",
        ),
        ({"proxies": ["::/1", "8000::/1"]}, "together every IPv6 address"),
        ({"proxies": ["::/1", "8000::/1"]}, "list your proxies, or pass allow_all=True"),
        (
            {"proxies": ["0.0.0.0/12"] + [f"{each << 4}.0.0.0/4" for each in range(16)]},
            "'112.0.0.0/4' and 8 more are together every",
        ),
        ({"source": "x_forwarded_for"}, "write 'x-forwarded-for'"),
        ({"source": "X Forwarded"}, "is not a header name"),
        ({"source": ""}, "is not a header name"),
        ({"source": "x-forwarded-för"}, "is not a header name"),
        ({"source": "Host"}, "does not hold the client's address"),
        ({"source": "X-Forwarded-Proto"}, "does not hold the client's address"),
        ({"proto": "x_scheme"}, "write 'x-scheme'"),
        ({"source": "x-thing", "proto": "X-Thing"}, "is the source too"),
        ({"source": "forwarded", "proto": "x-scheme"}, "the element's own proto"),
        ({"max_hops": 0}, "at least 1"),
        ({"unlisted": "drop"}, "'strip' or 'keep'"),
        ({"undeclared": "drop"}, "undeclared='drop': give 'strip' or 'keep'"),
        (
            {"proxies": [TrustedProxy("10.0.0.1", sets={"x-request-id"})]},
            "sets='x-request-id' cannot be declared: it is not a forwarding header",
        ),
        (
            {"proxies": [TrustedProxy("10.0.0.1", sets={"X-Forwarded_Host"})]},
            "sets='X-Forwarded_Host' is not a header name, or an alias with '_'",
        ),
        ({"proxies": [TrustedProxy("10.0.0.1", sets={"x-forwarded-a b"})]}, "is not a header name"),
    ],
)
def test_refused(options: dict[str, Any], words: str) -> None:
    """A wrong setting fails at construction, and the message names it and the fix."""
    with pytest.raises(TrustConfigurationError, match=re.escape(words)) as caught:
        TrustPolicy(**({"proxies": ["10.0.0.0/8"]} | options))
    assert isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proxies": "10.0.0.0/8"}, "write proxies=['10.0.0.0/8']"),
        ({"proxies": b"10.0.0.0/8"}, "is not a list"),
        ({"proxies": None}, "is not a list"),
        ({"proxies": TrustedProxy("10.0.0.1")}, "is not a list"),
        ({"proxies": [b"10.0.0.1"]}, "an entry is a str or a TrustedProxy"),
        ({"proxies": [10]}, "an entry is a str or a TrustedProxy"),
        ({"proxies": [TrustedProxy(7)]}, "address is a str"),  # type: ignore[arg-type]  # on purpose
        ({"proxies": [TrustedProxy("10.0.0.1", sets="client-cert")]}, "sets is a set of names"),
        ({"proxies": [TrustedProxy("10.0.0.1", sets={b"x"})]}, "a header name is a str"),  # type: ignore[arg-type]  # on purpose
        ({"source": None}, "a header name is a str"),
        ({"proto": 7}, "a header name is a str"),
        ({"max_hops": "20"}, "give an int"),
        ({"max_hops": True}, "give an int"),
    ],
)
def test_wrong_type(options: dict[str, Any], words: str) -> None:
    """A setting of the wrong type is a TypeError, above all a str in place of a list."""
    with pytest.raises(TypeError, match=re.escape(words)):
        TrustPolicy(**({"proxies": ["10.0.0.0/8"]} | options))


@pytest.mark.parametrize("value", ["5.5.5.5", b"5.5.5.5"])
def test_trusted_downstream_is_a_list(value: Any) -> None:
    """Tornado takes a str apart into characters; here it is a TypeError."""
    with pytest.raises(TypeError, match="trusted_downstream="):
        TrustPolicy.tornado(trusted_downstream=value)


def test_a_typo_in_trusted_downstream_is_named() -> None:
    """Tornado's rules refuse entries as a policy does."""
    with pytest.raises(TrustConfigurationError, match=r"'5\.5\.5' is not an address"):
        TrustPolicy.tornado(trusted_downstream=["5.5.5"])


def test_entries_of_every_kind() -> None:
    """Presets, objects of the standard library and named proxies stand side by side."""
    trust = TrustPolicy(
        entry
        for entry in (
            "loopback",
            "private",
            ipaddress.ip_network("198.18.0.0/15"),
            ipaddress.ip_address("2001:db8::9"),
            TrustedProxy("173.245.48.0/20", name="cloudflare"),
            "unix:",
        )
    )
    for peer in [
        "127.9.9.9",
        "::1",
        "10.1.1.1",
        "172.31.0.1",
        "192.168.9.9",
        "fd00::1",
        "198.19.0.1",
    ]:
        assert trust.trusts(peer)
    for peer in ["2001:db8::9", "173.245.63.255", "unix:", "::ffff:10.0.0.1"]:
        assert trust.trusts(peer)
    for peer in ["172.32.0.1", "169.254.1.1", "100.64.0.1", "fe80::1", "2001:db8::8", "8.8.8.8"]:
        assert not trust.trusts(peer)


def test_only_a_policy_trusts_peers_with_preludes() -> None:
    """Nobody may speak the PROXY protocol to Tornado's rules."""
    assert not TrustPolicy.tornado(trusted_downstream=["10.0.0.1"]).trusts("10.0.0.1")
    assert not TrustPolicy.off().trusts("127.0.0.1")


@pytest.mark.parametrize(
    "trust", [TrustPolicy.tornado(), TrustPolicy.off()], ids=["tornado", "off"]
)
def test_prelude_needs_a_policy(trust: TrustPolicy) -> None:
    """A prelude without a trust policy is a ValueError that says what to do."""
    with pytest.raises(ValueError, match="needs a trust policy"):
        trust.bind(peer="10.0.0.1", prelude=FakePrelude())


def test_host_bits_warn() -> None:
    """Bits past the prefix are taken as the range, with a warning that says which."""
    trust = TrustPolicy(["10.0.0.2/26"])
    (warning,) = trust.warnings
    assert warning.code == "host-bits-set"
    assert "10.0.0.0/26" in warning.detail
    assert trust.trusts("10.0.0.63")
    assert not trust.trusts("10.0.0.64")


@pytest.mark.parametrize(
    ("trust", "codes"),
    [
        (policy(TrustedProxy("10.0.0.1", sets={"x-forwarded-host"})), ["proto-undeclared"]),
        (policy(TrustedProxy("unix:", sets={"x-forwarded-for"})), ["proto-undeclared"]),
        (policy("10.0.0.1", TrustedProxy("10.0.0.2", sets={"x-forwarded-proto"})), []),
        (policy(TrustedProxy("10.0.0.1", sets={"x-forwarded-host"}), proto=None), []),
        (policy(TrustedProxy("10.0.0.1", sets={"x-thing"}), proto="X-Thing"), []),
        (policy(TrustedProxy("10.0.0.1", sets={"x-forwarded-host"}), source="forwarded"), []),
    ],
    ids=["host-only", "unix", "declared", "none", "custom", "forwarded"],
)
def test_a_scheme_that_nobody_declares_is_a_warning(trust: TrustPolicy, codes: list[str]) -> None:
    """Where proxies declare what they set, and no one the scheme, the start says so."""
    assert [item.code for item in trust.warnings] == codes


def test_any_peer_trusted_is_a_warning() -> None:
    """Both ways to believe everybody say so before the first request."""
    everyone = TrustPolicy(["0.0.0.0/0", "::/0"], allow_all=True)
    assert [item.code for item in everyone.warnings] == ["any-peer-trusted"]
    assert everyone.trusts("203.0.113.9")
    assert [item.code for item in TrustPolicy.tornado().warnings] == ["any-peer-trusted"]
    assert TrustPolicy.off().warnings == ()


@pytest.mark.parametrize("scheme", ["ftp", "HTTPS", "", b"http"])
def test_scheme_is_http_or_https(scheme: Any) -> None:
    """The connection's scheme is one of two words."""
    with pytest.raises(ValueError, match="give 'http', 'https' or None"):
        policy().bind(peer="10.0.0.1", scheme=scheme)
    assert policy().bind(peer="10.0.0.1", scheme=None).resolve([], {}).protocol == "http"


def test_reasons_are_counted_on_every_request() -> None:
    """The counters move with each decision, remembered or not, and cannot be written to."""
    trust = policy()
    raw = [(b"x-forwarded-for", CLIENT.encode())]
    bound = trust.bind(peer="10.0.0.1")
    for fields in (dict(raw), dict(raw), dict(raw), None):
        bound.resolve(raw, fields)
    trust.resolve(peer="203.0.113.9", headers=[])
    assert trust.reason_counts["first-untrusted"] == 4
    assert trust.reason_counts["untrusted-peer"] == 1
    assert set(trust.reason_counts) == set(REASONS)
    with pytest.raises(TypeError):
        trust.reason_counts["first-untrusted"] = 0  # type: ignore[index]  # that is the point


def test_findings_are_counted_when_explained() -> None:
    """Resolving finds nothing; explaining does, and so does a listener that refuses a prelude."""
    trust = policy()
    trust.resolve(peer="203.0.113.9", headers=[(b"X-Real-Ip", b"1.1.1.1")])
    assert trust.finding_counts["untrusted-peer-claims"] == 0
    trust.explain(peer="203.0.113.9", headers=[(b"X-Real-Ip", b"1.1.1.1")])
    trust.count_findings([make_finding("proxy-prelude-invalid", "cut short")])
    assert trust.finding_counts["untrusted-peer-claims"] == 1
    assert trust.finding_counts["proxy-prelude-invalid"] == 1


def test_peers_are_remembered_in_bounds() -> None:
    """However many peers ask, the policy keeps a bounded number of them, and answers right."""
    trust = policy()
    for number in range(2000):
        peer = f"203.0.{number // 256}.{number % 256}"
        assert trust.resolve(peer=peer, headers=[]).remote_ip == peer
    assert inside.peers(trust) <= 256


def test_two_connections_in_turn() -> None:
    """Peers, ports and schemes that alternate are never taken for one another."""
    trust = policy()
    for _ in range(2):
        for peer, port, scheme in [
            ("203.0.113.9", 1, "http"),
            ("203.0.113.9", 2, "http"),
            ("203.0.113.9", 2, "https"),
            ("203.0.113.8", 2, "https"),
            ("203.0.113.8", None, "https"),
        ]:
            answer = trust.resolve(peer=peer, peer_port=port, scheme=scheme, headers=[])
            assert (answer.remote_ip, answer.port, answer.protocol) == (peer, port, scheme)
    with pytest.raises(ValueError, match="is not an address"):
        policy().resolve(peer="", headers=[])


def test_same_answer_whatever_the_spelling() -> None:
    """Names count in any case, whatever stands beside them."""
    trust = policy()
    for number in range(300):
        odd = f"X-Odd-{number}".encode()
        spelled = "".join(
            char.upper() if number >> position & 1 else char
            for position, char in enumerate("x-forwarded-for")
        ).encode()
        answer = trust.resolve(
            peer="10.0.0.1", headers=[(odd, b"1"), (odd + b"-b", b"1"), (spelled, CLIENT.encode())]
        )
        assert answer.remote_ip == CLIENT


def test_off_reads_nothing() -> None:
    """With proxy headers off the peer is the client, and nothing is hidden."""
    trust = TrustPolicy.off()
    answer = ask(
        trust, "X-Forwarded-For: 1.1.1.1", "X-Scheme: https", peer="203.0.113.9", peer_port=9
    )
    assert (answer.remote_ip, answer.port, answer.protocol) == ("203.0.113.9", 9, "http")
    assert (answer.verified, answer.reason) == (True, "proxy-headers-off")
    assert not trust.bind(peer="203.0.113.9").strip


@pytest.mark.parametrize(
    "proxies",
    [
        pytest.param(["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"], id="the-end-is-missing"),
        pytest.param(["0.0.0.0/2", "128.0.0.0/1"], id="the-middle-is-missing"),
        pytest.param(["64.0.0.0/2", "128.0.0.0/1"], id="the-beginning-is-missing"),
        pytest.param(["0.0.0.0/1", "8000::/1"], id="half-of-each-family"),
    ],
)
def test_much_is_not_every_address(proxies: list[str]) -> None:
    """Ranges that leave an address out are taken, without a warning."""
    assert TrustPolicy(proxies).warnings == ()


def test_every_address_in_pieces_is_warned_of() -> None:
    """Whoever insists is told at each start, as of one range of every address."""
    whole = TrustPolicy(["0.0.0.0/0"], allow_all=True)
    halves = TrustPolicy(["0.0.0.0/1", "128.0.0.0/1"], allow_all=True)
    assert [each.code for each in halves.warnings] == ["any-peer-trusted"]
    assert halves.warnings == whole.warnings
