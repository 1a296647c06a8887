"""The section of `audit config`: what proxies do, by their configurations, and what follows.

Decides what of that report is shown, and where.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgeserver.audit.page.blocks import (
    Cell,
    Fact,
    ShownFinding,
    closed_block,
    counted,
    figure_block,
    findings_block,
    table_block,
    verdict_mood,
)
from edgeserver.audit.page.graph import Graph, Place, Route
from edgeserver.audit.page.markup import Markup, element
from edgeserver.audit.page.section import PageSection, count_severities
from edgeserver.audit.page.values import (
    flag_of,
    mapping_of,
    number_of,
    objects_of,
    text_of,
    texts_of,
)
from edgeserver.audit.page.verdicts import (
    doubts_of,
    head_rows,
    headline_of,
    joined_lines,
    place_of,
    route_labels,
    verdict_words,
)
from edgeserver.chains.report import DOES_WORDS

__all__ = ["show_configuration"]

_PROVED: Final = "Proved: no stranger can choose the client or the scheme"
_CAPTION: Final = (
    "Requests travel from the stranger to the application. Green: proved for whoever connects "
    "there. Dashed red: a stranger who connects there chooses what the application believes. "
    "Dotted: it is wrong, or cannot be told."
)


def show_configuration(value: dict[str, Any], name: str) -> PageSection:
    """Return the section of a report of configurations."""
    entries = objects_of(value, "entries")
    findings = [_finding(each) for each in objects_of(value, "findings")]
    headline, mood = headline_of((pair for each in entries for pair in _verdicts(each)), _PROVED)
    if mood == "good" and any(each.code == "cannot-tell" for each in findings):
        headline, mood = "Not everything can be told", "warn"
    trusted = texts_of(value, "policy", "proxies")
    more = number_of(value, "more_findings") or 0
    return PageSection(
        kind="Configurations",
        name=name,
        headline=headline,
        mood=mood,
        lead=f"The application trusts {', '.join(trusted[:6]) or 'nobody'}"
        f"{f' and {len(trusted) - 6} more' if len(trusted) > 6 else ''}, and reads "
        f"{text_of(value, 'policy', 'source') or 'no field'}.",
        facts=(
            *count_severities(findings),
            *_facts(entries),
            Fact(counted(sum(_tried(each) for each in entries), "claim"), "tried"),
        ),
        parts=(
            figure_block(_graph(value, entries), _CAPTION),
            findings_block(findings),
            element("p", f"and {more:,.0f} more findings", class_="soft") if more else Markup(""),
            _fields(value),
            _ways(entries),
            closed_block(
                "What the verdicts rest on",
                table_block("", (), [[each] for each in doubts_of(value, "assumptions")]),
            ),
        ),
    )


def _verdicts(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the verdicts on one place that strangers connect to."""
    yield "client", text_of(entry, "client") or "cannot-tell"
    for verdict in mapping_of(entry, "scheme").values():
        yield "scheme", str(verdict)


def _tried(entry: dict[str, Any]) -> float:
    return sum(number_of(each, "tried") or 0 for each in objects_of(entry, "ways"))


def _facts(entries: list[dict[str, Any]]) -> Iterator[Fact]:
    """Yield the worst verdict on the client and on the scheme."""
    for what in ("client", "scheme"):
        found = [each for entry in entries for name, each in _verdicts(entry) if name == what]
        if found:
            worst = min(found, key=lambda each: ("bad", "warn", "good").index(verdict_mood(each)))
            yield Fact(verdict_words(worst), what, verdict_mood(worst))


def _graph(value: dict[str, Any], entries: list[dict[str, Any]]) -> Graph:
    """Return the chain, with an edge for each place that strangers can connect to."""
    hops = objects_of(value, "hops")[:6]
    names = [text_of(each, "name") or str(number) for number, each in enumerate(hops)]
    source = text_of(value, "policy", "source")
    places = {}
    for name, hop in zip(names, hops, strict=True):
        does = {DOES_WORDS.get(text_of(each, "does"), "?") for each in objects_of(hop, "fields")
                if text_of(each, "name") == source}  # fmt: skip
        word = does.pop() if len(does) == 1 else ""
        note = " \u00b7 ".join(filter(None, (text_of(hop, "kind"), word)))
        places[name] = Place(name, note)
    routes = []
    for entry in entries:
        start = text_of(entry, "from")
        stops = tuple(names[names.index(start) :]) if start in names else ()
        routes.append(route_labels(Route(stops), _verdicts(entry)))
    if not any(len(each.stops) == len(names) for each in routes):
        routes.append(Route(tuple(names)))
    return Graph(
        title="The chain, and what follows for whoever connects to each part of it",
        stranger=Place("stranger", "anybody", kind="stranger"),
        app=Place("app", "believes the chain", kind="app"),
        places=places,
        routes=routes,
    )


def _finding(each: dict[str, Any]) -> ShownFinding:
    """Return one finding, with the request that shows it."""
    way = mapping_of(each, "way")
    trial = mapping_of(each, "counterexample")
    fixed_at = place_of(each, "fix", "where")
    rows: list[tuple[str, object]] = [
        ("where", place_of(each, "where")),
        (
            "way in",
            _way_words(way),
        ),
        ("connects to", text_of(each, "from")),
    ]
    fix = text_of(each, "fix", "text")
    if fix:
        rows.append((f"fix{f' at {fixed_at}' if fixed_at else ''}", element("pre", fix)))
    if trial:
        if text_of(trial, "curl") and _sends(trial):
            rows.append(("try", element("pre", text_of(trial, "curl"))))
        rows += head_rows("the app gets", mapping_of(trial, "app").get("head"))
        rows.append(
            (
                "and takes",
                f"{text_of(trial, 'client')} for the client of {text_of(trial, 'from')}, by "
                f"{text_of(trial, 'scheme')}",
            )
        )
    doubts = doubts_of(each, "not_understood")
    if doubts:
        rows.append(("not understood", joined_lines(doubts)))
    about = text_of(each, "about")
    detail = f"{about}: {text_of(each, 'detail')}" if about else text_of(each, "detail")
    return ShownFinding(text_of(each, "code"), text_of(each, "severity"), detail, tuple(rows))


def _way_words(way: dict[str, Any]) -> str:
    """Return a way in: where it listens, its server and path."""
    return " ".join(filter(None, (text_of(way, key) for key in ("listen", "server", "path"))))


def _sends(trial: dict[str, Any]) -> bool:
    """Return whether a counterexample sends anything."""
    return bool(trial.get("send") or trial.get("prelude"))


def _fields(value: dict[str, Any]) -> Markup:
    """Return what each proxy does to each field."""
    rows: list[list[Cell | str]] = []
    for hop in objects_of(value, "hops"):
        for use in objects_of(hop, "fields"):
            ways = number_of(use, "ways") or 0
            every = number_of(hop, "ways") or 0
            on = "everywhere" if ways >= every else f"{ways:,.0f} of {counted(every, 'way')} in"
            does = text_of(use, "does")
            rows.append(
                [
                    " ".join(filter(None, (text_of(hop, key) for key in ("name", "address")))),
                    Cell(text_of(use, "name"), "mono"),
                    Cell(
                        DOES_WORDS.get(does, "cannot tell"), "warn" if does in ("pass", "?") else ""
                    ),
                    Cell(place_of(use, "where") or "nobody sets it", "mono"),
                    on,
                ]
            )
    return table_block("What each proxy does", ("proxy", "field", "does", "where", "on"), rows)


def _ways(entries: list[dict[str, Any]]) -> Markup:
    """Return every way in, with its verdicts."""
    rows: list[list[Cell | str]] = []
    for entry in entries:
        for way in objects_of(entry, "ways"):
            client, scheme = text_of(way, "client"), text_of(way, "scheme")
            shown = _way_words(way)
            rows.append(
                [
                    text_of(entry, "from"),
                    Cell(shown or "app", "mono"),
                    "https" if flag_of(way, "tls") else "http",
                    Cell(verdict_words(client), verdict_mood(client)),
                    Cell(verdict_words(scheme), verdict_mood(scheme)),
                    Cell(text_of(way, "tried"), "number"),
                ]
            )
    table = table_block("", ("connects to", "way in", "by", "client", "scheme", "tried"), rows)
    return closed_block(f"Ways in, with their verdicts ({len(rows):,})", table)
