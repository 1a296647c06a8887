"""Verdicts in words: what those of the model mean for whoever is responsible.

Decides sentences alone; a verdict that is not known is shown as one that cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from edgeserver.audit.page.blocks import Mood, verdict_mood
from edgeserver.audit.page.graph import Look, Route
from edgeserver.audit.page.markup import element
from edgeserver.audit.page.values import mapping_of, objects_of, text_of

__all__ = ["doubts_of", "head_rows", "headline_of", "joined_lines", "place_of", "route_labels",
           "verdict_words"]  # fmt: skip

_WORDS: Final = {
    "right": "right",
    "spoofable": "spoofable",
    "lost": "lost",
    "names-outer-proxy": "a proxy",
    "right-or-lost": "can be hidden",
    "wrong-always": "always wrong",
    "mixed": "mixed",
    "unreachable": "unreachable",
    "cannot-tell": "cannot tell",
}

_HEADLINES: Final = (
    ("client", "spoofable", "A stranger can choose the client"),
    ("scheme", "spoofable", "A stranger can choose the scheme"),
    ("client", "names-outer-proxy", "A proxy is taken for the client"),
    ("client", "lost", "The application never learns who the client is"),
    ("scheme", "wrong-always", "Plain requests are taken for https"),
    ("scheme", "lost", "Requests by https are taken for plain ones"),
    ("scheme", "mixed", "The scheme is not right for everybody"),
    ("client", "right-or-lost", "A stranger can hide who it is"),
)
_BOTH: Final = "A stranger can choose the client and the scheme"


def verdict_words(verdict: str) -> str:
    """Return a verdict as people say it."""
    return _WORDS.get(verdict, verdict)


def headline_of(verdicts: Iterable[tuple[str, str]], proved: str) -> tuple[str, Mood]:
    """Return the sentence for some verdicts, and how it is.

    Args:
        verdicts: Of what, `client` or `scheme`, and which.
        proved: The sentence where all are right.
    """
    found = set(verdicts)
    if {("client", "spoofable"), ("scheme", "spoofable")} <= found:
        return _BOTH, "bad"
    for what, verdict, sentence in _HEADLINES:
        if (what, verdict) in found:
            return sentence, verdict_mood(verdict)
    known = {verdict for _, verdict in found}
    if not known:
        return "There is no verdict", "warn"
    if known == {"unreachable"}:
        return "No request gets through", "warn"
    if known <= {"right", "unreachable"}:
        return proved, "good"
    return "Not everything can be told", "warn"


def _look(verdicts: Iterable[str]) -> Look:
    """Return what the edge of strangers looks like for whom these verdicts are so."""
    moods = [verdict_mood(each) for each in verdicts]
    if "bad" in moods:
        return "bad"
    return "unsure" if "warn" in moods else "good"


def route_labels(route: Route, verdicts: Iterable[tuple[str, str]]) -> Route:
    """Return a route with its verdicts: what it looks like, and what is said of it."""
    found = [*verdicts]
    wrong = [
        f"{what} {verdict_words(each)}" for what, each in found if verdict_mood(each) != "good"
    ]
    unreachable = bool(found) and all(each == "unreachable" for _, each in found)
    label = ", ".join(wrong) or ("unreachable" if unreachable else "proved" if found else "")
    return route._replace(look=_look(each for _, each in found), label=label)


def place_of(value: object, *keys: str) -> str:
    """Return the `file:line` at some keys; nothing where there is none."""
    where = mapping_of(value, *keys)
    file, line = text_of(where, "file"), text_of(where, "line")
    return f"{file}:{line}" if file and line else file


def head_rows(name: str, pairs: Any) -> tuple[tuple[str, object], ...]:
    """Return the fields of a head as a row of a finding; nothing where it has none."""
    if not isinstance(pairs, list):
        return ()
    lines = [
        f"{pair[0]}: {pair[1]}" for pair in pairs[:50] if isinstance(pair, list) and len(pair) == 2
    ]
    return ((name, joined_lines(lines)),) if lines else ()


def joined_lines(lines: Iterable[str]) -> object:
    """Return lines one below the other, as a terminal shows them."""
    return element("pre", *[part for line in lines for part in (line, element("br"))][:-1])


def doubts_of(value: object, *keys: str) -> list[str]:
    """Return texts with their places, such as what was not understood."""
    return [
        " ".join(filter(None, (place_of(each, "where"), text_of(each, "text"))))
        for each in objects_of(value, *keys)
    ]
