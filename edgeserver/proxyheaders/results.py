"""What resolving answers with: the client, the proof, and what was odd about it.

Decides only the shape of the results. It must not know how any of them is found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeserver.support.escape import escape

if TYPE_CHECKING:
    from edgeserver.proxyheaders.declared import Declared

__all__ = ["REASONS", "UNVERIFIED", "Finding", "Hop", "Provenance", "Resolved"]

REASONS = {
    "proxy-headers-off": "no header is read: the peer is the client",
    "untrusted-peer": "the peer is not a listed proxy, so it is the client itself",
    "first-untrusted": "the nearest address that is not a listed proxy",
    "x-real-ip": "X-Real-Ip replaces every other claim in Tornado's contract",
    "all-hops-trusted": "every address is a listed proxy: the leftmost is taken",
    "max-hops": "as many entries as max_hops allows were listed proxies: the last one is taken",
    "trusted-peer-as-client": "a listed proxy sent no claim, so it is the client itself",
    "malformed-boundary": "the entry that should name the client is no usable address",
    "unknown-boundary": "the entry that should name the client hides it",
    "repeated-singleton": "a field that holds one address came with several",
}
"""Why an address was chosen: every value that `Resolved.reason` can have, and what it means."""

UNVERIFIED = frozenset({"malformed-boundary", "unknown-boundary", "repeated-singleton"})
"""The reasons that leave `Resolved.verified` false: a claim was there, and unusable."""


class Resolved(NamedTuple):
    """Who sent the request, and how that was decided; shared between requests, never changed.

    Args:
        remote_ip: The client's address, RFC 5952 text without zone; `0.0.0.0` for a Unix peer.
        port: The client's port where somebody trusted named it.
        zone: The zone of a link-local address.
        protocol: `http` or `https`.
        verified: False only where a claim was there and unusable; then `remote_ip` is the peer.
        reason: A key of `REASONS`.
        prelude: The connection's PROXY prelude, if there was one.
        declared: What a proxy with `sets=` said beside the address, or None.
    """

    remote_ip: str
    port: int | None
    zone: str | None
    protocol: str
    verified: bool
    reason: str
    prelude: Any = None
    declared: Declared | None = None

    @property
    def host(self) -> str | None:
        """The `X-Forwarded-Host` of a proxy that declares that it sets it."""
        return self.declared.host if self.declared is not None else None

    @property
    def forwarded_port(self) -> int | None:
        """The `X-Forwarded-Port` of a proxy that declares that it sets it."""
        return self.declared.port if self.declared is not None else None

    @property
    def prefix(self) -> str | None:
        """The `X-Forwarded-Prefix` of a proxy that declares that it sets it."""
        return self.declared.prefix if self.declared is not None else None

    @property
    def client_cert(self) -> bytes | None:
        """The DER certificate in `Client-Cert` of a proxy that declares that it sets it."""
        return self.declared.client_cert if self.declared is not None else None


@dataclass(frozen=True, slots=True)
class Hop:
    """One element of the chain between the peer and whoever is claimed to be behind it.

    Args:
        address: The address as resolved; None where it was not parsed or is unusable.
        port: The port that came with it.
        zone: The zone that came with it.
        claimed: The bytes as claimed; for the TCP peer its own text.
        said_by: `TCP`, `PROXY`, or the address of the hop that wrote this entry.
        field: The lower-case field name, or `TCP` or `PROXY`.
        line: Which line of that field, from 0; None for TCP and PROXY.
        index: Which entry of that line, counted from the right from 0; None for TCP and PROXY.
        rule: The entry of the policy that matched, such as `10.0.0.0/8 (private)`.
        verdict: `trusted`, `client`, `ignored` or `unusable`.
        why: The verdict in words.
    """

    address: str | None
    port: int | None
    zone: str | None
    claimed: bytes
    said_by: str
    field: str
    line: int | None
    index: int | None
    rule: str | None
    verdict: str
    why: str

    def as_dict(self) -> dict[str, object]:
        """Return the hop as JSON values, with what was claimed escaped."""
        return {
            "address": self.address,
            "port": self.port,
            "zone": self.zone,
            "claimed": escape(self.claimed),
            "said_by": self.said_by,
            "field": self.field,
            "line": self.line,
            "index": self.index,
            "rule": self.rule,
            "verdict": self.verdict,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know about a request or a policy.

    Args:
        code: A permanent kebab-case code, a key of `findings.CODES`.
        severity: `info`, `warning` or `error`.
        detail: What was seen; whatever a stranger wrote is escaped.
        fix: What to do about it.
    """

    code: str
    severity: str
    detail: str
    fix: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "detail": self.detail,
            "fix": self.fix,
        }


@dataclass(frozen=True, slots=True)
class Provenance:
    """The whole proof of one decision.

    Args:
        resolved: What `resolve` answers for the same input.
        hops: The chain, nearest first.
        findings: What was odd, in the order found.
        unseen: How many entries left of the client are not in `hops`.
    """

    resolved: Resolved
    hops: tuple[Hop, ...]
    findings: tuple[Finding, ...] = ()
    unseen: int = 0
    reason: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", self.resolved.reason)

    def as_dict(self) -> dict[str, object]:
        """Return the proof as JSON values, with everything that was claimed escaped."""
        resolved = self.resolved
        return {
            "client": resolved.remote_ip,
            "port": resolved.port,
            "zone": resolved.zone,
            "scheme": resolved.protocol,
            "verified": resolved.verified,
            "reason": resolved.reason,
            "declared": resolved.declared.as_dict() if resolved.declared is not None else None,
            "hops": [hop.as_dict() for hop in self.hops],
            "unseen": self.unseen,
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def __str__(self) -> str:
        from edgeserver.proxyheaders.explanation.render import render_provenance

        return render_provenance(self)
