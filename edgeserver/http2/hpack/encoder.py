"""The HPACK encoder: the fields of answers to header blocks.

Decides which fields enter the table that the peer keeps: those of a few names whose values repeat,
as long as there is room; none ever leaves it, so nothing has to be known but what it was given.
What else there is goes out as a literal, the same for all connections. It must not know what fields
mean, but for those whose values are nobody's to keep.

Source: RFC 7541.
"""

from __future__ import annotations

from typing import Final

from edgeserver.http2.hpack.decoder import FIELD_OVERHEAD
from edgeserver.http2.hpack.primitives import encode_integer, encode_string
from edgeserver.http2.hpack.tables import STATIC, Field

__all__ = ["INDEXED_NAMES", "MAX_TABLE_BYTES", "Encoder", "encode_literal", "encode_status"]

MAX_TABLE_BYTES: Final = 4096
"""Most bytes of the table that are used, whatever the peer allows."""

INDEXED_NAMES: Final = frozenset(
    b"""accept-ranges access-control-allow-origin cache-control content-encoding
    content-security-policy content-type referrer-policy server strict-transport-security vary
    x-content-type-options x-frame-options""".split()
)
"""Names of fields that enter the table."""

NEVER_INDEXED: Final = frozenset(
    b"authorization cookie proxy-authenticate proxy-authorization set-cookie".split()
)
"""Names whose values are secrets: no hop may keep them in a table. Source: section 7.1.3."""


def _index_names() -> dict[bytes, int]:
    indices: dict[bytes, int] = {}
    for index, (name, _) in enumerate(STATIC):
        if index:
            indices.setdefault(name, index)
    return indices


_name_indices: Final = _index_names()
_static_fields: Final[dict[Field, bytes]] = {
    field: encode_integer(index, 7, 128) for index, field in enumerate(STATIC) if index
}


_references: Final = [encode_integer(index, 7, 128) for index in range(len(STATIC) + 127)]
"""How a field is written that stands in a table, by its index; of the table's first, as always."""


def _encode_name(name: bytes, bits: int, first: int) -> bytes:
    index = _name_indices.get(name, 0)
    if index:
        return encode_integer(index, bits, first)
    return bytes((first,)) + encode_string(name)


def encode_literal(name: bytes, value: bytes) -> bytes:
    """Return a field as it stands in any block: the table is neither asked nor changed."""
    known = _static_fields.get((name, value))
    if known is not None:
        return known
    first = 0x10 if name in NEVER_INDEXED else 0
    return _encode_name(name, 4, first) + encode_string(value)


def encode_status(code: int) -> bytes:
    """Return the pseudo-header field of a status code."""
    return encode_literal(b":status", b"%d" % code)


MAX_WRITTEN: Final = 64
"""How many fields are remembered as they are written at present."""

MAX_WRITTEN_BYTES: Final = 256
"""Most bytes of one of them that the table does not hold, `FIELD_OVERHEAD` included."""


class Encoder:
    """The encoder of one connection: which fields the peer's table holds.

    Attributes:
        resized: Whether the next block has to `begin`: the table's size has changed.
        written: How fields are written that `encode` was given before, as long as it would say the
            same; not to be changed.
    """

    __slots__ = ("_entries", "_room", "_table_bytes", "_told_bytes", "resized", "written")

    def __init__(self) -> None:
        self._table_bytes = MAX_TABLE_BYTES
        self._told_bytes = MAX_TABLE_BYTES  # what the peer thinks that is
        self._room = MAX_TABLE_BYTES
        self.resized = False
        self._entries: dict[Field, int] = {}  # by field, which one it was
        self.written: dict[Field, bytes] = {}

    def limit_table(self, size: int) -> None:
        """Use at most `size` bytes of the peer's table from the next block on."""
        size = min(size, MAX_TABLE_BYTES)
        if size < self._table_bytes:
            self._entries.clear()
            self.written.clear()
            self._room = size
            self._table_bytes = size
            self.resized = True

    def begin(self) -> bytes:
        """Return what a block begins with: mostly nothing, else that the table's size has changed.

        Source: section 4.2.
        """
        if self._told_bytes == self._table_bytes:
            return b""
        self.resized = False
        self._told_bytes = self._table_bytes
        # Size 0 first: it empties the peer's table, as this one was emptied.
        return b"\x20" + encode_integer(self._table_bytes, 5, 0x20)

    def encode(self, field: Field) -> bytes:
        """Return a field whose name is one of `INDEXED_NAMES`, for the block that is being made."""
        entries = self._entries
        place = entries.get(field)
        if place is not None:
            # At most 4 KiB of entries of 32 bytes and more: `_references` has them all.
            line = _references[len(STATIC) - 1 + len(entries) - place]
        else:
            name, value = field
            size = len(name) + len(value) + FIELD_OVERHEAD
            if size <= self._room and field not in _static_fields:
                self._room -= size
                entries[field] = len(entries)
                self.written.clear()  # each of the others has another index now
                return _encode_name(name, 6, 0x40) + encode_string(value)
            line = encode_literal(name, value)
            if size > MAX_WRITTEN_BYTES:
                return line
        if len(self.written) >= MAX_WRITTEN:
            self.written.clear()
        self.written[field] = line
        return line
