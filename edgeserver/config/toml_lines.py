"""Line numbers of a TOML document: where each key, each table and each entry of a list stands.

Decides positions only, of a text that `tomllib` has read before: so it is well-formed, and what is
not looked at here (values, escapes, dates) is somebody else's. It goes through the text once.

Source: TOML v1.0.0.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Path", "locate"]

Path = tuple[str | int, ...]
"""The way to a value: keys of tables, and numbers of list entries, from 0 on."""

_SKIPPED = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
"""White space, ends of lines and comments, which may stand between the parts of a list."""

_KEY = re.compile(
    r"""[ \t]*(?:
        (?P<bare>[A-Za-z0-9_-]+)
        | "(?P<basic>(?:[^"\\\n]|\\.)*)"
        | '(?P<literal>[^'\n]*)'
    )[ \t]*""",
    re.VERBOSE,
)

_TEXT = re.compile(
    r"""
        \"{3}(?:[^\\]|\\.)*?\"{3,5}(?!\")
        | '{3}.*?'{3,5}(?!')
        | "(?:[^"\\\n]|\\.)*"
        | '[^'\n]*'
    """,
    re.VERBOSE | re.DOTALL,
)

_PLAIN = re.compile(r"[^,\]}#\n]+")
"""A number, a truth or a date: it ends where its list, its table or its line does."""

_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(["\\bfnrte]))')
_ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
            "e": "\x1b"}  # fmt: skip


def locate(text: str) -> dict[Path, int]:
    """Return the line, from 1 on, of each table, key and entry of a list in a TOML document.

    Args:
        text: The document; `tomllib` reads it without an error.

    Raises:
        RecursionError: Its lists are nested deeper than anybody's; `tomllib` says the same.
    """
    return _Scanner(text).run()


class _Scanner:
    """One pass over a document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = 0  # up to where lines were counted
        self._line = 1  # of that place
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}  # how many entries each list of tables has so far

    def run(self) -> dict[Path, int]:
        """Go through the statements."""
        table: Path = ()
        while self._skip() < len(self._text):
            if self._text.startswith("[[", self._at):
                line = self._here()
                self._at += 2
                table = self._append(self._key(), line)
                self._at += 2
            elif self._text.startswith("[", self._at):
                line = self._here()
                self._at += 1
                table = self._resolve(self._key())
                self._note(table, line)
                self._at += 1
            else:
                self._pair(table)
        return self._lines

    def _skip(self) -> int:
        """Pass over what says nothing, and return where something does."""
        match = _SKIPPED.match(self._text, self._at)
        assert match is not None, "it matches nothing, too"
        self._at = match.end()
        return self._at

    def _here(self) -> int:
        """Return the line of the present place."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _note(self, path: Path, line: int) -> None:
        """Note a place, and that of each table that a dotted key has made on the way."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                break
            self._lines[path[:length]] = line

    def _key(self) -> Path:
        """Read a key, which may be dotted."""
        parts: list[str | int] = []
        while True:
            match = _KEY.match(self._text, self._at)
            assert match is not None, "tomllib has read a key here"
            self._at = match.end()
            basic = match["basic"]
            parts.append(
                match["bare"] or match["literal"] or ""
                if basic is None
                else _ESCAPE.sub(_unescape, basic)
            )
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _resolve(self, path: Path) -> Path:
        """Return a path with the number of the last entry behind each list of tables."""
        found: Path = ()
        for part in path:
            found = (*found, part)
            if found in self._lengths:
                found = (*found, self._lengths[found] - 1)
        return found

    def _append(self, path: Path, line: int) -> Path:
        """Begin another entry of a list of tables, and return its path."""
        whole = (*self._resolve(path[:-1]), path[-1])
        number = self._lengths.get(whole, 0)
        self._lengths[whole] = number + 1
        self._note((*whole, number), line)
        return (*whole, number)

    def _pair(self, table: Path) -> None:
        """Read a key and its value."""
        line = self._here()
        path = (*table, *self._key())
        self._at += 1  # the equals sign
        self._note(path, line)
        self._skip_blanks()
        self._value(path)

    def _skip_blanks(self) -> None:
        while self._text.startswith((" ", "\t"), self._at):
            self._at += 1

    def _value(self, path: Path) -> None:
        """Read a value, and note what stands inside."""
        if self._text.startswith("[", self._at):
            self._list(path)
        elif self._text.startswith("{", self._at):
            self._inline_table(path)
        else:
            match = _TEXT.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            assert match is not None, "tomllib has read a value here"
            self._at = match.end()

    def _list(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._text[self._skip()] != "]":
            entry = (*path, number)
            self._note(entry, self._here())
            self._value(entry)
            number += 1
            if self._text[self._skip()] == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._text[self._skip()] != "}":
            self._pair(path)
            if self._text[self._skip()] == ",":
                self._at += 1
        self._at += 1


def _unescape(match: re.Match[str]) -> str:
    """Return the character that an escape stands for."""
    code: Any = match[1] or match[2]
    return chr(int(code, 16)) if code else _ESCAPES[match[3]]
