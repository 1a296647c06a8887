"""The primitive types of HPACK: integers with a prefix, and strings.

Decides where each of them ends in a block. It must not know which fields they stand for.

Source: RFC 7541 section 5.
"""

from __future__ import annotations

from typing import Final

from edgeserver.http2.hpack.huffman import HuffmanError, huffman_decode, huffman_encode

__all__ = ["HPACKError", "decode_integer", "decode_string", "encode_integer", "encode_string"]

MAX_SHIFT: Final = 28
"""No integer has more than five bytes after its prefix: 2^35 is beyond any block."""


class HPACKError(ValueError):
    """A header block cannot be decoded; nor can any that follows it (COMPRESSION_ERROR)."""


def decode_integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
    """Return the integer at `position`, and where it ends.

    Args:
        block: A header block.
        position: Where the byte stands that holds the prefix.
        bits: How many bits the prefix has.

    Raises:
        HPACKError: It is longer than any that makes sense, or cut.
    """
    end = len(block)
    if position >= end:
        raise HPACKError("a header block that ends in the middle of a field")
    most = (1 << bits) - 1
    value = block[position] & most
    position += 1
    if value < most:
        return value, position
    shift = 0
    while position < end:
        byte = block[position]
        position += 1
        value += (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > MAX_SHIFT:
            # Section 5.1: "Integer encodings that exceed implementation limits [...] MUST be
            # treated as decoding errors."
            raise HPACKError("an integer of too many bytes")
    raise HPACKError("a header block that ends in the middle of an integer")


def encode_integer(value: int, bits: int, first: int) -> bytes:
    """Return `value` encoded; `first` is what the first byte holds besides its prefix of `bits`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    encoded = bytearray((first | most,))
    value -= most
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode_string(block: bytes, position: int) -> tuple[bytes, int]:
    """Return the string at `position`, and where it ends.

    Raises:
        HPACKError: It is cut, or its Huffman code is wrong.
    """
    length, start = decode_integer(block, position, 7)
    end = start + length
    if end > len(block):
        raise HPACKError("a header block that ends in the middle of a string")
    text = block[start:end]
    if block[position] & 128:
        try:
            text = huffman_decode(text)
        except HuffmanError as error:
            raise HPACKError(str(error)) from None
    return text, end


def encode_string(text: bytes) -> bytes:
    """Return `text` encoded, by the Huffman code where that is shorter."""
    coded = huffman_encode(text)
    if len(coded) < len(text):
        return encode_integer(len(coded), 7, 128) + coded
    return encode_integer(len(text), 7, 0) + text
