"""Every finding code: its severity, what it means, and what to do about it.

Decides the words and the severities, in one table that the documentation repeats. It must not know
how a finding is found. A code, once published, never changes its meaning.
"""

from __future__ import annotations

from typing import NamedTuple

from edgeserver.proxyheaders.results import Finding
from edgeserver.support.escape import escape

__all__ = [
    "CODES",
    "SEVERITIES",
    "SHOWN_BYTES",
    "STANDING",
    "Code",
    "is_serious",
    "make_finding",
    "title",
]

SEVERITIES = ("info", "warning", "error")

SHOWN_BYTES = 60
"""How much of what a stranger wrote stands in a finding."""


class Code(NamedTuple):
    """One finding code.

    Args:
        severity: `info`, `warning` or `error`.
        meaning: What it says, in one sentence.
        fix: What to do about it.
    """

    severity: str
    meaning: str
    fix: str


CODES: dict[str, Code] = {
    "any-peer-trusted": Code(
        "warning",
        "Headers are believed from whoever can connect.",
        "let only your proxies reach the port, or use trust=TrustPolicy([...]) with their "
        "addresses (--trust)",
    ),
    "host-bits-set": Code(
        "warning",
        "A range has bits set past its prefix; the whole range is trusted.",
        "write the range's first address, or the single address without a prefix",
    ),
    "untrusted-peer-claims": Code(
        "warning",
        "A peer that is not a listed proxy sent forwarding headers; none counts.",
        "if it is your proxy, list its address (--trust, or trust=TrustPolicy([...])); otherwise "
        "somebody tried",
    ),
    "conflict": Code(
        "warning",
        "Another header than the configured source names another client.",
        "have the proxy set or remove that header, or make it the source if it is the one your "
        "proxy sets",
    ),
    "malformed-boundary": Code(
        "warning",
        "The entry that should name the client is not a usable address.",
        "have the proxy that wrote it write an IP address; until then refuse or distrust "
        "unverified clients",
    ),
    "unknown-boundary": Code(
        "warning",
        "The entry that should name the client hides it, or names nobody.",
        "have the proxy that wrote it name the client's address",
    ),
    "all-hops-trusted": Code(
        "warning",
        "Every address in the chain is a listed proxy, so the leftmost is taken.",
        "trust the proxies' own addresses only, not the networks that clients are in",
    ),
    "max-hops": Code(
        "warning",
        "As many entries as max_hops allows were all listed proxies.",
        "raise max_hops if your chain is that long; otherwise look for a proxy loop",
    ),
    "proxy-named-as-client": Code(
        "warning",
        "A listed proxy names itself, or its own machine, as a proxy before it.",
        "a client on the proxy's machine looks the same and writes the rest itself: check from "
        "another machine; fine where two proxies of one machine stand in a row",
    ),
    "trusted-peer-as-client": Code(
        "info",
        "A listed proxy sent no claim, so it is the client itself.",
        "fine for its health checks; otherwise have the proxy set the configured source header",
    ),
    "nonconformant-forwarded": Code(
        "info",
        "An element of Forwarded breaks RFC 7239 in a way that cannot change its meaning.",
        "have the proxy quote addresses with ':' and bracket IPv6",
    ),
    "repeated-singleton": Code(
        "warning",
        "A field that holds one value came with several, so it counts for nothing.",
        "have the proxy replace the field instead of adding to it",
    ),
    "alias-header": Code(
        "warning",
        "A name with '_' looks like a forwarding header; it never counts.",
        "have the proxy drop names with underscores",
    ),
    "connection-nominates": Code(
        "warning",
        "Connection asks that a forwarding header be removed; the wish is ignored.",
        "have the proxy drop the client's Connection header",
    ),
    "proto-unusable": Code(
        "warning",
        "The scheme header holds neither http nor https; the connection's own scheme counts.",
        "have the proxy set it to http or https",
    ),
    "proto-conflict": Code(
        "warning",
        "A scheme is claimed that contradicts the one that counts.",
        "have the proxy remove what clients send, and set one scheme header",
    ),
    "proto-unattributed": Code(
        "info",
        "A scheme is claimed that cannot be tied to the hop that names the client.",
        "have the outermost proxy set the scheme and the others pass it on unchanged",
    ),
    "proto-undeclared": Code(
        "warning",
        "Proxies declare what they set, and the scheme header is not declared; it does not count.",
        "add it to sets= of the proxy that replaces what clients send, or pass proto=None",
    ),
    "declared-unusable": Code(
        "warning",
        "A header that the proxy declares that it sets holds no usable value.",
        "have the proxy replace the header, or drop it from sets=",
    ),
    "prelude-names-nobody": Code(
        "info",
        "A PROXY prelude names nobody, so the peer is taken, unverified, and no header counts.",
        "fine for the proxy's own checks; otherwise have it send the client's IP address, not "
        "UNKNOWN, LOCAL or a Unix socket",
    ),
    "proxy-prelude-missing": Code(
        "error",
        "A listener that requires a PROXY prelude got none in time.",
        "have the proxy send it (send-proxy, send-proxy-v2), or turn proxy_protocol off",
    ),
    "proxy-prelude-invalid": Code(
        "error",
        "A PROXY prelude was malformed, of the wrong version, or from a peer not allowed.",
        "check the proxy's version of the protocol, and that its address is trusted",
    ),
}
"""Permanent codes; their order is the order of the documentation."""


STANDING = frozenset({"proto-unattributed", "prelude-names-nobody", "proxy-named-as-client"})
"""Codes that say how a proxy is set up, and so hold for each request of its connection."""


def title(name: bytes) -> str:
    """Return a field name as people write it, escaped."""
    return "-".join(part.capitalize() for part in escape(name, SHOWN_BYTES).split("-"))


def make_finding(code: str, detail: str) -> Finding:
    """Return a finding of a known code.

    Args:
        code: A key of `CODES`.
        detail: What was seen, already escaped where a stranger wrote it.
    """
    entry = CODES[code]
    return Finding(code, entry.severity, detail, entry.fix)


def is_serious(finding: Finding) -> bool:
    """Return whether a finding is a warning or worse."""
    return finding.severity != "info"
