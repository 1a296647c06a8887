"""The chain as a picture on a terminal.

Decides colours and signs; the words are `proxyheaders.render`'s. Nothing here is parsed as markup,
so what a stranger wrote stays text.
"""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edgeserver.proxyheaders.explanation.render import Provenance, hop_address, render_summary
from edgeserver.proxyheaders.results import Finding
from edgeserver.support.escape import escape

__all__ = ["draw_chain"]

_STYLES = {
    "trusted": ("✓ trusted", "green"),
    "client": ("● CLIENT", "bold cyan"),
    "ignored": ("· ignored", "dim"),
    "unusable": ("✗ unusable", "bold red"),
}
_SEVERITIES = {"info": ("info", "blue"), "warning": ("warn", "yellow"), "error": ("error", "red")}
_MAX_DRAWN = 6


def draw_chain(provenance: Provenance, findings: list[Finding], stream: IO[str]) -> None:
    """Draw the chain, who the client is, and the findings with their fixes.

    Args:
        provenance: The proof.
        findings: What to show below it.
        stream: The terminal.
    """
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    resolved = provenance.resolved
    colour = "green" if resolved.verified else "red"
    console.print(_road(provenance))
    console.print(_table(provenance))
    if provenance.unseen:
        console.print(Text(f"  ... {provenance.unseen} more entries, never looked at", "dim"))
    summary = Text(render_summary(provenance), f"bold {colour}")
    console.print(Panel(summary, border_style=colour, expand=False))
    for finding in findings:
        label, style = _SEVERITIES[finding.severity]
        line = Text.assemble((label, f"bold {style}"), "  ", (finding.code, "bold"), ": ")
        console.print(line.append(finding.detail))
        console.print(Padding(Text(f"fix: {finding.fix}", "dim"), (0, 0, 0, 6)))


def _road(provenance: Provenance) -> Text:
    """Return the chain on one line, as the request travelled: from the left to this server."""
    hops = [hop for hop in provenance.hops if hop.verdict != "ignored"]
    road = Text()
    if len(hops) < len(provenance.hops):
        road.append("(claims) ", "dim")
        road.append("╌╌ ", "dim")
    for hop in reversed(hops[-_MAX_DRAWN:] if len(hops) > _MAX_DRAWN else hops):
        road.append(hop_address(hop), _STYLES[hop.verdict][1])
        road.append(" ──▶ ")
    if len(hops) > _MAX_DRAWN:
        road.append(f"{len(hops) - _MAX_DRAWN} more ──▶ ", "green")
    return road.append("this server", "bold")


def _table(provenance: Provenance) -> Table:
    """Return the hops as a table, nearest first."""
    table = Table(box=None, pad_edge=True, header_style="bold")
    table.add_column("hop", justify="right", no_wrap=True)
    for title in ("address", "said by", "verdict"):
        table.add_column(title, overflow="fold")
    table.add_column("why", overflow="fold")
    for number, hop in enumerate(provenance.hops):
        sign, style = _STYLES[hop.verdict]
        table.add_row(
            Text(str(number), style),
            Text(hop_address(hop), style),
            Text(escape(hop.said_by), style),
            Text(sign, style),
            Text(hop.why, style),
        )
    return table
