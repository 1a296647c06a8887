"""How addresses of sockets are written, in the one place where that is decided."""

from __future__ import annotations

from typing import Any

import pytest

from edgeserver.support.addresses import (
    UNIX_IP,
    client_name,
    peer_name,
    peer_of,
    render_address,
)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/s", "unix:/run/s"),
        (b"\0name", "unix:@name"),
        ("", "unix:"),
        (None, "unix:"),
        ("/a\x1b[31m", r"unix:/a\x1b[31m"),
    ],
)
def test_render_address(address: object, text: str) -> None:
    """An address is shown as people write it, with nothing that a terminal obeys."""
    assert render_address(address) == text


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("fe80::1", 80, 0, 1), "fe80::1%lo"),
        ("/run/client.sock", "unix:"),
        (b"\0name", "unix:"),
        ("", "unix:"),
        (None, "unix:"),
    ],
    ids=["ipv4", "zone", "path", "abstract", "unnamed", "nothing"],
)
def test_peer_name(address: object, text: str) -> None:
    """A peer over a Unix socket has one name, whatever its own end is bound to."""
    assert peer_name(address) == text


def test_client_name() -> None:
    """What `remote_ip` cannot hold is written as what it is."""
    assert client_name(UNIX_IP) == "unix:"
    assert client_name("203.0.113.9") == "203.0.113.9"


class Named:
    """A transport as far as `peer_of` looks: link-local peers cannot be had everywhere."""

    def __init__(self, peername: object) -> None:
        self.peername = peername

    def get_extra_info(self, name: str) -> object:
        """Return the peer's name, and no socket."""
        return self.peername if name == "peername" else None


@pytest.mark.parametrize(
    ("peername", "text"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("2001:db8::1", 80, 0, 0), "2001:db8::1"),
        (("fe80::1", 80, 0, 1), "fe80::1%lo"),
        (("fe80::1%lo", 80, 0, 1), "fe80::1%lo"),
        (("fe80::1", 80, 0, 2**31 - 1), "fe80::1%2147483647"),
        (None, ""),
    ],
    ids=["ipv4", "ipv6", "zone", "zone-already", "zone-gone", "gone"],
)
def test_peer_of_a_transport(peername: object, text: str) -> None:
    """The peer's text carries the zone that its socket address names."""
    transport: Any = Named(peername)
    assert peer_of(transport) == text
