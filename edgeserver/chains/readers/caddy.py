"""Caddyfiles: sites and their `reverse_proxy` to ways in.

Decides what Caddy does to a head: `X-Forwarded-*` are set anew unless the peer is trusted, then
`header_up` changes them. Directives that nobody here knows make a way unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from edgeserver.chains.model import (
    ALWAYS,
    CLIENT,
    COOKIE,
    EVERY_ADDRESS,
    HOST,
    METHOD,
    NO_RANGES,
    PATH,
    PRELUDE,
    QUERY,
    SCHEME,
    AddField,
    AllOf,
    AppendToField,
    DropField,
    Field,
    ForgetNominated,
    Guard,
    Join,
    NotGuard,
    Predicate,
    PreludeRule,
    Present,
    ProxyHop,
    Ranges,
    RealIp,
    SetClient,
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
from edgeserver.chains.readers.base import (
    MAX_WAYS,
    Sources,
    lower_name,
    make_ranges,
    refuse,
    split_names,
)
from edgeserver.chains.readers.caddy_syntax import CaddyLine, parse_caddyfile
from edgeserver.chains.readers.versions import has
from edgeserver.proxyheaders.networks import PRESETS

__all__ = ["read_caddy"]

_XFF, _PROTO, _XFH = "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"
_PLACEHOLDER = re.compile(r"\{([^{}\s]+)\}")
_PRIVATE = [*PRESETS["private"], *PRESETS["loopback"]]
MAX_IMPORTS = 32

_PASSES = frozenset({"reverse_proxy", "php_fastcgi"})
_BLOCKS = frozenset({"handle", "handle_path", "route", "handle_errors", "handle_response"})
_HARMLESS = split_names(
    """
    abort acme_server basicauth basic_auth bind encode error file_server fs header import intercept
    invoke log log_append log_name log_skip skip_log metrics php_fastcgi push redir request_body
    request_header respond reverse_proxy rewrite root route handle handle_path handle_errors method
    templates tls tracing try_files uri vars map forward_auth handle_response static_response
    """
)
_PROXY_OPTIONS = split_names(
    """
    to dynamic lb_policy lb_retries lb_try_duration lb_try_interval lb_retry_match health_uri
    health_upstream health_port health_interval health_passes health_fails health_timeout
    health_method health_status health_request_body health_body health_follow_redirects
    health_headers fail_duration max_fails unhealthy_status unhealthy_latency
    unhealthy_request_count flush_interval request_buffers response_buffers stream_timeout
    stream_close_delay header_down replace_status copy_response copy_response_headers verbose_logs
    header_up transport trusted_proxies rewrite method handle_response root split index env
    resolve_root_symlink capture_stderr dial_timeout read_timeout write_timeout try_files
    """
)


def read_caddy(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read a Caddyfile.

    Args:
        path: The file.
        sources: Where files come from.
        version: The product's version; empty for a recent one.

    Raises:
        ReadingError: The syntax is wrong, or no site passes anything on.
        UnreadableFile: A file cannot be read.
    """
    text = sources.read(path)
    if text.lstrip().startswith("{") and '"apps"' in text:
        refuse(Where(path), "this is Caddy's JSON; give the Caddyfile that it was adapted from")
    entries = parse_caddyfile(text, path)
    loader = _Loader(path, sources, entries)
    options = _Options(loader.options, loader)
    if not has("caddy-distrusts", version):
        options.trusted = EVERY_ADDRESS
    ways: list[Way] = []
    for site in loader.sites:
        ways.extend(_Site(site, options, loader).ways())
        if len(ways) > MAX_WAYS:
            refuse(site.where, f"more than {MAX_WAYS} ways in")
    if not ways:
        refuse(Where(path), "no site has a reverse_proxy")
    return ProxyHop("caddy", "", path, tuple(ways))


class _Loader:
    """The parts of a Caddyfile: global options, snippets and sites."""

    def __init__(self, path: str, sources: Sources, entries: Sequence[CaddyLine]) -> None:
        self._path = path
        self._sources = sources
        self.options: tuple[CaddyLine, ...] = ()
        self.sites: list[CaddyLine] = []
        self._snippets: dict[str, CaddyLine] = {}
        self._sort(entries, 0)

    def _sort(self, entries: Sequence[CaddyLine], depth: int) -> None:
        """Put each entry where it belongs; what a file imports comes in its place."""
        for number, entry in enumerate(entries):
            if not entry.words and entry.block is not None and number == 0 and not depth:
                self.options = entry.block
            elif entry.name.startswith("(") and entry.block is not None:
                self._snippets[entry.name.strip("()")] = entry
            elif entry.name == "import" and len(entry.words) > 1:
                self._sort(self._files(entry, depth), depth + 1)
            elif entry.block is not None:
                self.sites.append(entry)

    def _files(self, entry: CaddyLine, depth: int) -> list[CaddyLine]:
        """Return the entries of the files that an import names."""
        if depth > MAX_IMPORTS:
            refuse(entry.where, f"imports are nested more than {MAX_IMPORTS} deep")
        pattern = self._sources.resolve(entry.words[1], self._path)
        globs = any(letter in pattern for letter in "*?[")
        found: list[CaddyLine] = []
        for path in self._sources.glob(pattern) if globs else [pattern]:
            found.extend(parse_caddyfile(self._sources.read(path), path))
        return found

    def expand(self, entries: Iterable[CaddyLine], depth: int = 0) -> Iterator[CaddyLine]:
        """Yield entries, with those of the snippets and files that they import."""
        for entry in entries:
            if entry.name != "import" or len(entry.words) < 2:
                yield entry
                continue
            if depth > MAX_IMPORTS:
                refuse(entry.where, f"imports are nested more than {MAX_IMPORTS} deep")
            snippet = self._snippets.get(entry.words[1])
            if snippet is not None:
                yield from self.expand(_filled(snippet.block or (), entry.words[2:]), depth + 1)
            else:
                yield from self.expand(self._files(entry, depth), depth + 1)


def _filled(entries: Iterable[CaddyLine], args: Sequence[str]) -> Iterator[CaddyLine]:
    """Yield a snippet's entries with its arguments in their places."""
    for entry in entries:
        words = []
        for word in entry.words:
            for number, arg in enumerate(args):
                word = word.replace(f"{{args[{number}]}}", arg).replace(f"{{args.{number}}}", arg)
            words.append(word)
        block = None if entry.block is None else tuple(_filled(entry.block, args))
        yield CaddyLine(tuple(words), entry.where, block)


def _ranges(words: Sequence[str], where: Where) -> tuple[Ranges, list[Step]]:
    """Return the ranges of a list of trusted proxies, and a doubt where one is not understood."""
    texts: list[str] = []
    for word in words:
        texts += _PRIVATE if word == "private_ranges" else [word]
    ranges, unknown = make_ranges(texts)
    doubts = [Step(Unknown(f"trusted_proxies {text}"), where) for text in unknown]
    return ranges, doubts


class _Options:
    """The global options that matter: `servers`, `auto_https` and the ports."""

    def __init__(self, entries: Sequence[CaddyLine], loader: _Loader) -> None:
        self.trusted = NO_RANGES
        self.strict = False
        self.headers: tuple[str, ...] = (_XFF,)
        self.where = Where("")
        self.prelude: PreludeRule | None = None
        self.steps: list[Step] = []
        for entry in loader.expand(entries):
            if entry.name == "servers":
                # options of one listener alone are taken for all: that it is not, is not told
                if len(entry.words) > 1:
                    self.steps.append(Step(Unknown(" ".join(entry.words)), entry.where))
                for inner in loader.expand(entry.block or ()):
                    self._server(inner, loader)

    def _server(self, entry: CaddyLine, loader: _Loader) -> None:
        words = entry.words
        if entry.name == "trusted_proxies":
            self.where = entry.where
            if len(words) > 1 and words[1] == "static":
                self.trusted, doubts = _ranges(words[2:], entry.where)
                self.steps += doubts
            else:
                self.steps.append(Step(Unknown(" ".join(words)), entry.where))
        elif entry.name == "trusted_proxies_strict":
            self.strict = True
        elif entry.name == "client_ip_headers":
            self.headers = tuple(filter(None, map(lower_name, words[1:])))
        elif entry.name == "listener_wrappers":
            for wrapper in loader.expand(entry.block or ()):
                if wrapper.name == "proxy_protocol":
                    self._proxy_protocol(wrapper)
                elif wrapper.name not in ("tls", "http_redirect"):
                    self.steps.append(Step(Unknown(wrapper.name), wrapper.where))

    def _proxy_protocol(self, entry: CaddyLine) -> None:
        """Read whose preludes are used."""
        allow: list[str] = []
        policy = "ignore"
        for inner in entry.block or ():
            if inner.name == "allow":
                allow += inner.words[1:]
            elif inner.name == "fallback_policy" and len(inner.words) > 1:
                policy = inner.words[1].lower()
            elif inner.name == "deny":
                self.steps.append(Step(Unknown("deny"), inner.where))
        ranges, doubts = _ranges(allow, entry.where)
        self.steps += doubts
        if not allow or policy in ("use", "require"):
            if not allow and policy not in ("use", "require"):
                self.steps.append(Step(Unknown("proxy_protocol without allow"), entry.where))
            ranges = EVERY_ADDRESS
        self.prelude = PreludeRule(ranges, required=policy == "require", where=entry.where)


class _Site:
    """One site block."""

    def __init__(self, site: CaddyLine, options: _Options, loader: _Loader) -> None:
        self._site = site
        self._options = options
        self._loader = loader
        self._body = [*loader.expand(site.block or ())]

    def ways(self) -> Iterator[Way]:
        """Yield a way for each address and `reverse_proxy`."""
        addresses = [each.strip(",") for word in self._site.words for each in word.split(",")]
        tls = any(entry.name == "tls" for entry in self._body)
        places = [*self._places(self._body, (), [])]
        for address in filter(None, addresses):
            for entry, outer, path in places:
                yield self._way(address, entry, outer, path, tls=tls)

    def _places(
        self, entries: Sequence[CaddyLine], path: tuple[str, ...], outer: list[CaddyLine]
    ) -> Iterator[tuple[CaddyLine, list[CaddyLine], str]]:
        """Yield each directive that passes requests on, with those that are done before it."""
        before = [*outer, *entries]
        for entry in entries:
            if entry.name in _PASSES:
                matcher = [word for word in entry.words[1:2] if word[0:1] in ("/", "@", "*")]
                yield entry, before, " ".join([*path, *matcher])
            elif entry.name in _BLOCKS and entry.block is not None:
                inner = [*self._loader.expand(entry.block)]
                yield from self._places(inner, (*path, *entry.words[1:2]), before)

    def _way(
        self, address: str, entry: CaddyLine, before: list[CaddyLine], path: str, *, tls: bool
    ) -> Way:
        """Return one way."""
        host, listen, plain = _address(address)
        steps: list[Step] = [Step(SetClient(PRELUDE), self._site.where), *self._options.steps]
        steps.append(Step(ForgetNominated(), entry.where))
        steps.append(Step(DropField("connection"), entry.where))
        for each in before:
            steps += self._before(each)
        body = [*self._loader.expand(entry.block or ())]
        trusted, more = self._trusted(body)
        steps += [*more, *_defaults(trusted, entry.where)]
        steps += self._changes(body)
        transport = [each for each in body if each.name == "transport"]
        inner = [each for one in transport for each in (one.block or ())]
        upstreams = [
            *entry.words[1:],
            *(w for each in body if each.name == "to" for w in each.words),
        ]
        return Way(
            label=host,
            path=path,
            where=entry.where,
            listen=listen,
            tls=tls or not plain,
            steps=tuple(steps),
            prelude=self._options.prelude,
            sends_prelude=any(each.name == "proxy_protocol" for each in inner),
            tls_out=any(each.name.startswith("tls") for each in inner)
            or any(word.startswith("https://") for word in upstreams),
            paste=body[-1].where if body else entry.where,
        )

    def _before(self, entry: CaddyLine) -> Iterator[Step]:
        """Yield what a directive does that comes before `reverse_proxy`."""
        name = entry.name
        if name == "request_header":
            words = [*entry.words[1:]]
            guard: Guard = ALWAYS
            if (words and words[0][0:1] in ("@", "/")) or words[:1] == ["*"]:
                matcher = words.pop(0)
                if matcher != "*":
                    guard = UnknownGuard(f"the matcher {matcher}", entry.where)
            for step in _change(words, entry.where):
                yield Step(step.op, step.where, guard)
        elif name == "forward_auth":
            for each in entry.block or ():
                if each.name == "copy_headers":
                    for word in [*each.words[1:], *(w.name for w in each.block or ())]:
                        field = lower_name(word.rpartition(">")[2] or word)
                        if field:
                            yield Step(Unknown(f"copy_headers {word}", (field,)), each.where)
        elif name.startswith("@") or name in _HARMLESS or not name:
            return
        else:
            yield Step(Unknown(name), entry.where)

    def _trusted(self, body: Sequence[CaddyLine]) -> tuple[Ranges, list[Step]]:
        """Return whose X-Forwarded-* are kept by a `reverse_proxy`."""
        trusted, steps = self._options.trusted, []
        for each in body:
            if each.name == "trusted_proxies":
                more, doubts = _ranges(each.words[1:], each.where)
                steps += doubts
                trusted = Ranges((*trusted.networks, *more.networks))
            elif each.name not in _PROXY_OPTIONS and not each.name.startswith("@"):
                steps.append(Step(Unknown(each.name), each.where))
        return trusted, steps

    def _changes(self, body: Sequence[CaddyLine]) -> Iterator[Step]:
        """Yield what `header_up` does; values with the client's address come last."""
        late: list[Step] = []
        names: set[str] = set()
        for each in body:
            if each.name != "header_up":
                continue
            for step in _change(each.words[1:], each.where):
                name = getattr(step.op, "name", "")
                if _uses_client_ip(each.words) or name in names:
                    late.append(step)
                    names.add(name)
                    if any("remote" in word for word in each.words):
                        late[-1] = Step(Unknown("header_up", (name,)), each.where)
                else:
                    yield step
        if late:
            options = self._options
            walk = "recursive" if options.strict else "leftmost"
            for header in reversed(options.headers):
                yield Step(
                    RealIp(header, options.trusted, "recursive" if options.strict else "leftmost"),
                    options.where,
                )
                if walk == "recursive":
                    break
            yield from late


def _uses_client_ip(words: Sequence[str]) -> bool:
    return any("client_ip}" in word for word in words)


def _address(text: str) -> tuple[str, str, bool]:
    """Return host, listener, and whether a site's address is plain HTTP."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, rest = "", text
    rest = rest.split("/")[0]
    host, _, port = rest.rpartition(":") if re.search(r":\d+$", rest) else (rest, "", "")
    plain = scheme == "http" or port == "80" or (not scheme and not host and port != "443")
    return host, f":{port or ('80' if plain else '443')}", plain


def _defaults(trusted: Ranges, where: Where) -> Iterator[Step]:
    """Yield what `reverse_proxy` does without being told."""
    known = Test(CLIENT, Predicate("ranges", ranges=trusted))
    stranger = NotGuard(known)
    yield Step(DropField(_XFF), where, stranger)
    yield Step(AppendToField(_XFF, CLIENT), where)
    for name, value in ((_PROTO, SCHEME), (_XFH, Field(HOST))):
        kept = AllOf((known, Present(name), NotGuard(Test(Field(name), Predicate("equals")))))
        yield Step(SetField(name, value), where, NotGuard(kept))
        # one line is left of several
        yield Step(SetField(name, Field(name, "last")), where, kept)


def _change(words: Sequence[str], where: Where) -> Iterator[Step]:
    """Yield what a `header_up` or `request_header` does."""
    if not words:
        return
    text = words[0]
    name = lower_name(text.lstrip("+-?>").rstrip("*:"))
    if name is None or (text.endswith("*") and not text.startswith("-")) or len(words) > 2:
        yield Step(Unknown(f"a change of {text}", (name,) if name else ()), where)
    elif text.startswith("-"):
        yield Step(DropField(name, prefix=text.endswith("*")), where)
    elif text[0] in "?>" or len(words) < 2:
        yield Step(Unknown(f"a change of {text}", (name,)), where)
    elif text.startswith("+"):
        yield Step(AddField(name, _value(words[1], where)), where)
    else:
        yield Step(SetField(name, _value(words[1], where)), where)


_VALUES: dict[str, Value] = {
    "remote_host": CLIENT,
    "http.request.remote.host": CLIENT,
    "remote_ip": CLIENT,
    "remote": Join((CLIENT, Text(":40000"))),
    "http.request.remote": Join((CLIENT, Text(":40000"))),
    "client_ip": CLIENT,
    "http.vars.client_ip": CLIENT,
    "vars.client_ip": CLIENT,
    "scheme": SCHEME,
    "http.request.scheme": SCHEME,
    "host": Field(HOST),
    "hostport": Field(HOST),
    "http.request.host": Field(HOST),
    "http.request.hostport": Field(HOST),
    "method": Field(METHOD),
    "http.request.method": Field(METHOD),
    "path": Field(PATH),
    "uri": Field(PATH),
    "http.request.uri": Field(PATH),
    "remote_port": Text("40000"),
    "upstream_hostport": Text("app:8000"),
    "http.reverse_proxy.upstream.hostport": Text("app:8000"),
}
_PREFIXES = (
    ("http.request.header.", ""),
    ("header.", ""),
    ("http.request.uri.query.", QUERY),
    ("query.", QUERY),
    ("http.request.cookie.", COOKIE),
    ("cookie.", COOKIE),
)


def _value(text: str, where: Where) -> Value:
    """Return a value with its placeholders."""
    parts: list[Value] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        if found.start() > at:
            parts.append(Text(text[at : found.start()]))
        parts.append(_placeholder(found[1], where))
        at = found.end()
    if at < len(text):
        parts.append(Text(text[at:]))
    if not parts:
        return Text("")
    return parts[0] if len(parts) == 1 else Join(tuple(parts))


def _placeholder(name: str, where: Where) -> Value:
    """Return what one placeholder stands for."""
    value = _VALUES.get(name)
    if value is not None:
        return value
    for prefix, kind in _PREFIXES:
        if name.startswith(prefix) and name != prefix:
            return Field(kind + name.removeprefix(prefix).lower(), "first", received=True)
    return UnknownValue(f"{{{name}}}", where)
