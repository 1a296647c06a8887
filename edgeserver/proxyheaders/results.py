"""The results of a decision: the client, the reason, and what was odd about the request.

Decides only their shape. It must not know how any of them is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from edgeserver.proxyheaders.declared import Declared

__all__ = ["REASONS", "UNVERIFIED", "Finding", "Resolved"]

REASONS = {
    "proxy-headers-off": "no header is read: the peer is the client",
    "untrusted-peer": "the peer is not a listed proxy, so it is the client itself",
    "first-untrusted": "the nearest address that is not a listed proxy",
    "x-real-ip": "X-Real-Ip replaces every other claim by Tornado's rules",
    "all-hops-trusted": "every address is a listed proxy: the leftmost is taken",
    "max-hops": "as many entries as max_hops allows were listed proxies: the last one is taken",
    "trusted-peer-as-client": "a listed proxy sent no claim, so it is the client itself",
    "malformed-boundary": "the entry that should name the client is not a usable address",
    "unknown-boundary": "the entry that should name the client hides it",
    "repeated-singleton": "a field that holds one address came with several",
    "prelude-names-nobody": "the connection's PROXY prelude names nobody, so the peer is taken",
}
"""Why an address was chosen: every value that `Resolved.reason` can have, and what it means."""

UNVERIFIED = frozenset(
    {"malformed-boundary", "unknown-boundary", "repeated-singleton", "prelude-names-nobody"}
)
"""The reasons that leave `Resolved.verified` false: who should name the client did not."""


class Resolved(NamedTuple):
    """Who sent the request, and how that was decided; shared between requests, never changed.

    Args:
        remote_ip: The client's address, RFC 5952 text without zone; `0.0.0.0` for a Unix peer.
        port: The client's port where somebody trusted named it.
        zone: The zone of a link-local address.
        protocol: `http` or `https`.
        verified: False only where a claim was there and unusable, or a PROXY prelude named nobody;
            then `remote_ip` is the peer.
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
class Finding:
    """Something that a person should know about a request or a policy.

    Args:
        code: A permanent kebab-case code, a key of `CODES`.
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
