"""Which products there are, which reader reads each, and what a file probably is.

Decides names and guesses. A reader is imported when it is used.
"""

from __future__ import annotations

import importlib
import re
from typing import Protocol, cast

from edgeserver.chains.model import ProxyHop
from edgeserver.chains.readers.base import Sources

__all__ = ["KINDS", "Reader", "guess_kind", "reader_of"]


class Reader(Protocol):
    """A reader: from a path to the model of a proxy."""

    def __call__(self, path: str, sources: Sources, *, version: str = "") -> ProxyHop:
        """Read a configuration."""


_READERS = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "traefik": "traefik",
    "envoy": "envoy",
    "istio": "istio",
    "httpd": "httpd",
    "varnish": "varnish",
    "lighttpd": "lighttpd",
    "ingress-nginx": "ingress_nginx",
    "alb": "aws",
    "nlb": "aws",
    "outer": "outer",
}
_ALIASES = {
    "aws-alb": "alb",
    "aws-nlb": "nlb",
    "apache": "httpd",
    "apache2": "httpd",
    "caddyfile": "caddy",
}
KINDS = tuple(_READERS)
"""The kinds that can be written before a path, beside `auto`."""

_GUESSES = (
    ("nginx", re.compile(r"^\s*(?:http|stream|server|events|upstream)\s*\{", re.MULTILINE)),
    (
        "haproxy",
        re.compile(r"^(?:frontend|backend|listen|defaults|global)\b(?!\s*\{)", re.MULTILINE),
    ),
    ("alb", re.compile(r'"Key"\s*:\s*"(?:routing|proxy_protocol|preserve_client)')),
    ("istio", re.compile(r"istio\.io/|gatewayTopology")),
    ("envoy", re.compile(r"static_resources|HttpConnectionManager")),
    ("traefik", re.compile(r"^\s*\[?entryPoints|--entryPoints", re.MULTILINE | re.IGNORECASE)),
    ("varnish", re.compile(r"^\s*vcl \d|^sub vcl_", re.MULTILINE)),
    ("httpd", re.compile(r"^\s*(?:<VirtualHost|ProxyPass|LoadModule)\b", re.MULTILINE)),
    ("lighttpd", re.compile(r"^\s*server\.modules\b", re.MULTILINE)),
    ("caddy", re.compile(r"^\s*reverse_proxy\b", re.MULTILINE)),
    (
        "ingress-nginx",
        re.compile(r"^kind:\s*ConfigMap|use-forwarded-headers|^controller:", re.MULTILINE),
    ),
)


def reader_of(kind: str) -> Reader | None:
    """Return the reader of a kind or of its other name, or None."""
    name = _ALIASES.get(kind.lower(), kind.lower())
    module = _READERS.get(name)
    if module is None:
        return None
    found = importlib.import_module(f"edgeserver.chains.readers.{module}")
    return cast(Reader, getattr(found, f"read_{module}"))


def guess_kind(path: str, text: str) -> str | None:
    """Return the kind that a file probably has, from its text, or None."""
    head = text[:200_000]
    for kind, pattern in _GUESSES:
        if pattern.search(head):
            return kind
    return None
