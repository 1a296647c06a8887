"""Who is at the other end of a connection, as applications see it.

Decides what an address and a scheme are called; it must not know how they were found out. One
context serves a connection; what a request's fields say replaces `remote_ip` and `protocol` for
that request.
"""

from __future__ import annotations

import socket
from typing import Any, cast

from edgeserver.support.addresses import UNIX_IP, client_name, peer_name

__all__ = ["AF_UNIX", "ConnectionContext"]

AF_UNIX = socket.AF_UNIX
"""The family of Unix sockets, whose peers have no address."""


class ConnectionContext:
    """The ends of one connection, and who the client of the present request is.

    Attributes:
        address: The peer's socket address, as `socket.accept` gives it.
        address_family: `socket.AF_INET`, `AF_INET6` or `AF_UNIX`.
        peer_ip: The peer's address as text; `"0.0.0.0"` for a Unix socket.
        peer_port: The peer's port; None for a Unix socket.
        scheme: What the connection itself is, `"http"` or `"https"`, or what `protocol=` says.
        remote_ip: The client's address; the peer's where nothing says otherwise.
        protocol: The client's scheme.
        prelude: The PROXY prelude that came first, or None.
        tls: What the TLS layer knows, or None.

    Source: the context of `tornado.httpserver`.
    """

    __slots__ = (
        "address",
        "address_family",
        "peer_ip",
        "peer_port",
        "prelude",
        "protocol",
        "remote_ip",
        "scheme",
        "tls",
    )

    def __init__(self, address: Any, *, scheme: str, tls: Any = None, prelude: Any = None) -> None:
        self.address = address
        self.peer_port: int | None = None
        if isinstance(address, tuple) and len(address) >= 2:
            self.peer_ip = cast(str, address[0])
            self.peer_port = address[1]
            self.address_family = socket.AF_INET6 if ":" in self.peer_ip else socket.AF_INET
        else:
            self.peer_ip = UNIX_IP
            self.address_family = AF_UNIX
        self.scheme = scheme
        self.prelude = prelude
        self.tls = tls
        self.remote_ip = self.peer_ip
        self.protocol = scheme

    @property
    def peer(self) -> str:
        """The peer as trust policies and logs name it: an address, or `"unix:"`."""
        return peer_name(self.address)

    def __str__(self) -> str:
        return client_name(self.remote_ip)
