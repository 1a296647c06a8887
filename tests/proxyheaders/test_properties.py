"""What holds for every head: the promises of the room, tried on heads made to break them."""

from __future__ import annotations

import ast
import ipaddress
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeserver.proxyheaders
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from tests.proxyheaders.support import CLIENT, NAMELESS, PROXY, STRANGER, FakePrelude, FakeSSL

NAMES = [
    b"X-Forwarded-For",
    b"x-forwarded-for",
    b"Forwarded",
    b"X-Real-Ip",
    b"X-Forwarded-Proto",
    b"X-Scheme",
    b"X-Forwarded-Ssl",
    b"X-Forwarded-Host",
    b"X-Forwarded-Port",
    b"X-Forwarded-Prefix",
    b"X-Forwarded-Client-Cert",
    b"Client-Cert",
    b"Client-Cert-Chain",
    b"X_Forwarded_For",
    b"Connection",
    b"Host",
    b"",
]
PIECES = [
    b"10.0.0.1",
    b"10.0.0.2:80",
    CLIENT.encode(),
    b"[2001:db8::1]:443",
    b"::ffff:10.1.1.1",
    b"fe80::1%eth0",
    b"unknown",
    b"_x",
    b"0.0.0.0",
    b"for=",
    b"for=10.0.0.7",
    b'for="[2001:db8::9]"',
    b";proto=https",
    b"https",
    b"http",
    b",",
    b", ",
    b";",
    b'"',
    b"\\",
    b" ",
    b"\t",
    b"\x00",
    b"\xff",
    b"x-forwarded-for",
]
VALUES = st.one_of(
    st.binary(max_size=30), st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
)
HEADS = st.lists(
    st.tuples(st.one_of(st.sampled_from(NAMES), st.binary(max_size=12)), VALUES), max_size=8
)
POLICIES = {
    "xff": TrustPolicy(["10.0.0.0/8", "2001:db8::/64", "unix:"]),
    "xff-short": TrustPolicy(["private", "loopback"], max_hops=2, proto="x-scheme"),
    "forwarded": TrustPolicy(["10.0.0.0/8"], source="forwarded"),
    "single": TrustPolicy(["10.0.0.0/8"], source="x-real-ip", proto=None),
    "declaring": TrustPolicy(
        [TrustedProxy("10.0.0.0/8", sets={"x-forwarded-host", "client-cert", "client-cert-chain"})]
    ),
    "strict": TrustPolicy(
        ["private", TrustedProxy("10.0.0.2/31", sets={"x-forwarded-proto", "x-real-ip"})]
    ),
    "tornado": TrustPolicy.tornado(trusted_downstream=["10.0.0.0/8"]),
    "off": TrustPolicy.off(),
}
PEERS = st.sampled_from([PROXY, STRANGER, "unix:", "::ffff:10.0.0.3", "fe80::1%lo", "2001:db8::5"])
PRELUDES = st.sampled_from(
    [
        None,
        FakePrelude(),
        FakePrelude(source="10.0.0.9", ssl=FakeSSL(True)),
        *NAMELESS.values(),
        FakePrelude(source="0.0.0.0"),
    ]
)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=150)
@given(head=HEADS, peer=PEERS, prelude=PRELUDES, scheme=st.sampled_from(["http", "https"]))
def test_resolve_is_explain(
    name: str, head: list[tuple[bytes, bytes]], peer: str, prelude: FakePrelude | None, scheme: str
) -> None:
    """Whatever the head, nothing raises, and all roads to the answer agree."""
    trust = POLICIES[name]
    if name in ("tornado", "off"):
        prelude = None
    answer = trust.resolve(peer=peer, headers=head, scheme=scheme, prelude=prelude)
    provenance = trust.explain(peer=peer, headers=head, scheme=scheme, prelude=prelude)
    assert provenance.resolved == answer
    assert provenance.reason == answer.reason
    bound = trust.bind(peer=peer, scheme=scheme, prelude=prelude)
    raw = [(field.lower(), value) for field, value in head]
    fields = dict(raw)
    assert bound.resolve(raw, fields if len(fields) == len(raw) else None) == answer
    assert bound.explain(raw).resolved == answer
    assert answer.protocol in ("http", "https")
    assert str(ipaddress.ip_address(answer.remote_ip)) == answer.remote_ip
    assert sum(hop.verdict == "client" for hop in provenance.hops) == 1
    assert str(provenance).replace("\n", "").isprintable()
    assert json.dumps(provenance.as_dict(), ensure_ascii=False).isascii()


@settings(max_examples=150)
@given(head=HEADS, source=st.sampled_from(["x-forwarded-for", "forwarded", "x-real-ip"]))
def test_an_untrusted_peer_never_moves_the_client(
    head: list[tuple[bytes, bytes]], source: str
) -> None:
    """Nothing that an unlisted peer sends changes who it is."""
    trust = TrustPolicy(["10.0.0.0/8"], source=source)
    answer = trust.resolve(peer=STRANGER, headers=head, peer_port=9)
    assert answer == trust.resolve(peer=STRANGER, headers=[], peer_port=9)
    assert (answer.remote_ip, answer.port, answer.protocol) == (STRANGER, 9, "http")


@settings(max_examples=150)
@given(
    head=HEADS,
    prelude=st.sampled_from(list(NAMELESS.values())),
    name=st.sampled_from([name for name in POLICIES if name not in ("tornado", "off")]),
    scheme=st.sampled_from(["http", "https"]),
)
def test_behind_a_prelude_that_names_nobody_no_head_matters(
    head: list[tuple[bytes, bytes]], prelude: FakePrelude, name: str, scheme: str
) -> None:
    """No bytes that a listed peer passes on without saying whose they are change the answer."""
    trust = POLICIES[name]
    answer = trust.resolve(peer=PROXY, headers=head, scheme=scheme, prelude=prelude)
    assert answer == trust.resolve(peer=PROXY, headers=[], scheme=scheme, prelude=prelude)
    assert (answer.remote_ip, answer.protocol, answer.verified) == (PROXY, scheme, False)
    proof = trust.explain(peer=PROXY, headers=head, scheme=scheme, prelude=prelude)
    assert proof.resolved == answer


@settings(max_examples=200)
@given(
    prefix=VALUES,
    lines=st.lists(VALUES, max_size=3),
    hops=st.integers(min_value=0, max_value=4),
    is_forwarded=st.booleans(),
)
def test_nothing_left_of_the_boundary_matters(
    prefix: bytes, lines: list[bytes], hops: int, is_forwarded: bool
) -> None:
    """No prefix in the line, and no lines before it, change the answer or the scheme."""
    source = "forwarded" if is_forwarded else "x-forwarded-for"
    form = "for=%s;proto=https" if is_forwarded else "%s"
    chain = [form % CLIENT, *(form % f"10.0.0.{number}" for number in range(2, 2 + hops))]
    own = ", ".join(chain).encode()
    trust = TrustPolicy(["10.0.0.0/8"], source=source)
    name = source.encode()
    clean = trust.resolve(peer=PROXY, headers=[(name, own)])
    assert clean.remote_ip == CLIENT
    dirty = [*((name, line) for line in lines), (name, prefix + b"," + own)]
    assert trust.resolve(peer=PROXY, headers=dirty) == clean


@settings(max_examples=100)
@given(claims=st.lists(VALUES, min_size=1, max_size=4), hops=st.integers(0, 3))
def test_the_answer_was_claimed_by_somebody_trusted(claims: list[bytes], hops: int) -> None:
    """The client is the peer, or stands right of only what listed proxies wrote."""
    trust = TrustPolicy(["10.0.0.0/8"])
    tail = b", ".join(b"10.0.0.%d" % number for number in range(2, 2 + hops))
    head = [(b"X-Forwarded-For", claim) for claim in claims]
    if tail:
        head.append((b"X-Forwarded-For", tail))
    provenance = trust.explain(peer=PROXY, headers=head)
    for before, hop in zip(provenance.hops, provenance.hops[1:], strict=False):
        if hop.verdict in ("trusted", "client", "unusable"):
            assert before.rule is not None
            assert before.address is not None


ROOM = Path(edgeserver.proxyheaders.__file__).parent
IMPURE = {"asyncio", "socket", "ssl", "os", "time", "logging", "selectors", "pathlib", "io"}
BELOW = (
    "edgeserver.errors",
    "edgeserver.support.addresses",
    "edgeserver.support.escape",
    "edgeserver.support.preludes",
    "edgeserver.proxyheaders",
)


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.name)
def test_the_room_is_pure(path: Path) -> None:
    """No module imports I/O, time or logs, nor anything of the project but what lies below."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    assert not {name.partition(".")[0] for name in imported} & IMPURE
    assert all(name.startswith(BELOW) for name in imported if name.startswith("edgeserver"))
