r"""RFC 7239: one `Forwarded` line, cut into elements from the right, and one element parsed.

Decides where an element begins and what it says. It must not know whom to trust, and it never looks
at bytes left of the element it is asked for: a client's dangling quote there must not swallow what
the proxy wrote.

    Forwarded         = 1#forwarded-element
    forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
    forwarded-pair    = token "=" ( token / quoted-string )

Tolerated, and noted: white space around ";", empty pairs, an IPv6 address or a port that is not
quoted or not in brackets. Refused: white space around "=", a name that is not a token, an unmatched
quote or bracket, IPv4 in brackets, `for` or `proto` twice.
"""

from __future__ import annotations

import re

from edgeserver.proxyheaders.addresses import (
    MALFORMED,
    UNKNOWN,
    Address,
    UnusableClaim,
    parse_address,
)

__all__ = ["Claim", "parse_element", "parse_pairs", "split_rightmost"]

_TOKEN = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
# One pair, or none, up to the next ";". A value without quotes may hold ":[]" too: an address that
# the proxy should have quoted. No quantifier gives back, so no element costs more than its length.
# RFC 9110 section 5.6.4: qdtext = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text,
# quoted-pair = "\" ( HTAB / SP / VCHAR / obs-text ).
_STEP = re.compile(
    rb"(?:([" + _TOKEN + rb"]++)=(?:([" + _TOKEN + rb"]++)(?![:\[\]])|([" + _TOKEN + rb":\[\]]++)"
    rb'|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]++|\\[\t \x21-\x7e\x80-\xff])*+)"))?+'
    rb"([\t ]*+)(;[\t ]*+|\Z)"
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)

_SPACED = "white space around ';'"
_EMPTY = "an empty pair"
_UNQUOTED = "a value with ':' or brackets must be quoted"
_UNBRACKETED = "an IPv6 address must be in brackets"


Claim = tuple[Address, bytes | None, tuple[str, ...]]
"""What one entry says: the address that it names, the scheme raw, and what was tolerated."""


def split_rightmost(line: bytes, end: int) -> int:
    """Return where the comma before the last element of `line[:end]` is, or -1.

    Commas inside quotes are data. A quote closes or opens only after an even number of
    backslashes. The cost is linear in the size of that element.
    """
    position = end
    comma = line.rfind(b",", 0, position)
    while True:
        quote = line.rfind(b'"', comma + 1, position)
        if quote < 0:
            return comma
        position = _opening_quote(line, quote)
        if position < 0:
            return -1  # unmatched: everything up to the line's start is this element, and refused
        if comma >= position:
            comma = line.rfind(b",", 0, position)


def _opening_quote(line: bytes, closing: int) -> int:
    """Return where the quoted-string that ends at `closing` begins, or -1."""
    quote = line.rfind(b'"', 0, closing)
    while quote >= 0:
        before = quote - 1
        while before >= 0 and line[before] == 0x5C:
            before -= 1
        if (quote - before) & 1:  # an even number of backslashes: a real quote
            return quote
        quote = line.rfind(b'"', 0, before + 1)
    return -1


def parse_pairs(element: bytes) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """Parse the pairs of one element into `(lower-case name, value)`, and what was tolerated.

    Raises:
        UnusableClaim: It is not in the grammar.
    """
    pairs: list[tuple[bytes, bytes]] = []
    notes: list[str] = []
    text = element.strip(b" \t")
    if not text:
        return pairs, notes
    position = 0
    while True:
        match = _STEP.match(text, position)
        if match is None:
            raise UnusableClaim(
                MALFORMED, "not 'name=value' pairs separated by ';' (RFC 7239 section 4)"
            )
        name, value, bare, quoted, space, separator = match.groups()
        if value is not None:
            pairs.append((name.lower(), value))
        elif quoted is not None:
            plain = _QUOTED_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted
            pairs.append((name.lower(), plain))
        elif name is None:
            _note(notes, _EMPTY)
        else:
            pairs.append((name.lower(), bare))
            _note(notes, _UNQUOTED)
        if space or len(separator) > 1:
            _note(notes, _SPACED)
        if not separator:
            return pairs, notes
        position = match.end()


def _note(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def parse_element(element: bytes) -> Claim:
    """Parse one element into the address and the scheme that it names.

    Raises:
        UnusableClaim: It is malformed, or its `for` is missing, unknown or hidden; in those last
            three cases `scheme` holds what the element says of that.
    """
    pairs, notes = parse_pairs(element)
    node: bytes | None = None
    scheme: bytes | None = None
    for name, value in pairs:
        if name == b"for":
            if node is not None:
                raise UnusableClaim(MALFORMED, "'for' stands once per element (RFC 7239 section 4)")
            node = value
        elif name == b"proto":
            if scheme is not None:
                raise UnusableClaim(
                    MALFORMED, "'proto' stands once per element (RFC 7239 section 4)"
                )
            scheme = value
    if node is None:
        if not pairs and not notes:
            raise UnusableClaim(MALFORMED, "empty: this hop said nothing")
        raise UnusableClaim(UNKNOWN, "the element has no 'for'", scheme)
    if node != node.strip(b" \t"):
        raise UnusableClaim(MALFORMED, "white space in 'for' (RFC 7239 section 6)")
    try:
        address = parse_address(node)
    except UnusableClaim as error:
        if error.code == UNKNOWN:
            error.scheme = scheme
        raise
    if node.count(b":") > 1 and not node.startswith(b"["):
        notes.append(_UNBRACKETED)
    return address, scheme, tuple(notes)
