"""HAProxy configurations: frontends, listeners and backends to ways in.

Decides in which order HAProxy does what to a head: the rules of the defaults, of the frontend, of
the backend, then `option forwarded` and `option forwardfor`. Keywords that nobody here knows make a
way unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from edgeserver.chains.model import (
    ALWAYS,
    CLIENT,
    EVERY_ADDRESS,
    PRELUDE,
    SCHEME,
    AddField,
    AllOf,
    AnyOf,
    DropField,
    Field,
    Guard,
    Join,
    NotGuard,
    Op,
    Predicate,
    PreludeRule,
    Present,
    ProxyHop,
    Ranges,
    Refuse,
    SetClient,
    SetField,
    SetVariable,
    Step,
    Test,
    Text,
    Unknown,
    UnknownValue,
    Value,
    Way,
    Where,
)
from edgeserver.chains.readers.base import (
    MAX_WAYS,
    Sources,
    lower_name,
    make_ranges,
    refuse,
    split_names,
)
from edgeserver.chains.readers.haproxy_rules import Conditions, parse_format, parse_sample
from edgeserver.chains.readers.haproxy_syntax import Line, Section, parse_haproxy
from edgeserver.chains.readers.versions import has

__all__ = ["read_haproxy"]

_XFF = "x-forwarded-for"

_HARMLESS = split_names(
    """
    acl bind mode default_backend use_backend server server-template default-server timeout
    balance cookie stick-table stick log log-format log-format-sd log-tag log-steps
    error-log-format maxconn fullconn http-response http-after-response http-error errorfile
    errorfiles errorloc errorloc302 errorloc303 stats monitor-uri monitor monitor-net
    capture compression description disabled enabled id hash-type hash-balance-factor
    hash-preserve-affinity http-check tcp-check http-reuse load-server-state-from-file
    max-keep-alive-queue max-session-srv-conns persist rate-limit retries retry-on
    server-state-file-name tcp-response unique-id-format use-server external-check
    email-alert backlog clitcpka-cnt clitcpka-idle clitcpka-intvl srvtcpka-cnt srvtcpka-idle
    srvtcpka-intvl declare dispatch guid force-persist ignore-persist rspdel grace
    unique-id-header http-request tcp-request redirect option no http-send-name-header
    source block filter quic-initial
    """
)
_FILTERS = frozenset(
    {"compression", "trace", "cache", "comp-req", "comp-res", "bwlim-in", "bwlim-out"}
)
_ACTIONS = split_names(
    """
    capture cache-use cache-store sc-inc-gpc sc-inc-gpc0 sc-inc-gpc1 sc-set-gpt sc-set-gpt0
    sc-add-gpc set-log-level set-mark set-tos set-fc-mark set-fc-tos set-bc-mark set-bc-tos
    set-path set-pathq set-query set-uri set-method set-nice set-priority-class
    set-priority-offset set-timeout strict-mode wait-for-body wait-for-handshake
    normalize-uri early-hint replace-path replace-pathq replace-uri set-dst set-dst-port
    set-map del-map add-acl del-acl set-bandwidth-limit disable-l7-retry auth unset-var
    set-src-port inspect-delay pause set-retries do-log set-headers-bin
    """
) - {"set-headers-bin"}
_WHOLE = frozenset({"(.*)", "^(.*)$", "^(.*)", "(.*)$"})
_REFUSALS = frozenset(
    {"deny", "reject", "tarpit", "return", "redirect", "silent-drop", "use-service"}
)


@dataclass
class _Proxy:
    """A section with what its defaults bring."""

    section: Section
    lines: list[Line]
    mode: str = "tcp"
    forwardfor: Line | None = None
    forwarded: Line | None = None
    server_lines: list[Line] = field(default_factory=list)


def read_haproxy(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read an HAProxy configuration.

    Args:
        path: The file.
        sources: Where files come from.
        version: The product's version; empty for a recent one.

    Raises:
        ReadingError: The syntax is wrong, or nothing listens.
        UnreadableFile: A file cannot be read.
    """
    sections = parse_haproxy(sources.read(path), path)
    proxies = _proxies(sections)
    for proxy in proxies:
        if proxy.forwarded is not None and not has("haproxy-forwarded", version):
            refuse(proxy.forwarded.where, "option forwarded came with HAProxy 2.8")
    backends = {each.section.name: each for each in proxies if each.section.kind != "frontend"}
    ways: list[Way] = []
    for proxy in proxies:
        if proxy.section.kind in ("frontend", "listen") and not _is_off(proxy):
            for way in _Frontend(proxy, backends, sources, path).ways():
                ways.append(way)
                if len(ways) > MAX_WAYS:
                    refuse(way.where, f"more than {MAX_WAYS} ways through frontends and backends")
    if not ways:
        refuse(Where(path), "no frontend or listen section passes anything on")
    return ProxyHop("haproxy", "", path, tuple(ways))


def _is_off(proxy: _Proxy) -> bool:
    return any(line.words[0] == "disabled" for line in proxy.section.lines)


def _proxies(sections: Sequence[Section]) -> list[_Proxy]:
    """Return the proxies, each with the lines of its defaults before its own."""
    named: dict[str, list[Line]] = {}
    latest: list[Line] = []
    found: list[_Proxy] = []
    for section in sections:
        if section.kind not in ("defaults", "frontend", "backend", "listen"):
            continue
        # `defaults from NAME` has no name of its own
        args = (section.name, *section.args)
        base = latest if section.kind != "defaults" else []
        if "from" in args and args.index("from") + 1 < len(args):
            name = args[args.index("from") + 1]
            if name not in named:
                refuse(section.where, "'from' names no defaults section before this one")
            base = named[name]
        lines = [*base, *section.lines]
        if section.kind == "defaults":
            latest = lines
            if section.name and section.name != "from":
                named[section.name] = lines
        else:
            found.append(_settle(section, lines))
    return found


def _settle(section: Section, lines: list[Line]) -> _Proxy:
    """Return a proxy with the options that count, the last of each."""
    proxy = _Proxy(section, lines)
    for line in lines:
        words = line.words
        if words[0] == "mode" and len(words) > 1:
            proxy.mode = words[1]
        elif words[:2] == ("option", "forwardfor"):
            proxy.forwardfor = line
        elif words[:2] == ("option", "forwarded"):
            proxy.forwarded = line
        elif words[:3] == ("no", "option", "forwardfor"):
            proxy.forwardfor = None
        elif words[:3] == ("no", "option", "forwarded"):
            proxy.forwarded = None
        elif words[0] in ("server", "server-template"):
            proxy.server_lines.append(line)
    return proxy


class _Frontend:
    """One frontend or listen section."""

    def __init__(
        self, proxy: _Proxy, backends: dict[str, _Proxy], sources: Sources, path: str
    ) -> None:
        self._proxy = proxy
        self._backends = backends
        self._sources = sources
        self._path = path

    def ways(self) -> Iterator[Way]:
        """Yield a way for each listener, backend and kind of server."""
        for line in self._proxy.lines:
            if line.words[0] != "bind" or len(line.words) < 2:
                continue
            for address in line.words[1].split(","):
                port = address.rsplit(":", 1)[-1]
                # where a prelude is read, `dst_port` is the one that it names
                rule, _ = self._prelude(line, self._conditions(self._proxy, ""))
                is_own = rule is None and port.isdigit()
                yield from self._bound(line, address, port if is_own else "")

    def _bound(self, bind: Line, address: str, port: str) -> Iterator[Way]:
        """Yield the ways of one listener."""
        conditions = self._conditions(self._proxy, port)
        front = [*self._prelude_steps(bind), *_rules(self._proxy, conditions, port)]
        rule, doubts = self._prelude(bind, conditions)
        front = [*doubts, *front]
        for backend, guard in self._choices(conditions):
            back: list[Step] = []
            if guard is not ALWAYS:
                back.append(Step(Refuse(), backend.section.where, NotGuard(guard)))
            if backend is not self._proxy:
                back += _rules(backend, self._conditions(backend, port), port)
            http = self._proxy.mode == "http" or backend.mode == "http"
            back += _extensions(self._proxy, backend) if http else []
            for kind in _servers(backend):
                yield Way(
                    label=self._proxy.section.name,
                    path=backend.section.name if backend is not self._proxy else "",
                    where=bind.where,
                    listen=address,
                    tls="ssl" in bind.words[2:] or address.startswith("quic"),
                    steps=tuple(_http_only([*front, *back], http=http)),
                    prelude=rule,
                    sends_prelude=kind.prelude,
                    tls_out=kind.tls,
                    layer4=not http,
                    transparent=_is_transparent(backend),
                    paste=self._proxy.section.lines[-1].where,
                )

    def _conditions(self, proxy: _Proxy, port: str) -> Conditions:
        return Conditions(proxy.lines, port=port, sources=self._sources, base=self._path)

    # -- preludes ------------------------------------------------------------------------------

    @staticmethod
    def _prelude_steps(bind: Line) -> Iterator[Step]:
        """Yield what a prelude does: it names the client."""
        yield Step(SetClient(PRELUDE), bind.where)
        if "accept-netscaler-cip" in bind.words:
            yield Step(Unknown("accept-netscaler-cip"), bind.where)

    def _prelude(self, bind: Line, conditions: Conditions) -> tuple[PreludeRule | None, list[Step]]:
        """Return whose prelude is read, and a doubt where the condition is more than ranges."""
        if "accept-proxy" in bind.words[2:]:
            return PreludeRule(EVERY_ADDRESS, where=bind.where), []
        ranges: list[Ranges] = []
        for line in self._proxy.lines:
            if line.words[:2] != ("tcp-request", "connection") or len(line.words) < 3:
                continue
            words, guard = conditions.split(line.words[2:], line.where)
            if words[0] != "expect-proxy":
                continue
            if guard is ALWAYS:
                ranges.append(EVERY_ADDRESS)
                continue
            alternatives = guard.guards if isinstance(guard, AnyOf) else (guard,)
            for each in alternatives:
                if (
                    isinstance(each, Test)
                    and each.value == CLIENT
                    and each.predicate.kind == "ranges"
                ):
                    ranges.append(each.predicate.ranges)
                else:
                    text = " ".join(line.words)
                    rule = PreludeRule(EVERY_ADDRESS, required=False, where=line.where)
                    return rule, [Step(Unknown(text), line.where)]
        if not ranges:
            return None, []
        networks = tuple(net for each in ranges for net in each.networks)
        return PreludeRule(Ranges(networks, any(each.unix for each in ranges))), []

    # -- backends ------------------------------------------------------------------------------

    def _choices(self, conditions: Conditions) -> Iterator[tuple[_Proxy, Guard]]:
        """Yield each backend that a request may go to, and when it does."""
        before: list[Guard] = []
        default: str | None = None
        for line in self._proxy.lines:
            if line.words[0] == "default_backend" and len(line.words) > 1:
                default = line.words[1]
            elif line.words[0] == "use_backend" and len(line.words) > 1:
                _, guard = conditions.split(line.words[2:], line.where)
                reached = AllOf((*(NotGuard(each) for each in before), guard))
                if "%" in line.words[1]:
                    for backend in self._backends.values():
                        yield backend, reached
                else:
                    backend = self._find(line.words[1], line.where)
                    yield backend, reached if reached.guards else ALWAYS
                before.append(guard)
        rest = AllOf(tuple(NotGuard(each) for each in before)) if before else ALWAYS
        if default is not None:
            where = self._proxy.section.where
            if "%" in default:
                for backend in self._backends.values():
                    yield backend, rest
            else:
                yield self._find(default, where), rest
        elif self._proxy.server_lines:
            yield self._proxy, rest

    def _find(self, name: str, where: Where) -> _Proxy:
        """Return a backend by its name."""
        backend = self._backends.get(name)
        if backend is None:
            refuse(where, "this names no backend of this file")
        return backend


@dataclass(frozen=True)
class _Server:
    """How servers of one kind are spoken to."""

    prelude: bool
    tls: bool


def _servers(backend: _Proxy) -> list[_Server]:
    """Return the kinds of servers of a backend."""
    defaults: list[str] = []
    for line in backend.lines:
        if line.words[0] == "default-server":
            defaults += line.words[1:]
    kinds = []
    for line in backend.server_lines:
        words = [*defaults, *line.words[3:]]
        prelude = any(word.startswith("send-proxy") for word in words)
        if "no-send-proxy" in words or "no-send-proxy-v2" in words:
            prelude = any(word.startswith("send-proxy") for word in line.words[3:])
        tls = "ssl" in words and "no-ssl" not in words
        kinds.append(_Server(prelude, tls))
    return [*dict.fromkeys(kinds)]


def _is_transparent(backend: _Proxy) -> bool:
    """Return whether servers see the client's own address."""
    return any(
        "usesrc" in line.words and ("clientip" in line.words or "client" in line.words)
        for line in backend.lines
    )


def _http_only(steps: Iterable[Step], *, http: bool) -> Iterator[Step]:
    """Yield the steps that are done: in mode tcp no head is touched."""
    for step in steps:
        if http or isinstance(step.op, SetClient | Refuse | SetVariable | Unknown):
            yield step


# -- rules ---------------------------------------------------------------------------------------


def _rules(proxy: _Proxy, conditions: Conditions, port: str) -> list[Step]:
    """Return what the rules of a section do, in HAProxy's order."""
    steps = [*_not_understood(proxy)]
    for kind in (
        ("tcp-request", "connection"),
        ("tcp-request", "session"),
        ("tcp-request", "content"),
        ("http-request",),
    ):
        allowed: list[Guard] = []
        for line in proxy.lines:
            if line.words[: len(kind)] == kind and len(line.words) > len(kind):
                words, guard = conditions.split(line.words[len(kind) :], line.where)
                if words and words[0] in ("allow", "accept"):
                    allowed.append(guard)
                    continue
                for step in _action(words, line.where, port):
                    steps.append(_guarded(step, guard, allowed))
    for line in proxy.lines:
        if line.words[0] in ("redirect", "block"):
            _, guard = conditions.split(line.words[1:], line.where)
            steps.append(Step(Refuse(), line.where, guard))
    return steps


def _guarded(step: Step, guard: Guard, allowed: Sequence[Guard]) -> Step:
    """Return a step that is done where its rule's condition holds, and no `allow` came before."""
    if not allowed:
        return Step(step.op, step.where, guard)
    return Step(step.op, step.where, AllOf((guard, *(NotGuard(each) for each in allowed))))


def _not_understood(proxy: _Proxy) -> Iterator[Step]:
    """Yield a step for each keyword that nobody here knows."""
    for line in proxy.lines:
        words = line.words
        if words[0] not in _HARMLESS or words[:2] in (("option", "originalto"),):
            if words[:2] != ("option", "originalto"):
                yield Step(Unknown(words[0]), line.where)
        elif words[0] == "filter" and len(words) > 1 and words[1] not in _FILTERS:
            yield Step(Unknown(" ".join(words[:2])), line.where)


def _action(words: Sequence[str], where: Where, port: str) -> Iterator[Step]:
    """Yield the step of one action; none for those that touch no field."""
    if not words:
        yield Step(Unknown("a rule without an action"), where)
        return
    action, args = words[0], words[1:]
    name, _, rest = action.partition("(")
    field_name = lower_name(args[0]) if args else None
    if name in _ACTIONS or name.startswith(("track-sc", "sc-")) or name == "expect-proxy":
        return
    if name in _REFUSALS:
        yield Step(Refuse(), where)
    elif name in ("set-header", "add-header") and field_name and len(args) > 1:
        value = parse_format(args[1], where, port=port)
        op: Op = (
            SetField(field_name, value) if name == "set-header" else AddField(field_name, value)
        )
        yield Step(op, where)
    elif name == "del-header" and field_name:
        yield from _delete(args, field_name, where)
    elif name in ("replace-header", "replace-value") and field_name:
        if name == "replace-header" and len(args) > 2 and args[1] in _WHOLE:
            value = _replaced(field_name, args[2], where, port)
            yield Step(SetField(field_name, value), where, Present(field_name))
        else:
            yield Step(Unknown(f"{name} {args[0]}", (field_name,)), where)
    elif name == "set-src" and args:
        yield Step(SetClient(parse_sample(args[0], where, port=port)), where)
    elif name in ("set-var", "set-var-fmt") and args:
        yield Step(
            SetVariable(rest.rstrip(")").split(",")[0], _variable(name, args, where, port)), where
        )
    elif name == "do-resolve":
        variable = rest.split(",")[0]
        yield Step(SetVariable(variable, UnknownValue(action, where)), where)
    else:
        yield Step(Unknown(action), where)


def _replaced(name: str, text: str, where: Where, port: str) -> Value:
    """Return what `replace-header` writes where its pattern takes in the whole line."""
    parts: list[Value] = []
    for number, part in enumerate(text.split("\\1")):
        if number:
            parts.append(Field(name, "last"))
        if part:
            parts.append(parse_format(part, where, port=port))
    return Join(tuple(parts))


def _variable(name: str, args: Sequence[str], where: Where, port: str) -> Value:
    """Return the value that a variable gets."""
    parse = parse_format if name == "set-var-fmt" else parse_sample
    return parse(args[0], where, port=port)


def _delete(args: Sequence[str], name: str, where: Where) -> Iterator[Step]:
    """Yield the removal of a field, by its name or by a way to match names."""
    if len(args) == 1 or list(args[1:]) == ["-m", "str"]:
        yield Step(DropField(name), where)
    elif list(args[1:]) == ["-m", "beg"]:
        yield Step(DropField(name, prefix=True), where)
    else:
        yield Step(Unknown(f"del-header {' '.join(args)}"), where)


# -- option forwardfor, option forwarded ---------------------------------------------------------


def _extensions(front: _Proxy, back: _Proxy) -> Iterator[Step]:
    """Yield what the options add once all rules are done."""
    if back.forwarded is not None and back.section.kind != "frontend":
        yield _forwarded(back.forwarded)
    lines = [each for each in (front.forwardfor, back.forwardfor) if each is not None]
    if not lines:
        return
    guards: list[Guard] = []
    always = False
    name = _XFF
    for line in lines:
        words = line.words
        always = always or "if-none" not in words
        if "except" in words:
            ranges, unknown = make_ranges([words[words.index("except") + 1]])
            if unknown:
                refuse(line.where, "except takes an address or a range")
            guards.append(NotGuard(Test(CLIENT, Predicate("ranges", ranges=ranges), line.where)))
        if "header" in words:
            name = lower_name(words[words.index("header") + 1]) or _XFF
        elif line is back.forwardfor:
            name = _XFF
    if not always:
        guards.append(NotGuard(Present(name)))
    guard = AllOf(tuple(guards)) if guards else ALWAYS
    yield Step(AddField(name, CLIENT), lines[0].where, guard)


def _forwarded(line: Line) -> Step:
    """Return what `option forwarded` adds: without words, `proto` and `for`."""
    words = line.words[2:]
    if set(words) - {"proto", "for", "host", "by"}:
        return Step(Unknown(" ".join(line.words), ("forwarded",)), line.where)
    parts: list[Value] = []
    if not words or "proto" in words:
        parts += [Text("proto="), SCHEME]
    if "host" in words:
        parts.append(Text(';host="app.example"'))
    if "by" in words:
        parts.append(Text(";by=_proxy"))
    if not words or "for" in words:
        parts += [Text(";for="), CLIENT]
    if parts and isinstance(parts[0], Text):
        parts[0] = Text(parts[0].text.lstrip(";"))
    return Step(AddField("forwarded", Join(tuple(parts))), line.where)
