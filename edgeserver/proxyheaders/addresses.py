"""The address grammar: which bytes name an address, and which are refused.

Decides usability and the one text that each address has. It must not know trust, header names or
where the bytes came from.

    entry    = IPv4 [ ":" port ] / IPv6 / "[" IPv6 "]" [ ":" port ]     ; SP and TAB around it
    IPv4     = 4 decimal octets without leading zeros
    IPv6     = RFC 4291 section 2.2, with [ "%" zone ] on fe80::/10 only
    zone     = 1*15( ALPHA / DIGIT / "." / "_" / "~" / "-" )
    port     = 1-65535, digits only, without leading zeros

IPv4-mapped addresses become IPv4; NAT64 stays IPv6. Unspecified, multicast and broadcast
addresses name nobody and are refused.
"""

from __future__ import annotations

import functools
import re
import struct
from typing import NamedTuple

from edgeserver.errors import EdgeServerError

__all__ = [
    "MALFORMED",
    "OCTETS",
    "UNIX",
    "UNKNOWN",
    "Address",
    "UnusableClaim",
    "parse_address",
    "parse_ipv4",
    "parse_ipv6",
    "parse_peer",
    "render_chain_entry",
    "render_ipv4",
    "render_ipv6",
]

MALFORMED = "malformed-boundary"
UNKNOWN = "unknown-boundary"

MAX_ENTRY_BYTES = 80
"""No entry of the grammar is longer: `[`, 45 for the address, `%`, 15, `]`, `:`, 5."""

_OCTETS = {b"%d" % octet: octet for octet in range(256)}
OCTETS = frozenset(_OCTETS)
"""The texts of an octet, without leading zeros."""

# The same for the other octets of an address: sparing three shifts is worth three tables.
_OCTETS_1, _OCTETS_2, _OCTETS_3 = (
    {text: octet << shift for text, octet in _OCTETS.items()} for shift in (24, 16, 8)
)
_HEX_AND_COLON = b"0123456789abcdefABCDEF:"
_ZONE = re.compile(rb"[A-Za-z0-9._~-]{1,15}", re.ASCII)
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
# RFC 7239 section 6: obfnode = "_" 1*( ALPHA / DIGIT / "." / "_" / "-"), node-port likewise.
_HIDDEN = re.compile(rb"(?:unknown|_[A-Za-z0-9._-]+)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.I)
_HIDING = frozenset({b"_", b"u", b"U"})
_GROUPS = struct.Struct(">8H")
# IPv6 as RFC 5952 section 4 has it, but for zeros at the ends: then its text need not be rendered.
_GROUP = rb"[1-9a-f][0-9a-f]{0,3}+"
_GROUP_LIST = rb"%b(?::(?:%b|0(?=:[1-9a-f])))*+" % (_GROUP, _GROUP)
_RENDERED = re.compile(rb"(%b)(::(?:%b)?+)?+" % (_GROUP_LIST, _GROUP_LIST)).fullmatch
_ZERO_RUN = re.compile(rb"(?<![^:])0(?::0)+(?![^:])")
_ZEROS = [b"0"] * 8
_WIDE = b"%4b" * 8
_MAPPED = 0xFFFF
_MAX_V4 = 0xFFFFFFFF


class Address(NamedTuple):
    """One address, parsed.

    Args:
        version: 4 or 6; 0 for a Unix socket, which has no address.
        value: The address as an integer.
        text: RFC 5952 text, without zone; `0.0.0.0` for a Unix socket.
        port: The port that came with it.
        zone: The zone that came with it.
    """

    version: int
    value: int
    text: str
    port: int | None = None
    zone: str | None = None


_new = tuple.__new__  # what a NamedTuple's own constructor calls, at half the cost

UNIX = Address(0, 0, "0.0.0.0")
"""The peer of a Unix socket."""


class UnusableClaim(EdgeServerError):
    """An entry that names nobody; never shown to a stranger, always turned into a reason.

    Args:
        code: `malformed-boundary` or `unknown-boundary`.
        detail: What is wrong with it, without the bytes themselves.
        scheme: The scheme that a well-formed RFC 7239 element names all the same.
    """

    def __init__(self, code: str, detail: str, scheme: bytes | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.scheme = scheme


def parse_address(raw: bytes) -> Address:
    """Parse one entry that somebody claimed.

    Raises:
        UnusableClaim: It is not in the grammar, or names nobody.
    """
    entry = raw.strip(b" \t")
    if len(entry) > MAX_ENTRY_BYTES:
        raise UnusableClaim(MALFORMED, "longer than any address")
    octets = entry.split(b".")
    if len(octets) == 4:
        try:
            a, b, c, d = octets
            value = _OCTETS_1[a] | _OCTETS_2[b] | _OCTETS_3[c] | _OCTETS[d]
        except KeyError:
            pass  # a port, an IPv6 with dotted tail, or nonsense: the long way says which
        else:
            if 0 < value < 0xE0000000 or 0xEFFFFFFF < value < _MAX_V4:
                return _new(Address, (4, value, entry.decode("ascii"), None, None))
            raise _nobody()
    return _parse_long(entry)


def _parse_long(entry: bytes) -> Address:
    """Parse an entry that is not just an IPv4 address."""
    rendered = _RENDERED(entry)
    if rendered is not None:
        left, rest = rendered.groups()
        address = _parse_rendered(left, rest, entry)
        if address is not None:
            return address
    port: int | None = None
    host = entry
    if entry[:1] in _HIDING and _HIDDEN.fullmatch(entry):
        raise UnusableClaim(UNKNOWN, "the hop hides the address (RFC 7239 sections 6.2 and 6.3)")
    if entry == b"unix:":
        raise UnusableClaim(MALFORMED, "unix: the hop before listens on a Unix socket")
    if entry.startswith(b"["):
        host, closed, rest = entry[1:].partition(b"]")
        if not closed or b":" not in host:
            raise UnusableClaim(MALFORMED, "brackets hold an IPv6 address and are closed")
        if rest:
            port = _parse_port(rest)
    elif entry.count(b":") == 1:
        host, _, _ = entry.partition(b":")
        port = _parse_port(entry[len(host) :])
    if b":" not in host:
        return _parse_dotted(host, entry, port)
    host, percent, zone = host.partition(b"%")
    value = parse_ipv6(host)
    if value is None:
        raise UnusableClaim(MALFORMED, "not an IPv6 address (RFC 4291 section 2.2)")
    if percent and (value >> 118 != 0xFE80 >> 6 or not _ZONE.fullmatch(zone)):
        raise UnusableClaim(MALFORMED, "a zone stands on fe80::/10 only, 1-15 of A-Za-z0-9._~-")
    if value >> 32 == _MAPPED:
        return _usable_ipv4(value & _MAX_V4, port, render_ipv4(value & _MAX_V4))
    if value == 0 or value >> 120 == 0xFF:
        raise _nobody()
    zone_text = zone.decode("ascii") if percent else None
    return _new(Address, (6, value, render_ipv6(value), port, zone_text))


def _parse_rendered(left: bytes, rest: bytes | None, entry: bytes) -> Address | None:
    """Parse what `_RENDERED` matched; None if there are not as many groups as there should be."""
    groups = left.split(b":")
    if rest is not None:
        after = rest[2:].split(b":") if len(rest) > 2 else []
        missing = 8 - len(groups) - len(after)
        if missing < 2:  # RFC 5952 section 4.2.2: one group is not shortened
            return None
        groups += _ZEROS[:missing]
        groups += after
    if len(groups) != 8:
        return None
    value = int((_WIDE % tuple(groups)).replace(b" ", b"0"), 16)
    if value >> 120 == 0xFF:
        raise _nobody()
    return _new(Address, (6, value, entry.decode("ascii"), None, None))


def _parse_dotted(host: bytes, entry: bytes, port: int | None) -> Address:
    """Parse what has no colon left: IPv4, or one of the words that stand for an address."""
    value = parse_ipv4(host)
    if value is not None:
        return _usable_ipv4(value, port, host.decode("ascii"))
    if not entry:
        raise UnusableClaim(MALFORMED, "empty: this hop said nothing")
    raise UnusableClaim(MALFORMED, "not an IPv4 or IPv6 address")


def _usable_ipv4(value: int, port: int | None, text: str) -> Address:
    if 0 < value < 0xE0000000 or 0xEFFFFFFF < value < _MAX_V4:
        return _new(Address, (4, value, text, port, None))
    raise _nobody()


def _nobody() -> UnusableClaim:
    return UnusableClaim(MALFORMED, "an unspecified, multicast or broadcast address names nobody")


def _parse_port(colon_port: bytes) -> int:
    """Parse `:port`: 1-65535, digits only."""
    digits = colon_port[1:]
    if colon_port.startswith(b":") and _PORT.fullmatch(digits) and int(digits) <= 65535:
        return int(digits)
    raise UnusableClaim(MALFORMED, "a port is 1-65535, in digits")


def parse_ipv4(raw: bytes) -> int | None:
    """Return the value of four strict decimal octets, or None."""
    octets = raw.split(b".", 4)
    if len(octets) != 4:
        return None
    value = 0
    for octet in octets:
        number = _OCTETS.get(octet)
        if number is None:
            return None
        value = value << 8 | number
    return value


def parse_ipv6(raw: bytes) -> int | None:
    """Return the value of an IPv6 address without zone or brackets, or None.

    Source: RFC 4291 section 2.2, forms 1 to 3.
    """
    if b"." in raw:  # form 3: x:x:x:x:x:x:d.d.d.d
        head, _, dotted = raw.rpartition(b":")
        low = parse_ipv4(dotted)
        if low is None:
            return None
        if head == b"::ffff":
            return _MAPPED << 32 | low
        raw = b"%s:%x:%x" % (head, low >> 16, low & 0xFFFF)
    if raw.translate(None, _HEX_AND_COLON):
        return None
    left, compressed, right = raw.partition(b"::")
    before = left.split(b":") if left else []
    after = right.split(b":") if right else []
    missing = 8 - len(before) - len(after)
    # "::" stands for one or more groups; without it there are exactly eight.
    if (missing < 1) if compressed else (missing != 0):
        return None
    groups = before + _ZEROS[:missing] + after
    digits = (_WIDE % tuple(groups)).replace(b" ", b"0")
    # A group of more than four digits makes it longer; an empty one has no digit at all.
    if len(digits) != 32 or b"" in groups:
        return None
    return int(digits, 16)


@functools.lru_cache(maxsize=1024)
def parse_peer(text: str) -> Address:
    """Parse the address text of a TCP peer; the usability rules are for claims, not for it.

    It remembers some: proxies come back with every connection.

    Args:
        text: As `getpeername` gives it, with zone if any, or `unix:` for a Unix socket.

    Raises:
        ValueError: It is not an address; the server passes what the socket said.
    """
    if text.startswith("unix:"):
        return UNIX
    host, percent, zone = text.partition("%")
    raw = host.encode("ascii", "replace")
    value = parse_ipv4(raw)
    if value is not None and not percent:
        return Address(4, value, host)
    wide = parse_ipv6(raw) if value is None and b":" in raw else None
    if wide is None:
        raise ValueError(
            f"peer={text!r} is not an address: pass the socket's peer address, or 'unix:'"
        )
    if wide >> 32 == _MAPPED:
        low = wide & _MAX_V4
        return Address(4, low, render_ipv4(low))
    return Address(6, wide, render_ipv6(wide), None, zone or None)


def render_ipv4(value: int) -> str:
    """Return the dotted text of an IPv4 address."""
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def render_ipv6(value: int) -> str:
    """Return the text of an IPv6 address.

    Source: RFC 5952 section 4: lower case, no leading zeros, the first longest run of two or more
    zero groups shortened.
    """
    text = b"%x:%x:%x:%x:%x:%x:%x:%x" % _GROUPS.unpack(value.to_bytes(16, "big"))
    if b"0:0" not in text:
        return text.decode("ascii")
    best_start = best_end = 0
    for run in _ZERO_RUN.finditer(text):
        start, end = run.span()
        if end - start > best_end - best_start:
            best_start, best_end = start, end
    if best_end:
        text = b"%s::%s" % (text[: max(best_start - 1, 0)], text[best_end + 1 :])
    return text.decode("ascii")


def render_chain_entry(address: Address) -> str:
    """Return an entry that `parse_address` reads back as `address`."""
    if address.version == 4:
        return address.text if address.port is None else f"{address.text}:{address.port}"
    text = address.text if address.zone is None else f"{address.text}%{address.zone}"
    return text if address.port is None else f"[{text}]:{address.port}"
