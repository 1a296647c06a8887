"""The blocks that sections are made of: facts, tables, findings that open, and a graph's figure.

Decides how each kind of block looks. It must not know which report it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from edgeserver.audit.page.drawing import draw_graph
from edgeserver.audit.page.graph import Graph
from edgeserver.audit.page.markup import Markup, element, joined

__all__ = [
    "Cell",
    "Fact",
    "Mood",
    "ShownFinding",
    "closed_block",
    "counted",
    "facts_block",
    "figure_block",
    "findings_block",
    "table_block",
    "verdict_mood",
    "worst_mood",
]

Mood = Literal["bad", "warn", "good", ""]

MOST_ROWS: Final = 200
"""How many rows a table has, and how many findings are shown."""

_SEVERITIES: Final = ("error", "warning", "info")
_MOODS: Final = ("bad", "warn", "good", "")
_GOOD: Final = ("right", "unreachable")
_BAD: Final = ("spoofable", "wrong-always")


class Cell(NamedTuple):
    """A cell of a table.

    Args:
        value: What it says.
        look: A class of the style sheet: `mono`, `number`, or a mood.
    """

    value: object
    look: str = ""


class Fact(NamedTuple):
    """One thing to know at a glance.

    Args:
        value: The number or word.
        name: What it is of.
        mood: How it is.
    """

    value: object
    name: str
    mood: Mood = ""


class ShownFinding(NamedTuple):
    """One finding.

    Args:
        code: Its code.
        severity: `error`, `warning` or `info`; anything else is the last.
        detail: What is wrong, in a sentence.
        rows: What else is said, each with its name; `Markup` as it is.
    """

    code: str
    severity: str
    detail: str
    rows: tuple[tuple[str, object], ...] = ()


def counted(count: float, noun: str) -> str:
    """Return a number with its noun."""
    shown = f"{count:,.0f}"
    return f"{shown} {noun}{'' if shown == '1' else 's'}"


def worst_mood(moods: Iterable[Mood]) -> Mood:
    """Return the worst of some moods."""
    return min(moods, key=_MOODS.index, default="")


def verdict_mood(verdict: str) -> Mood:
    """Return the mood of a verdict of the model."""
    if verdict in _GOOD:
        return "good"
    return "bad" if verdict in _BAD else "warn"


def facts_block(facts: Sequence[Fact]) -> Markup:
    """Return facts in a row."""
    items = [
        element("li", element("b", each.value), each.name, class_=each.mood or None)
        for each in facts
    ]
    return element("ul", *items, class_="facts") if items else Markup("")


def figure_block(graph: Graph, caption: str) -> Markup:
    """Return a graph with its caption."""
    return element("figure", draw_graph(graph), element("figcaption", caption))


def table_block(
    title: str, head: Sequence[str], rows: Sequence[Sequence[Cell | str]], *, left_out: int = 0
) -> Markup:
    """Return a table under its title; nothing where it has no row.

    Args:
        title: The title.
        head: The names of the columns; nothing for none.
        rows: The rows.
        left_out: How many rows somebody has left out already.
    """
    if not rows:
        return Markup("")
    lines = []
    for row in rows[:MOST_ROWS]:
        cells = [each if isinstance(each, Cell) else Cell(each) for each in row]
        names = [*head, *[""] * (len(cells) - len(head))]
        lines.append(
            element(
                "tr",
                *(
                    element("td", each.value, class_=each.look or None, data_name=name or None)
                    for each, name in zip(cells, names, strict=False)
                ),
            )
        )
    looks = [each.look if isinstance(each, Cell) else "" for each in rows[0]]
    heads = [
        element("th", name, scope="col", class_="number" if look == "number" else None)
        for name, look in zip(head, looks, strict=False)
    ]
    table = element(
        "table",
        element("thead", element("tr", *heads)) if head else "",
        element("tbody", *lines),
    )
    left_out += len(rows) - len(lines)
    rest = element("p", f"and {left_out:,} more", class_="soft") if left_out > 0 else ""
    return joined(
        element("h3", title) if title else "", element("div", table, class_="scroll"), rest
    )


def closed_block(summary: str, *content: Markup) -> Markup:
    """Return what is shown when somebody asks for it; nothing where there is nothing."""
    inside = joined(*content)
    return element("details", element("summary", summary), inside) if inside else inside


def findings_block(
    findings: Sequence[ShownFinding],
    *,
    title: str = "Findings",
    none: str = "Nothing was found.",
    opened: int = 3,
) -> Markup:
    """Return the findings, the worst first.

    Args:
        findings: The findings.
        title: What they are called.
        none: What is said where there are none; nothing for no title either.
        opened: How many errors and warnings are open at first.
    """
    if not findings:
        return joined(element("h3", title), element("p", none)) if none else Markup("")
    ranked = sorted(findings, key=lambda each: _rank(each.severity))
    shown = [
        _finding(each, is_open=number < opened and _rank(each.severity) < 2)
        for number, each in enumerate(ranked[:MOST_ROWS])
    ]
    rest = len(ranked) - len(shown)
    more = element("p", f"and {rest:,} more", class_="soft") if rest else ""
    return joined(element("h3", title), *shown, more)


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES) - 1


def _finding(finding: ShownFinding, *, is_open: bool) -> Markup:
    severity = _SEVERITIES[_rank(finding.severity)]
    summary = element(
        "summary",
        element("span", severity, class_="tag"),
        element("code", finding.code),
        " ",
        finding.detail,
    )
    rows = [
        joined(element("dt", name), element("dd", value)) for name, value in finding.rows if value
    ]
    body = element("dl", *rows) if rows else element("p", "Nothing to do.", class_="soft")
    return element("details", summary, body, class_=f"finding {severity}", open=is_open)
