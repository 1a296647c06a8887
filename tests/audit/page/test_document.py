"""The audit's page: every kind of report, nothing loaded, and nothing of a stranger as markup."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from copy import deepcopy
from typing import Any

import pytest

from edgeserver.audit.page.document import NoReport, kind_of_report
from tests.audit.page.samples import REPORTS, ParsedPage, render

EVERY_TAG = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "h3", "p"),
    *("ul", "li", "a", "b", "section", "figure", "figcaption", "div", "svg", "g", "path"),
    *("polygon", "rect", "text", "details", "summary", "span", "code", "dl", "dt", "dd", "pre"),
    *("br", "table", "thead", "tbody", "tr", "th", "td"),
}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("config", ["A stranger can choose the client", "set-header", "haproxy.cfg:8", "2 more"]),
        ("logs", ["A proxy may be missing from the trust list", "never alone 0.90", "36.8%"]),
        ("check", ["Something is not as it should be", "expectation-failed", "Known, by the"]),
        ("probe", ["A stranger can choose the client", "came through, as the client", "curl -H"]),
        ("explain", ["The client is 203.0.113.9", "ignored claim", "and 3 more"]),
        ("live", ["Something is odd about the chain", "not listed", "about 20"]),
    ],
)
def test_each_kind(name: str, says: list[str]) -> None:
    """A report is known by its names, and its verdict, findings and tables are on the page."""
    assert kind_of_report(REPORTS[name]) == name
    page = ParsedPage(render(REPORTS[name]))
    for part in says:
        assert part in page.text


def test_several_reports() -> None:
    """All stand on one page, in their order, below an overview that links to each."""
    page = render(*REPORTS.values())
    assert re.findall(r'<section[^>]* id="(s\d)"', page) == [f"s{n}" for n in range(1, 7)]
    assert re.findall(r'href="([^"]*)"', page) == [f"#s{n}" for n in range(1, 7)]
    assert page.isascii()


def test_nothing_is_loaded() -> None:
    """The policy allows the one style sheet by its hash and nothing else, and nothing is named."""
    page = render(*REPORTS.values())
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert (
        'http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;; '
        f"style-src &#x27;sha256-{digest}&#x27;; base-uri &#x27;none&#x27;" in page
    )
    assert "url(" not in page
    assert "@import" not in page
    parsed = ParsedPage(page)
    assert parsed.elements <= EVERY_TAG
    assert not [name for _, name in parsed.attributes if name.startswith("on") or name == "style"]
    assert not [name for _, name in parsed.attributes if name in ("src", "srcset", "action")]


_TAGS = ("script", "img", "svg", "iframe", "style", "a", "base", "meta", "link", "object")
_SHAPES = (
    "<{0}>",
    "</{0}><{0} onload=alert(1)>",
    '"><{0} x="',
    "'><{0} x='",
    "</title></style></details><{0}>",
    "<!--<{0}>--><{0}>",
    "]]><{0}>",
    "&lt;{0}&gt;<{0}",
    "\x00<{0}\x00>",
    "\u202e<{0}>\x1b[31m",
)
_ENDS = ("", " ", "\n", "javascript:alert(1)", "x" * 3000)
HOSTILE = [
    f"{shape.format(tag)}{end}" for shape, tag, end in itertools.product(_SHAPES, _TAGS, _ENDS)
]


def _infected(value: Any, hostile: itertools.cycle[str], fixed: frozenset[str]) -> Any:
    """Return a report in which every text but the names that the page looks for is hostile."""
    if isinstance(value, str):
        return next(hostile)
    if isinstance(value, dict):
        return {
            (key if key in fixed else next(hostile)): (
                each if key == "kind" and "version" in value else _infected(each, hostile, fixed)
            )
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_infected(each, hostile, fixed) for each in value]
    return value


def _names(value: Any) -> set[str]:
    """Return every name in a report but those that strangers choose."""
    if isinstance(value, dict):
        free = {"steady", "never alone", "http"}
        return {*value, *(name for each in value.values() for name in _names(each))} - free
    return {name for each in value for name in _names(each)} if isinstance(value, list) else set()


@pytest.mark.parametrize("hides_clients", [False, True], ids=["as is", "redacted"])
def test_what_strangers_write_is_text(hides_clients: bool) -> None:
    """500 hostile values in every place of every report leave no tag, attribute or control."""
    assert len(HOSTILE) == 500
    fixed = frozenset(name for report in REPORTS.values() for name in _names(report))
    known = ParsedPage(render(*REPORTS.values())).attributes
    hostile = itertools.cycle(HOSTILE)
    texts = ""
    for report in [*REPORTS.values()] * 5:
        page = render(_infected(deepcopy(report), hostile, fixed), hides_clients=hides_clients)
        parsed = ParsedPage(page)
        assert parsed.elements <= EVERY_TAG
        assert page.count("<style>") == 1
        assert parsed.attributes <= known
        assert {each for each in parsed.shown if each and "<" in each} <= {None}
        assert page.replace("\n", "").isprintable()
        texts += parsed.text
    for tag in _TAGS:
        assert f"<{tag}>" in texts


def test_what_is_odd_is_no_error() -> None:
    """Values of other types than reports have, and reports that hold nothing, make a page."""
    odd: list[Any] = [7, "text", {}, [None, [], "x"], 1e308, True, [{}]]
    for report in REPORTS.values():
        marks = {name: report[name] for name in ("kind",) if name in report}
        render({**dict.fromkeys(report, None), **marks})
        for name, value in itertools.product(report, odd):
            if name != "kind":
                render({**report, name: value})


@pytest.mark.parametrize("value", [{}, [], None, "x", 3, {"kind": "sarif", "log": 1}], ids=repr)
def test_what_is_no_report(value: Any) -> None:
    """What no audit has written is refused."""
    with pytest.raises(NoReport):
        render(value)


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ({"entries": []}, "There is no verdict"),
        ({"log": {}}, "The log holds no request"),
        ({"kind": "edgeserver-check"}, "Nothing was checked"),
        ({"kind": "edgeserver-probe"}, "Not everything can be told"),
        ({"reason": ""}, "There is no client"),
        ({"kind": "edgeserver-live"}, "No request has come yet"),
    ],
    ids=list(REPORTS),
)
def test_nothing_is_never_right(report: dict[str, Any], says: str) -> None:
    """A report that holds nothing has no good verdict."""
    page = render(report)
    assert says in ParsedPage(page).text
    assert '<section class="good"' not in page


@pytest.mark.parametrize(
    ("verdicts", "headline", "mood"),
    [
        (["right", "unreachable"], "Proved: no stranger can choose", "good"),
        (["right", "cannot-tell"], "Not everything can be told", "warn"),
        (["right", "what nobody knows"], "Not everything can be told", "warn"),
        (["right", "lost"], "never learns who the client is", "warn"),
        (["unreachable"], "No request gets through", "warn"),
        (["right", "spoofable"], "A stranger can choose the client", "bad"),
    ],
    ids=["proved", "cannot tell", "unknown", "lost", "unreachable", "spoofable"],
)
def test_the_headline_is_the_worst_verdict(verdicts: list[str], headline: str, mood: str) -> None:
    """What is right in one place and not in another is not right, nor is what nobody knows."""
    entries = [
        {"from": str(number), "client": verdict, "scheme": {"http": "right"}}
        if verdict != "unreachable" or "right" in verdicts
        else {"from": "0", "client": verdict, "scheme": {}}
        for number, verdict in enumerate(verdicts)
    ]
    page = render({"entries": entries})
    assert f'<section class="{mood}"' in page
    assert headline in ParsedPage(page).text


def test_a_note_that_cannot_tell_is_not_proved() -> None:
    """A finding that something cannot be told keeps right verdicts from being a proof."""
    entry = {"from": "edge", "client": "right", "scheme": {"http": "right"}}
    page = render({"entries": [entry], "findings": [{"code": "cannot-tell", "severity": "info"}]})
    assert "Not everything can be told" in page
