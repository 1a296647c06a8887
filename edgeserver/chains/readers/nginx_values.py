"""nginx's variables and conditions as values and guards: maps, geo, and what is built in.

Decides what `$name` means for a way in. It must not know servers or locations: who asks says which
variables are set there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgeserver.chains.model import (
    CLIENT,
    COOKIE,
    HOST,
    METHOD,
    PATH,
    PEER,
    PRELUDE,
    QUERY,
    SCHEME,
    Field,
    Guard,
    Join,
    Lookup,
    NotGuard,
    Predicate,
    Present,
    Ranges,
    Test,
    Text,
    UnknownGuard,
    UnknownValue,
    Value,
    Variable,
    Where,
    varying,
)
from edgeserver.chains.readers.base import make_ranges, split_names
from edgeserver.chains.readers.nginx_syntax import Directive

__all__ = ["Variables", "is_tls"]

MAX_NESTING = 12
MAX_REGEX_CASES = 200
MAX_GEO = 20_000

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_XFF = "x-forwarded-for"

_BUILT_IN: dict[str, Value] = {
    "remote_addr": CLIENT,
    "realip_remote_addr": PEER,
    "proxy_protocol_addr": PRELUDE,
    "scheme": SCHEME,
    "host": Field(HOST, received=True),
    "http_host": Field(HOST, received=True),
    "request_method": Field(METHOD, received=True),
    "proxy_add_x_forwarded_for": Lookup(
        ((Present(_XFF, received=True), Join((Field(_XFF, received=True), Text(", "), CLIENT))),),
        CLIENT,
    ),
}
# the variables that nginx finds by what it parsed, and not by comparing names
_EXACT = frozenset({_XFF, "user-agent"})
_PATHS = frozenset({"uri", "document_uri", "request_uri"})
_CONSTANT = split_names("server_name hostname nginx_version proxy_host proxy_port realpath_root")
_VARYING = split_names(
    """
    server_port pid msec request_id connection connection_requests time_iso8601 time_local
    remote_port proxy_protocol_port server_protocol request_length bytes_sent realip_remote_port
    request_time status limit_rate document_root ssl_protocol ssl_cipher ssl_session_id
    ssl_session_reused ssl_curves
    """
)


def is_tls() -> Guard:
    """Return the guard that holds on a TLS connection."""
    return Test(SCHEME, Predicate("equals", "https"))


class Variables:
    """The variables of one configuration.

    Args:
        directives: Those of the `http` or `stream` block: its maps and geos.
        joins: Whether `$http_name` holds all lines of a field.
        underscored: Whether fields with an underscore in their names are taken: `$http_x_name` is
            then `X_Name` as well as `X-Name`, whichever comes first.
    """

    def __init__(
        self, directives: Iterable[Directive], *, joins: bool = True, underscored: bool = False
    ) -> None:
        self._joins = joins
        self._underscored = underscored
        self._maps: dict[str, Directive] = {}
        self._made: dict[str, Value] = {}
        self._making: set[str] = set()
        for each in directives:
            if (
                each.block is not None
                and each.args
                and each.name in ("map", "geo", "split_clients")
            ):
                self._maps[each.args[-1].lstrip("$").lower()] = each

    def value(self, text: str, where: Where, local: frozenset[str] = frozenset()) -> Value:
        """Return the value of an argument with variables in it.

        Args:
            text: The argument.
            where: Where it stands.
            local: The variables that `set` and the like give values to.
        """
        if "$" not in text:
            return Text(text)
        parts: list[Value] = []
        at = 0
        for found in _VARIABLE.finditer(text):
            if found.start() > at:
                parts.append(Text(text[at : found.start()]))
            parts.append(self._variable((found[1] or found[2]).lower(), where, local))
            at = found.end()
        if at < len(text):
            parts.append(Text(text[at:]))
        return parts[0] if len(parts) == 1 else Join(tuple(parts))

    def _variable(self, name: str, where: Where, local: frozenset[str]) -> Value:
        """Return what one variable holds."""
        if name in local:
            return Variable(name)
        if name in self._maps:
            return self._mapped(name)
        if name in _BUILT_IN:
            return _BUILT_IN[name]
        if name == "https":
            return Lookup(((is_tls(), Text("on")),), Text(""))
        if name in _PATHS:
            return Field(PATH, received=True)
        if name in _CONSTANT:
            return Text(f"({name})")
        if name in _VARYING:
            return varying(name)
        if name in ("content_type", "content_length"):
            return Field(name.replace("_", "-"), "first", received=True)
        if name.startswith("http_") and len(name) > 5:
            field = name[5:].replace("_", "-")
            joins = self._joins or field in (_XFF, "cookie")
            value = Field(field, "all" if joins else "first", received=True)
            if not self._underscored or "-" not in field or field in _EXACT:
                return value
            doubt = f"${name}, which a client may send as {name[5:]} (underscores_in_headers)"
            other = Present(name[5:], received=True)
            return Lookup(((other, UnknownValue(doubt, where)),), value)
        if name.startswith("arg_"):
            return Field(QUERY + name[4:], received=True)
        if name.startswith("cookie_"):
            return Field(COOKIE + name[7:], received=True)
        return UnknownValue(f"${name}", where)

    def _mapped(self, name: str) -> Value:
        """Return what a map or geo gives."""
        made = self._made.get(name)
        if made is not None:
            return made
        block = self._maps[name]
        if name in self._making or len(self._making) >= MAX_NESTING:
            return UnknownValue(f"${name} (maps that depend on one another)", block.where)
        self._making.add(name)
        make = {"map": self._map, "geo": self._geo}.get(block.name)
        made = UnknownValue(f"{block.name} ${name}", block.where) if make is None else make(block)
        self._making.discard(name)
        self._made[name] = made
        return made

    # -- map -----------------------------------------------------------------------------------

    def _map(self, block: Directive) -> Value:
        """Return a `map` as a look-up: exact texts, then host masks, then patterns in order."""
        assert block.block is not None
        where = block.where
        if len(block.args) != 2:
            return UnknownValue("map", where)
        source = self.value(block.args[0], where)
        exact: dict[str, tuple[set[str], Value]] = {}
        masks: list[tuple[Guard, Value]] = []
        patterns: list[tuple[Guard, Value]] = []
        default: Value = Text("")
        hostnames = any(each.name == "hostnames" and not each.args for each in block.block)
        for each in block.block:
            if not each.args:
                if each.name in ("hostnames", "volatile"):
                    continue
                return UnknownValue(f"map entry {each.name}", each.where)
            key, result = each.name, each.args[0]
            if key == "include" or each.block is not None or len(each.args) > 1:
                return UnknownValue(f"map entry {key}", each.where)
            if key == "default":
                default = self._result(result, each.where)
            elif key.startswith("~"):
                nocase = key.startswith("~*")
                predicate = Predicate("regex", key[2:] if nocase else key[1:], nocase=nocase)
                value = self._result(result, each.where, captures=True)
                patterns.append((Test(source, predicate, each.where), value))
            elif hostnames and (key.startswith((".", "*.")) or key.endswith(".*")):
                guard = UnknownGuard(f"the host mask {key}", each.where)
                masks.append((guard, self._result(result, each.where)))
            else:
                texts, _ = exact.setdefault(result, (set(), self._result(result, each.where)))
                texts.add(key.removeprefix("\\").lower())
        if len(patterns) > MAX_REGEX_CASES:
            return UnknownValue(f"a map of more than {MAX_REGEX_CASES} patterns", where)
        cases = tuple(
            (Test(source, Predicate("among", texts=frozenset(texts), nocase=True), where), value)
            for texts, value in exact.values()
        )
        return Lookup((*cases, *masks, *patterns), default)

    def _result(self, text: str, where: Where, *, captures: bool = False) -> Value:
        """Return the value of a map's entry; patterns bring their captures."""
        if not captures:
            return self.value(text, where)
        names = {found[1] or found[2] for found in _VARIABLE.finditer(text)}
        local = frozenset(
            name.lower() for name in names if name.isdigit() or not self._is_known(name.lower())
        )
        return self.value(text, where, local)

    def _is_known(self, name: str) -> bool:
        """Return whether a name is one of nginx's own, and so no capture."""
        known = self._variable(name, Where(""), frozenset())
        return not isinstance(known, UnknownValue)

    # -- geo -----------------------------------------------------------------------------------

    def _geo(self, block: Directive) -> Value:
        """Return a `geo` as a look-up by ranges, the narrowest first."""
        assert block.block is not None
        source: Value = CLIENT
        if len(block.args) == 2:
            source = self.value(block.args[0], block.where)
        default: Value = Text("")
        entries: list[tuple[int, str, Ranges]] = []
        for each in block.block:
            if each.name == "default" and len(each.args) == 1:
                default = Text(each.args[0])
                continue
            ranges, unknown = make_ranges([each.name])
            if unknown or len(each.args) != 1 or len(entries) >= MAX_GEO:
                # `proxy` and `proxy_recursive` read X-Forwarded-For; `ranges` is another syntax
                return UnknownValue(f"geo entry {each.name}", each.where)
            entries.append((ranges.networks[0].prefix, each.args[0], ranges))
        grouped: dict[tuple[int, str], list[Ranges]] = {}
        for prefix, text, ranges in entries:
            grouped.setdefault((-prefix, text), []).append(ranges)
        cases = [
            (
                Test(
                    source,
                    Predicate(
                        "ranges",
                        ranges=Ranges(tuple(net for each in group for net in each.networks)),
                    ),
                    block.where,
                ),
                Text(text),
            )
            for (_, text), group in sorted(grouped.items(), key=lambda item: item[0][0])
        ]
        return Lookup(tuple(cases), default)

    # -- conditions ----------------------------------------------------------------------------

    def condition(self, directive: Directive, local: frozenset[str]) -> Guard:
        """Return the guard of an `if`."""
        where = directive.where
        words = [*directive.args]
        if words and words[0].startswith("("):
            words[0] = words[0][1:]
        if words and words[-1].endswith(")"):
            words[-1] = words[-1][:-1]
        words = [word for at, word in enumerate(words) if word or 0 < at < len(words) - 1]
        shown = f"if {' '.join(directive.args)}"
        if not words or not words[0].startswith("$"):
            return UnknownGuard(shown, where)
        value = self.value(words[0], where, local)
        if len(words) == 1:
            falsy = Predicate("among", texts=frozenset({"", "0"}))
            return NotGuard(Test(value, falsy, where))
        operator, wanted = words[1], words[2] if len(words) > 2 else ""
        if len(words) > 3:
            return UnknownGuard(shown, where)
        bare = operator.lstrip("!")
        if bare == "=":
            guard: Guard = self._equal(value, wanted, where, local)
        elif bare in ("~", "~*"):
            guard = Test(value, Predicate("regex", wanted, nocase=bare == "~*"), where)
        else:
            return UnknownGuard(shown, where)
        return NotGuard(guard) if operator.startswith("!") else guard

    def _equal(self, value: Value, wanted: str, where: Where, local: frozenset[str]) -> Guard:
        """Return the guard of a comparison."""
        other = self.value(wanted, where, local)
        if isinstance(other, Text):
            return Test(value, Predicate("equals", other.text), where)
        return UnknownGuard(f"a comparison with {wanted}", where)
