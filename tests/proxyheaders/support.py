"""What the tests of this room share: heads as text, and preludes without a parser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeserver.proxyheaders import Provenance, Resolved, TrustPolicy

PROXY = "10.0.0.1"
CLIENT = "198.51.100.7"
STRANGER = "203.0.113.66"

Head = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class FakeSSL:
    """The part of a PROXY v2 SSL TLV that a policy reads."""

    client_ssl: bool


@dataclass(frozen=True)
class FakePrelude:
    """The part of a PROXY prelude that a policy reads."""

    command: str = "PROXY"
    source: str | None = CLIENT
    source_port: int | None = 56324
    ssl: FakeSSL | None = None


NAMELESS = {
    "local": FakePrelude("LOCAL", None, None, FakeSSL(True)),
    "local-with-addresses": FakePrelude("LOCAL"),
    "unknown": FakePrelude("UNKNOWN", None, None, FakeSSL(True)),
    "unspecified-family": FakePrelude(source=None, ssl=FakeSSL(True)),
    "unix": FakePrelude(source="unix:/run/x", source_port=None, ssl=FakeSSL(True)),
}
"""Preludes that name nobody."""


def head(*lines: str) -> Head:
    """Return the fields of `Name: value` lines, each character one byte."""
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        fields.append((name.encode("latin-1"), value.strip(" \t").encode("latin-1")))
    return fields


def policy(*trusted: Any, **options: Any) -> TrustPolicy:
    """Return a policy that trusts `PROXY` and the rest of 10.0.0.0/8 unless told otherwise."""
    return TrustPolicy(trusted or ("10.0.0.0/8",), **options)


def ask(trust: TrustPolicy, *lines: str, peer: str = PROXY, **options: Any) -> Resolved:
    """Return what `trust` answers, after checking that every road to the answer agrees."""
    fields = head(*lines)
    answer = trust.resolve(peer=peer, headers=fields, **options)
    assert trust.resolve(peer=peer, headers=fields, **options) == answer
    assert trust.explain(peer=peer, headers=fields, **options).resolved == answer
    bound = trust.bind(peer=peer, **options)
    raw = [(name.lower(), value) for name, value in fields]
    names = dict(raw)
    assert bound.resolve(raw, names if len(names) == len(raw) else None) == answer
    assert bound.resolve(raw, None) == answer
    assert bound.explain(raw).resolved == answer
    return answer


def explain(trust: TrustPolicy, *lines: str, peer: str = PROXY, **options: Any) -> Provenance:
    """Return the explanation of a head."""
    return trust.explain(peer=peer, headers=head(*lines), **options)


def codes(provenance: Provenance) -> list[str]:
    """Return the codes of the findings, in order."""
    return [finding.code for finding in provenance.findings]
