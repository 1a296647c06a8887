"""The Caddyfile's syntax: tokens to lines with blocks.

Decides what a token is (quotes, backquotes, heredocs, comments), and which block a line opens. What
a directive means, `edgeserver.chains.readers.caddy` knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgeserver.chains.model import Where
from edgeserver.chains.readers.base import refuse

__all__ = ["CaddyLine", "parse_caddyfile"]

MAX_DEPTH = 64
MAX_TOKENS = 500_000


class CaddyLine(NamedTuple):
    """One line.

    Args:
        words: Its tokens, without the brace.
        where: Where it stands.
        block: The lines in its block, or None where it has none.
    """

    words: tuple[str, ...]
    where: Where
    block: tuple[CaddyLine, ...] | None = None

    @property
    def name(self) -> str:
        """The first word, or nothing."""
        return self.words[0] if self.words else ""


class _Token(NamedTuple):
    text: str
    line: int
    quoted: bool


def parse_caddyfile(text: str, path: str) -> tuple[CaddyLine, ...]:
    """Return the lines of a Caddyfile: sites, snippets and the block of global options.

    Raises:
        ReadingError: A quote or a block is not closed; with file and line.
    """
    tokens = [*_tokens(text, path)]
    if len(tokens) > MAX_TOKENS:
        refuse(Where(path), f"more than {MAX_TOKENS} words")
    entries, at = _block(tokens, 0, path, 0)
    if at < len(tokens):
        refuse(Where(path, tokens[at].line), "unexpected '}'")
    if not any(entry.block is not None for entry in entries) and entries:
        # a file with one site needs no braces: its first line is the address
        return (CaddyLine(entries[0].words, entries[0].where, tuple(entries[1:])),)
    return tuple(entries)


def _block(tokens: list[_Token], at: int, path: str, depth: int) -> tuple[list[CaddyLine], int]:
    """Return the lines up to the block's end, and where that is."""
    if depth > MAX_DEPTH:
        refuse(Where(path), f"blocks are nested more than {MAX_DEPTH} deep")
    entries: list[CaddyLine] = []
    while at < len(tokens):
        token = tokens[at]
        if token.text == "}" and not token.quoted:
            return entries, at
        words: list[str] = []
        line = token.line
        block: tuple[CaddyLine, ...] | None = None
        while at < len(tokens) and tokens[at].line == line:
            token = tokens[at]
            if token.quoted or token.text not in ("{", "}"):
                words.append(token.text)
                at += 1
                if words[-1].endswith(",") and at < len(tokens) and depth == 0:
                    line = tokens[at].line  # addresses go on after a comma
                continue
            if token.text == "}":
                break
            inner, end = _block(tokens, at + 1, path, depth + 1)
            if end >= len(tokens):
                refuse(Where(path, token.line), "this block is not closed")
            block = tuple(inner)
            at = end + 1
            break
        entries.append(CaddyLine(tuple(words), Where(path, token.line), block))
    return entries, at


def _tokens(text: str, path: str) -> Iterator[_Token]:
    """Yield the tokens of a file."""
    at, line, end = 0, 1, len(text)
    while at < end:
        letter = text[at]
        if letter == "\n":
            line += 1
            at += 1
        elif letter in " \t\r":
            at += 1
        elif letter == "#":
            at = _until(text, at, "\n")
        elif letter in '"`':
            close = at + 1
            while close < end and text[close] != letter:
                close += 2 if text[close] == "\\" and letter == '"' else 1
            if close >= end:
                refuse(Where(path, line), f"the quote {letter} is not closed")
            inner = text[at + 1 : close]
            yield _Token(inner.replace('\\"', '"') if letter == '"' else inner, line, True)
            line += inner.count("\n")
            at = close + 1
        else:
            start = at
            while at < end and text[at] not in " \t\r\n":
                at += 2 if text[at] == "\\" else 1
            word = text[start:at]
            if word.startswith("<<") and len(word) > 2:
                begun = line
                stop = text.find(f"\n{word[2:]}", at)
                close = stop if stop >= 0 else text.find(word[2:], at)
                if close < 0:
                    refuse(Where(path, line), "the heredoc is not closed")
                line += text.count("\n", at, close + 1)
                yield _Token(text[at:close].strip("\n"), begun, True)
                at = text.index(word[2:], close) + len(word) - 2
            else:
                yield _Token(word, line, False)


def _until(text: str, at: int, mark: str) -> int:
    """Return where a mark comes next, or the end."""
    found = text.find(mark, at)
    return len(text) if found < 0 else found
