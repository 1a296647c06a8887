"""Addresses of sockets: how a peer and a client are written in logs, environments and messages.

Decides what each is called, in one spelling wherever it stands: an IP address, with its zone where
it has one, or `unix:`. It must not know who is trusted, nor what is said about whom.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Final, Protocol

from edgeserver.support.escape import escape

__all__ = ["UNIX", "UNIX_IP", "client_name", "peer_name", "peer_of", "render_address"]

UNIX: Final = "unix:"
"""The other end of a Unix socket, as it is written everywhere: such a peer has no address."""

UNIX_IP: Final = "0.0.0.0"
"""What `remote_ip` holds for it, as Tornado has it.

No other client has this address: nobody connects from it, and a claim of it is unusable.
"""


class _Transport(Protocol):
    """What is asked of a transport."""

    def get_extra_info(self, name: str) -> Any:
        """Return what is known under `name`, or None."""
        ...


def client_name(remote_ip: str) -> str:
    """Return how a client is written: its address, or `unix:` where `remote_ip` can hold none."""
    return UNIX if remote_ip == UNIX_IP else remote_ip


def peer_name(address: Any) -> str:
    """Return how the peer with a socket address is written: its host with its zone, or `unix:`.

    Args:
        address: As `socket.accept` gives it: a tuple, or for a Unix socket a path or nothing.
    """
    if not isinstance(address, tuple):
        return UNIX
    host = str(address[0])
    if len(address) == 4 and address[3] and "%" not in host:
        try:
            return f"{host}%{socket.if_indextoname(address[3])}"
        except OSError:
            # The interface went away; an index is a zone too (RFC 4007 section 11.2).
            return f"{host}%{address[3]}"
    return host


def peer_of(transport: _Transport) -> str:
    """Return the name of a transport's peer; empty where it was gone before it could be asked.

    Args:
        transport: An asyncio transport.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return UNIX
    address = transport.get_extra_info("peername")
    return peer_name(address) if isinstance(address, tuple) else ""


def render_address(address: Any) -> str:
    """Return a socket's address with its port: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.

    A name in Linux's abstract namespace begins with `@`, an unnamed one is `unix:`.

    Args:
        address: As `socket.getsockname` gives it.
    """
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = os.fsdecode(address or "")
    return UNIX + escape("@" + name[1:] if name.startswith("\0") else name)
