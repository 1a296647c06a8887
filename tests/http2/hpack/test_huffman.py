"""The Huffman code of HPACK."""

from __future__ import annotations

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
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
