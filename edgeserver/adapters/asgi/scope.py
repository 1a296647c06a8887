"""The `scope` that an application is called with.

Decides how a request's head and the ends of its connection are shown. It must not know how the
client was found out, nor what a TLS layer is: it reads what the delegate interface offers.

Source: ASGI, "HTTP & WebSocket message format" 2.5 and "TLS extension" 0.2.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Final
from urllib.parse import unquote

from edgeserver.httputil import HTTPConnection
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.support.addresses import client_name

__all__ = ["HTTP_ASGI", "WEBSOCKET_ASGI", "Scope", "ScopeBasis", "name_client", "server_of"]

Scope = dict[str, Any]

HTTP_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
"""What is said of the specification to `http` applications.

From 2.4 on frameworks no longer listen for `http.disconnect` while they stream, since `send`
tells them; a stream that waits for its next event is then not stopped when its client leaves. So
this says 2.3, as uvicorn does, though all of 2.5 is there.
"""

WEBSOCKET_ASGI: Final = {"version": "3.0", "spec_version": "2.5"}
"""What is said of the specification to `websocket` applications."""

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

KEPT_TARGET: Final = 256
"""A target of up to so many characters is kept, since the next request may have it again."""

_NOTHING: Final[dict[str, Any]] = {}

_NOBODY: Final = object()
"""Stands for the client before one is known: None is one, too."""

_EXTENSIONS: Final[dict[str, Any]] = {
    "http.response.early_hint": _NOTHING,
    "http.response.trailers": _NOTHING,
    "edgeserver": None,
}


class ScopeBasis:
    """What the scopes of many requests have alike, worked out once.

    One is for the first requests of all connections that come in on one address. A connection
    that brings another request has its own from then on, in its `ConnectionInfo.shown`; over TLS
    it has from the first on. So one that brings no other keeps nothing, and pays for nothing.

    Args:
        server: `(host, port)` of this end, or `(path, None)`; None if that is not known.
        loop: The event loop that serves it.
        owner: Whose connections they are; None where one is for many of them.

    Attributes:
        server: The same.
        loop: The same.
        owner: The same.
        has_ids: Whether requests have ids: all of a server, or none has.
    """

    __slots__ = (
        "_edge",
        "_extensions",
        "_resolved",
        "_target",
        "_template",
        "has_ids",
        "loop",
        "owner",
        "server",
    )

    def __init__(
        self,
        server: tuple[str, int | None] | None,
        loop: asyncio.AbstractEventLoop,
        owner: object = None,
    ) -> None:
        self.server = server
        self.loop = loop
        self.owner = owner
        self.has_ids = False
        # The client that the template shows; most requests of a connection share it.
        self._resolved: Any = _NOBODY
        # The target that the template shows: a request that repeats the one before has the same.
        self._target = ""
        # The keys in the specification's order; what differs from request to request replaces.
        self._template: Scope = {
            "type": "http",
            "asgi": HTTP_ASGI,
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": None,
            "client": None,
            "server": server,
            "state": None,
            "extensions": None,
        }
        # What `extensions` holds, and what its "edgeserver" does; both are copied.
        self._extensions = _EXTENSIONS
        self._edge: dict[str, Any] = {"peer": None, "client": None, "explain": None}

    def show(self, info: ConnectionInfo) -> None:
        """Show the one connection that it belongs to."""
        self._edge["peer"] = (info.peer, info.peer_port)
        if info.tls is not None:
            self._extensions = {**_EXTENSIONS, "tls": _tls_extension(info.tls)}

    def make_scope(
        self, connection: HTTPConnection, state: dict[str, Any], root_path: str
    ) -> Scope:
        """Return the scope of an `http` connection; one is made for every request.

        Args:
            connection: The request's head, and where the answer goes.
            state: What the lifespan left; the scope gets a copy.
            root_path: Where the application is mounted, without a slash at the end.
        """
        # The template shows the last request; what this one has alike need not be said again.
        resolved = connection.client
        if resolved is not self._resolved:
            self._show_client(connection.info, resolved)
        target = connection.target
        if target is self._target:
            scope = self._template.copy()
        elif len(target) <= KEPT_TARGET:
            _aim(self._template, target, root_path)
            self._target = target
            scope = self._template.copy()
        else:
            scope = self._template.copy()
            _aim(scope, target, root_path)
        method = connection.method
        if method != "GET":
            scope["method"] = method if method in METHODS else method.upper()
        if connection.version != "HTTP/1.1":
            scope["http_version"] = connection.version[5:]
        scope["scheme"] = connection.protocol
        scope["headers"] = connection.raw
        scope["state"] = state.copy() if state else {}
        edge = self._edge.copy()
        edge["explain"] = connection.explain
        if self.has_ids:
            edge["request_id"] = connection.request_id
        extensions = scope["extensions"] = self._extensions.copy()
        extensions["edgeserver"] = edge
        return scope

    def _show_client(self, info: ConnectionInfo, resolved: Any) -> None:
        """Have the template show whose request it is."""
        edge = self._edge
        if self.owner is None:
            edge["peer"] = (info.peer, info.peer_port)
        else:
            # Results are shared between requests, so most of one connection find the last again.
            self._resolved = resolved
        edge["client"] = resolved
        # Never None, which frameworks stumble over: `("unix:", 0)` at the end of a Unix socket.
        self._template["client"] = (
            (info.peer, info.peer_port or 0)
            if resolved is None
            else (client_name(resolved.remote_ip), resolved.port or 0)
        )


def name_client(scope: Scope | None, connection: HTTPConnection) -> str:
    """Return who asked, as logs name it; `scope` is what the application was called with."""
    if scope is not None:
        return str(scope["client"][0])
    return connection.info.peer if connection.client is None else client_name(connection.remote_ip)


def _aim(scope: Scope, target: str, root_path: str) -> None:
    """Have a scope show a request's target."""
    path, _, query = target.partition("?")
    if path[0] != "/":
        path = _path_of(path)
    # A target is ASCII; naming that encoding would take longer.
    raw_path = path.encode()
    if "%" in path:
        path = unquote(path)
    if root_path:
        path = root_path + path
        raw_path = root_path.encode() + raw_path
        scope["root_path"] = root_path
    scope["path"] = path
    scope["raw_path"] = raw_path
    scope["query_string"] = query.encode() if query else b""


def _path_of(target: str) -> str:
    """Return the path of a target in another form than origin-form.

    Source: RFC 9112 section 3.2: absolute-form, authority-form (CONNECT) and asterisk-form.
    """
    _, scheme, rest = target.partition("://")
    if not scheme:
        return target  # "*", or the "host:port" of CONNECT
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def server_of(address: Any) -> tuple[str, int | None] | None:
    """Return how a scope shows the address of this end; None if it is not known."""
    if isinstance(address, tuple) and len(address) >= 2:
        return (address[0], address[1])
    if isinstance(address, bytes):
        address = address.decode("latin-1")
    return (address, None) if address else None


def _tls_extension(tls: Any) -> dict[str, Any]:
    """Return the `tls` extension for what the TLS layer knows."""
    der = tls.client_certificate_der
    chain: list[str] = []
    name = None
    if der:
        chain = [_to_pem(each) for each in tls.verified_chain or (der,)]
        name = tls.client_certificate.subject
    return {
        # Python does not say which certificate it sent.
        "server_cert": None,
        "client_cert_chain": chain,
        "client_cert_name": name,
        # A handshake with a certificate that is not valid does not succeed.
        "client_cert_error": None,
        "tls_version": tls.version_number,
        "cipher_suite": tls.cipher_number,
    }


def _to_pem(der: bytes) -> str:
    text = base64.b64encode(der).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
