"""The Huffman code of HPACK."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.http2.hpack.huffman import HuffmanError, huffman_decode, huffman_encode


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_what_is_encoded_is_read_back(data: bytes) -> None:
    """Any string comes back, and the encoding is the library's."""
    encoded = huffman_encode(data)
    assert encoded == HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(data)
    assert huffman_decode(encoded) == data


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        pytest.param(b"\xff\xff\xff\xff", "EOS", id="EOS"),
        pytest.param(b"\x1f\xff", "padding", id="padding of more than seven bits"),
        pytest.param(b"\x00", "padding", id="padding of zeros"),
        pytest.param(b"\xff", "padding", id="nothing but eight bits of padding"),
        pytest.param(b"\x1f\xff\xff\xff\xf8", "EOS|padding", id="EOS after a symbol"),
    ],
)
def test_wrong_bits(bits: bytes, why: str) -> None:
    """A string that no encoder may make is an error."""
    with pytest.raises(HuffmanError, match=why):
        huffman_decode(bits)


def _verdict(decode: Callable[[bytes], bytes], data: bytes) -> bytes | None:
    """Return the string; None where it is refused."""
    try:
        return decode(data)
    except (HuffmanError, HPACKDecodingError):
        return None


FREQUENT = b"abcdefghijklmnopqrstuvwxyz0123456789/?=&-_.%"
"""Symbols of few bits, as nearly all strings have them."""


def _strings(kind: str, count: int) -> Iterator[bytes]:
    """Yield strings of bits: whole ones, ones with one bit wrong, cut, padded, or any."""
    chance = random.Random(kind)
    for _ in range(count):
        symbols = FREQUENT if chance.random() < 0.8 else bytes(range(256))
        coded = bytearray(huffman_encode(bytes(chance.choices(symbols, k=chance.randrange(60)))))
        if kind == "flipped" and coded:
            coded[chance.randrange(-min(3, len(coded)), 0)] ^= 1 << chance.randrange(8)
        elif kind == "cut" and coded:
            del coded[chance.randrange(len(coded)) :]
        elif kind == "padded":
            coded += b"\xff" * chance.randrange(1, 5)
        elif kind == "any":
            coded = bytearray(chance.randbytes(chance.randrange(40)))
        yield bytes(coded)


@pytest.mark.parametrize("kind", ["whole", "flipped", "cut", "padded", "any"])
def test_verdicts_are_the_libraries(kind: str) -> None:
    """Whatever the bits, the string is the library's, and refused where it refuses it."""
    strings = [*_strings(kind, 1500)]
    assert [_verdict(huffman_decode, each) for each in strings] == [
        _verdict(decode_huffman, each) for each in strings
    ]


@pytest.mark.parametrize("lead", [0, 1, 9, 10, 11, 40], ids="after {} times 3 bytes".format)
def test_each_last_byte(lead: int) -> None:
    """Behind short and long strings of whole bytes, every last byte has the library's verdict."""
    start = huffman_encode(b"8" * 4 * lead)
    strings = [start + bytes((ending,)) for ending in range(256)]
    assert [_verdict(huffman_decode, each) for each in strings] == [
        _verdict(decode_huffman, each) for each in strings
    ]
