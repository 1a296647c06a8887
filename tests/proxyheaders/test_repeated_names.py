"""Heads with the names of others before them: each is answered for itself."""

from __future__ import annotations

import pytest

from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from tests.proxyheaders.support import CLIENT, PROXY, STRANGER, Head

XFF, PROTO, HOST = b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host"
MAKERS = {
    "plain": lambda: TrustPolicy(["10.0.0.0/8"]),
    "no-proto": lambda: TrustPolicy(["10.0.0.0/8"], proto=None),
    "declaring": lambda: TrustPolicy([TrustedProxy("10.0.0.0/8", sets={"x-forwarded-host"})]),
    "other-scheme": lambda: TrustPolicy(["10.0.0.0/8"], proto="x-scheme"),
    "single": lambda: TrustPolicy(["10.0.0.0/8"], source="x-real-ip"),
    "forwarded": lambda: TrustPolicy(["10.0.0.0/8"], source="forwarded"),
    "tornado": lambda: TrustPolicy.tornado(trusted_downstream=["10.0.0.0/8"]),
    "off": TrustPolicy.off,
}
HEADS: list[Head] = [
    [],
    [(b"Host", b"a")],
    [(XFF, CLIENT.encode()), (PROTO, b"https")],
    [(PROTO, b"https"), (b"Host", b"a"), (XFF, CLIENT.encode())],
    [(XFF, CLIENT.encode())],
    [(PROTO, b"https")],
    [(XFF, CLIENT.encode()), (PROTO, b"https"), (HOST, b"shop.example")],
    [(b"x-FORWARDED-for", CLIENT.encode()), (b"x-forwarded-PROTO", b"https"), (b"odd", b"1")],
    [(XFF, b"6.6.6.6"), (PROTO, b"http"), (b"x-forwarded-for", CLIENT.encode())],
    [(b"Cookie", b"a"), (b"Cookie", b"b"), (XFF, CLIENT.encode()), (PROTO, b"https")],
    [(XFF, b"6.6.6.6, " * 400 + CLIENT.encode()), (PROTO, b"https")],
    [(XFF, CLIENT.encode()), (PROTO, b" " * 300 + b"https")],
    [(b"X-Real-Ip", CLIENT.encode()), (PROTO, b"https"), (b"X-Scheme", b"http")],
    [(b"Forwarded", b"for=198.51.100.7;proto=https")],
    [(b"X_Forwarded_For", b"6.6.6.6"), (XFF, CLIENT.encode()), (b"X-Scheme", b"https")],
    [(b"X-%d" % number, b"") for number in range(40)] + [(XFF, CLIENT.encode())],
    [(b"N" * 2000, b""), (XFF, CLIENT.encode()), (PROTO, b"https")],
]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_known_names_change_nothing(name: str, peer: str) -> None:
    """The first time, and every other, in whatever container, the answer is the explanation's."""
    trust = MAKERS[name]()
    for number, head in enumerate(HEADS * 4):
        expected = MAKERS[name]().explain(peer=peer, headers=head).resolved
        assert trust.resolve(peer=peer, headers=head) == expected
        assert trust.resolve(peer=peer, headers=tuple(head)) == expected
        assert sum(trust.reason_counts.values()) == 2 * number + 2


def test_other_values_under_known_names() -> None:
    """New values under names that came before are read anew."""
    trust = TrustPolicy(["10.0.0.0/8"])
    for number in range(1, 200):
        for scheme in ("http", "https"):
            head = [(XFF, b"198.51.100.%d" % number), (PROTO, scheme.encode())]
            for _ in range(3):
                answer = trust.resolve(peer=PROXY, headers=list(head))
                assert (answer.remote_ip, answer.protocol) == (f"198.51.100.{number}", scheme)
