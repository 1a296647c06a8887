"""The section of a running server: what its workers have counted of who connects and what is found.

Decides what of that report is shown, and what is said of samples. It must not know how anything is
counted.
"""

from __future__ import annotations

from typing import Any, Final

from edgeserver.audit.page.blocks import (
    Cell,
    Fact,
    Mood,
    ShownFinding,
    figure_block,
    findings_block,
    table_block,
)
from edgeserver.audit.page.graph import Place
from edgeserver.audit.page.logged import CAPTION, LogPolicy, chain_graph
from edgeserver.audit.page.markup import Markup, element
from edgeserver.audit.page.section import PageSection, count_severities
from edgeserver.audit.page.values import flag_of, number_of, objects_of, text_of, texts_of

__all__ = ["show_live"]

_CAPTION: Final = f"{CAPTION} Of many requests in a second some are looked at, and stand for all."


def show_live(value: dict[str, Any], name: str) -> PageSection:
    """Return the section of a running server."""
    findings = [_finding(each) for each in objects_of(value, "findings")]
    requests = number_of(value, "requests") or 0
    unverified = number_of(value, "unverified") or 0
    policy = LogPolicy(texts_of(value, "policy", "proxies"))
    chains = [
        (tuple(texts_of(each, "hops")), number_of(each, "requests") or 0.0)
        for each in objects_of(value, "chains")
    ]
    graph = chain_graph(
        chains, policy, set(), Place("this server", "", kind="app"), "Who reaches this server"
    )
    headline, mood = _headline(findings, requests, unverified)
    return PageSection(
        kind="Running server",
        name=text_of(value, "application") or name,
        headline=headline,
        mood=mood,
        lead="; ".join(texts_of(value, "policy", "lines")),
        facts=(
            *count_severities(findings),
            Fact(f"{requests:,.0f}", "request" if requests == 1 else "requests"),
            Fact(f"{unverified:,.0f}", "not verified", "warn" if unverified else "good"),
        ),
        parts=(
            figure_block(graph, _CAPTION) if chains else Markup(""),
            findings_block(findings),
            _peers(value),
            _reasons(value, requests),
            _shapes(value),
            element("p", "Counted since the server started; a worker that is killed takes its last "
                    "second with it. Peers are those of the workers that live.", class_="soft"),
        ),
    )  # fmt: skip


def _headline(findings: list[ShownFinding], requests: float, unverified: float) -> tuple[str, Mood]:
    severities = {each.severity for each in findings}
    if "error" in severities:
        return "Something is wrong with the chain", "bad"
    if "warning" in severities:
        return "Something is odd about the chain", "warn"
    if not requests:
        return "No request has come yet", "warn"
    if unverified:
        return "Some clients could not be verified", "warn"
    return "Every client was verified", "good"


def _finding(each: dict[str, Any]) -> ShownFinding:
    count = number_of(each, "requests")
    detail = text_of(each, "detail")
    rows: list[tuple[str, object]] = [("fix", text_of(each, "fix"))]
    if count is not None:
        rows.append(("requests", f"about {count:,.0f}"))
    return ShownFinding(text_of(each, "code"), text_of(each, "severity"), detail, tuple(rows))


def _peers(value: dict[str, Any]) -> Markup:
    rows: list[list[Cell | str]] = []
    for each in objects_of(value, "peers"):
        listed = flag_of(each, "listed")
        rows.append(
            [
                Cell(text_of(each, "address"), "mono"),
                Cell("listed" if listed else "not listed", "good" if listed else ""),
                Cell(f"{number_of(each, 'requests') or 0:,.0f}", "number"),
                Cell("yes" if flag_of(each, "claims") and not listed else "",
                     "warn" if flag_of(each, "claims") and not listed else ""),
            ]
        )  # fmt: skip
    head = ("peer", "", "requests, about", "claims without being listed")
    return table_block("Who connects most", head, rows)


def _reasons(value: dict[str, Any], requests: float) -> Markup:
    rows: list[list[Cell | str]] = [
        [Cell(text_of(each, "reason"), "mono"), text_of(each, "meaning"),
         Cell(f"{number_of(each, 'requests') or 0:,.0f}", "number"),
         Cell(f"{(number_of(each, 'requests') or 0) / (requests or 1):.1%}", "number")]
        for each in objects_of(value, "reasons")
    ]  # fmt: skip
    return table_block("Why each client was taken", ("reason", "", "requests", "share"), rows)


def _shapes(value: dict[str, Any]) -> Markup:
    rows: list[list[Cell | str]] = [
        [text_of(each, "shape"), Cell(f"{number_of(each, 'requests') or 0:,.0f}", "number")]
        for each in objects_of(value, "shapes")
    ]
    return table_block("Shapes of requests", ("shape", "requests, about"), rows)
