"""HAProxy's samples, formats and ACLs as values and guards.

Decides what an expression reads and when a condition holds. It must not know sections or the order
of rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgeserver.chains.model import (
    ALWAYS,
    CLIENT,
    HOST,
    METHOD,
    PATH,
    PRELUDE,
    QUERY,
    SCHEME,
    AllOf,
    AnyOf,
    Field,
    Guard,
    Join,
    Lookup,
    NotGuard,
    Predicate,
    Present,
    Test,
    Text,
    UnknownGuard,
    UnknownValue,
    Value,
    Variable,
    Where,
)
from edgeserver.chains.readers.base import Sources, lower_name, make_ranges
from edgeserver.chains.readers.haproxy_syntax import Line

__all__ = ["NEVER", "Conditions", "parse_format", "parse_sample"]

NEVER: Guard = AnyOf()

_CALL = re.compile(r"([A-Za-z0-9_.]+)(?:\(([^()]*)\))?")
_FORMAT = re.compile(r"%(?:\{[^}]*\})?(?:\[((?:[^\]\\]|\\.)*)\]|(%)|([A-Za-z]{1,4}))")
_HEADERS = frozenset({"hdr", "req.hdr", "req.fhdr", "fhdr", "hdr_ip", "req.hdr_ip"})
_ANY_PORT = Text("40000")  # the peer's: as good as any in a text, and nothing to compare with
_TLS = Test(SCHEME, Predicate("equals", "https"))

_PREDEFINED: dict[str, Guard] = {
    "TRUE": ALWAYS,
    "FALSE": NEVER,
    "HTTP": ALWAYS,
    "HTTP_CONTENT": ALWAYS,
    "WAIT_END": ALWAYS,
    "REQ_CONTENT": ALWAYS,
    **{
        f"METH_{name}": Test(Field(METHOD), Predicate("equals", name))
        for name in ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE")
    },
}
_PREDEFINED["METH_GET"] = Test(Field(METHOD), Predicate("among", texts=frozenset({"GET", "HEAD"})))
# criteria that only the text of the request or the address decides, with the way they are matched
_METHODS = {
    "beg": "prefix",
    "end": "suffix",
    "sub": "contains",
    "reg": "regex",
    "str": "equals",
    "ip": "ranges",
}
_SUFFIX = re.compile(r"(.*)_(beg|end|sub|reg|dir|dom|len|ip|cnt)\Z")


def parse_sample(text: str, where: Where, *, port: str = "") -> Value:
    """Return what a sample expression reads.

    Args:
        text: Such as `req.hdr(X-Real-IP),lower`.
        where: Where it stands.
        port: The port of the listener, where it is known.
    """
    unknown = UnknownValue(text, where)
    found = _CALL.match(text)
    if found is None:
        return unknown
    name, argument = found[1], found[2] or ""
    value = _fetch(name, argument, port)
    rest = text[found.end() :]
    while value is not None and rest:
        if not rest.startswith(","):
            return unknown
        found = _CALL.match(rest, 1)
        if found is None:
            return unknown
        value = _convert(value, found[1], found[2] or "")
        rest = rest[found.end() :]
    return unknown if value is None else value


def _fetch(name: str, argument: str, port: str) -> Value | None:
    """Return what a fetch without converters reads, or None."""
    simple: dict[str, Value] = {
        "src": CLIENT,
        "fc_src": CLIENT,
        "path": Field(PATH),
        "url": Field(PATH),
        "pathq": Field(PATH),
        "base": Field(PATH),
        "method": Field(METHOD),
        "ssl_fc": Lookup(((_TLS, Text("1")),), Text("0")),
        "src_port": _ANY_PORT,
    }
    if name in simple and not argument:
        return simple[name]
    if name == "dst_port" and port:
        return Text(port)
    if name in _HEADERS:
        parts = argument.split(",")
        field = lower_name(parts[0].strip())
        if field is None:
            return None
        if field == "host":
            field = HOST
        if name in ("req.fhdr", "fhdr"):
            return Field(field, "last") if len(parts) == 1 else None
        picks = {"": "last-element", "-1": "last-element", "1": "first-element"}
        pick = picks.get(parts[1].strip() if len(parts) > 1 else "")
        if pick is None or len(parts) > 2:
            return None
        return Field(field, "first-element" if pick == "first-element" else "last-element")
    if name == "var":
        return Variable(argument.split(",")[0].strip())
    if name == "str":
        return Text(argument.strip("'\""))
    if name in ("url_param", "urlp"):
        return Field(QUERY + argument.split(",")[0])
    if name in ("bool", "int", "always_true", "always_false"):
        return Text(argument or ("1" if name == "always_true" else "0"))
    return None


def _convert(value: Value, name: str, argument: str) -> Value | None:
    """Return a value after a converter, or None where that is not known."""
    if name in ("lower", "upper", "ltrim", "rtrim"):
        return value
    if name == "iif" and isinstance(value, Lookup):
        yes, _, no = argument.partition(",")
        return Lookup(((value.cases[0][0], Text(yes)),), Text(no))
    return None


def parse_format(text: str, where: Where, *, port: str = "") -> Value:
    """Return what a format string such as `%[src]` writes."""
    parts: list[Value] = []
    at = 0
    for found in _FORMAT.finditer(text):
        if found.start() > at:
            parts.append(_plain(text[at : found.start()], where))
        if found[1] is not None:
            parts.append(parse_sample(found[1].replace("\\", ""), where, port=port))
        elif found[2]:
            parts.append(Text("%"))
        elif found[3] == "ci":
            parts.append(CLIENT)
        elif found[3] == "cp":
            parts.append(_ANY_PORT)
        else:
            parts.append(UnknownValue(found[0], where))
        at = found.end()
    if at < len(text):
        parts.append(_plain(text[at:], where))
    if not parts:
        return Text("")
    return parts[0] if len(parts) == 1 else Join(tuple(parts))


def _plain(text: str, where: Where) -> Value:
    """Return text of a format; an environment variable in it is unknown."""
    return UnknownValue(text, where) if "$" in text or "%" in text else Text(text)


class Conditions:
    """The conditions of a section: its ACLs, and what is written in braces.

    Args:
        lines: The lines of the section and of its defaults.
        port: The port of the listener, for `dst_port`.
        sources: Where `-f` files come from.
        base: The file of the section.
    """

    def __init__(self, lines: Iterable[Line], *, port: str, sources: Sources, base: str) -> None:
        self._port = port
        self._sources = sources
        self._base = base
        self._named: dict[str, list[Line]] = {}
        self._made: dict[str, Guard] = {}
        for line in lines:
            if line.words[0] == "acl" and len(line.words) > 2:
                self._named.setdefault(line.words[1], []).append(line)

    def split(self, words: Sequence[str], where: Where) -> tuple[tuple[str, ...], Guard]:
        """Return a rule's words up to its condition, and the condition."""
        for at, word in enumerate(words):
            if word in ("if", "unless"):
                guard = self.parse(words[at + 1 :], where)
                return tuple(words[:at]), NotGuard(guard) if word == "unless" else guard
        return tuple(words), ALWAYS

    def parse(self, words: Sequence[str], where: Where) -> Guard:
        """Return the guard of what stands after `if`."""
        alternatives: list[list[Guard]] = [[]]
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word in ("or", "||"):
                alternatives.append([])
                continue
            negated = False
            while word.startswith("!"):
                negated = not negated
                word = word[1:]
                if not word and at < len(words):
                    word = words[at]
                    at += 1
            if word == "{":
                end = next((k for k in range(at, len(words)) if words[k] == "}"), None)
                if end is None:
                    return UnknownGuard(" ".join(words), where)
                guard = self._criterion(words[at:end], where)
                at = end + 1
            else:
                guard = self._acl(word, where)
            alternatives[-1].append(NotGuard(guard) if negated else guard)
        made = [each[0] if len(each) == 1 else AllOf(tuple(each)) for each in alternatives]
        return made[0] if len(made) == 1 else AnyOf(tuple(made))

    def _acl(self, name: str, where: Where) -> Guard:
        """Return the guard of a named ACL: any of its lines."""
        lines = self._named.get(name)
        if lines is None:
            return _PREDEFINED.get(name) or UnknownGuard(f"acl {name}", where)
        made = self._made.get(name)
        if made is None:
            guards = tuple(self._criterion(line.words[2:], line.where) for line in lines)
            made = self._made[name] = guards[0] if len(guards) == 1 else AnyOf(guards)
        return made

    def _criterion(self, words: Sequence[str], where: Where) -> Guard:
        """Return the guard of `criterion [flags] values`."""
        unknown = UnknownGuard(" ".join(words), where)
        if not words:
            return unknown
        criterion, method, nocase = words[0], "", False
        values: list[str] = []
        at = 1
        while at < len(words):
            word = words[at]
            at += 1
            if word == "-i":
                nocase = True
            elif word == "-m" and at < len(words):
                method = words[at]
                at += 1
            elif word == "-f" and at < len(words):
                values += self._file(words[at])
                at += 1
            elif word in ("-n", "-u", "-M"):
                return unknown
            elif word == "--":
                values += words[at:]
                break
            else:
                values += words[at - 1 :]
                break
        guard = self._match(criterion, method, values, where, nocase=nocase)
        return unknown if guard is None else guard

    def _file(self, path: str) -> list[str]:
        """Return the patterns in a file."""
        text = self._sources.read(self._sources.resolve(path, self._base))
        lines = (line.strip() for line in text.split("\n"))
        return [line for line in lines if line and not line.startswith("#")]

    def _match(
        self, criterion: str, method: str, values: list[str], where: Where, *, nocase: bool
    ) -> Guard | None:
        """Return the guard of one criterion, or None where it is not understood."""
        if criterion in ("ssl_fc", "always_true", "always_false", "fc_rcvd_proxy") and not values:
            constant: dict[str, Guard] = {
                "ssl_fc": _TLS,
                "always_true": ALWAYS,
                "always_false": NEVER,
                "fc_rcvd_proxy": NotGuard(Test(PRELUDE, Predicate("equals", ""))),
            }
            return constant[criterion]
        if criterion == "dst_port" and self._port and all(value.isdigit() for value in values):
            return ALWAYS if self._port in values else NEVER
        call = _CALL.fullmatch(criterion)
        if call is None:
            converted = parse_sample(criterion, where, port=self._port)
            return self._compare(converted, method or "str", values, where, nocase=nocase)
        name, argument = call[1], call[2] or ""
        if name in ("hdr_cnt", "req.hdr_cnt", "req.fhdr_cnt"):
            return self._count(argument, values)
        if method == "found" and name in _HEADERS:
            field = lower_name(argument.split(",")[0].strip())
            return Present(field) if field else None
        suffix = _SUFFIX.fullmatch(name)
        if suffix is not None and name not in _HEADERS:
            name, method = suffix[1], method or suffix[2]
        elif name in ("hdr_ip", "req.hdr_ip"):
            method = method or "ip"
        if name == "src" or name == "fc_src":
            method = method or "ip"
        value = parse_sample(f"{name}({argument})" if argument else name, where, port=self._port)
        listed = name in ("hdr", "req.hdr", "hdr_ip", "req.hdr_ip")
        if isinstance(value, Field) and listed and "," not in argument:
            value = Field(value.name)  # as a criterion, any of the values counts
        return self._compare(value, method or "str", values, where, nocase=nocase)

    @staticmethod
    def _count(argument: str, values: list[str]) -> Guard | None:
        """Return the guard of how often a field is there, where that means whether it is."""
        field = lower_name(argument.strip())
        if field is None:
            return None
        if values in (["gt", "0"], ["ge", "1"]):
            return Present(field)
        if values in (["eq", "0"], ["0"], ["lt", "1"]):
            return NotGuard(Present(field))
        return None

    @staticmethod
    def _compare(
        value: Value, method: str, values: list[str], where: Where, *, nocase: bool
    ) -> Guard | None:
        """Return the guard of a comparison with any of some values, or None."""
        if isinstance(value, UnknownValue) or value == _ANY_PORT:
            return None
        if method == "found" and not values:
            return NotGuard(Test(value, Predicate("equals", ""), where))
        if method == "bool" or (method == "str" and not values):
            return None
        if any("$" in each for each in values if method != "reg"):
            return None
        elements = isinstance(value, Field) and value.pick == "all" and value.name[0] not in ":?"
        if method == "ip":
            ranges, unknown = make_ranges(values)
            if unknown:
                return None
            return Test(value, Predicate("ranges", ranges=ranges, elements=elements), where)
        if method == "str":
            texts = frozenset(each.lower() if nocase else each for each in values)
            predicate = Predicate("among", texts=texts, nocase=nocase, elements=elements)
            return Test(value, predicate, where)
        kind = _METHODS.get(method)
        if kind not in ("prefix", "suffix", "contains", "regex"):
            return None
        tests = tuple(
            Test(value, Predicate(kind, each, nocase=nocase, elements=elements), where)  # type: ignore[arg-type]
            for each in values
        )
        return tests[0] if len(tests) == 1 else AnyOf(tests)
