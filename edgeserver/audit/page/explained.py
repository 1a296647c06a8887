"""The section of `audit explain`: one request, its hops, and who its client is.

Decides what of a proof is shown.
"""

from __future__ import annotations

from typing import Any, Final

from edgeserver.audit.page.blocks import (
    Cell,
    Mood,
    ShownFinding,
    figure_block,
    findings_block,
    table_block,
)
from edgeserver.audit.page.graph import Graph, Place, PlaceKind, Route
from edgeserver.audit.page.section import PageSection, count_severities
from edgeserver.audit.page.values import flag_of, number_of, objects_of, text_of

__all__ = ["show_request"]

_KINDS: Final[dict[str, PlaceKind]] = {"client": "client", "trusted": "proxy"}
_VERDICTS: Final = {"client": "the client", "trusted": "listed proxy", "ignored": "ignored claim"}
_CAPTION: Final = (
    "The request travelled from the first to the last. Struck out: what anybody could have written."
)
_MOST_HOPS: Final = 6


def show_request(value: dict[str, Any], name: str) -> PageSection:
    """Return the section of one request."""
    findings = [
        ShownFinding(
            text_of(each, "code"), text_of(each, "severity"), text_of(each, "detail"),
            (("fix", text_of(each, "fix")),),
        )
        for each in objects_of(value, "findings")
    ]  # fmt: skip
    verified = flag_of(value, "verified")
    mood: Mood = "good" if verified else "warn"
    if any(each.severity == "error" for each in findings):
        mood = "bad"
    elif any(each.severity == "warning" for each in findings):
        mood = "warn"
    client = text_of(value, "client")
    return PageSection(
        kind="One request",
        name=name,
        headline=_headline(client, verified=verified),
        mood=mood,
        lead=f"Over {text_of(value, 'scheme')}; reason: {text_of(value, 'reason')}.",
        facts=count_severities(findings),
        parts=(
            figure_block(_graph(value), _CAPTION),
            findings_block(findings, none="Nothing is odd about it."),
            table_block(
                "Hops, the nearest first",
                ("address", "claimed", "said by", "verdict", "why"),
                [
                    [Cell(text_of(each, "address") or "\u2014", "mono"),
                     Cell(text_of(each, "claimed"), "mono"), Cell(text_of(each, "said_by"), "mono"),
                     _VERDICTS.get(text_of(each, "verdict"), text_of(each, "verdict")),
                     text_of(each, "why")]
                    for each in objects_of(value, "hops")
                ],
                left_out=int(number_of(value, "unseen") or 0),
            ),
        ),
    )  # fmt: skip


def _headline(client: str, *, verified: bool) -> str:
    if not client:
        return "There is no client"
    return f"The client is {client}" if verified else f"{client} is taken, and not verified"


def _graph(value: dict[str, Any]) -> Graph:
    """Return the hops from the outermost claim to this server."""
    places = {}
    for number, hop in enumerate(objects_of(value, "hops")[:_MOST_HOPS]):
        verdict = text_of(hop, "verdict")
        places[str(number)] = Place(
            text_of(hop, "address") or text_of(hop, "claimed") or "no address",
            _VERDICTS.get(verdict, verdict),
            "",
            _KINDS.get(verdict, "claim"),
        )
    return Graph(
        title="The chain, as the request travelled",
        app=Place("app", "answers", kind="app"),
        places=places,
        routes=[Route(tuple(reversed(places)))],
    )
