"""lighttpd: mod_proxy to one way in.

Decides what mod_proxy, mod_setenv and mod_extforward do to a head. Conditions are not looked at,
and what is said in them makes the way unknown where it may matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeserver.chains.model import (
    CLIENT,
    HOST,
    PEER,
    SCHEME,
    AllOf,
    AppendToField,
    DropField,
    Field,
    Lookup,
    Predicate,
    ProxyHop,
    RealIp,
    SetField,
    Step,
    Test,
    Text,
    Unknown,
    UnknownGuard,
    Value,
    Way,
    Where,
)
from edgeserver.chains.readers.base import Sources, lower_name, make_ranges, refuse

__all__ = ["read_lighttpd"]

_XFF, _PROTO = "x-forwarded-for", "x-forwarded-proto"
_ASSIGNMENT = re.compile(r"([a-z][a-zA-Z0-9._-]*)\s*(\+?:?=)\s*", re.ASCII)
_PAIR = re.compile(r'"([^"]*)"\s*=>\s*"([^"]*)"')


def read_lighttpd(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read a lighttpd configuration.

    Raises:
        ReadingError: Nothing is passed on.
        UnreadableFile: The file cannot be read.
    """
    reader = _Config(sources.read(path), path)
    if "proxy.server" not in reader.settings:
        refuse(Where(path), "no proxy.server")
    where = reader.settings["proxy.server"][1]
    port = reader.settings.get("server.port", ("80", where))[0].strip() or "80"
    tls = "enable" in reader.settings.get("ssl.engine", ("", where))[0]
    steps = tuple(reader.steps(where))
    way = Way("", "", where, f":{port}", tls=tls, steps=steps, paste=where)
    return ProxyHop("lighttpd", "", path, (way,))


class _Config:
    """The assignments of a configuration."""

    def __init__(self, text: str, path: str) -> None:
        self.settings: dict[str, tuple[str, Where]] = {}
        self._doubts: list[Step] = []
        self._conditional: set[str] = set()
        self._scheme: Value = SCHEME
        plain = "\n".join(_without_comment(line) for line in text.split("\n"))
        found = [*_ASSIGNMENT.finditer(plain)]
        for number, each in enumerate(found):
            end = found[number + 1].start() if number + 1 < len(found) else len(plain)
            where = Where(path, plain.count("\n", 0, each.start()) + 1)
            name = each[1]
            if self._depth(plain, each.start()) > 0:
                self._conditional.add(name)
            known = self.settings.get(name)
            value = plain[each.end() : end]
            self.settings[name] = (value if known is None else f"{known[0]} {value}", where)
        for keyword in ("include_shell", "include"):
            at = re.search(rf"^\s*{keyword}\s", plain, re.MULTILINE)
            if at is not None:
                where = Where(path, plain.count("\n", 0, at.start()) + 1)
                self._doubts.append(Step(Unknown(keyword), where))

    @staticmethod
    def _depth(text: str, at: int) -> int:
        """Return how many blocks are open."""
        return text.count("{", 0, at) - text.count("}", 0, at)

    def _forwarder(self, value: str, where: Where) -> Iterator[Step]:
        """Yield what mod_extforward does: it believes the lists and schemes of named peers."""
        pairs = _PAIR.findall(value)
        ranges, unknown = make_ranges([key for key, how in pairs if how == "trust"])
        if unknown or not pairs or any(how != "trust" for _, how in pairs):
            yield Step(Unknown("extforward.forwarder"), where)
            return
        known = Test(PEER, Predicate("ranges", ranges=ranges), where)
        claimed = Predicate("among", texts=frozenset({"http", "https"}))
        told = AllOf((known, Test(Field(_PROTO), claimed, where)))
        self._scheme = Lookup(((told, Field(_PROTO)),), SCHEME)
        yield Step(RealIp(_XFF, ranges, "recursive", reached="peer"), where)

    def steps(self, where: Where) -> Iterator[Step]:
        """Yield what is done to a head."""
        yield from self._doubts
        for name, (value, place) in self.settings.items():
            if name == "extforward.forwarder":
                yield from self._forwarder(value, place)
            elif name.startswith(("extforward.", "magnet.", "proxy.forwarded", "proxy.header")):
                yield Step(Unknown(name), place)
            elif name in ("setenv.set-request-header", "setenv.add-request-header"):
                for key, text in _PAIR.findall(value):
                    field = lower_name(key)
                    if field is None:
                        continue
                    guard = UnknownGuard(f"the condition around {name}", place)
                    op = SetField(field, Text(text), drop_empty=True)
                    if name in self._conditional or "add" in name:
                        yield Step(op, place, guard)
                    else:
                        yield Step(op, place)
        yield Step(DropField("connection"), where)
        yield Step(AppendToField(_XFF, CLIENT), where)
        yield Step(SetField(_PROTO, self._scheme), where)
        yield Step(SetField("x-forwarded-host", Field(HOST)), where)


def _without_comment(line: str) -> str:
    """Return a line without its comment; a `#` in quotes is none."""
    quoted = False
    for at, letter in enumerate(line):
        if letter == '"':
            quoted = not quoted
        elif letter == "#" and not quoted:
            return line[:at]
    return line
