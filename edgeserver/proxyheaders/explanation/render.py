"""The chain as plain text: what goes into an incident report.

Decides the layout. It must not know how anything was decided; everything that a stranger wrote is
escaped here.
"""

from __future__ import annotations

from edgeserver.proxyheaders.results import Finding, Hop, Provenance
from edgeserver.support.escape import escape

__all__ = ["hop_address", "render_finding", "render_provenance", "render_summary"]

_SHOWN_BYTES = 45
_LABELS = {"info": "info", "warning": "warn", "error": "error"}


def hop_address(hop: Hop) -> str:
    """Return what stands in the address column: the address, else what was claimed."""
    if hop.address is None or (hop.field == "TCP" and hop.claimed.startswith(b"unix:")):
        return escape(hop.claimed, _SHOWN_BYTES) or "(empty)"
    return hop.address if hop.zone is None else f"{hop.address}%{escape(hop.zone)}"


def render_summary(provenance: Provenance) -> str:
    """Return the line that says who the client is."""
    resolved = provenance.resolved
    verified = "verified" if resolved.verified else f"UNVERIFIED ({resolved.reason})"
    return f"client {resolved.remote_ip}  scheme {resolved.protocol}  {verified}"


def render_finding(finding: Finding) -> str:
    """Return one finding on one line, without its fix."""
    return f"{_LABELS[finding.severity]}  {finding.code}: {finding.detail}"


def render_provenance(provenance: Provenance) -> str:
    """Return the whole picture, without a line feed at its end."""
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
    lines.extend(render_finding(finding) for finding in provenance.findings)
    return "\n".join(lines)
