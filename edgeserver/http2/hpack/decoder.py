"""The HPACK decoder: header blocks to lists of fields, with the table that both ends keep.

Decides what a block says, and when it says too much. It must not know what fields mean.

Source: RFC 7541.
"""

from __future__ import annotations

from typing import Final

from edgeserver.http2.hpack.primitives import HPACKError, decode_integer, decode_string
from edgeserver.http2.hpack.tables import STATIC, Field

__all__ = ["FIELD_OVERHEAD", "Decoder", "ListTooLongError"]

FIELD_OVERHEAD: Final = 32
"""What each field counts besides its bytes. Source: section 4.1, RFC 9113 section 6.5.2."""

KEPT_GAPS: Final = 64
"""How many entries may be forgotten at the front of the list before it is cut."""

STATIC_SIZE: Final = len(STATIC) - 1


class ListTooLongError(Exception):
    """A header list is so long that decoding it was given up, and with it the table's state."""


class Decoder:
    """The decoder of one connection.

    A list that is longer than allowed is decoded to its end, so that the table stays what the peer
    thinks it is, but not kept; one of more than twice that is given up. What a block may cost is
    counted while it is decoded: a reference of one byte to a field of 4 KiB counts as 4 KiB.

    Args:
        max_list_bytes: Most bytes of a list, `FIELD_OVERHEAD` for each field included.
        max_fields: Most fields of a list.
        max_table_bytes: Most bytes of the table, as the settings have told the peer.

    Attributes:
        generation: Changes whenever the table does.
        too_long: Whether the last list was longer than allowed; it is not all there then.
    """

    __slots__ = (
        "_entries",
        "_gone",
        "_max_fields",
        "_max_list_bytes",
        "_max_table_bytes",
        "_size",
        "_table_bytes",
        "generation",
        "too_long",
    )

    def __init__(
        self, *, max_list_bytes: int, max_fields: int, max_table_bytes: int = 4096
    ) -> None:
        self.generation = 0
        self.too_long = False
        self._max_list_bytes = max_list_bytes
        self._max_fields = max_fields
        self._max_table_bytes = max_table_bytes  # what the settings allow
        self._table_bytes = max_table_bytes  # what the peer uses of that
        self._entries: list[Field] = []  # the newest last
        self._gone = 0  # how many of these, at the front, were evicted
        self._size = 0  # the size of the others

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields that `block` says, in order.

        Args:
            block: A whole header block.

        Raises:
            HPACKError: It cannot be decoded.
            ListTooLongError: It says more than twice of what is allowed.
        """
        position = 0
        end = len(block)
        fields: list[Field] = []
        room = self._max_list_bytes
        left = self._max_fields
        self.too_long = False
        while position < end:
            byte = block[position]
            if byte & 128:
                if byte != 255:
                    index = byte & 127
                    position += 1
                else:
                    index, position = decode_integer(block, position, 7)
                field = self._field(index)
            elif byte & 64 or byte < 32:
                field, position = self._literal(block, position, bool(byte & 64))
            else:
                if fields or self.too_long:
                    # Section 4.2: a change "MUST occur at the beginning of the first header
                    # block following the change to the dynamic table size".
                    raise HPACKError("a change of the table's size after a field")
                position = self._resize(block, position)
                continue
            room -= len(field[0]) + len(field[1]) + FIELD_OVERHEAD
            left -= 1
            if room >= 0 and left >= 0:
                fields.append(field)
            else:
                self.too_long = True
                if room < -self._max_list_bytes or left < -self._max_fields:
                    raise ListTooLongError("a header list of more than twice the allowed length")
        return fields

    def _literal(self, block: bytes, position: int, kept: bool) -> tuple[Field, int]:
        """Return the field that stands at `position`, kept in the table or not; and its end."""
        index, position = decode_integer(block, position, 6 if kept else 4)
        if index:
            name = self._field(index)[0]
        else:
            name, position = decode_string(block, position)
        value, position = decode_string(block, position)
        field = (name, value)
        if kept:
            self._insert(field)
        return field, position

    def _resize(self, block: bytes, position: int) -> int:
        size, position = decode_integer(block, position, 5)
        if size > self._max_table_bytes:
            # Section 6.3: "The new maximum size MUST be lower than or equal to the limit".
            raise HPACKError("a table larger than the settings allow")
        self.generation += 1
        self._table_bytes = size
        self._make_room(0)
        return position

    def _field(self, index: int) -> Field:
        if index <= STATIC_SIZE:
            if index == 0:
                raise HPACKError("a field of index 0")
            return STATIC[index]
        place = len(self._entries) + STATIC_SIZE - index
        if place < self._gone:
            raise HPACKError("a field that is not in the table")
        return self._entries[place]

    def _insert(self, field: Field) -> None:
        self.generation += 1
        size = len(field[0]) + len(field[1]) + FIELD_OVERHEAD
        self._make_room(size)
        # Section 4.4: one that is larger than the table empties it, and is not an error.
        if size <= self._table_bytes:
            self._entries.append(field)
            self._size += size

    def _make_room(self, size: int) -> None:
        entries = self._entries
        while self._size + size > self._table_bytes and self._gone < len(entries):
            name, value = entries[self._gone]
            self._size -= len(name) + len(value) + FIELD_OVERHEAD
            entries[self._gone] = (b"", b"")
            self._gone += 1
        if self._gone > KEPT_GAPS or self._gone == len(entries):
            del entries[: self._gone]
            self._gone = 0
