"""Headers that count only from a proxy that declares that it sets them."""

from __future__ import annotations

import base64

import pytest

from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from edgeserver.proxyheaders.stripping import DECLARABLE
from tests.proxyheaders.support import CLIENT, PROXY, STRANGER, FakePrelude, ask, explain, policy

ALL = {name.decode() for name in DECLARABLE}
DER = bytes(range(48))
SF = ":" + base64.b64encode(DER).decode() + ":"


def declaring(*names: str) -> TrustPolicy:
    """Return a policy whose proxy declares `names`, or all of them."""
    return policy(TrustedProxy("10.0.0.0/8", sets=set(names) or ALL))


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("shop.example", "shop.example"),
        ("Shop.Example:8443", "shop.example:8443"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("a_b.example", "a_b.example"),
        ("", None),
        ("a, b", None),
        ("shop.example/path", None),
        ("user@shop.example", None),
        ("shop.example:0", None),
        ("shop.example:99999", None),
        ("[2001:db8::1", None),
        ("[1::2::3]", None),
        ("shop.example\x00", None),
        ("shöp.example", None),
        ("a" * 300, None),
    ],
)
def test_host(value: str, host: str | None) -> None:
    """X-Forwarded-Host is one host with an optional port, or nothing."""
    answer = ask(declaring(), f"X-Forwarded-For: {CLIENT}", f"X-Forwarded-Host: {value}")
    assert answer.host == host
    assert answer.remote_ip == CLIENT


@pytest.mark.parametrize(
    ("value", "port"),
    [
        ("443", 443),
        ("1", 1),
        ("65535", 65535),
        ("0", None),
        ("65536", None),
        ("080", None),
        ("+1", None),
        ("", None),
        ("443, 80", None),
        ("x", None),
        ("1" * 5000, None),
    ],
)
def test_port(value: str, port: int | None) -> None:
    """X-Forwarded-Port is one port, or nothing; the client's own port is another matter."""
    answer = ask(declaring(), f"X-Forwarded-For: {CLIENT}:5", f"X-Forwarded-Port: {value}")
    assert (answer.forwarded_port, answer.port) == (port, 5)


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/app", "/app"),
        ("/app/v1/", "/app/v1"),
        ("/", ""),
        ("", ""),
        ("app", None),
        ("//evil.example", None),
        ("/a//b", None),
        ("/a/../b", None),
        ("/..", None),
        ("/./a", None),
        ("/a?b", None),
        ("/a%2f..", None),
        ("/a\\b", None),
        ("/a, /b", None),
        ("/" + "a" * 2000, None),
    ],
)
def test_prefix(value: str, prefix: str | None) -> None:
    """X-Forwarded-Prefix is one absolute path that cannot lead elsewhere, or nothing."""
    assert ask(declaring(), f"X-Forwarded-Prefix: {value}").prefix == prefix


@pytest.mark.parametrize(
    ("lines", "cert", "chain"),
    [
        ([f"Client-Cert: {SF}"], DER, ()),
        ([f"Client-Cert: {SF}", f"Client-Cert-Chain: {SF}, {SF}"], DER, (DER, DER)),
        ([f"Client-Cert-Chain: {SF}", f"Client-Cert-Chain: {SF}"], None, (DER, DER)),
        ([f"Client-Cert: {SF}, {SF}"], None, ()),
        (["Client-Cert: :AAA:"], None, ()),
        (["Client-Cert: AAAA"], None, ()),
        (["Client-Cert: :AA=A:"], None, ()),
        (["Client-Cert: :AAAA:;a=1"], None, ()),
        (["Client-Cert: -----BEGIN CERTIFICATE-----"], None, ()),
        ([f"Client-Cert-Chain: {SF},"], None, ()),
    ],
)
def test_client_cert(lines: list[str], cert: bytes | None, chain: tuple[bytes, ...]) -> None:
    """RFC 9440: byte sequences of DER, or nothing."""
    answer = ask(declaring(), *lines)
    assert answer.declared is not None
    assert answer.client_cert == cert
    assert answer.declared.client_cert_chain == chain


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        ("Hash=468e;By=spiffe://a/b", (("Hash", "468e"), ("By", "spiffe://a/b"))),
        ('Subject="/C=US, O=\\"x\\"";Hash=1', (("Subject", '/C=US, O="x"'), ("Hash", "1"))),
        ("Hash=forged,Hash=own", (("Hash", "own"),)),
        ('Hash=forged;Subject=",Hash=own', (("Hash", "own"),)),
        ("Hash", ()),
        ("=x", ()),
        ('Subject="open', ()),
    ],
)
def test_xfcc(value: str, pairs: tuple[tuple[str, str], ...]) -> None:
    """Envoy's header: the pairs of the last element, which is the proxy's own."""
    answer = ask(declaring(), f"X-Forwarded-Client-Cert: {value}")
    assert answer.declared is not None
    assert answer.declared.xfcc == pairs


def test_undeclared_headers_do_not_count() -> None:
    """What a trusted proxy does not declare is nobody's word."""
    answer = ask(declaring("x-forwarded-host"), "X-Forwarded-Host: a", "X-Forwarded-Port: 1")
    assert (answer.host, answer.forwarded_port) == ("a", None)
    answer = ask(policy(), "X-Forwarded-Host: a", f"Client-Cert: {SF}")
    assert (answer.host, answer.client_cert, answer.prefix) == (None, None, None)


def test_headers_of_a_stranger_do_not_count() -> None:
    """Declaring is for the author of the head: not for an unlisted peer, nor behind a prelude."""
    assert ask(declaring(), "X-Forwarded-Host: evil", peer=STRANGER).host is None
    assert ask(declaring(), "X-Forwarded-Host: evil", prelude=FakePrelude()).host is None
    inner = ask(declaring(), "X-Forwarded-Host: a", prelude=FakePrelude(source="10.9.9.9"))
    assert inner.host == "a"


def test_the_narrowest_entry_declares() -> None:
    """A proxy with its own entry declares for itself only."""
    trust = policy("10.0.0.0/8", TrustedProxy(PROXY, name="edge", sets={"x-forwarded-host"}))
    assert ask(trust, "X-Forwarded-Host: a").host == "a"
    assert ask(trust, "X-Forwarded-Host: a", peer="10.0.0.2").host is None


def test_unix_proxies_declare_too() -> None:
    """The entry `unix:` may declare headers."""
    trust = policy(TrustedProxy("unix:", sets={"x-forwarded-host"}))
    assert ask(trust, "X-Forwarded-Host: a", peer="unix:").host == "a"


def test_differing_lines_name_nothing() -> None:
    """Two lines that differ are refused with a finding; equal ones are one."""
    assert ask(declaring(), "X-Forwarded-Host: a", "X-Forwarded-Host: a").host == "a"
    provenance = explain(declaring(), "X-Forwarded-Host: a", "X-Forwarded-Host: b")
    assert provenance.resolved.host is None
    (finding,) = [item for item in provenance.findings if item.code == "declared-unusable"]
    assert finding.detail.startswith("X-Forwarded-Host:")


def test_declared_values_change_with_each_request() -> None:
    """What is remembered of the address never keeps another request's host."""
    trust = declaring()
    for host in ("a", "b", "a", "c"):
        lines = [f"X-Forwarded-For: {CLIENT}", f"X-Forwarded-Host: {host}"]
        assert ask(trust, *lines).host == host
    assert ask(trust, f"X-Forwarded-For: {CLIENT}").declared is None
