"""HAProxy's syntax: lines to sections of words.

Decides what a word is (quotes, escapes, comments; environment variables stay as they are), and
which section a line belongs to. What a keyword means, `edgeserver.chains.readers.haproxy` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from edgeserver.chains.model import Where
from edgeserver.chains.readers.base import refuse, split_names

__all__ = ["SECTIONS", "Line", "Section", "parse_haproxy", "split_words"]

SECTIONS = split_names(
    """
    global defaults frontend backend listen peers resolvers userlist mailers program cache
    http-errors ring log-forward fcgi-app crt-store traces log-profile acme
    """
)
MAX_LINES = 500_000
MAX_WORDS = 4096


class Line(NamedTuple):
    """One line of a section, as words."""

    words: tuple[str, ...]
    where: Where


@dataclass
class Section:
    """One section.

    Args:
        kind: Such as `frontend`.
        name: Its name; empty for those without.
        args: What else stands on its first line.
        where: Its first line.
        lines: Its other lines.
    """

    kind: str
    name: str
    args: tuple[str, ...]
    where: Where
    lines: list[Line] = field(default_factory=list)


def split_words(text: str, where: Where) -> list[str]:
    r"""Return the words of a line: `"` and `'` quote, a backslash escapes, `#` begins a comment."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    letters = iter(text)
    for letter in letters:
        if not quote:
            if letter == "#":
                break
            if letter in " \t\r":
                if word is not None:
                    words.append("".join(word))
                word = None
                continue
        if word is None:
            word = []
        if letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        elif letter == "\\" and quote != "'":
            escaped = next(letters, "\\")
            word.append({"n": "\n", "r": "\r", "t": "\t"}.get(escaped, escaped))
        else:
            word.append(letter)
    if quote:
        refuse(where, f"a quote {quote} is not closed")
    if word is not None:
        words.append("".join(word))
    if len(words) > MAX_WORDS:
        refuse(where, f"more than {MAX_WORDS} words on one line")
    return words


def parse_haproxy(text: str, path: str) -> list[Section]:
    """Return the sections of a file.

    Raises:
        ReadingError: A line stands in no section, or is none; with file and line.
    """
    sections: list[Section] = []
    for number, line in enumerate(text.split("\n"), start=1):
        where = Where(path, number)
        if number > MAX_LINES:
            refuse(where, f"more than {MAX_LINES} lines")
        if "\0" in line:
            refuse(where, "a NUL byte: this is no configuration")
        words = split_words(line, where)
        if not words:
            continue
        if words[0] in SECTIONS:
            name = words[1] if len(words) > 1 else ""
            sections.append(Section(words[0], name, tuple(words[2:]), where))
        elif not sections:
            refuse(where, "a line before the first section: this is no HAProxy configuration")
        else:
            sections[-1].lines.append(Line(tuple(words), where))
    return sections
