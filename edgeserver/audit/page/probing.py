"""The section of `audit probe`: what a chain did to forgeries, as it was seen from outside.

Decides what of that report is shown.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from edgeserver.audit.page.blocks import (
    Cell,
    Fact,
    ShownFinding,
    closed_block,
    figure_block,
    findings_block,
    table_block,
    verdict_mood,
)
from edgeserver.audit.page.graph import Graph, Place, Route
from edgeserver.audit.page.markup import Markup, element
from edgeserver.audit.page.section import PageSection, count_severities
from edgeserver.audit.page.values import flag_of, mapping_of, number_of, objects_of, text_of
from edgeserver.audit.page.verdicts import head_rows, headline_of, route_labels, verdict_words
from edgeserver.chains.report import DOES_WORDS

__all__ = ["show_probe"]

_EFFECTS: Final = {
    "client": "came through, as the client",
    "scheme": "came through, as the scheme",
    "hidden": "hides the client",
    "arrived": "arrives, and is not believed",
    "nothing": "does not arrive, or changes nothing",
    "refused": "is refused",
}
_CAPTION: Final = "The probe's requests travelled inwards. Dashed red: a forgery came through."


def show_probe(value: dict[str, Any], name: str) -> PageSection:
    """Return the section of a probe."""
    findings = [_finding(value, each) for each in objects_of(value, "findings")]
    verdicts = [(what, text_of(value, what) or "cannot-tell") for what in ("client", "scheme")]
    requests = number_of(value, "requests") or 0
    headline, mood = headline_of(verdicts, "Nothing that was forged came through")
    app = mapping_of(value, "app")
    return PageSection(
        kind="Probe",
        name=text_of(value, "url") or name,
        headline=headline,
        mood=mood,
        lead="What was sent to this path of this host, at that time; of what was not sent a probe "
        "proves nothing.",
        facts=(
            *count_severities(findings),
            *(Fact(verdict_words(each), what, verdict_mood(each)) for what, each in verdicts),
            Fact(f"{requests:,.0f}", "request" if requests == 1 else "requests"),
        ),
        parts=(
            figure_block(_graph(value, verdicts), _CAPTION),
            findings_block(findings),
            _fields(value),
            _forgeries(value),
            table_block(
                "What the application said of an honest request",
                (),
                [[key, Cell(text_of(app, key), "mono")] for key in app if text_of(app, key)],
            ),
        ),
    )


def _graph(value: dict[str, Any], verdicts: list[tuple[str, str]]) -> Graph:
    """Return the chain as the probe saw it."""
    proxies = objects_of(value, "proxies")
    places = {
        f"{number} {text_of(each, 'address')}": Place(
            text_of(each, "address"), text_of(each, "did")
        )
        for number, each in enumerate(proxies)
    }
    known = flag_of(value, "from", "known")
    you = Place(
        text_of(value, "from", "address") or "you", "the prober" if known else "behind NAT",
        kind="stranger",
    )  # fmt: skip
    return Graph(
        title="The chain as the probe saw it",
        stranger=you,
        app=Place("app", f"takes {text_of(value, 'app', 'client')}", kind="app"),
        places=places,
        routes=[route_labels(Route(tuple(places)), verdicts)],
    )


def _curl(url: str, sent: dict[str, Any]) -> str:
    """Return a forged request as a line for a shell, without the proof that the echo asks for."""
    words = ["curl"]
    nominated = text_of(sent, "connection")
    if nominated:
        words += ["-H", f"Connection: close, {nominated}"]
    lines = sent.get("lines")
    for line in lines if isinstance(lines, list) else ():
        if isinstance(line, list) and len(line) == 2:
            words += ["-H", f"{line[0]}: {line[1]}" if line[1] else f"{line[0]};"]
    return " ".join(shlex.quote(word) for word in [*words, url])


def _finding(value: dict[str, Any], each: dict[str, Any]) -> ShownFinding:
    sent = mapping_of(each, "sent")
    rows: list[tuple[str, object]] = [("fix", text_of(each, "fix"))]
    if sent:
        rows.append(("try", element("pre", _curl(text_of(value, "url"), sent))))
    return ShownFinding(
        text_of(each, "code"), text_of(each, "severity"), text_of(each, "detail"), tuple(rows)
    )


def _fields(value: dict[str, Any]) -> Markup:
    rows: list[list[Cell | str]] = [
        [
            Cell(text_of(each, "name"), "mono"),
            DOES_WORDS.get(text_of(each, "does"), "cannot tell"),
            Cell(text_of(each, "honest") or "\u2014", "mono"),
            Cell(text_of(each, "sent"), "mono"),
            Cell(text_of(each, "arrived") or "\u2014", "mono"),
        ]
        for each in objects_of(value, "fields")
    ]
    head = ("field", "does", "arrives without", "sent", "arrives then")
    return table_block("What the chain does to each field", head, rows)


def _forgeries(value: dict[str, Any]) -> Markup:
    rows: list[list[Cell | str]] = []
    for each in objects_of(value, "forgeries"):
        effect = text_of(each, "effect")
        sent = head_rows("sent", mapping_of(each, "sent").get("lines"))
        came = effect in ("client", "scheme")
        rows.append(
            [
                text_of(each, "kind"),
                Cell(sent[0][1] if sent else text_of(each, "sent", "prelude")),
                Cell(_EFFECTS.get(effect, effect), "bad" if came else ""),
                text_of(each, "note"),
            ]
        )
    table = table_block("", ("kind", "sent", "effect", "note"), rows)
    return closed_block(f"Forged requests ({len(rows):,})", table)
