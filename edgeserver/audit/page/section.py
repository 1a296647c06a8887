"""A section of the page: what one report says, from its verdict in a sentence to its tables.

Decides its parts alone. Each kind of report has a module that makes one of its JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeserver.audit.page.blocks import Fact, Mood, ShownFinding, facts_block
from edgeserver.audit.page.markup import Markup, element, joined

__all__ = ["PageSection", "count_severities", "render_section"]


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """What one report says.

    Args:
        kind: What was looked at, in a word or two.
        name: Which one, such as a file.
        headline: The verdict, as a sentence without its full stop.
        mood: How it is.
        lead: What else to know first.
        facts: Numbers and verdicts.
        parts: The rest.
    """

    kind: str
    name: str
    headline: str
    mood: Mood
    lead: str = ""
    facts: tuple[Fact, ...] = ()
    parts: tuple[Markup, ...] = ()


def count_severities(findings: Sequence[ShownFinding]) -> tuple[Fact, ...]:
    """Return how many errors and warnings there are."""
    errors = sum(each.severity == "error" for each in findings)
    warnings = sum(each.severity == "warning" for each in findings)
    return (
        Fact(f"{errors:,}", "error" if errors == 1 else "errors", "bad" if errors else "good"),
        Fact(
            f"{warnings:,}",
            "warning" if warnings == 1 else "warnings",
            "warn" if warnings else "good",
        ),
    )


def render_section(section: PageSection, anchor: str) -> Markup:
    """Return a section under an anchor."""
    kicker = " \u00b7 ".join(filter(None, (section.kind, section.name)))
    return element(
        "section",
        element("p", kicker, class_="kicker"),
        element("h2", section.headline, class_="headline"),
        element("p", section.lead, class_="soft") if section.lead else "",
        facts_block(section.facts),
        joined(*section.parts),
        class_=section.mood or None,
        id=anchor,
    )
