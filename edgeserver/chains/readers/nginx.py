"""nginx configurations: servers and locations to ways in.

Decides what nginx does to a head on each way: inheritance of `proxy_set_header`, realip, the
rewrite module's variables, access rules, listeners. Directives that nobody here knows make a way
unknown.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from edgeserver.chains.model import (
    ALWAYS,
    CLIENT,
    EVERY_ADDRESS,
    PRELUDE,
    AddField,
    AllOf,
    AnyOf,
    DropAll,
    DropUnderscored,
    Guard,
    Lookup,
    Note,
    NotGuard,
    Predicate,
    PreludeRule,
    ProxyHop,
    RealIp,
    Refuse,
    SetClient,
    SetField,
    SetVariable,
    Step,
    Test,
    Text,
    Unknown,
    UnknownGuard,
    UnknownValue,
    Value,
    Variable,
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
from edgeserver.chains.readers.nginx_syntax import Directive, known_directives, parse_nginx
from edgeserver.chains.readers.nginx_values import Variables
from edgeserver.chains.readers.versions import has

__all__ = ["read_nginx", "read_nginx_directives"]

# each protocol to an upstream: the pass directive, what sets fields, what turns passing off
_PASSES = {
    "proxy_pass": ("proxy_set_header", "proxy_pass_request_headers"),
    "grpc_pass": ("grpc_set_header", ""),
    "fastcgi_pass": ("fastcgi_param", "fastcgi_pass_request_headers"),
    "uwsgi_pass": ("uwsgi_param", "uwsgi_pass_request_headers"),
    "scgi_pass": ("scgi_param", "scgi_pass_request_headers"),
}
_SETTERS = frozenset(setter for setter, _ in _PASSES.values())
_TOUCHED = frozenset({"x-forwarded-for", "x-forwarded-proto", "forwarded", "x-real-ip"})

# newer than crossplane's list, or of modules that only touch answers, logs and statistics
_HARMLESS = split_names(
    """
    http2 http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size quic_gso
    quic_host_key quic_retry quic_active_connection_id_limit quic_bpf ssl_reject_handshake
    add_header_inherit add_trailer_inherit keepalive_min_timeout ssl_certificate_compression
    proxy_pass_trailers ssl_ocsp ssl_ocsp_cache ssl_ocsp_responder ssl_conf_command
    proxy_ssl_conf_command grpc_ssl_conf_command uwsgi_ssl_conf_command proxy_cookie_flags
    proxy_request_dynamic resolver_timeout status_zone zone max_headers early_hints
    auth_delay auth_jwt auth_jwt_key_file auth_jwt_key_request brotli brotli_static
    brotli_comp_level brotli_types brotli_min_length brotli_window brotli_buffers
    more_set_headers more_clear_headers zstd zstd_types zstd_comp_level zstd_static
    modsecurity modsecurity_rules modsecurity_rules_file modsecurity_transaction_id
    otel_exporter otel_service_name otel_trace otel_trace_context otel_span_name
    otel_span_attr vhost_traffic_status vhost_traffic_status_zone
    vhost_traffic_status_display vhost_traffic_status_filter_by_host geoip2
    geoip2_proxy_recursive lua_package_path lua_package_cpath lua_shared_dict lua_code_cache
    lua_socket_log_errors lua_ssl_trusted_certificate lua_ssl_verify_depth init_by_lua
    init_by_lua_block init_by_lua_file init_worker_by_lua init_worker_by_lua_block
    init_worker_by_lua_file header_filter_by_lua header_filter_by_lua_block
    header_filter_by_lua_file body_filter_by_lua body_filter_by_lua_block
    body_filter_by_lua_file log_by_lua log_by_lua_block log_by_lua_file
    balancer_by_lua_block balancer_by_lua_file ssl_certificate_by_lua_block
    ssl_certificate_by_lua_file js_import js_path js_engine js_shared_dict_zone
    js_fetch_timeout js_header_filter js_body_filter uninitialized_variable_warn map geo
    split_clients if set return rewrite break location server upstream limit_except types
    match include
    """
)
# known to nginx, and able to change what is sent on, or to answer in another's place
_OPAQUE = split_names(
    """
    perl perl_modules perl_require js_content js_access js_filter js_preread auth_http
    geoip_proxy geoip_proxy_recursive
    """
)
# what makes nginx take fields with an underscore in their names
_UNDERSCORED = {"underscores_in_headers": ("on",), "ignore_invalid_headers": ("off",)}
# what answers itself: nothing is sent on
_ANSWERS = frozenset({"empty_gif", "stub_status", "memcached_pass", "flv", "mp4", "autoindex"})


_DROPS_UNDERSCORED = Step(DropUnderscored())


@dataclass(frozen=True)
class _Listen:
    """One `listen`."""

    key: str
    tls: bool
    prelude: bool
    where: Where


_NONE: list[Directive] = []


@dataclass
class _Scope:
    """The blocks around a place, outermost first, each with its directives."""

    levels: list[tuple[Directive, ...]]
    outer: _Scope | None = None  # that of the blocks but the innermost
    _memo: dict[tuple[str, ...], list[Directive]] = field(default_factory=dict, init=False)
    # those of the innermost block
    _named: dict[str, list[Directive]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for each in self.levels[-1]:
            self._named.setdefault(each.name, []).append(each)

    def inside(self, block: Directive) -> _Scope:
        """Return the scope of a block in this one."""
        assert block.block is not None
        return _Scope([*self.levels, block.block], self)

    def array(self, *names: str) -> list[Directive]:
        """Return directives that are inherited as a whole, where a level has none of its own.

        Places that inherit the same ones get the same list.
        """
        if self._named.keys().isdisjoint(names):
            return self.outer.array(*names) if self.outer is not None else _NONE
        if len(names) == 1:
            return self._named[names[0]]
        known = self._memo.get(names)
        if known is None:
            known = [each for each in self.levels[-1] if each.name in names]
            self._memo[names] = known
        return known

    def single(self, name: str) -> Directive | None:
        """Return the directive that counts here: the innermost level's."""
        found = self.array(name)
        return found[-1] if found else None

    def is_on(self, name: str, *, default: bool = False) -> bool:
        """Return whether a flag is on."""
        each = self.single(name)
        return default if each is None or not each.args else each.args[0].lower() == "on"


def read_nginx(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read an nginx configuration.

    Args:
        path: The main file.
        sources: Where files come from.
        version: The product's version, such as `1.24`; empty for a recent one.

    Raises:
        ReadingError: The syntax is wrong, or there is no server.
        UnreadableFile: A file cannot be read.
    """
    joins = has("nginx-joined-lines", version)
    return read_nginx_directives(parse_nginx(path, sources), path, joins=joins)


def read_nginx_directives(
    directives: Sequence[Directive], path: str, *, joins: bool = True
) -> ProxyHop:
    """Read a parsed configuration; a file of servers alone counts as within `http`.

    Args:
        directives: The directives of the main file.
        path: Its path.
        joins: Whether a variable holds all lines of a field, as from 1.23 on.
    """
    https = [each for each in directives if each.name == "http" and each.block is not None]
    streams = [each for each in directives if each.name == "stream" and each.block is not None]
    if not https and not streams and any(each.name == "server" for each in directives):
        https = [Directive("http", (), Where(path, 1), tuple(directives))]
    ways: list[Way] = []
    skipped: list[Note] = []
    for block in https:
        reader = _HttpReader(block, path, joins=joins)
        ways.extend(reader.read())
        skipped.extend(reader.skipped)
    for block in streams:
        ways.extend(_StreamReader(block).read())
    if not https and not streams:
        refuse(Where(path), "no http, stream or server block: this is no nginx configuration")
    return ProxyHop("nginx", "", path, tuple(ways), skipped=tuple(skipped))


@functools.lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return (known_directives() | _HARMLESS) - _OPAQUE


def _listens(server: Directive) -> list[_Listen]:
    """Return the listeners of a server."""
    assert server.block is not None
    found = []
    for each in server.block:
        if each.name == "listen" and each.args:
            flags = each.args[1:]
            tls = "ssl" in flags or "quic" in flags
            found.append(_Listen(each.args[0], tls, "proxy_protocol" in flags, each.where))
    if any(each.name == "ssl" and each.args == ("on",) for each in server.block):
        found = [_Listen(each.key, True, each.prelude, each.where) for each in found]
    return found or [_Listen("80", False, False, server.where)]


def _listen_key(text: str) -> str:
    """Return what is the same for `80`, `*:80` and `0.0.0.0:80`."""
    if text.isdigit():
        return f"*:{text}"
    if ":" not in text:
        return f"{text}:80"
    return text.replace("0.0.0.0:", "*:")


def _shared(servers: Iterable[Directive]) -> dict[str, tuple[bool, bool]]:
    """Return for each socket whether any server makes it TLS, and whether it reads a prelude."""
    shared: dict[str, tuple[bool, bool]] = {}
    for server in servers:
        for each in _listens(server):
            key = _listen_key(each.key)
            tls, prelude = shared.get(key, (False, False))
            shared[key] = (tls or each.tls, prelude or each.prelude)
    return shared


class _HttpReader:
    """One `http` block."""

    def __init__(self, block: Directive, path: str, *, joins: bool) -> None:
        assert block.block is not None
        self._block = block.block
        self._path = path
        self._servers = [each for each in block.block if each.name == "server" and each.block]
        # what one server says may count for another of its listener
        self._underscored = any(
            each.args == _UNDERSCORED.get(each.name)
            for level in (block.block, *(server.block or () for server in self._servers))
            for each in level
        )
        self._vars = Variables(block.block, joins=joins, underscored=self._underscored)
        self._set_in: dict[str, int] = {}
        self.skipped: list[Note] = []
        # steps are made once for all places that inherit them, so that who compares ways sees that
        # they are the same. The directives live as long as the block; other keys are kept beside.
        self._strange: dict[int, list[Step]] = {}
        self._rewritten: dict[tuple[int, frozenset[str]], list[Step]] = {}
        self._inherited: dict[tuple[object, ...], tuple[list[Directive], list[Step]]] = {}
        self._set: dict[tuple[object, ...], tuple[str | None, Step, Step]] = {}
        self._made: dict[int, tuple[tuple[Step, ...], tuple[Note, ...], Where, bool]] = {}
        for server in self._servers:
            for each in _walk(server.block or ()):
                if each.name == "set" and each.args:
                    name = each.args[0].lstrip("$").lower()
                    self._set_in[name] = self._set_in.get(name, 0) + 1

    def read(self) -> list[Way]:
        """Return the ways of all servers."""
        ways: list[Way] = []
        shared = _shared(self._servers)
        outermost = _Scope([self._block])
        for server in self._servers:
            scope = outermost.inside(server)
            label = " ".join(
                name
                for each in server.block or ()
                if each.name == "server_name"
                for name in each.args
            )
            for location, place in self._places(server, scope):
                for listen in _listens(server):
                    tls, prelude = shared[_listen_key(listen.key)]
                    one = _Listen(listen.key, tls, prelude, listen.where)
                    ways.append(self._way(label, location, place, one))
                    if len(ways) > MAX_WAYS:
                        refuse(location.where, f"more than {MAX_WAYS} locations with listeners")
        return ways

    def _places(self, block: Directive, scope: _Scope) -> Iterator[tuple[Directive, _Scope]]:
        """Yield each location that passes requests on, with its scope."""
        for each in block.block or ():
            if each.name == "location" and each.block is not None:
                inner = scope.inside(each)
                if self._passes(each) is not None:
                    yield each, inner
                elif any(other.name in _ANSWERS for other in each.block):
                    self.skipped.append(Note("", "answers itself", each.where))
                yield from self._places(each, inner)

    @staticmethod
    def _passes(location: Directive) -> Directive | None:
        """Return the directive that passes requests on, or None."""
        unknown = None
        for each in location.block or ():
            if each.name in _PASSES:
                return each
            if each.name in ("if", "limit_except"):
                for inner in each.block or ():
                    if inner.name in _PASSES:
                        return inner
            if each.name.startswith("content_by_") or each.name in ("js_content", "perl"):
                unknown = each
        return unknown

    def _way(self, label: str, location: Directive, scope: _Scope, listen: _Listen) -> Way:
        """Return one way: a location, through one listener."""
        passing = self._passes(location)
        assert passing is not None
        made = self._made.get(id(location))
        if made is None:  # the same for every listener
            bind = scope.single(passing.name.replace("_pass", "_bind"))
            transparent = bind is not None and "transparent" in bind.args
            made = (*self._steps(passing, scope), transparent)
            self._made[id(location)] = made
        steps, notes, paste, transparent = made
        target = passing.args[0] if passing.args else ""
        prelude = PreludeRule(EVERY_ADDRESS, where=listen.where) if listen.prelude else None
        return Way(
            label=label,
            path=_location_path(location),
            where=location.where,
            listen=listen.key,
            tls=listen.tls,
            steps=steps,
            prelude=prelude,
            tls_out=target.startswith(("https:", "grpcs:")),
            transparent=transparent,
            notes=notes,
            paste=paste,
        )

    def _steps(
        self, passing: Directive, scope: _Scope
    ) -> tuple[tuple[Step, ...], tuple[Note, ...], Where]:
        """Return what is done to the head in a location."""
        local = frozenset(
            each.args[0].lstrip("$").lower()
            for level in scope.levels[1:]
            for each in _own(level)
            if each.name in ("set", "auth_request_set") and each.args
        )
        steps = [] if self._underscored else [_DROPS_UNDERSCORED]
        steps += self._unknown(scope)
        outer = scope
        while len(outer.levels) > 2 and outer.outer is not None:
            outer = outer.outer
        steps += self._realip(outer)
        for level in scope.levels[1:]:
            steps += self._rewrite(level, local)
        if _realip_differs(outer, scope):
            steps += self._realip(scope)
        steps += self._access(scope)
        fields, notes, paste = self._fields(passing, scope, local)
        return (*steps, *fields), notes, paste

    # -- what is not known ---------------------------------------------------------------------

    def _unknown(self, scope: _Scope) -> Iterator[Step]:
        """Yield a step for each directive that nobody here knows."""
        for level in scope.levels:
            found = self._strange.get(id(level))
            if found is None:
                found = self._strange[id(level)] = [*self._strangers(level)]
            yield from found

    @staticmethod
    def _strangers(level: tuple[Directive, ...]) -> Iterator[Step]:
        """Yield a step for each directive of a level that nobody here knows."""
        known = _known()
        for each in level:
            if each.name in known:
                continue
            fields: tuple[str, ...] = ()
            if each.name in ("more_set_input_headers", "more_clear_input_headers"):
                names = [lower_name(arg.partition(":")[0]) for arg in each.args]
                fields = tuple(name for name in names if name) if None not in names else ()
            yield Step(Unknown(each.name, fields), each.where)

    # -- realip --------------------------------------------------------------------------------

    def _realip(self, scope: _Scope) -> list[Step]:
        """Return what the realip module does with the settings of a scope."""
        entries = scope.array("set_real_ip_from")
        if not entries:
            return []
        header = scope.single("real_ip_header")
        recursive = scope.is_on("real_ip_recursive")
        key = (id(entries), id(header), recursive)
        known = self._inherited.get(key)
        if known is None:
            known = (entries, [*self._believed(entries, header, recursive=recursive)])
            self._inherited[key] = known
        return known[1]

    @staticmethod
    def _believed(
        entries: list[Directive], header: Directive | None, *, recursive: bool
    ) -> Iterator[Step]:
        """Yield what the realip module does."""
        name = (header.args[0] if header is not None and header.args else "X-Real-IP").lower()
        ranges, unknown = make_ranges([each.args[0] for each in entries if each.args])
        where = entries[0].where
        for text in unknown:
            yield Step(
                SetClient(UnknownValue(f"set_real_ip_from {text}", where)),
                where,
                UnknownGuard(f"set_real_ip_from {text}", where),
            )
        yield Step(
            RealIp(
                "" if name == "proxy_protocol" else name,
                ranges,
                "recursive" if recursive else "last",
                line="all" if name == "x-forwarded-for" else "first",
            ),
            where,
        )

    # -- the rewrite module --------------------------------------------------------------------

    def _rewrite(self, level: tuple[Directive, ...], local: frozenset[str]) -> list[Step]:
        """Return what `set`, `if` and `return` of one level do."""
        known = self._rewritten.get((id(level), local))
        if known is None:
            known = self._rewritten[id(level), local] = [*self._actions(level, local)]
        return known

    def _actions(self, level: tuple[Directive, ...], local: frozenset[str]) -> Iterator[Step]:
        """Yield what `set`, `if` and `return` of one level do."""
        stopped: list[Guard] = []
        for each in level:
            if each.name in ("set", "auth_request_set", "return", "break"):
                yield from self._action(each, local, stopped, ALWAYS)
            elif each.name.startswith("set_by_") and each.args:
                name = each.args[0].lstrip("$").lower()
                yield Step(SetVariable(name, UnknownValue(each.name, each.where)), each.where)
            elif each.name == "if" and each.block is not None:
                guard = self._vars.condition(each, local)
                for inner in each.block:
                    yield from self._action(inner, local, stopped, guard)
                if any(inner.name == "break" for inner in each.block):
                    stopped.append(guard)

    def _action(
        self, each: Directive, local: frozenset[str], stopped: list[Guard], guard: Guard
    ) -> Iterator[Step]:
        """Yield the step of one action of the rewrite module."""
        if guard is ALWAYS and not stopped:
            condition: Guard = ALWAYS
        else:
            condition = AllOf((guard, *(NotGuard(other) for other in stopped)))
        if each.name == "set" and len(each.args) == 2:
            name = each.args[0].lstrip("$").lower()
            value = self._value(each.args[1], each.where, local)
            yield Step(SetVariable(name, value), each.where, condition)
        elif each.name == "auth_request_set" and len(each.args) == 2:
            name = each.args[0].lstrip("$").lower()
            value = UnknownValue(f"auth_request_set ${name}", each.where)
            yield Step(SetVariable(name, value), each.where, condition)
        elif each.name == "return":
            yield Step(Refuse(), each.where, condition)
        elif each.name == "break" and guard is ALWAYS:
            stopped.append(condition)
        elif each.name not in _known():
            yield Step(Unknown(each.name), each.where, condition)

    def _value(self, text: str, where: Where, local: frozenset[str]) -> Value:
        """Return the value of an argument; a variable that others set too is doubtful."""
        return self._vars.value(text, where, local | frozenset(self._set_in))

    # -- access rules --------------------------------------------------------------------------

    def _access(self, scope: _Scope) -> list[Step]:
        """Return the refusals of `allow` and `deny`; with `satisfy any` others may let in."""
        satisfy = scope.single("satisfy")
        entries = scope.array("allow", "deny")
        if not entries or (satisfy is not None and satisfy.args == ("any",)):
            return []
        known = self._inherited.get((id(entries),))
        if known is None:
            known = self._inherited[(id(entries),)] = (entries, [*self._refusals(entries)])
        return known[1]

    @staticmethod
    def _refusals(entries: list[Directive]) -> Iterator[Step]:
        """Yield the refusals of `allow` and `deny`."""
        before: list[Guard] = []
        for each in entries:
            if not each.args:
                continue
            if each.args[0] == "all":
                ranges = EVERY_ADDRESS
            else:
                ranges, unknown = make_ranges([each.args[0]])
                if unknown:
                    continue
            matches = Test(CLIENT, Predicate("ranges", ranges=ranges), each.where)
            if each.name == "deny":
                yield Step(Refuse(), each.where, AllOf((*before, matches)))
            before.append(NotGuard(matches))

    # -- the head ------------------------------------------------------------------------------

    def _fields(
        self, passing: Directive, scope: _Scope, local: frozenset[str]
    ) -> tuple[list[Step], tuple[Note, ...], Where]:
        """Return what is set in the head that is passed on, and what is not inherited."""
        steps: list[Step] = []
        setter, switch = _PASSES.get(passing.name, ("proxy_set_header", ""))
        if switch and not scope.is_on(switch, default=True):
            directive = scope.single(switch)
            steps.append(Step(DropAll(), directive.where if directive else passing.where))
        settings = scope.array(setter)
        seen: set[str] = set()
        for each in settings:
            key = (id(each), setter, local)
            made = self._set.get(key)
            if made is None:
                made = self._set[key] = self._setting(each, setter, local)
            name, once, again = made
            if name is not None:
                steps.append(again if name in seen else once)
                seen.add(name)
        if "connection" not in seen:
            steps.append(Step(SetField("connection", Text("close")), passing.where))
        paste = (
            settings[-1].where if settings and settings[-1] in scope.levels[-1] else passing.where
        )
        if passing.name not in _PASSES:
            steps.append(Step(Unknown(passing.name), passing.where))
        return steps, self._not_inherited(scope, setter, settings), paste

    def _setting(
        self, each: Directive, setter: str, local: frozenset[str]
    ) -> tuple[str | None, Step, Step]:
        """Return the field that a directive sets, or None, and how: as the first, and later."""
        name, value = self._field(each, setter, local)
        once = SetField(name or "", value, drop_empty=True)
        again = AddField(name or "", value, drop_empty=True)
        return name, Step(once, each.where), Step(again, each.where)

    def _field(
        self, each: Directive, setter: str, local: frozenset[str]
    ) -> tuple[str | None, Value]:
        """Return the field that a directive sets, or None, and its value."""
        if len(each.args) < 2:
            refuse(each.where, f"{setter} takes a name and a value")
        text = each.args[0]
        if setter.endswith("_param"):
            if not text.startswith("HTTP_"):
                return None, Variable("")
            text = text[5:].replace("_", "-")
        name = lower_name(text)
        return name, self._doubtful(each.args[1], each.where, local)

    def _doubtful(self, text: str, where: Where, local: frozenset[str]) -> Value:
        """Return a value; a variable that is set in another place alone may hold anything."""
        value = self._value(text, where, local)
        if isinstance(value, Variable) and value.name not in local:
            elsewhere = UnknownValue(f"${value.name}, which is set in another place", where)
            guard = UnknownGuard(f"${value.name} is set in another place", where)
            return Lookup(((guard, elsewhere),), value)
        return value

    @staticmethod
    def _not_inherited(
        scope: _Scope, setter: str, settings: Sequence[Directive]
    ) -> tuple[Note, ...]:
        """Return a note for each field that an outer level sets in vain."""
        if not settings:
            return ()
        own = {each.args[0].lower() for each in settings if each.args}
        notes = []
        for level in scope.levels:
            outer = [each for each in level if each.name == setter]
            if outer and outer[0] is not settings[0]:
                lines = f"{outer[0].where}"
                if len(outer) > 1 and outer[-1].where.file == outer[0].where.file:
                    lines += f"-{outer[-1].where.line}"
                for each in outer:
                    if each.args and each.args[0].lower() not in own:
                        text = (
                            f"this location has its own {setter}, so those of {lines} are not"
                            " inherited"
                        )
                        notes.append(Note(each.args[0].lower(), text, settings[0].where))
        return tuple(notes)


def _own(level: Iterable[Directive]) -> Iterator[Directive]:
    """Yield the directives of a level, and those in its ifs."""
    for each in level:
        yield each
        if each.name == "if":
            yield from each.block or ()


def _walk(level: Iterable[Directive]) -> Iterator[Directive]:
    """Yield every directive in a block, however deep."""
    waiting = [*level]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend(each.block or ())


def _realip_differs(outer: _Scope, inner: _Scope) -> bool:
    """Return whether a location has realip settings that are not its server's."""
    return any(
        outer.array(name) != inner.array(name)
        for name in ("set_real_ip_from", "real_ip_header", "real_ip_recursive")
    )


def _location_path(location: Directive) -> str:
    """Return what a location matches, as it is written."""
    return " ".join(location.args)


class _StreamReader:
    """One `stream` block: bytes are passed on unread."""

    def __init__(self, block: Directive) -> None:
        assert block.block is not None
        self._block = block.block
        self._servers = [each for each in block.block if each.name == "server" and each.block]

    def read(self) -> Iterator[Way]:
        """Yield the ways of all servers."""
        for server in self._servers:
            scope = _Scope([self._block]).inside(server)
            passing = scope.single("proxy_pass")
            if passing is None:
                continue
            steps = [
                Step(Unknown(each.name), each.where)
                for level in scope.levels
                for each in level
                if each.name not in _known()
            ]
            entries = scope.array("set_real_ip_from")
            if entries:
                ranges, unknown = make_ranges([each.args[0] for each in entries if each.args])
                guard = Test(CLIENT, Predicate("ranges", ranges=ranges))
                if unknown:
                    other: Guard = UnknownGuard(f"set_real_ip_from {unknown[0]}", entries[0].where)
                    steps.append(Step(SetClient(PRELUDE), entries[0].where, AnyOf((guard, other))))
                else:
                    steps.append(Step(SetClient(PRELUDE), entries[0].where, guard))
            bind = scope.single("proxy_bind")
            for listen in _listens(server):
                if "udp" in listen.key:
                    continue
                prelude = PreludeRule(EVERY_ADDRESS, where=listen.where) if listen.prelude else None
                yield Way(
                    label="",
                    path="",
                    where=server.where,
                    listen=listen.key,
                    tls=listen.tls,
                    steps=tuple(steps),
                    prelude=prelude,
                    sends_prelude=scope.is_on("proxy_protocol"),
                    tls_out=scope.is_on("proxy_ssl"),
                    layer4=True,
                    transparent=bind is not None and "transparent" in bind.args,
                    paste=passing.where,
                )
