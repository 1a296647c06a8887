"""The PROXY protocol: what stands in front of a connection's first byte, and where it ends.

Decides which version speaks, and reads version 1, the line of text; version 2 is in `v2`.
It must not know whether the peer may be believed, nor anything of connections or time.

A prelude is required or off, never guessed; so the first byte that cannot belong to a version is an
error at once, and so is the last byte of a start that tells a version which is not taken. Version 1
is one line of at most 107 bytes (section 2.1):

    PROXY TCP4 <source> <destination> <port> <port> CR LF     each one space apart
    PROXY TCP6 <source> <destination> <port> <port> CR LF
    PROXY UNKNOWN [anything] CR LF                             the real endpoints count
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Literal

from edgeserver.proxyheaders.proxyprotocol.model import (
    Prelude,
    PreludeSSL,
    address_text,
    refusal,
)
from edgeserver.proxyheaders.proxyprotocol.render import render_prelude, render_v1, render_v2
from edgeserver.proxyheaders.proxyprotocol.v2 import MAX_BLOCK, SIGNATURE, parse_v2
from edgeserver.support.escape import escape
from edgeserver.support.preludes import V1_START

__all__ = [
    "MAX_PRELUDE",
    "Prelude",
    "PreludeSSL",
    "is_prelude_start",
    "parse_prelude",
    "render_prelude",
    "render_v1",
    "render_v2",
]

MAX_V1 = 107
"""The longest v1 line with its CR LF (section 2.1)."""

MAX_PRELUDE = 16 + MAX_BLOCK
"""The most bytes that any prelude takes; after these `parse_prelude` never asks for more."""

_CRLF = b"\r\n"

# "heading zeroes are not permitted in front of numbers"
_OCTET = re.compile(rb"0|[1-9][0-9]{0,2}")
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_IPV6_BYTES = re.compile(rb"[0-9A-Fa-f:.]{0,45}")


def is_prelude_start(data: bytes) -> bool:
    """Return whether `data` begins as some prelude does, however it goes on."""
    return _begins(data, V1_START) or _begins(data, SIGNATURE)


def _begins(data: bytes, start: bytes) -> bool:
    """Return whether `data`, as far as it goes, and `start` agree."""
    return data[: len(start)] == start[: len(data)]


def parse_prelude(data: bytes, *, allow: Literal["v1", "v2", "any"]) -> tuple[Prelude, int] | None:
    """Parse the PROXY prelude at the start of `data`.

    Args:
        data: What has arrived from the peer; may go on past the prelude.
        allow: Which versions are taken.

    Returns:
        The prelude and how many bytes it took, or None if more must arrive first.

    Raises:
        ProxyProtocolError: The bytes can no longer become an allowed prelude.

    Source: HAProxy's PROXY protocol specification, sections 2.1 and 2.2.
    """
    if not data:
        return None
    if not is_prelude_start(data):
        raise refusal(
            f"no PROXY prelude: the connection starts with {escape(data[:16])}; let the proxy "
            "send one, or take proxy_protocol off this listener",
            "2",
        )
    spoken: Literal["v1", "v2"] = "v1" if data[:1] == b"P" else "v2"
    if allow not in ("any", spoken):
        if len(data) < len(V1_START if spoken == "v1" else SIGNATURE):
            return None  # `POST` begins as v1 does: what it is, is told however it was cut
        raise refusal(
            f"a PROXY prelude of version {spoken} where this listener takes only {allow}; set "
            f"proxy_protocol to '{spoken}' or 'any', or let the proxy send {allow}",
            "2",
        )
    return _parse_v1(data) if spoken == "v1" else parse_v2(data)


def _parse_v1(data: bytes) -> tuple[Prelude, int] | None:
    """Parse a v1 line, or check the beginning of one."""
    end = data.find(_CRLF, 0, MAX_V1)
    if end >= 0:
        return _read_line(data[:end]), end + 2
    if len(data) >= MAX_V1:
        raise refusal(f"PROXY v1: no CR LF within {MAX_V1} bytes", "2.1")
    ended = data.endswith(b"\r")
    _check_fields(data.removesuffix(b"\r").split(b" "), ended=ended)
    return None


def _read_line(line: bytes) -> Prelude:
    """Return what a whole line, without its CR LF, says."""
    fields = line.split(b" ")
    _check_fields(fields, ended=True)
    if fields[1] == b"UNKNOWN":
        # "the receiver must ignore anything presented before the CRLF is found"
        return Prelude(version=1, command="UNKNOWN")
    source, destination = (
        address_text(ipaddress.ip_address(field.decode("ascii")).packed) for field in fields[2:4]
    )
    return Prelude(
        version=1,
        command="PROXY",
        source=source,
        source_port=int(fields[4]),
        destination=destination,
        destination_port=int(fields[5]),
    )


def _check_fields(fields: list[bytes], *, ended: bool) -> None:
    """Refuse a line that is wrong as far as it goes.

    Args:
        fields: What stands between the spaces, the first being `PROXY`.
        ended: Whether the line is whole; otherwise the last field may still grow.

    Raises:
        ProxyProtocolError: A field is malformed, missing or one too many.
    """
    family = fields[1] if len(fields) > 1 else b""
    growing = not ended and len(fields) == 2
    if not _is_family(family, whole=not growing) and (ended or len(fields) > 1):
        raise refusal(
            f"PROXY v1: family {escape(family)} at byte 6; TCP4, TCP6 and UNKNOWN exist", "2.1"
        )
    if growing or family in (b"", b"UNKNOWN"):
        return
    if len(fields) > 6 or (ended and len(fields) < 6):
        raise refusal(
            f"PROXY v1: {len(fields) - 2} fields after {family.decode('ascii')}, one space apart; "
            "there must be 4",
            "2.1",
        )
    is_address = _is_ipv4 if family == b"TCP4" else _is_ipv6
    slots: list[tuple[str, Callable[..., bool]]] = [
        ("source address", is_address),
        ("destination address", is_address),
        ("source port", _is_port),
        ("destination port", _is_port),
    ]
    at = len(V1_START) + len(family) + 1
    for index, field in enumerate(fields[2:]):
        name, is_valid = slots[index]
        if not is_valid(field, whole=ended or index < len(fields) - 3):
            raise refusal(
                f"PROXY v1: {name} {escape(field)} at byte {at} is not a "
                f"{family.decode('ascii')} {name.split()[1]}",
                "2.1",
            )
        at += len(field) + 1


def _is_family(field: bytes, *, whole: bool) -> bool:
    """Return whether `field` is a family, or can still become one."""
    return any(
        field == family or (not whole and family.startswith(field))
        for family in (b"TCP4", b"TCP6", b"UNKNOWN")
    )


def _is_port(field: bytes, *, whole: bool) -> bool:
    """Return whether `field` is a port of 0 to 65535, or can still become one."""
    if not field:
        return not whole
    return _PORT.fullmatch(field) is not None and int(field) <= 65535


def _is_ipv4(field: bytes, *, whole: bool) -> bool:
    """Return whether `field` is four decimal octets, or can still become so."""
    octets = field.split(b".")
    if len(octets) > 4 or (whole and len(octets) < 4):
        return False
    if not whole and not octets[-1]:
        octets.pop()
    return all(_OCTET.fullmatch(octet) and int(octet) <= 255 for octet in octets)


def _is_ipv6(field: bytes, *, whole: bool) -> bool:
    """Return whether `field` is an IPv6 address without a zone, or can still become one."""
    if not _IPV6_BYTES.fullmatch(field):
        return False
    if whole:
        try:
            ipaddress.IPv6Address(field.decode("ascii"))
        except ValueError:
            return False
        return True
    groups = field.split(b":")
    if b":::" in field or field.count(b"::") > 1 or len(groups) > 8 + (b"::" in field):
        return False
    if re.match(rb":[^:]", field):
        return False
    if b"." in groups[-1] and (len(groups) < 3 or not _is_ipv4(groups.pop(), whole=False)):
        return False  # the dotted tail of an IPv4-mapped address
    return all(len(group) <= 4 and b"." not in group for group in groups)
