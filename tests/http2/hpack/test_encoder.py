"""The HPACK encoder, read back by the `hpack` library."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.http2.hpack.encoder import INDEXED_NAMES, Encoder, encode_literal, encode_status
from edgeserver.http2.hpack.tables import Field


def encode(encoder: Encoder, fields: list[Field]) -> bytes:
    """Return a block of `fields`, each in the way that its name asks for."""
    parts = [encoder.begin()]
    for name, value in fields:
        known = name in INDEXED_NAMES
        parts.append(encoder.encode((name, value)) if known else encode_literal(name, value))
    return b"".join(parts)


def read(decoder: hpack.Decoder, block: bytes) -> list[Field]:
    """Return what the library reads in `block`."""
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


NAMES = st.sampled_from([b"vary", b"server", b"content-type", b"x-a", b"set-cookie", b"etag"])
FIELDS = st.tuples(NAMES, st.binary(max_size=30) | st.just(b"v" * 150))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(FIELDS, max_size=8), max_size=4),
    st.lists(st.sampled_from([0, 100, 250, 65536]), max_size=4),
)
def test_the_library_reads_it_back(lists: list[list[Field]], sizes: list[int]) -> None:
    """Whatever repeats, whatever the peer allows its table, from one block to the next."""
    encoder, decoder = Encoder(), hpack.Decoder(max_header_list_size=10**6)
    for number, fields in enumerate(lists):
        if number < len(sizes):
            encoder.limit_table(sizes[number])
            decoder.max_allowed_table_size = max(sizes[number], 4096)
        assert read(decoder, encode(encoder, fields)) == fields
        written = dict(encoder.written)
        assert written == {field: encoder.encode(field) for field in written}


def test_what_is_remembered_is_bounded() -> None:
    """Values that never come again, as long as they like, are not kept in any number."""
    encoder = Encoder()
    for size in (20, 200, 2000):
        encode(encoder, [(b"vary", b"%0*d" % (size, number)) for number in range(300)])
    kept = sum(len(name) + len(value) for name, value in encoder.written)
    assert len(encoder.written) <= 64
    assert kept < 64 * 256


def test_what_repeats_takes_one_byte() -> None:
    """A field of one of the names is in the table the second time."""
    encoder = Encoder()
    field = (b"content-type", b"text/html; charset=utf-8")
    assert len(encode(encoder, [field])) > 10
    assert len(encode(encoder, [field])) == 1


def test_the_table_never_overflows() -> None:
    """When it is full no more fields enter, and none leaves."""
    encoder, decoder = Encoder(), hpack.Decoder(max_header_list_size=10**6)
    fields = [(b"vary", b"%0100d" % number) for number in range(60)]
    for _ in range(2):
        assert read(decoder, encode(encoder, fields)) == fields
    assert len(encode(encoder, fields[:1])) == 1
    assert len(encode(encoder, fields[-1:])) > 1


def test_a_peer_that_wants_no_table_is_told_so() -> None:
    """Its table's size is said once, at the next block's beginning."""
    encoder = Encoder()
    assert encoder.begin() == b""
    encoder.limit_table(0)
    assert encoder.begin() == b"\x20\x20"
    assert encoder.begin() == b""
    encoder.encode((b"vary", b"a"))
    assert len(encoder.encode((b"vary", b"a"))) > 1


@pytest.mark.parametrize("name", [b"set-cookie", b"authorization", b"proxy-authenticate"])
def test_secrets_are_never_indexed(name: bytes) -> None:
    """A hop is told to keep them in no table."""
    assert encode_literal(name, b"s")[0] & 0xF0 == 0x10


@pytest.mark.parametrize("code", [200, 206, 418, 599])
def test_statuses(code: int) -> None:
    """Those of the static table are one byte, the others are read back."""
    block = encode_status(code)
    assert read(hpack.Decoder(), block) == [(b":status", b"%d" % code)]
