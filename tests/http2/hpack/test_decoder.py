"""The HPACK decoder, against RFC 7541's examples and the `hpack` library."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.http2.hpack.decoder import Decoder, ListTooLongError
from edgeserver.http2.hpack.primitives import HPACKError
from edgeserver.http2.hpack.tables import Field


def new_decoder(list_bytes: int = 65536, fields: int = 256, table: int = 4096) -> Decoder:
    """Return a decoder with plain limits."""
    return Decoder(max_list_bytes=list_bytes, max_fields=fields, max_table_bytes=table)


REQUEST: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"www.example.com"),
]
SECOND = [*REQUEST, (b"cache-control", b"no-cache")]
THIRD = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
REDIRECT = [
    (b":status", b"302"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"location", b"https://www.example.com"),
]
SEVENTH = [(b":status", b"307"), *REDIRECT[1:]]
COOKIE = [
    (b":status", b"200"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
    (b"location", b"https://www.example.com"),
    (b"content-encoding", b"gzip"),
    (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
]


@pytest.mark.parametrize(
    ("table", "blocks", "lists"),
    [
        pytest.param(
            4096,
            ["400a637573746f6d2d6b65790d637573746f6d2d686561646572"],
            [[(b"custom-key", b"custom-header")]],
            id="C.2.1",
        ),
        pytest.param(
            4096, ["040c2f73616d706c652f70617468"], [[(b":path", b"/sample/path")]], id="C.2.2"
        ),
        pytest.param(
            4096, ["100870617373776f726406736563726574"], [[(b"password", b"secret")]], id="C.2.3"
        ),
        pytest.param(4096, ["82"], [[(b":method", b"GET")]], id="C.2.4"),
        pytest.param(
            4096,
            [
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ],
            [REQUEST, SECOND, THIRD],
            id="C.3",
        ),
        pytest.param(
            4096,
            [
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ],
            [REQUEST, SECOND, THIRD],
            id="C.4",
        ),
        pytest.param(
            256,
            [
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a3231"
                "20474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                "4803333037c1c0bf",
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a697077"
                "38666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d616765"
                "3d333630303b2076657273696f6e3d31",
            ],
            [REDIRECT, SEVENTH, COOKIE],
            id="C.5, with evictions",
        ),
        pytest.param(
            256,
            [
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad17"
                "1863c78f0b97c8e9ae82ae43d3",
                "4883640effc1c0bf",
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6"
                "c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ],
            [REDIRECT, SEVENTH, COOKIE],
            id="C.6, with evictions",
        ),
    ],
)
def test_the_examples_of_the_rfc(table: int, blocks: list[str], lists: list[list[Field]]) -> None:
    """Appendix C of RFC 7541, in order, on one table for each section."""
    decoder = new_decoder(table=table)
    assert [decoder.decode(bytes.fromhex(block)) for block in blocks] == lists


NAMES = st.sampled_from([b":path", b"cookie", b"x-a", b"accept", b"authorization", b"x" * 30])
FIELDS = st.tuples(NAMES, st.binary(max_size=30) | st.just(b"v" * 120))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(FIELDS, max_size=8), max_size=4), st.sampled_from([4096, 150, 0]))
def test_what_the_library_encodes(lists: list[list[Field]], size: int) -> None:
    """Blocks of the `hpack` library, tables of any size, say what they were made of."""
    encoder, decoder = hpack.Encoder(), new_decoder()
    for number, fields in enumerate(lists):
        if number == 1:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields)) == fields
        assert not decoder.too_long


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_the_library_reads_them(block: bytes) -> None:
    """Either both refuse a block, or both read the same; a table stays as large as it may."""
    decoder, model = new_decoder(), hpack.Decoder(max_header_list_size=65536)
    try:
        expected = [(bytes(name), bytes(value)) for name, value in model.decode(block, raw=True)]
    except hpack.HPACKError:
        with pytest.raises(HPACKError):
            decoder.decode(block)
    else:
        assert decoder.decode(block) == expected


@pytest.mark.parametrize(
    ("block", "why"),
    [
        pytest.param("80", "index 0", id="index 0"),
        pytest.param("be", "not in the table", id="an index beyond the table"),
        pytest.param("ff", "middle of an integer", id="half an integer"),
        pytest.param("ffffffffffffff7f", "too many bytes", id="an endless integer"),
        pytest.param("40", "middle of a field", id="half a field"),
        pytest.param("4003", "middle of a string", id="half a string"),
        pytest.param("0082ffff", "padding", id="a wrong Huffman code"),
        pytest.param("3fe21f", "larger than the settings", id="a table too large"),
        pytest.param("823f00", "after a field", id="a size after a field"),
    ],
)
def test_broken_blocks(block: str, why: str) -> None:
    """Each rule has its complaint."""
    with pytest.raises(HPACKError, match=why):
        new_decoder().decode(bytes.fromhex(block))


@pytest.mark.parametrize(
    ("size", "fields", "count", "too_long"),
    [
        pytest.param(200, 9, 2, False, id="short"),
        pytest.param(200, 9, 5, True, id="too many bytes"),
        pytest.param(2000, 4, 5, True, id="too many fields"),
    ],
)
def test_a_long_list_leaves_the_table_whole(
    size: int, fields: int, count: int, too_long: bool
) -> None:
    """It is not kept, but the next block is read as the peer means it."""
    encoder, decoder = hpack.Encoder(), new_decoder(size, fields)
    block = encoder.encode([(b"x-%d" % number, b"0123456789") for number in range(count)])
    decoder.decode(block)
    assert decoder.too_long is too_long
    last = [(b"x-%d" % (count - 1), b"0123456789")]
    assert decoder.decode(encoder.encode(last)) == last
    assert not decoder.too_long


@pytest.mark.parametrize("limits", [(5000, 256), (10**9, 20)], ids=["bytes", "fields"])
def test_a_bomb_costs_no_more_than_the_limit(limits: tuple[int, int]) -> None:
    """References of one byte to a field of 4 KiB end at twice what is allowed."""
    decoder = new_decoder(*limits)
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000)
    with pytest.raises(ListTooLongError):
        decoder.decode(b"\xbe" * 16000)


def test_the_generation_says_that_the_table_has_changed() -> None:
    """It stays with blocks that leave the table alone."""
    decoder = new_decoder()
    decoder.decode(bytes.fromhex("828684"))
    before = decoder.generation
    decoder.decode(bytes.fromhex("040c2f73616d706c652f70617468"))
    assert decoder.generation == before
    decoder.decode(bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572"))
    changed = decoder.generation
    decoder.decode(b"\x20")
    assert before < changed < decoder.generation
