"""Connection info: who is at the other end of a connection, and what of it applications see.

Decides what an address and a scheme are called; it must not know how they were found out. What
is true of a connection never changes; whose request it is differs from one exchange to the next,
and two of them may be open at once.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from edgeserver.support.addresses import UNIX_IP, client_name, peer_name

__all__ = ["AF_UNIX", "ConnectionContext", "ConnectionInfo", "is_nameless"]

AF_UNIX = socket.AF_UNIX
"""The family of Unix sockets, whose peers have no address."""


class ConnectionInfo:
    """The ends of one connection; but for `shown` it is never written again.

    Attributes:
        address: The peer's socket address, as `socket.accept` gives it.
        peer_ip: The peer's address as text; `"0.0.0.0"` for a Unix socket.
        peer_port: The peer's port; None for a Unix socket.
        scheme: What the connection itself is, `"http"` or `"https"`, or what `protocol=` says.
        prelude: The PROXY header that came first, or None.
        tls: What the TLS layer knows, or None.
        shown: What an adapter keeps of the connection from one request to the next, or None.
    """

    __slots__ = (
        "address",
        "peer_ip",
        "peer_port",
        "prelude",
        "scheme",
        "shown",
        "tls",
    )

    peer_ip: str
    peer_port: int | None

    def __init__(self, address: Any, *, scheme: str, tls: Any = None, prelude: Any = None) -> None:
        self.address = address
        self.peer_port = None
        if isinstance(address, tuple) and len(address) >= 2:
            self.peer_ip = address[0]
            self.peer_port = address[1]
        else:
            self.peer_ip = UNIX_IP
        self.scheme = scheme
        self.prelude = prelude
        self.tls = tls
        self.shown: Any = None

    @property
    def peer(self) -> str:
        """The peer as trust policies and logs name it: an address, or `"unix:"`."""
        address = self.address
        if isinstance(address, tuple) and len(address) == 2:  # of IPv4: others may have a zone
            return self.peer_ip
        return peer_name(address)

    @property
    def address_family(self) -> int:
        """`socket.AF_INET`, `AF_INET6` or `AF_UNIX`."""
        if not isinstance(self.address, tuple) or len(self.address) < 2:
            return AF_UNIX
        return socket.AF_INET6 if ":" in self.peer_ip else socket.AF_INET

    def __str__(self) -> str:
        return self.peer


class ConnectionContext:
    """What an application sees of a connection, as the client of one request.

    Args:
        info: The connection's.
        remote_ip: The client's address; the peer's where nothing says otherwise.
        protocol: The client's scheme.

    Source: the context of `tornado.httpserver`.
    """

    __slots__ = ("info", "protocol", "remote_ip")

    def __init__(self, info: ConnectionInfo, remote_ip: str, protocol: str) -> None:
        self.info = info
        self.remote_ip = remote_ip
        self.protocol = protocol

    @property
    def address(self) -> Any:
        """The peer's socket address, as `socket.accept` gives it."""
        return self.info.address

    @property
    def address_family(self) -> int:
        """`socket.AF_INET`, `AF_INET6` or `AF_UNIX`."""
        return self.info.address_family

    @property
    def peer_ip(self) -> str:
        """The peer's address as text; `"0.0.0.0"` for a Unix socket."""
        return self.info.peer_ip

    @property
    def peer_port(self) -> int | None:
        """The peer's port; None for a Unix socket."""
        return self.info.peer_port

    @property
    def scheme(self) -> str:
        """What the connection itself is, `"http"` or `"https"`, or what `protocol=` says."""
        return self.info.scheme

    @property
    def prelude(self) -> Any:
        """The PROXY header that came first, or None."""
        return self.info.prelude

    @property
    def tls(self) -> Any:
        """What the TLS layer knows, or None."""
        return self.info.tls

    @property
    def peer(self) -> str:
        """The peer as trust policies name it: an address, or `"unix:"`."""
        return self.info.peer

    def __str__(self) -> str:
        """The client as a log names it: its address, or `unix:`."""
        return client_name(self.remote_ip)


def is_nameless(transport: asyncio.BaseTransport) -> bool:
    """Tell whether nobody can say any more who is at the other end.

    A connection that was reset before it was accepted has no address. Its request came through all
    the same, and would look like one over a Unix socket, which a policy may trust.
    """
    if isinstance(transport.get_extra_info("peername"), tuple):
        return False
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.family != AF_UNIX
