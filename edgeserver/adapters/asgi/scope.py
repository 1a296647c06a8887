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
from edgeserver.support.addresses import client_name

__all__ = ["HTTP_ASGI", "WEBSOCKET_ASGI", "Scope", "ScopeBasis"]

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

_EXTENSIONS: Final[dict[str, Any]] = {
    "http.response.early_hint": _NOTHING,
    "http.response.trailers": _NOTHING,
    "edgeserver": None,
}


class ScopeBasis:
    """What does not change from request to request of a connection, worked out once.

    Args:
        connection: Its first request's.

    Attributes:
        peer: `(host, port)` of the other end of the TCP connection; `("unix:", None)` on a Unix
            socket.
        server: `(host, port)` of this end, or `(path, None)`; None if that is not known.
        client: What `scope["client"]` holds: the resolved client; `("unix:", 0)` where it is
            whoever is at the other end of a Unix socket. Never None, which frameworks stumble over.
        loop: The event loop that serves it.
    """

    __slots__ = (
        "_edge",
        "_extensions",
        "_has_ids",
        "_resolved",
        "_target",
        "_template",
        "client",
        "loop",
        "peer",
        "server",
    )

    def __init__(self, connection: HTTPConnection) -> None:
        info = connection.context.info
        host, port = info.peer, info.peer_port
        self.peer: tuple[str, int | None] = (host, port)
        self.client: tuple[str, int] = (host, port or 0)
        self.server = _server(connection.local_address)
        self.loop = asyncio.get_running_loop()
        # The client that `client` and the template show; most requests of a connection share it.
        self._resolved: Any = None
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
            "client": self.client,
            "server": self.server,
            "state": None,
            "extensions": None,
        }
        # What `extensions` holds, and what its "edgeserver" does; both are copied.
        self._extensions = _EXTENSIONS
        if info.tls is not None:
            self._extensions = {**_EXTENSIONS, "tls": _tls_extension(info.tls)}
        self._edge: dict[str, Any] = {"peer": self.peer, "client": None, "explain": None}
        # All requests of a server have ids, or none has.
        self._has_ids = connection.request_id is not None

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
            self._resolve(resolved)
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
        if self._has_ids:
            edge["request_id"] = connection.request_id
        extensions = scope["extensions"] = self._extensions.copy()
        extensions["edgeserver"] = edge
        return scope

    def name(self, scope: Scope | None) -> str:
        """Return who asked, as logs name it."""
        return str((self.client if scope is None else scope["client"])[0])

    def _resolve(self, resolved: Any) -> None:
        # Results are shared between requests, so most requests find the last one's again.
        self._resolved = resolved
        if resolved is None:
            self.client = (self.peer[0], self.peer[1] or 0)
        else:
            self.client = (client_name(resolved.remote_ip), resolved.port or 0)
        self._template["client"] = self.client
        self._edge["client"] = resolved


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


def _server(address: Any) -> tuple[str, int | None] | None:
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
