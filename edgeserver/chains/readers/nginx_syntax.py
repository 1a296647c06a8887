"""nginx's syntax: files and their includes to a tree of directives.

Decides what is a directive and where it stands. The only module that knows crossplane, whose list
of nginx's directives it uses; words are cut as nginx cuts them. What a directive means,
`edgeserver.chains.readers.nginx` knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from edgeserver.chains.model import Where
from edgeserver.chains.readers.base import MAX_FILES, Sources, refuse
from edgeserver.support.escape import escape

__all__ = ["Directive", "known_directives", "parse_nginx"]

MAX_DEPTH = 64
MAX_INCLUDE_DEPTH = 32
MAX_DIRECTIVES = 1_000_000
# blocks whose lines are data, not directives
_DATA_BLOCKS = frozenset({"map", "geo", "split_clients", "types", "charset_map", "match"})


class Directive(NamedTuple):
    """One directive.

    Args:
        name: Its name.
        args: Its arguments, without quotes.
        where: Where it stands.
        block: The directives in its block, or None where it has none.
    """

    name: str
    args: tuple[str, ...]
    where: Where
    block: tuple[Directive, ...] | None = None


Token = tuple[str, int, bool]


def known_directives() -> frozenset[str]:
    """Return the names of nginx's own directives, as crossplane lists them."""
    from crossplane.analyzer import DIRECTIVES  # type: ignore[import-untyped]

    return frozenset(DIRECTIVES)


def parse_nginx(path: str, sources: Sources) -> tuple[Directive, ...]:
    """Return the directives of a file, with what it includes in the places of the includes.

    Args:
        path: The main file; relative includes are relative to its directory.
        sources: Where files come from.

    Raises:
        ReadingError: The syntax is wrong, or a bound is passed; with file and line.
        UnreadableFile: A file cannot be read.
    """
    return _Parser(path, sources).parse_file(path, ())


class _Parser:
    """One configuration that is being parsed."""

    def __init__(self, main: str, sources: Sources) -> None:
        self._main = main
        self._sources = sources
        self._files = 0
        self._directives = 0

    def parse_file(self, path: str, stack: tuple[str, ...]) -> tuple[Directive, ...]:
        """Parse one file."""
        return self.parse_text(self._sources.read(path), path, (*stack, path))

    def parse_text(self, text: str, path: str, stack: tuple[str, ...]) -> tuple[Directive, ...]:
        """Parse the text of one file."""
        tokens = _lex(text, path)
        block, closed = self._block(tokens, path, stack, depth=0, data=False)
        if closed is not None:
            refuse(Where(path, closed), "unexpected '}'")
        return tuple(block)

    def _block(
        self, tokens: Iterator[Token], path: str, stack: tuple[str, ...], *, depth: int, data: bool
    ) -> tuple[list[Directive], int | None]:
        """Parse directives up to the block's end; returns the line of its brace, or None."""
        if depth > MAX_DEPTH:
            refuse(Where(path), f"blocks are nested more than {MAX_DEPTH} deep")
        found: list[Directive] = []
        words: list[str] = []
        start = last = 0
        for token, line, quoted in tokens:
            last = line
            if quoted or token not in (";", "{", "}"):
                if not words:
                    start = line
                words.append(token)
                continue
            if token == "}":
                if words:
                    refuse(Where(path, line), f"';' is missing after {escape(words[0], 40)!r}")
                return found, line
            if not words:
                if token == ";":
                    continue
                refuse(Where(path, line), "a block without a name")
            where = Where(path, start)
            self._count(where)
            name, args = words[0], tuple(words[1:])
            words = []
            if token == "{":
                inside = name.lower() in _DATA_BLOCKS
                block, closed = self._block(tokens, path, stack, depth=depth + 1, data=inside)
                if closed is None:
                    refuse(where, f"the block of {escape(name, 40)!r} is not closed")
                found.append(Directive(name, args, where, tuple(block)))
            elif name == "include":
                found.extend(self._include(args, where, stack))
            else:
                found.append(Directive(name, args, where))
        if words:
            refuse(Where(path, last), f"the file ends within {escape(words[0], 40)!r}: no ';'")
        return found, None

    def _count(self, where: Where) -> None:
        self._directives += 1
        if self._directives > MAX_DIRECTIVES:
            refuse(where, f"more than {MAX_DIRECTIVES} directives")

    def _include(
        self, args: tuple[str, ...], where: Where, stack: tuple[str, ...]
    ) -> Iterator[Directive]:
        """Yield the directives of the files that an include names."""
        if len(args) != 1:
            refuse(where, "include takes one file or pattern")
        pattern = self._sources.resolve(args[0], self._main)
        globs = any(letter in pattern for letter in "*?[")
        for path in self._sources.glob(pattern) if globs else [pattern]:
            if path in stack:
                refuse(where, f"{escape(path)} includes itself")
            if len(stack) > MAX_INCLUDE_DEPTH:
                refuse(where, f"includes are nested more than {MAX_INCLUDE_DEPTH} deep")
            self._files += 1
            if self._files > MAX_FILES:
                refuse(where, f"more than {MAX_FILES} files are included")
            yield from self.parse_file(path, stack)


# Source: ngx_conf_read_token of nginx. A word ends at white space, `;` or `{`, but at no brace of
# `${name}`; quotes, `#` and `}` are special where a word begins, and there alone. White space is
# four letters, and what Unicode calls a space is a letter like any other. What follows a word or a
# mark is taken with it.
_TOKEN = re.compile(
    r"""
    (?: (?P<word>(?:[^ \t\r\n;{}\#"'\\$]|\\.|\$\{*)(?:[^ \t\r\n;{\\$]+|\\.|\$\{*)*)
    | (?P<mark>[;{}])
    | (?P<quoted>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
    | (?P<space>[ \t\r\n]+ | \#[^\n]*)
    ) (?P<after>[ \t\r\n]*)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\([\\\"'trn])")
_LETTERS = {"t": "\t", "r": "\r", "n": "\n"}
# strings, comments and braces of Lua; what else there is does not matter for where a block ends
_LUA = re.compile(
    r"""
    --\[(?P<c>=*)\[.*?\](?P=c)\] | --[^\n]*
    | \[(?P<s>=*)\[.*?\](?P=s)\]
    | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'
    | (?P<brace>[{}])
    """,
    re.VERBOSE | re.DOTALL,
)


def _lex(text: str, path: str) -> Iterator[Token]:
    """Yield the tokens of a file without its comments.

    Raises:
        ReadingError: Something is not closed, or follows a quote without a space.
    """
    at, line, statement = 0, 1, ""
    after_quote = False
    match = _TOKEN.match
    has_nul = "\0" in text
    while at < len(text):
        found = match(text, at)
        if found is None:
            refuse(Where(path, line), f"not closed: {escape(text[at : at + 40].split()[0], 40)!r}")
        word, mark, quoted, space, after = found.groups()
        at = found.end()
        if space is not None:
            line += space.count("\n") + after.count("\n")
            after_quote = False
            continue
        token = word or mark or quoted
        if after_quote and token not in (";", "{") and token[0] != ")":
            refuse(
                Where(path, line),
                f"{escape(token, 40)!r} follows a quote without a space: nginx refuses that; name"
                " a file of nginx's, such as nginx.conf",
            )
        if mark is not None:
            if mark == "{" and statement.endswith("_by_lua_block"):
                code, at = _lua(text, at - len(after), Where(path, line))
                yield code, line, True
                yield ";", line, False
                line += code.count("\n")
                after = ""
            else:
                yield mark, line, False
            statement = ""
        else:
            word = token[1:-1] if quoted is not None else token
            if "\\" in word:
                word = _ESCAPED.sub(lambda each: _LETTERS.get(each[1], each[1]), word)
            if has_nul and "\0" in word:
                refuse(Where(path, line), "a NUL byte: this is no configuration")
            statement = statement or word
            yield word, line, quoted is not None
            line += token.count("\n")
        line += after.count("\n")
        after_quote = quoted is not None and not after


def _lua(text: str, at: int, where: Where) -> tuple[str, int]:
    """Return the Lua code of a block whose brace stands before `at`, and where its end is.

    Raises:
        ReadingError: It has none.
    """
    depth = 1
    for found in _LUA.finditer(text, at):
        if found["brace"]:
            depth += 1 if found[0] == "{" else -1
            if not depth:
                return text[at : found.start()], found.end()
    return refuse(where, "the block of Lua is not closed")
