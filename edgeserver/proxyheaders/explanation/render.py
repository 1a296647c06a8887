"""The proof of one decision: its hops, and how they are written as plain text.

Decides shape and layout: what goes into an incident report. It must not know how anything was
decided; everything that a stranger wrote is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from edgeserver.proxyheaders.results import Finding, Resolved
from edgeserver.support.addresses import UNIX, client_name
from edgeserver.support.escape import escape

__all__ = [
    "SEVERITY_LABELS",
    "Hop",
    "Provenance",
    "hop_address",
    "render_advice",
    "render_finding",
    "render_provenance",
    "render_summary",
]

_SHOWN_BYTES = 45
SEVERITY_LABELS: Final = {"info": "info", "warning": "warn", "error": "error"}
"""What a finding begins with on a terminal, by its severity."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One element of the chain between the peer and whoever is claimed to be behind it.

    Args:
        address: The address as resolved (a Unix peer: 0.0.0.0); None where it was not parsed or
            is unusable.
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
            "address": None if self.address is None else client_name(self.address),
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
            "client": client_name(resolved.remote_ip),
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
        return render_provenance(self)


def hop_address(hop: Hop) -> str:
    """Return what stands in the address column: the address, else what was claimed."""
    if hop.address is None or (hop.field == "TCP" and hop.claimed.startswith(UNIX.encode())):
        return escape(hop.claimed, _SHOWN_BYTES) or "(empty)"
    return hop.address if hop.zone is None else f"{hop.address}%{escape(hop.zone)}"


def render_summary(provenance: Provenance) -> str:
    """Return the line that says who the client is."""
    resolved = provenance.resolved
    verified = "verified" if resolved.verified else f"UNVERIFIED ({resolved.reason})"
    return f"client {client_name(resolved.remote_ip)}  scheme {resolved.protocol}  {verified}"


def render_finding(finding: Finding) -> str:
    """Return one finding on one line, without its fix."""
    return f"{SEVERITY_LABELS[finding.severity]}  {finding.code}: {finding.detail}"


def render_provenance(provenance: Provenance) -> str:
    """Return the whole picture, without a line feed at its end."""
    return "\n".join([*_draw(provenance), *map(render_finding, provenance.findings)])


def render_advice(provenance: Provenance, findings: Iterable[Finding]) -> str:
    """Return the picture, and each of these findings with its fix on a line of its own."""
    lines = _draw(provenance)
    for finding in findings:
        lines += [render_finding(finding), f"      fix: {finding.fix}"]
    return "\n".join(lines)


def _draw(provenance: Provenance) -> list[str]:
    """Return the lines about the hops and the client."""
    rows = [("address", "said by", "verdict", "why")]
    for hop in provenance.hops:
        verdict = "CLIENT" if hop.verdict == "client" else hop.verdict
        rows.append((hop_address(hop), escape(hop.said_by), verdict, hop.why))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for number, row in enumerate(rows):
        index = "hop" if number == 0 else f"{number - 1:^3}"
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append(f" {index}  {cells}  {row[3]}")
    if provenance.unseen:
        lines.append(f" ...  {provenance.unseen} more entries, never looked at")
    lines.append(render_summary(provenance))
    return lines
