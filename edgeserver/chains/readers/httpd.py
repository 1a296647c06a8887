"""Apache httpd: virtual hosts with a proxy to ways in.

Decides what mod_headers, mod_remoteip and mod_proxy do to a head, and in which order. Directives
that nobody here knows make a way unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgeserver.chains.model import (
    ALWAYS,
    CLIENT,
    EVERY_ADDRESS,
    HOST,
    PATH,
    PRELUDE,
    SCHEME,
    AddField,
    AllOf,
    AnyOf,
    AppendToField,
    DropField,
    Field,
    ForgetNominated,
    Guard,
    Lookup,
    NotGuard,
    Predicate,
    PreludeRule,
    Present,
    ProxyHop,
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
    MAX_FILES,
    MAX_WAYS,
    Sources,
    lower_name,
    make_ranges,
    refuse,
    split_names,
)
from edgeserver.chains.readers.haproxy_syntax import split_words

__all__ = ["read_httpd"]

_XFF = "x-forwarded-for"
_SECTION = re.compile(r"<\s*(/?)\s*([A-Za-z]+)\s*([^>]*)>?\s*\Z")
_TLS = Test(SCHEME, Predicate("equals", "https"))
MAX_DEPTH = 32

# sections that say where; those in the second row depend on what is not known here
_INLINE = frozenset({"ifmodule", "ifversion", "proxy", "proxymatch", "requireall", "requireany"})
_PLACES = frozenset({"location", "locationmatch", "directory", "directorymatch", "files"})
_PASSES = frozenset({"proxypass", "proxypassmatch", "rewriterule", "sethandler"})
# beginnings of directives that touch no field of a request that is passed on
_HARMLESS = tuple(
    split_names(
        """
        accept access action add alias allow anonymous auth balancer brotli browsermatch
        buffer bz cache cgi charset content cookie core custom dav dbd default define
        deflate deny directory disk document dump enable encode error etag example
        expires ext extended fallback file filter force gprof graceful group h2 header
        heartbeat host http identity if imap include index input isapi keepalive
        keptbody language ldap limit listen load log max md mem merge meta mime min mmap
        mod_gzip modmime multiviews mutex name no options order outputfilter oversize
        passenv pidfile policy port privileges protocol proxy pseudo qs rate read
        receive redirect reflector register remoteip remove reqtimeout request require
        rewrite rlimit satisfy scoreboard script secaudit secdata secdebug secpcre
        secrequest secresponse secrule secserver sectmp secupload send server session
        setenv sethandler setinput setoutput shmcb socache source ssi ssl start stream
        strict substitute suexec syncqueue threads timeout trace transfer types undefine
        unset update usecanonical user vhost virtual watchdog xbit
        """
    )
)


@dataclass
class _Line:
    """One directive, or one section with its lines."""

    words: tuple[str, ...]
    where: Where
    block: list[_Line] | None = None

    @property
    def name(self) -> str:
        """The directive's lower-case name."""
        return self.words[0].lower()


@dataclass
class _Scope:
    """What counts at one place: lines from the outside in, each with its condition."""

    lines: list[tuple[_Line, Guard]] = field(default_factory=list)

    def last(self, name: str) -> _Line | None:
        """Return the last directive of a name."""
        found = [line for line, _ in self.lines if line.name == name]
        return found[-1] if found else None

    def all(self, *names: str) -> list[tuple[_Line, Guard]]:
        """Return the directives of some names."""
        return [(line, guard) for line, guard in self.lines if line.name in names]


def read_httpd(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read an httpd configuration.

    Args:
        path: The main file.
        sources: Where files come from.
        version: The product's version; empty for a recent one.

    Raises:
        ReadingError: The syntax is wrong, or nothing is passed on.
        UnreadableFile: A file cannot be read.
    """
    parser = _Parser(path, sources)
    lines = parser.parse(path, ())
    root = [*_flat(lines, ALWAYS)]
    hosts = [line for line, _ in root if line.name == "virtualhost"]
    outside = [(line, guard) for line, guard in root if line.name != "virtualhost"]
    ways: list[Way] = []
    for host in hosts:
        ways.extend(_host_ways(host, outside))
    if not hosts:
        listens = [line.words[1] for line, _ in outside if line.name == "listen"]
        host = _Line(("VirtualHost", f"*:{listens[0] if listens else '80'}"), Where(path, 1), [])
        ways.extend(_host_ways(host, outside))
    if len(ways) > MAX_WAYS:
        refuse(Where(path), f"more than {MAX_WAYS} ways in")
    if not ways:
        refuse(Where(path), "no ProxyPass, and no other proxy")
    return ProxyHop("httpd", "", path, tuple(ways))


class _Parser:
    """Reads files and their includes."""

    def __init__(self, main: str, sources: Sources) -> None:
        self._main = main
        self._sources = sources
        self._files = 0
        self._root = ""

    def parse(self, path: str, stack: tuple[str, ...]) -> list[_Line]:
        """Return the directives of a file."""
        root: list[_Line] = []
        open_: list[tuple[str, list[_Line]]] = [("", root)]
        for number, text in self._logical(self._sources.read(path)):
            where = Where(path, number)
            section = _SECTION.match(text) if text.startswith("<") else None
            if text.startswith("<") and section is None:
                refuse(where, "this section's name is no word")
            if section is None:
                words = split_words(_unhash(text), where)
                open_[-1][1].extend(self._line(words, where, (*stack, path)))
                continue
            name = section[2].lower()
            if section[1]:
                if len(open_) == 1 or open_[-1][0] != name:
                    refuse(where, "this closes a section that is not open")
                open_.pop()
                continue
            if len(open_) > MAX_DEPTH:
                refuse(where, f"sections are nested more than {MAX_DEPTH} deep")
            made = _Line((name, *split_words(section[3], where)), where, [])
            open_[-1][1].append(made)
            assert made.block is not None
            open_.append((name, made.block))
        if len(open_) > 1:
            refuse(Where(path), f"the section <{open_[-1][0]}> is not closed")
        return root

    @staticmethod
    def _logical(text: str) -> Iterator[tuple[int, str]]:
        """Yield lines without comments, those that end in a backslash joined."""
        begun, start = "", 0
        for number, line in enumerate(text.split("\n"), start=1):
            start = start or number
            if line.endswith("\\"):
                begun += line[:-1]
                continue
            whole = (begun + line).strip()
            if whole and not whole.startswith("#"):
                yield start, whole
            begun, start = "", 0
        if begun.strip():
            yield start, begun.strip()

    def _line(self, words: list[str], where: Where, stack: tuple[str, ...]) -> Iterator[_Line]:
        """Yield a directive, or what an include brings."""
        if not words:
            return
        name = words[0].lower()
        if name == "serverroot" and len(words) > 1:
            self._root = words[1]
        if name not in ("include", "includeoptional") or len(words) < 2:
            yield _Line(tuple(words), where)
            return
        base = f"{self._root}/x" if self._root else self._main
        pattern = self._sources.resolve(words[1], base)
        globs = any(letter in pattern for letter in "*?[")
        for path in self._sources.glob(pattern) if globs else [pattern]:
            self._files += 1
            if path in stack or len(stack) > MAX_DEPTH or self._files > MAX_FILES:
                refuse(where, "this include includes itself, or too many files")
            yield from self.parse(path, stack)


def _unhash(text: str) -> str:
    """Return a line whose `#` begin no comment: in httpd only whole lines are comments."""
    return text.replace("#", "\\#")


def _flat(lines: Iterable[_Line], guard: Guard) -> Iterator[tuple[_Line, Guard]]:
    """Yield directives with the condition of the sections around them."""
    for line in lines:
        if line.block is None or line.name in ("virtualhost", *_PLACES):
            yield line, guard
        elif line.name in _INLINE:
            yield from _flat(line.block, guard)
        else:
            condition: Guard = UnknownGuard(f"<{' '.join(line.words)}>", line.where)
            if line.name == "if" and len(line.words) > 1:
                condition = _expression(" ".join(line.words[1:]), line.where)
            both: Guard = condition if guard is ALWAYS else AllOf((guard, condition))
            yield from _flat(line.block, both)


def _host_ways(host: _Line, outside: Sequence[tuple[_Line, Guard]]) -> Iterator[Way]:
    """Yield the ways of one virtual host."""
    inside = [*_flat(host.block or (), ALWAYS)]
    base = _Scope([*outside, *inside])
    names = [
        word
        for line, _ in inside
        if line.name in ("servername", "serveralias")
        for word in line.words[1:]
    ]
    listens = host.words[1:] or ("*:80",)
    places = [line for line, _ in base.lines if line.name in _PLACES and line.block is not None]
    found: list[tuple[_Line, _Scope, str]] = []
    for line, _ in base.lines:
        if _is_pass(line):
            path = line.words[1] if line.name == "proxypass" and len(line.words) > 2 else ""
            scope = _Scope([*base.lines])
            for place in places:
                if place.name == "location" and _covers(place, path):
                    scope.lines += _flat(place.block or (), ALWAYS)
                elif place.name in ("locationmatch",):
                    guard = UnknownGuard(f"<{' '.join(place.words)}>", place.where)
                    scope.lines += _flat(place.block or (), guard)
            found.append((line, scope, path))
    for place in places:
        lines = [*_flat(place.block or (), ALWAYS)]
        for line, _ in lines:
            if _is_pass(line):
                found.append((line, _Scope([*base.lines, *lines]), " ".join(place.words[1:2])))
    for line, scope, path in found:
        for listen in listens:
            yield _way(line, scope, path, listen, " ".join(names))


def _is_pass(line: _Line) -> bool:
    """Return whether a directive passes requests on."""
    if line.name in ("proxypass", "proxypassmatch"):
        return line.words[-1] != "!" and "!" not in line.words[1:3]
    if line.name == "rewriterule" and len(line.words) > 3:
        flags = line.words[3].strip("[]").upper().split(",")
        return "P" in flags or "PROXY" in flags
    return line.name == "sethandler" and len(line.words) > 1 and line.words[1].startswith("proxy:")


def _covers(place: _Line, path: str) -> bool:
    """Return whether a location holds a path."""
    wanted = place.words[1] if len(place.words) > 1 else "/"
    return (path or "/").startswith(wanted.rstrip("/") or "/") or wanted.startswith(path or "/")


def _way(line: _Line, scope: _Scope, path: str, listen: str, label: str) -> Way:
    """Return one way."""
    engine = scope.last("sslengine")
    tls = engine is not None and engine.words[1:2] and engine.words[1].lower() in ("on", "optional")
    prelude = scope.last("remoteipproxyprotocol")
    rule = None
    if prelude is not None and prelude.words[1:2] and prelude.words[1].lower() == "on":
        rule = PreludeRule(EVERY_ADDRESS, where=prelude.where)
        exceptions = scope.last("remoteipproxyprotocolexceptions")
        if exceptions is not None:
            rule = PreludeRule(EVERY_ADDRESS, required=False, where=exceptions.where)
    steps = [Step(SetClient(PRELUDE), line.where), *_unknown(scope)]
    headers = scope.all("requestheader")
    steps += [step for each in headers for step in _change(*each, scope, early=True)]
    steps += _remote_ip(scope)
    steps += [step for each in headers for step in _change(*each, scope, early=False)]
    steps.append(Step(ForgetNominated(), line.where))
    steps.append(Step(DropField("connection"), line.where))
    adds = scope.last("proxyaddheaders")
    if adds is None or adds.words[1:2] == () or adds.words[1].lower() != "off":
        steps.append(Step(AppendToField(_XFF, CLIENT), line.where))
        steps.append(Step(AppendToField("x-forwarded-host", Field(HOST)), line.where))
    target = next((word for word in line.words[1:] if "://" in word), "")
    last = scope.lines[-1][0] if scope.lines else line
    return Way(
        label=label,
        path=path if path != "/" else "",
        where=line.where,
        listen=listen,
        tls=bool(tls),
        steps=tuple(steps),
        prelude=rule,
        tls_out=target.startswith(("https:", "wss:", "h2:")),
        paste=line.where if last.block is not None else last.where,
    )


def _unknown(scope: _Scope) -> Iterator[Step]:
    """Yield a step for each directive that nobody here knows."""
    for line, guard in scope.lines:
        if line.name in _PLACES or line.name == "virtualhost":
            continue
        if not line.name.startswith(_HARMLESS):
            yield Step(Unknown(line.words[0]), line.where, guard)


def _remote_ip(scope: _Scope) -> Iterator[Step]:
    """Yield what mod_remoteip does; without a list it believes everybody."""
    header = scope.last("remoteipheader")
    if header is None or len(header.words) < 2:
        return
    name = lower_name(header.words[1])
    if name is None:
        return
    texts: list[str] = []
    doubts: list[str] = []
    trusted = scope.all("remoteiptrustedproxy", "remoteipinternalproxy")
    for line, _ in trusted:
        texts += line.words[1:]
    for line, _ in scope.all("remoteiptrustedproxylist", "remoteipinternalproxylist"):
        doubts.append(" ".join(line.words))
    ranges, unknown = make_ranges(texts)
    for text in [*doubts, *unknown]:
        yield Step(Unknown(text), header.where)
    if not trusted and not doubts:
        yield Step(RealIp(name, EVERY_ADDRESS, "recursive", consume=True), header.where)
    else:
        yield Step(RealIp(name, ranges, "recursive", consume=True), header.where)


_COMPARED = re.compile(r"%\{([A-Za-z_:-]+)\}\s*(==|!=|=~|!~)\s*(?:['\"]([^'\"]*)['\"]|/([^/]*)/)\Z")


def _condition(text: str, scope: _Scope, where: Where) -> Guard:
    """Return the guard of `env=NAME` or `expr=EXPRESSION`."""
    kind, _, rest = text.partition("=")
    if kind == "env":
        name = rest.removeprefix("!")
        guard = _environment(name, scope, where)
        return NotGuard(guard) if rest.startswith("!") else guard
    if kind == "expr":
        return _expression(rest.strip("\"'") if rest[:1] == rest[-1:] else rest, where)
    return UnknownGuard(text, where)


def _environment(name: str, scope: _Scope, where: Where) -> Guard:
    """Return when a variable of the environment is set: by `SetEnvIf`, or TLS for `HTTPS`."""
    guards: list[Guard] = [_TLS] if name == "HTTPS" else []
    for line, guard in scope.all("setenvif", "setenvifnocase", "setenv", "setenvifexpr"):
        sets = [word.partition("=")[0] for word in line.words[3:]]
        if line.name in ("setenvif", "setenvifnocase") and f"!{name}" not in sets:
            if name in sets:
                value = _attribute(line.words[1])
                if value is None or guard is not ALWAYS:
                    return UnknownGuard(f"env={name}", where)
                nocase = line.name == "setenvifnocase"
                guards.append(
                    Test(value, Predicate("regex", line.words[2], nocase=nocase), line.where)
                )
        elif name in line.words or f"!{name}" in sets or name in " ".join(line.words):
            return UnknownGuard(f"env={name}", where)
    return AnyOf(tuple(guards)) if guards else UnknownGuard(f"env={name}", where)


def _attribute(name: str) -> Value | None:
    """Return what `SetEnvIf` looks at: a field, or something of the request."""
    lower = name.lower()
    known: dict[str, Value] = {
        "remote_addr": CLIENT,
        "request_uri": Field(PATH),
        "host": Field(HOST),
    }
    if lower in known:
        return known[lower]
    field_name = lower_name(lower)
    plain = field_name is not None and "_" not in lower and "^" not in lower
    return Field(lower, received=True) if plain else None


def _expression(text: str, where: Where) -> Guard:
    """Return the guard of one comparison of httpd's expressions."""
    bare = text.strip()
    network = re.fullmatch(r"(!?)\s*(?:-R\s+|%\{REMOTE_ADDR\}\s+-ipmatch\s+)'([^']+)'", bare)
    if network is not None:
        ranges, unknown = make_ranges([network[2]])
        if not unknown:
            guard: Guard = Test(CLIENT, Predicate("ranges", ranges=ranges), where)
            return NotGuard(guard) if network[1] else guard
    found = _COMPARED.match(bare)
    if found is None:
        return UnknownGuard(f"expr={text}"[:120], where)
    value = _VALUES.get(f"expr=%{{{found[1]}}}") or _header_value(found[1])
    if value is None:
        return UnknownGuard(f"expr={text}"[:120], where)
    kind: Literal["equals", "regex"] = "regex" if "~" in found[2] else "equals"
    test = Test(value, Predicate(kind, found[3] if found[3] is not None else found[4]), where)
    return NotGuard(test) if found[2].startswith("!") else test


def _header_value(name: str) -> Value | None:
    """Return the field that `HTTP:Name` or `req:Name` stands for."""
    kind, colon, rest = name.partition(":")
    return Field(rest.lower()) if colon and rest and kind.lower() in ("http", "req") else None


def _change(line: _Line, guard: Guard, scope: _Scope, *, early: bool) -> Iterator[Step]:
    """Yield what a `RequestHeader` does, in one of the two phases."""
    words = [*line.words[1:]]
    if len(words) < 2 or early != (words[-1].lower() == "early"):
        return
    if early:
        words.pop()
    if len(words) < 2:
        yield Step(Unknown("RequestHeader"), line.where, guard)
        return
    condition = guard
    most = 2 if words[0].lower() == "unset" else 3
    if len(words) > most:
        wanted = _condition(words.pop(), scope, line.where)
        condition = wanted if guard is ALWAYS else AllOf((guard, wanted))
    action, name = words[0].lower(), lower_name(words[1].rstrip(":"))
    if name is None:
        yield Step(Unknown(f"RequestHeader {action}"), line.where, condition)
        return
    if action == "unset":
        yield Step(DropField(name), line.where, condition)
        return
    value = _value(words[2] if len(words) > 2 else "", line.where)
    if action == "set":
        yield Step(SetField(name, value), line.where, condition)
    elif action == "append":
        yield Step(AppendToField(name, value), line.where, condition)
    elif action == "add":
        yield Step(AddField(name, value), line.where, condition)
    elif action == "setifempty":
        both = NotGuard(Present(name))
        yield Step(SetField(name, value), line.where, AllOf((condition, both)))
    else:
        yield Step(Unknown(f"RequestHeader {action} {words[1]}", (name,)), line.where, condition)


_VALUES: dict[str, Value] = {
    "expr=%{REQUEST_SCHEME}": SCHEME,
    "%{REQUEST_SCHEME}s": SCHEME,
    "expr=%{REMOTE_ADDR}": CLIENT,
    "%{REMOTE_ADDR}s": CLIENT,
    "expr=%{HTTP_HOST}": Field(HOST),
    "expr=%{REQUEST_URI}": Field(PATH),
    "%{HTTPS}s": Lookup(((_TLS, Text("on")),), Text("off")),
    "expr=%{HTTPS}": Lookup(((_TLS, Text("on")),), Text("off")),
    "%t": Text("(time)"),
    "%D": Text("(time)"),
}
_HTTP = re.compile(r"expr=%\{(?:req|http):([A-Za-z0-9-]+)\}\Z|expr=%\{HTTP:([A-Za-z0-9-]+)\}\Z")


def _value(text: str, where: Where) -> Value:
    """Return a value of mod_headers."""
    known = _VALUES.get(text)
    if known is not None:
        return known
    found = _HTTP.match(text)
    if found is not None:
        return Field((found[1] or found[2]).lower(), received=True)
    if "%" in text or text.startswith("expr=") or "${" in text:
        return UnknownValue(text, where)
    return Text(text)
