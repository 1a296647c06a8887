"""The fields of answers: what an application hands over, ready for a header block.

Decides which fields may be written, which are the connection's own and dropped, and which this
layer reads. It must not know any connection: what stands here is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from edgeserver.http.grammar import CONTROL, is_token
from edgeserver.http.semantics import NOT_IN_TRAILERS, parse_answer_length
from edgeserver.http2.hpack.encoder import INDEXED_NAMES, encode_literal

__all__ = [
    "DATE",
    "DROPPED",
    "INDEXED",
    "LENGTH",
    "LITERAL",
    "AnswerField",
    "answer_field",
    "encode_trailer_block",
    "known_field",
]

LITERAL: Final = 0
INDEXED: Final = 1
"""One whose name is worth a place in the peer's table."""
LENGTH: Final = 2
DATE: Final = 3
DROPPED: Final = 4
"""What is about a connection of HTTP/1, and says nothing here. Source: RFC 9113 section 8.2.2."""

KINDS: Final = {
    b"content-length": LENGTH,
    b"date": DATE,
    b"connection": DROPPED,
    b"keep-alive": DROPPED,
    b"proxy-connection": DROPPED,
    b"transfer-encoding": DROPPED,
    b"upgrade": DROPPED,
}

MAX_CACHED_VALUE: Final = 128
MAX_CACHED: Final = 2048


class AnswerField:
    """One field, checked.

    Attributes:
        kind: `LITERAL`, `INDEXED`, `LENGTH`, `DATE` or `DROPPED`.
        name: In lower case.
        value: Without white space around it.
        pair: Both.
        literal: How it is written where no table is asked.
        length: What it says, for `LENGTH`.
    """

    __slots__ = ("kind", "length", "literal", "name", "pair", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        kind = KINDS.get(name, LITERAL)
        if kind == LITERAL and name in INDEXED_NAMES:
            kind = INDEXED
        self.kind: int = kind
        self.name = name
        self.value = value
        self.pair = (name, value)
        self.length: int = parse_answer_length(value) if kind == LENGTH else 0
        self.literal = encode_literal(name, value)


_fields: Final[dict[tuple[Any, Any], AnswerField]] = {}
known_field: Final = _fields.get
"""Finds a field, by name and value as they are handed over, if it has been met."""


def answer_field(name: Any, value: Any) -> AnswerField:
    """Return the field of an answer.

    Args:
        name: `str` or `bytes`, in any case.
        value: `str` in latin-1, or `bytes`.

    Raises:
        ValueError: The name is not a token, or the value holds a control character.
    """
    known = _fields.get((name, value))
    if known is not None:
        return known
    raw = name if isinstance(name, bytes) else name.encode("latin-1", "replace")
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not is_token(raw):
        raise ValueError(
            f"Illegal characters in header: {raw.decode('latin-1')!r} is not a field name"
        )
    if CONTROL.search(text):
        shown = raw.decode("latin-1")
        raise ValueError(f"Illegal characters (CR or LF) in header: {shown}: {text!r}")
    # RFC 9113 section 8.2.1: no white space at either end of a value.
    field = AnswerField(raw.lower(), text.strip(" \t").encode("latin-1"))
    if len(text) <= MAX_CACHED_VALUE and len(raw) <= MAX_CACHED_VALUE:
        if len(_fields) >= MAX_CACHED:
            _fields.clear()
        _fields[(name, value)] = field
    return field


def encode_trailer_block(fields: Iterable[Any]) -> bytes:
    """Return the header block of a trailer section.

    Raises:
        ValueError: One cannot be written, or says what has to be known before the body.

    Source: RFC 9110 section 6.5.1.
    """
    block = []
    for name, value in fields:
        field = answer_field(name, value)
        if field.name in NOT_IN_TRAILERS:
            raise ValueError(f"{field.name.decode('latin-1')} may not stand in a trailer section")
        if field.kind != DROPPED:
            block.append(field.literal)
    return b"".join(block)
