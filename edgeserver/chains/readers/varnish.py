"""Varnish: VCL to one way in.

Decides what the subroutines do to a request's head, after Varnish has appended its peer. Conditions
that nobody here knows are unknown, and so is what modules return.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgeserver.chains.model import (
    ALWAYS,
    CLIENT,
    HOST,
    METHOD,
    PATH,
    AllOf,
    AnyOf,
    AppendToField,
    DropField,
    Field,
    Guard,
    Join,
    NotGuard,
    Predicate,
    Present,
    ProxyHop,
    Refuse,
    SetField,
    Step,
    Test,
    Text,
    Unknown,
    UnknownGuard,
    UnknownValue,
    Value,
    Way,
    Where,
)
from edgeserver.chains.readers.base import Sources, make_ranges, refuse

__all__ = ["read_varnish"]

_XFF = "x-forwarded-for"
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)|(?P<c>C\{)|(?P<long>\{".*?"\}|\"{3}.*?\"{3})"""
    r"""|(?P<string>"[^"\n]*")|(?P<word>[A-Za-z0-9_.:-]+)|(?P<sign>&&|\|\||==|!=|!~|\+=|[^\s])""",
    re.DOTALL,
)
MAX_TOKENS = 200_000
MAX_DEPTH = 32


class _Token(NamedTuple):
    kind: str
    text: str
    where: Where


def read_varnish(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read VCL.

    Raises:
        ReadingError: The syntax is wrong.
        UnreadableFile: A file cannot be read.
    """
    vcl = _Vcl(path, sources)
    vcl.load(path, ())
    where = vcl.where.get("vcl_recv", Where(path, 1))
    # in front of any subroutine; the older way, by the built-in VCL, comes to the same
    steps = [Step(DropField("connection"), Where(path))]
    steps.append(Step(AppendToField(_XFF, CLIENT), Where(path)))
    for name in ("vcl_recv", "vcl_pass", "vcl_miss", "vcl_backend_fetch"):
        steps += vcl.steps(name)
    way = Way("", "", where, ":80", steps=tuple(steps), paste=where)
    return ProxyHop("varnish", "", path, (way,))


class _Vcl:
    """The subroutines and access lists of a program."""

    def __init__(self, path: str, sources: Sources) -> None:
        self._sources = sources
        self._main = path
        self._subs: dict[str, list[list[_Token]]] = {}
        self._acls: dict[str, list[_Token]] = {}
        self.where: dict[str, Where] = {}

    def load(self, path: str, stack: tuple[str, ...]) -> None:
        """Take in a file and what it includes."""
        if path in stack or len(stack) > MAX_DEPTH:
            refuse(Where(path), "this file includes itself")
        tokens = [*_tokens(self._sources.read(path), path)]
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token.text == "include" and at + 1 < len(tokens):
                inner = self._sources.resolve(tokens[at + 1].text.strip('"'), self._main)
                self.load(inner, (*stack, path))
                at += 3
                continue
            if token.text in ("sub", "acl") and at + 2 < len(tokens):
                body, at_end = _braces(tokens, at + 2)
                name = tokens[at + 1].text
                if token.text == "sub":
                    self._subs.setdefault(name, []).append(body)
                    self.where.setdefault(name, token.where)
                else:
                    self._acls[name] = body
                at = at_end
                continue
            if token.text == "{":
                _, at = _braces(tokens, at)
                continue
            at += 1

    def steps(self, name: str) -> Iterator[Step]:
        """Yield what the subroutines of a name do, in order."""
        for body in self._subs.get(name, ()):
            yield from self._block(body, ALWAYS, 0)

    def _block(self, tokens: Sequence[_Token], guard: Guard, depth: int) -> Iterator[Step]:
        """Yield the steps of statements."""
        if depth > MAX_DEPTH:
            refuse(Where(self._main), f"blocks or calls are nested more than {MAX_DEPTH} deep")
        at = 0
        before: list[Guard] = []
        while at < len(tokens):
            token = tokens[at]
            if token.text in ("if", "elseif", "elsif", "elif") or (
                token.text == "else" and at + 1 < len(tokens) and tokens[at + 1].text == "if"
            ):
                if token.text == "else":
                    at += 1
                elif token.text == "if":
                    before = []
                condition, at = _brackets(tokens, at + 1)
                body, at = _braces(tokens, at)
                wanted = self._condition(condition, token.where)
                taken = _all(guard, *(NotGuard(each) for each in before), wanted)
                before.append(wanted)
                yield from self._block(body, taken, depth + 1)
                continue
            if token.text == "else":
                body, at = _braces(tokens, at + 1)
                taken = _all(guard, *(NotGuard(each) for each in before))
                yield from self._block(body, taken, depth + 1)
                continue
            end = at
            while end < len(tokens) and tokens[end].text != ";":
                end += 1
            yield from self._statement(tokens[at:end], guard, depth)
            at = end + 1

    def _statement(self, words: Sequence[_Token], guard: Guard, depth: int) -> Iterator[Step]:
        """Yield the step of one statement."""
        if not words:
            return
        first, where = words[0].text, words[0].where
        name = words[1].text.lower() if len(words) > 1 else ""
        field = re.sub(r"^(?:req|bereq)\.http\.", "", name)
        if not field:
            yield Step(Unknown(first), where, guard)
        elif first == "set" and field != name:
            value = self._value(words[3:], where) if len(words) > 3 else Text("")
            if len(words) > 2 and words[2].text == "+=":
                value = Join((Field(field), value))
            yield Step(SetField(field, value), where, guard)
        elif first in ("unset", "remove") and field != name:
            yield Step(DropField(field), where, guard)
        elif first == "call" and name:
            for body in self._subs.get(words[1].text, ()):
                yield from self._block(body, guard, depth + 1)
        elif first == "return":
            text = "".join(word.text for word in words[1:])
            if text.startswith(("(synth", "(fail", "(error")):
                yield Step(Refuse(), where, guard)
        elif first in (
            "set",
            "unset",
            "import",
            "new",
            "error",
            "synthetic",
            "hash_data",
            "restart",
        ):
            return
        else:
            yield Step(Unknown(" ".join(word.text for word in words[:3])), where, guard)

    def _value(self, words: Sequence[_Token], where: Where) -> Value:
        """Return the value of an expression: strings, fields and `client.ip` joined by `+`."""
        parts: list[Value] = []
        for word in words:
            if word.text == "+":
                continue
            value = self._atom(word)
            if value is None:
                return UnknownValue("".join(each.text for each in words)[:80], where)
            parts.append(value)
        return parts[0] if len(parts) == 1 else Join(tuple(parts))

    @staticmethod
    def _atom(word: _Token) -> Value | None:
        """Return the value of one word, or None where it is not understood."""
        text = word.text
        if word.kind == "string":
            return Text(text[1:-1])
        if word.kind == "long":
            return Text(text.strip('{}"'))
        lower = text.lower()
        if lower.startswith(("req.http.", "bereq.http.")):
            field = lower.split(".http.", 1)[1]
            if not field:
                return None
            return Field(HOST if field == "host" else field, "first")
        known: dict[str, Value] = {
            "client.ip": CLIENT,
            "remote.ip": CLIENT,
            "req.url": Field(PATH),
            "bereq.url": Field(PATH),
            "req.method": Field(METHOD),
            "bereq.method": Field(METHOD),
        }
        return known.get(lower)

    def _condition(self, words: Sequence[_Token], where: Where) -> Guard:
        """Return the guard of a condition: one comparison, or several joined by `&&`."""
        text = " ".join(word.text for word in words)
        alternatives = [*_split(words, "||")]
        if len(alternatives) > 1 and "(" not in text:
            return AnyOf(tuple(self._condition(each, where) for each in alternatives))
        guards: list[Guard] = []
        for part in _split(words, "&&"):
            guard = self._comparison(part, where)
            if guard is None:
                return UnknownGuard(f"if ({text})"[:120], where)
            guards.append(guard)
        return guards[0] if len(guards) == 1 else AllOf(tuple(guards))

    def _comparison(self, words: Sequence[_Token], where: Where) -> Guard | None:
        """Return the guard of one comparison, or None where it is not understood."""
        texts = [word.text for word in words]
        if texts[:1] == ["!"]:
            inner = self._comparison(words[1:], where)
            return None if inner is None else NotGuard(inner)
        if texts[:1] == ["("] and texts[-1] == ")":
            return self._comparison(words[1:-1], where)
        if texts in (["req.restarts", "==", "0"], ["req.restarts", "<", "1"]):
            return ALWAYS
        value = self._atom(words[0]) if words else None
        if value is None:
            return None
        if len(words) == 1:
            return Present(value.name) if isinstance(value, Field) else None
        if len(words) != 3:
            return None
        sign, other = texts[1], words[2]
        guard: Guard | None = None
        if sign in ("==", "!=") and other.kind == "string":
            guard = Test(value, Predicate("equals", other.text[1:-1]), where)
        elif sign in ("~", "!~") and other.kind == "string":
            guard = Test(value, Predicate("regex", other.text[1:-1]), where)
        elif sign in ("~", "!~") and value == CLIENT:
            guard = self._acl(other.text, where)
        if guard is None:
            return None
        return NotGuard(guard) if sign.startswith("!") else guard

    def _acl(self, name: str, where: Where) -> Guard | None:
        """Return the guard of an access list, or None where an entry is not an address."""
        entries: list[str] = []
        for part in _split(self._acls.get(name, ()), ";"):
            text = "".join(word.text for word in part).replace('"', "")
            if text.startswith(("!", "(")):
                return None
            if text:
                entries.append(text)
        ranges, unknown = make_ranges(entries)
        if unknown or name not in self._acls:
            return None
        return Test(CLIENT, Predicate("ranges", ranges=ranges), where)


def _all(*guards: Guard) -> Guard:
    """Return the guard that holds where all of them do."""
    real = tuple(each for each in guards if each is not ALWAYS)
    if not real:
        return ALWAYS
    return real[0] if len(real) == 1 else AllOf(real)


def _split(words: Sequence[_Token], mark: str) -> Iterator[Sequence[_Token]]:
    """Yield the parts between marks."""
    start = 0
    for at, word in enumerate(words):
        if word.text == mark:
            yield words[start:at]
            start = at + 1
    yield words[start:]


def _tokens(text: str, path: str) -> Iterator[_Token]:
    """Yield the tokens of a program."""
    line = 1
    for number, found in enumerate(_TOKEN.finditer(text)):
        kind = found.lastgroup or "sign"
        where = Where(path, line)
        line += found[0].count("\n")
        if number > MAX_TOKENS:
            refuse(where, f"more than {MAX_TOKENS} words")
        if kind == "c":
            refuse(where, "inline C cannot be read")
        if kind != "space":
            yield _Token(kind, found[0], where)


def _braces(tokens: Sequence[_Token], at: int) -> tuple[list[_Token], int]:
    """Return what stands in a pair of braces, and where it ends."""
    return _pair(tokens, at, "{", "}")


def _brackets(tokens: Sequence[_Token], at: int) -> tuple[list[_Token], int]:
    """Return what stands in a pair of brackets, and where it ends."""
    return _pair(tokens, at, "(", ")")


def _pair(tokens: Sequence[_Token], at: int, opens: str, closes: str) -> tuple[list[_Token], int]:
    """Return what stands in a pair, and where it ends."""
    where = tokens[min(at, len(tokens) - 1)].where
    if at >= len(tokens) or tokens[at].text != opens:
        refuse(where, f"'{opens}' is missing")
    depth = 0
    for end in range(at, len(tokens)):
        if tokens[end].text == opens and tokens[end].kind == "sign":
            depth += 1
        elif tokens[end].text == closes and tokens[end].kind == "sign":
            depth -= 1
            if not depth:
                return [*tokens[at + 1 : end]], end + 1
    return refuse(where, f"'{opens}' is not closed")
