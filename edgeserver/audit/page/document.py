"""The whole page: which report is of which kind, an overview, and one file that loads nothing.

Decides what is taken for a report, and the order of things. It must not know files: it is handed
what JSON holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from edgeserver.audit.page.blocks import worst_mood
from edgeserver.audit.page.checked import show_check
from edgeserver.audit.page.configuration import show_configuration
from edgeserver.audit.page.explained import show_request
from edgeserver.audit.page.live import show_live
from edgeserver.audit.page.logged import show_log
from edgeserver.audit.page.markup import Markup, element, joined
from edgeserver.audit.page.probing import show_probe
from edgeserver.audit.page.redact import redact
from edgeserver.audit.page.section import PageSection, render_section
from edgeserver.audit.page.style import PAGE_POLICY, PAGE_STYLE

__all__ = ["NoReport", "PageSource", "kind_of_report", "render_audit_page"]

_SHOW: Final[dict[str, Callable[[dict[str, Any], str], PageSection]]] = {
    "config": show_configuration,
    "logs": show_log,
    "check": show_check,
    "probe": show_probe,
    "explain": show_request,
    "live": show_live,
}
_KINDS: Final = {
    "edgeserver-check": "check",
    "edgeserver-probe": "probe",
    "edgeserver-live": "live",
}
_MARKS: Final = (("config", "entries"), ("logs", "log"), ("explain", "reason"))
"""What tells a report without a kind: a name that only it has."""


class NoReport(ValueError):
    """What is no report of an audit."""


class PageSource(NamedTuple):
    """One report.

    Args:
        value: What its JSON holds.
        name: What it is called on the page, such as its file.
    """

    value: Any
    name: str = ""


def kind_of_report(value: Any) -> str:
    """Return whose report this is: `config`, `logs`, `check`, `probe`, `explain` or `live`.

    Raises:
        NoReport: It is none.
    """
    if isinstance(value, dict):
        kind = value.get("kind")
        if isinstance(kind, str) and kind in _KINDS:
            return _KINDS[kind]
        for found, mark in _MARKS:
            if mark in value and "kind" not in value:
                return found
    raise NoReport("none of audit config, logs, check, probe or explain has written this")


def render_audit_page(
    sources: Sequence[PageSource],
    *,
    made_s: float,
    version: str,
    hides_clients: bool = False,
    refresh_s: int = 0,
) -> bytes:
    """Return the page, ASCII.

    Args:
        sources: The reports, in the order in which they stand.
        made_s: When it is made, seconds since 1970.
        version: The version of edgeserver.
        hides_clients: Whether addresses of clients become networks.
        refresh_s: After how long it loads itself again; 0 for never.

    Raises:
        NoReport: One of them is none.
    """
    sections = []
    for source in sources:
        show = _SHOW[kind_of_report(source.value)]
        value, name = source.value, source.name
        if hides_clients:
            value, name = redact(value, name)
        sections.append(show(value, name))
    made = datetime.fromtimestamp(made_s, UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    hidden = "; clients are shown as networks (/24, /48)" if hides_clients else ""
    refresh = element("meta", http_equiv="refresh", content=refresh_s) if refresh_s else ""
    title = "Audit of trusted proxies"
    page = joined(
        Markup("<!doctype html>\n"),
        element(
            "html",
            element(
                "head",
                element("meta", charset="utf-8"),
                element("meta", http_equiv="Content-Security-Policy", content=PAGE_POLICY),
                element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                element("meta", name="referrer", content="no-referrer"),
                refresh,
                element("title", title),
                element("style", PAGE_STYLE),
            ),
            element(
                "body",
                element(
                    "main",
                    element(
                        "header",
                        element("h1", title),
                        element("p", f"{made}, by edgeserver {version}{hidden}"),
                    ),
                    _overview(sections),
                    *(render_section(each, f"s{n}") for n, each in enumerate(sections, start=1)),
                ),
            ),
            lang="en",
        ),
        Markup("\n"),
    )
    return page.encode("ascii", "xmlcharrefreplace")


def _overview(sections: list[PageSection]) -> Markup:
    """Return the verdicts of several reports, each a link to its section."""
    if not sections:
        return element("p", "There is no report.")
    if len(sections) == 1:
        return Markup("")
    items = [
        element(
            "li",
            element(
                "a",
                element("b", each.headline),
                " \u00b7 ".join(filter(None, (each.kind, each.name))),
                href=f"#s{number}",
            ),
            class_=worst_mood([each.mood]) or None,
        )
        for number, each in enumerate(sections, start=1)
    ]
    return element("ul", *items, class_="overview")
