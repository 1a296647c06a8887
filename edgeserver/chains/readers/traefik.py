"""Traefik: entry points, routers and middlewares to ways in.

Decides what Traefik does to a head: `X-Forwarded-*` and `X-Real-Ip` of strangers are removed, what
is missing is set, the peer is appended. Middlewares that nobody here knows make a way unknown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from edgeserver.chains.model import (
    CLIENT,
    EVERY_ADDRESS,
    PRELUDE,
    SCHEME,
    AppendToField,
    DropField,
    Field,
    Guard,
    Note,
    NotGuard,
    Predicate,
    PreludeRule,
    ProxyHop,
    Ranges,
    SetClient,
    SetField,
    Step,
    Test,
    Text,
    Unknown,
    Way,
    Where,
)
from edgeserver.chains.readers.base import Sources, lower_name, make_ranges, refuse, split_names
from edgeserver.chains.readers.yaml_tree import Node, parse_yaml

__all__ = ["read_traefik"]

_XFF, _PROTO, _REAL = "x-forwarded-for", "x-forwarded-proto", "x-real-ip"
_ARGUMENT = re.compile(r"--([A-Za-z0-9_.\[\]-]+)(?:=(.*))?\Z", re.DOTALL)
_HARMLESS = split_names(
    """
    addprefix basicauth buffering circuitbreaker compress contenttype digestauth errors
    grpcweb inflightreq ipallowlist ipwhitelist passtlsclientcert ratelimit redirectregex
    redirectscheme replacepath replacepathregex retry stripprefix stripprefixregex encodedcharacters
    """
)


def read_traefik(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read a static configuration, with the dynamic files that it names, or a compose file.

    Args:
        path: The file: YAML, TOML, or a compose file whose command has Traefik's arguments.
        sources: Where files come from.
        version: The product's version; empty for a recent one.

    Raises:
        ReadingError: The syntax is wrong, or there is no entry point.
        UnreadableFile: A file cannot be read.
    """
    documents = _parse(sources.read(path), path)
    static = next((each for each in documents if each.get("entryPoints")), None)
    if static is None:
        static = _from_arguments(documents, path)
    if static is None or not static.get("entryPoints").items:
        refuse(Where(path), "no entryPoints: this is no static configuration of Traefik")
    dynamic = [*documents, *_dynamic(static, path, sources)]
    reader = _Reader(static, dynamic)
    ways = tuple(reader.ways())
    return ProxyHop("traefik", "", path, ways, skipped=tuple(reader.notes))


def _parse(text: str, path: str) -> list[Node]:
    """Parse YAML or TOML."""
    if not path.endswith(".toml"):
        return parse_yaml(text, path)
    try:
        return [_tree(tomllib.loads(text), Where(path), 0)]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        refuse(Where(path), f"this is no TOML: {error}")


def _tree(value: Any, where: Where, depth: int) -> Node:
    """Return TOML values as a tree."""
    if isinstance(value, dict):
        return Node(
            where, items={key: _tree(each, where, depth + 1) for key, each in value.items()}
        )
    if isinstance(value, list):
        return Node(where, entries=[_tree(each, where, depth + 1) for each in value])
    return Node(where, str(value).lower() if isinstance(value, bool) else str(value))


def _from_arguments(documents: list[Node], path: str) -> Node | None:
    """Return the static configuration that command-line arguments describe, or None."""
    root = Node(Where(path))
    found = False
    for document in documents:
        for node in document.walk():
            if node.text is None:
                continue
            for word in node.text.split() if node.text.startswith("--") else ():
                match = _ARGUMENT.match(word)
                if match is None:
                    continue
                found = True
                at = root
                keys = match[1].split(".")
                for key in keys[:-1]:
                    at = _child(at, key, node.where)
                value = Node(node.where, "true" if match[2] is None else match[2])
                at.items[_spelled(at, keys[-1])] = value
    return root if found else None


def _spelled(node: Node, key: str) -> str:
    """Return a key as it is in a mapping already, whatever its case."""
    return next((each for each in node.items if each.lower() == key.lower()), key)


def _child(node: Node, key: str, where: Where) -> Node:
    """Return the mapping under a key, made where there is none."""
    name = _spelled(node, key)
    if name not in node.items:
        node.items[name] = Node(where)
    return node.items[name]


def _dynamic(static: Node, path: str, sources: Sources) -> Iterator[Node]:
    """Yield the documents of the files that the file provider reads."""
    provider = static.get("providers", "file")
    name, directory = provider.get("filename").text, provider.get("directory").text
    paths = []
    if name:
        paths.append(sources.resolve(name, path))
    if directory:
        for ending in ("yml", "yaml", "toml"):
            paths += sources.glob(sources.resolve(f"{directory}/*.{ending}", path))
    for each in paths:
        yield from _parse(sources.read(each), each)


class _Reader:
    """One static configuration with its dynamic ones."""

    def __init__(self, static: Node, dynamic: list[Node]) -> None:
        self._static = static
        self._dynamic = dynamic
        self.notes: list[Note] = []

    def _all(self, *names: str) -> Iterator[tuple[str, Node]]:
        """Yield the entries under keys of all dynamic files."""
        for document in self._dynamic:
            yield from document.get(*names).items.items()

    def ways(self) -> Iterator[Way]:
        """Yield a way for each entry point and router."""
        routers = [*self._all("http", "routers")]
        tcp = [*self._all("tcp", "routers")]
        if not routers and not tcp:
            where = self._static.where
            self.notes.append(
                Note(
                    _XFF, "no dynamic file is named: routers without middlewares are assumed", where
                )
            )
            routers = [("", Node(where))]
        for name, entry in self._static.get("entryPoints").items.items():
            for label, router in routers:
                if self._serves(router, name):
                    yield self._http(name, entry, label, router)
            for label, router in tcp:
                if self._serves(router, name):
                    yield self._tcp(name, entry, label, router)

    @staticmethod
    def _serves(router: Node, name: str) -> bool:
        """Return whether a router is reached by an entry point."""
        named = router.get("entryPoints").texts()
        return not named or name in named

    def _listener(self, entry: Node, router: Node) -> tuple[str, bool, PreludeRule | None]:
        """Return the address, whether it is TLS, and whose preludes are read."""
        address = entry.get("address").text or ":80"
        http = entry.get("http", "tls")
        tls = bool(router.get("tls")) or bool(http) or "tls" in router.items
        if router.get("tls").text == "false":
            tls = False
        rule = entry.get("proxyProtocol")
        if "proxyProtocol" not in entry.items and not rule:
            return address, tls, None
        ranges, _ = make_ranges(rule.get("trustedIPs").texts())
        if rule.get("insecure").is_true():
            ranges = EVERY_ADDRESS
        return address, tls, PreludeRule(ranges, required=False, where=rule.where)

    def _http(self, name: str, entry: Node, label: str, router: Node) -> Way:
        """Return the way through an HTTP router."""
        address, tls, prelude = self._listener(entry, router)
        forwarded = entry.get("forwardedHeaders")
        ranges, unknown = make_ranges(forwarded.get("trustedIPs").texts())
        if forwarded.get("insecure").is_true():
            ranges = EVERY_ADDRESS
        where = forwarded.where if forwarded else entry.where
        steps: list[Step] = [Step(SetClient(PRELUDE), entry.where)]
        steps += [Step(Unknown(f"trustedIPs {text}"), where) for text in unknown]
        steps += _entry_steps(ranges, where)
        steps.append(Step(DropField("connection"), where))
        names = [*entry.get("http", "middlewares").texts(), *router.get("middlewares").texts()]
        for each in names:
            steps += self._middleware(each, router.where, 0)
        steps.append(Step(AppendToField(_XFF, CLIENT), where))
        return Way(
            label=label or name,
            path="",
            where=router.where if label else entry.where,
            listen=address,
            tls=tls,
            steps=tuple(steps),
            prelude=prelude,
            tls_out=self._is_tls(router),
            paste=where,
        )

    def _is_tls(self, router: Node) -> bool:
        """Return whether a router's service is spoken to by TLS."""
        service = router.get("service").text or ""
        for name, node in self._all("http", "services"):
            if name == service:
                servers = node.get("loadBalancer", "servers").entries
                return any((each.get("url").text or "").startswith("https:") for each in servers)
        return False

    def _tcp(self, name: str, entry: Node, label: str, router: Node) -> Way:
        """Return the way through a TCP router, which passes bytes on."""
        address, tls, prelude = self._listener(entry, router)
        passthrough = router.get("tls", "passthrough").is_true()
        service = router.get("service").text or ""
        sends = False
        for key, node in self._all("tcp", "services"):
            if key == service:
                balancer = node.get("loadBalancer")
                sends = "proxyProtocol" in balancer.items
        return Way(
            label=label,
            path="",
            where=router.where,
            listen=address,
            tls=tls and not passthrough,
            steps=(Step(SetClient(PRELUDE), entry.where),),
            prelude=prelude,
            sends_prelude=sends,
            layer4=True,
            paste=router.where,
        )

    def _middleware(self, name: str, where: Where, depth: int) -> Iterator[Step]:
        """Yield what a middleware does before the request is passed on."""
        plain = name.split("@")[0]
        node = next((each for key, each in self._all("http", "middlewares") if key == plain), None)
        if node is None or depth > 8:
            yield Step(Unknown(f"the middleware {name}"), where)
            return
        for kind, settings in node.items.items():
            lower = kind.lower()
            if lower == "headers":
                for key, value in settings.get("customRequestHeaders").items.items():
                    yield from _custom(key, value)
            elif lower == "chain":
                for each in settings.get("middlewares").texts():
                    yield from self._middleware(each, where, depth + 1)
            elif lower == "forwardauth":
                for each in settings.get("authResponseHeaders").texts():
                    field = lower_name(each)
                    yield Step(
                        Unknown(f"authResponseHeaders {each}", (field,) if field else ()),
                        node.where,
                    )
                if settings.get("authResponseHeadersRegex"):
                    yield Step(Unknown("authResponseHeadersRegex"), node.where)
            elif lower not in _HARMLESS:
                yield Step(Unknown(f"the middleware {kind}"), node.where)


def _entry_steps(ranges: Ranges, where: Where) -> Iterator[Step]:
    """Yield what an entry point does: strangers' fields go, what is missing is set."""
    known: Guard = Test(CLIENT, Predicate("ranges", ranges=ranges), where)
    stranger = NotGuard(known)
    yield Step(DropField("x-forwarded-", prefix=True), where, stranger)
    yield Step(DropField(_REAL), where, stranger)
    for name, value in ((_REAL, CLIENT), (_PROTO, SCHEME)):
        missing = Test(Field(name, "first"), Predicate("equals"))
        yield Step(SetField(name, value), where, missing)


def _custom(key: str, value: Node) -> Iterator[Step]:
    """Yield what one of `customRequestHeaders` does; an empty one removes the field."""
    name = lower_name(key)
    if name is None:
        return
    if value.text:
        yield Step(SetField(name, Text(value.text)), value.where)
    else:
        yield Step(DropField(name), value.where)
