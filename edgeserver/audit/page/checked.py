"""The section of `audit check`: what was expected, what is so, and what counts.

Decides what of that report is shown. It has verdicts and no fields: the section of the same chain
by `audit config` has those.
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
    verdict_mood,
)
from edgeserver.audit.page.graph import Graph, Place, Route
from edgeserver.audit.page.markup import Markup, element, joined
from edgeserver.audit.page.section import PageSection, count_severities
from edgeserver.audit.page.values import flag_of, number_of, objects_of, text_of, texts_of
from edgeserver.audit.page.verdicts import place_of, route_labels, verdict_words

__all__ = ["show_check"]

_CAPTION: Final = (
    "Green: proved for whoever connects there. Dashed red: a stranger who connects there chooses "
    "what the application believes."
)


def show_check(value: dict[str, Any], name: str) -> PageSection:
    """Return the section of a check."""
    items = objects_of(value, "findings")
    fresh = [_finding(each) for each in items if not flag_of(each, "known")]
    known = [_finding(each) for each in items if flag_of(each, "known")]
    sections = objects_of(value, "sections")
    gone = number_of(value, "baseline", "gone")
    facts = [*count_severities(fresh), Fact(len(sections), "checked")]
    if gone is not None:
        facts += [Fact(len(known), "known"), Fact(f"{gone:,.0f}", "no longer found")]
    headline, mood = _headline(fresh, is_empty=not sections)
    return PageSection(
        kind="Check",
        name=text_of(value, "file") or name,
        headline=headline,
        mood=mood,
        facts=tuple(facts),
        parts=(
            *(_chain(each) for each in sections if text_of(each, "kind") == "chain"),
            findings_block(fresh),
            _sections(sections),
            _verdicts(sections),
            findings_block(known, title="Known, by the baseline", none="", opened=0),
        ),
    )


def _headline(fresh: list[ShownFinding], *, is_empty: bool) -> tuple[str, Mood]:
    severities = {each.severity for each in fresh}
    if "error" in severities:
        return "Something is not as it should be", "bad"
    if "warning" in severities:
        return "There are warnings", "warn"
    if any(each.code == "cannot-tell" for each in fresh):
        return "Not everything can be told", "warn"
    return ("Nothing was checked", "warn") if is_empty else ("Everything is as expected", "good")


def _chain(section: dict[str, Any]) -> Markup:
    """Return a chain: its proxies, and an edge for each place that strangers can connect to."""
    places: dict[str, Place] = {}
    for line in texts_of(section, "about")[:6]:
        hop, _, rest = line.partition(" ")
        places[hop] = Place(hop, rest.partition(" ")[0])
    names = [*places]
    found: dict[str, list[tuple[str, str]]] = {}
    for each in objects_of(section, "verdicts"):
        verdicts = found.setdefault(text_of(each, "from"), [])
        verdicts.append((text_of(each, "about"), text_of(each, "verdict")))
    routes = [
        route_labels(Route(tuple(names[names.index(start) :]) if start in names else ()), verdicts)
        for start, verdicts in found.items()
    ]
    if not any(len(each.stops) == len(names) for each in routes):
        routes.append(Route(tuple(names)))
    graph = Graph(
        title=f"The chain {text_of(section, 'name')}",
        stranger=Place("stranger", "anybody", kind="stranger"),
        app=Place("app", "believes the chain", kind="app"),
        places=places,
        routes=routes,
    )
    return joined(element("h3", f"Chain {text_of(section, 'name')}"), figure_block(graph, _CAPTION))


def _finding(each: dict[str, Any]) -> ShownFinding:
    rows: list[tuple[str, object]] = [
        ("where", place_of(each, "where")),
        ("fix", text_of(each, "fix")),
    ]
    if text_of(each, "curl"):
        rows.append(("try", element("pre", text_of(each, "curl"))))
    detail = f"{text_of(each, 'section')}: {text_of(each, 'detail')}"
    return ShownFinding(text_of(each, "code"), text_of(each, "severity"), detail, tuple(rows))


def _sections(sections: list[dict[str, Any]]) -> Markup:
    rows: list[list[Cell | str]] = [
        [
            text_of(each, "kind"),
            Cell(text_of(each, "name"), "mono"),
            "; ".join(texts_of(each, "about")),
        ]
        for each in sections
    ]
    return table_block("What was checked", ("kind", "name", "about"), rows)


def _verdicts(sections: list[dict[str, Any]]) -> Markup:
    rows: list[list[Cell | str]] = []
    for section in sections:
        for each in objects_of(section, "verdicts"):
            verdict, wanted = text_of(each, "verdict"), text_of(each, "expected")
            as_wanted: Mood = "good" if wanted and wanted == verdict else verdict_mood(verdict)
            rows.append(
                [
                    text_of(section, "name"),
                    text_of(each, "from"),
                    text_of(each, "about"),
                    Cell(verdict_words(verdict), as_wanted),
                    verdict_words(wanted) if wanted else "",
                ]
            )
    head = ("chain", "connects to", "about", "verdict", "expected")
    return table_block("Verdicts beside what is expected", head, rows)
