"""ingress-nginx: the controller's ConfigMap to the nginx that it makes.

Decides what the controller's template writes for each setting; what that does, nginx's reader says.
Source: the controller's documentation of its ConfigMap, `rootfs/etc/nginx/template/nginx.tmpl`, and
for the scheme `rootfs/etc/nginx/lua/lua_ingress.lua`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgeserver.chains.model import (
    PRELUDE,
    Field,
    Lookup,
    NotGuard,
    Predicate,
    Present,
    ProxyHop,
    RealIp,
    SetField,
    Step,
    Test,
    Unknown,
    Where,
)
from edgeserver.chains.readers.base import Sources, refuse, split_names
from edgeserver.chains.readers.nginx import read_nginx_directives
from edgeserver.chains.readers.nginx_syntax import Directive
from edgeserver.chains.readers.versions import has
from edgeserver.chains.readers.yaml_tree import Node, parse_yaml

__all__ = ["read_ingress_nginx"]

# what people write of nginx's own; where it goes is known, what it does is not looked at
_SNIPPETS = (
    "main-snippet",
    "http-snippet",
    "server-snippet",
    "location-snippet",
    "stream-snippet",
    "proxy-set-headers",
)
_SETTINGS = split_names(
    """
    use-forwarded-headers compute-full-forwarded-for use-proxy-protocol proxy-real-ip-cidr
    enable-real-ip forwarded-for-header forwarded-for-proxy-protocol-header
    """
)


def read_ingress_nginx(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read a ConfigMap of ingress-nginx, or Helm values with `controller.config`.

    Raises:
        ReadingError: It is no YAML, or holds no such map.
        UnreadableFile: The file cannot be read.
    """
    documents = parse_yaml(sources.read(path), path)
    config = _find(documents)
    if config is None:
        refuse(Where(path), "no ConfigMap with data, and no Helm value controller.config")
    template = _Template(config, version)
    hop = read_nginx_directives([template.render()], path)
    unknown = [
        Step(Unknown(name), config.get(name).where) for name in _SNIPPETS if config.get(name)
    ]
    ways = [
        replace(way, steps=(*unknown, *_with_rewritten(template, way.steps)), path="")
        for way in hop.ways
    ]
    return ProxyHop("ingress-nginx", "", path, tuple(ways))


def _with_rewritten(template: _Template, steps: tuple[Step, ...]) -> Iterator[Step]:
    """Yield steps with what the controller does between two runs of the realip module.

    It writes a field of its own, the prelude's source or what the forwarding header says, for that
    module to read. But the module has read it before, as the client sent it, and does not do so
    again where it was there.
    """
    own = template.own_field
    for step in steps:
        yield step
        if own and isinstance(step.op, RealIp) and step.op.field == own:
            listed = Test(PRELUDE, Predicate("ranges", ranges=step.op.ranges), step.where)
            value = Lookup(((listed, Field(template.forwarded_field, received=True)),), PRELUDE)
            absent = NotGuard(Present(own, received=True))
            yield Step(SetField(own, value, drop_empty=True), step.where)
            yield Step(replace(step.op, consume=True), step.where, absent)


def _find(documents: list[Node]) -> Node | None:
    """Return the mapping of settings."""
    for document in documents:
        for item in (document, *document.get("items").entries):
            helm = item.get("controller", "config")
            if helm.items:
                return helm
            data = item.get("data")
            if item.get("kind").text == "ConfigMap" and (data or not item.get("binaryData")):
                return data if data else item
    return None


class _Template:
    """The part of the controller's template that matters here.

    Args:
        config: The mapping of settings.
        version: The controller's version; empty for a recent one.

    Attributes:
        forwarded_field: The field that names the client with `use-forwarded-headers`, lower-case.
        own_field: The one that the controller makes of it and of the prelude, or nothing.
    """

    def __init__(self, config: Node, version: str) -> None:
        self._config = config
        self._where = config.where
        self._header = config.get("forwarded-for-header").text or "X-Forwarded-For"
        self.forwarded_field = self._header.lower()
        self.own_field = ""
        both = self._on("use-forwarded-headers") and self._on("use-proxy-protocol")
        if both and has("ingress-nginx-own-field", version):
            name = config.get("forwarded-for-proxy-protocol-header").text
            self.own_field = (name or "X-Forwarded-For-Proxy-Protocol").lower()

    def _on(self, name: str) -> bool:
        return self._config.get(name).is_true()

    def _make(self, key: str, name: str, *args: str) -> Directive:
        """Return a directive that stands for a setting."""
        node = self._config.get(key)
        return Directive(name, args, node.where if node else self._where)

    def render(self) -> Directive:
        """Return the `http` block."""
        forwarded, prelude = self._on("use-forwarded-headers"), self._on("use-proxy-protocol")
        block: list[Directive] = []
        if forwarded or prelude or self._on("enable-real-ip"):
            block += self._realip(prelude=prelude)
        scheme, full = "$scheme", "$remote_addr"
        if forwarded:
            proto = self._make(
                "use-forwarded-headers", "map", "$http_x_forwarded_proto", "$pass_scheme"
            )
            entries = (
                proto._replace(name="default", args=("$http_x_forwarded_proto",)),
                proto._replace(name="", args=("$scheme",)),
            )
            block.append(proto._replace(block=entries))
            scheme = "$pass_scheme"
            if self._on("compute-full-forwarded-for"):
                peer = "$proxy_protocol_addr" if prelude else "$realip_remote_addr"
                joined = self._make(
                    "compute-full-forwarded-for", "map", "$http_x_forwarded_for", "$full"
                )
                entries = (
                    joined._replace(name="default", args=(f"$http_x_forwarded_for, {peer}",)),
                    joined._replace(name="", args=(peer,)),
                )
                block.append(joined._replace(block=entries))
                full = "$full"
        if prelude:
            # whoever may send a prelude chooses its port, too
            port = self._make(
                "use-proxy-protocol", "map", "$proxy_protocol_server_port", "$pass_access_scheme"
            )
            entries = (
                port._replace(name="443", args=("https",)),
                port._replace(name="default", args=(scheme,)),
            )
            block.append(port._replace(block=entries))
            scheme = "$pass_access_scheme"
        block.append(self._server(scheme, full, prelude=prelude))
        return Directive("http", (), self._where, tuple(block))

    def _realip(self, *, prelude: bool) -> list[Directive]:
        """Return the realip directives."""
        cidrs = self._config.get("proxy-real-ip-cidr").texts() or ["0.0.0.0/0"]
        key = "use-proxy-protocol" if prelude else "use-forwarded-headers"
        header = self.own_field or ("proxy_protocol" if prelude else self._header)
        return [
            self._make(key, "real_ip_header", header),
            self._make(key, "real_ip_recursive", "on"),
            *(self._make("proxy-real-ip-cidr", "set_real_ip_from", cidr) for cidr in cidrs),
        ]

    def _server(self, scheme: str, full: str, *, prelude: bool) -> Directive:
        """Return one server with one location: what each Ingress becomes."""
        flags = ("proxy_protocol",) if prelude else ()
        location = Directive(
            "location",
            ("/",),
            self._where,
            (
                self._make(
                    "use-forwarded-headers", "proxy_set_header", "X-Real-IP", "$remote_addr"
                ),
                self._make("use-forwarded-headers", "proxy_set_header", "X-Forwarded-For", full),
                self._make(
                    "use-forwarded-headers", "proxy_set_header", "X-Forwarded-Proto", scheme
                ),
                self._make("use-forwarded-headers", "proxy_set_header", "X-Scheme", scheme),
                Directive("proxy_pass", ("http://upstream_balancer",), self._where),
            ),
        )
        return Directive(
            "server",
            (),
            self._where,
            (
                Directive("listen", ("80", *flags), self._where),
                Directive("listen", ("443", "ssl", *flags), self._where),
                location,
            ),
        )
