"""PROXY protocol headers where none is taken: recognised, and told as what they are.

Decides whether bytes that are neither HTTP nor TLS are such a header, and what to say of one. It
must not know what stands in it: where one is taken, `proxyheaders.proxyprotocol` reads it.

Source: HAProxy's PROXY protocol specification, sections 2.1 and 2.2.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = [
    "LONGEST_START",
    "V1_START",
    "V2_SIGNATURE",
    "explain_prelude",
    "is_part",
    "is_v2_part",
    "prelude_version",
]

V1_START: Final = b"PROXY "
V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"

LONGEST_START: Final = 16
"""How many bytes are enough to recognise either."""

_V1_KINDS: Final = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN")


def prelude_version(data: bytes | bytearray) -> Literal["v1", "v2"] | None:
    """Return the version of the PROXY header that `data` begins with, or None.

    Args:
        data: The first bytes of a connection, which are nothing else that is expected.
    """
    if data.startswith(V2_SIGNATURE):
        return "v2"
    start = bytes(data[:LONGEST_START])
    if len(start) > len(V1_START) and any(
        start[: len(kind)] == kind[: len(start)] for kind in _V1_KINDS
    ):
        return "v1"
    return None


def is_part(data: bytes | bytearray) -> bool:
    """Tell whether `data` may become such a header, of either version, by what follows.

    Args:
        data: All bytes of a connection so far.
    """
    return is_v2_part(data) or (len(data) <= len(V1_START) and V1_START.startswith(bytes(data)))


def is_v2_part(data: bytes | bytearray) -> bool:
    """Tell whether `data` is the beginning of the v2 signature, and what follows decides.

    Args:
        data: All bytes of a connection so far.
    """
    return len(data) < len(V2_SIGNATURE) and V2_SIGNATURE.startswith(bytes(data))


def explain_prelude(version: Literal["v1", "v2"], peer: str, *, after: bool = False) -> str:
    """Return what such a header is and what to do about it, as a part of a log line.

    Args:
        version: Its version.
        peer: Who sent it, an address or `unix:`.
        after: Whether the connection began with another one, which was taken.
    """
    if after:
        return (
            f"this is a second PROXY {version} header; the listener takes one, with which the "
            f"connection began: of several proxies in a row only the last may send it"
        )
    return (
        f"this is a PROXY {version} header; this listener takes none: give it "
        f"--bind ...,proxy={version} and --trust {peer} (proxy_protocol={version!r} and trust=), "
        f"or turn it off there"
    )
