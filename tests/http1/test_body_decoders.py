"""The decoders of bodies, alone: bytes and an offset in, a piece and an offset out."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.errors import HTTPInputError
from edgeserver.http1.body_decoders import (
    FRAMING_ROOM,
    MAX_CHUNK_LINE,
    MAX_CHUNKS,
    MAX_TRAILER_LINE,
    BodyDecoder,
    ChunkedDecoder,
    LengthDecoder,
)


def decoder(max_size: int = 10**6, trailer_bytes: int = 10_000, fields: int = 5) -> ChunkedDecoder:
    """Return a chunked decoder with small limits."""
    return ChunkedDecoder(max_size, trailer_bytes, fields)


def decode(decoder: BodyDecoder, segments: list[bytes], limit: int = 10**6) -> tuple[bytes, bytes]:
    """Feed `segments` as a connection does; return the body, and what follows it."""
    body = b""
    data = b""
    for segment in segments:
        data += segment
        position = 0
        while not decoder.complete:
            piece, after = decoder.feed(bytearray(data), position, limit)
            assert len(piece) <= limit
            body += piece
            if after == position:
                break
            position = after
        data = data[position:]
    return body, data


def test_length_takes_no_more_than_is_there() -> None:
    """A known length ends at its byte, whatever follows."""
    body = LengthDecoder(5)
    assert body.feed(b"abc", 0, 10) == (b"abc", 3)
    assert body.feed(b"", 0, 10) == (b"", 0)
    assert not body.complete
    assert body.feed(b"..defg", 2, 10) == (b"de", 4)
    assert body.complete
    assert LengthDecoder(0).complete


def test_length_does_not_copy_a_whole_segment() -> None:
    """A segment that is nothing but body is passed on as it is."""
    segment = b"x" * 100
    assert LengthDecoder(1000).feed(segment, 0, 100)[0] is segment


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_chunked_in_any_segments(size: int, limit: int) -> None:
    """Segments and limits change nothing in what comes out, nor where it ends."""
    data = b"3;x=y\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\nGET"
    segments = [data[i : i + size] for i in range(0, len(data), size)]
    body, rest = decode(decoder(), segments, limit)
    assert body == b"abc0123456789"
    assert rest == b"GET"


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    limit=st.integers(1, 50),
    extension=st.sampled_from([b"", b";a", b' ; a = "b;\\"c" ;d', b";a=b;c=d"]),
    upper=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_chunked_round_trip(
    chunks: list[bytes], cuts: list[int], limit: int, extension: bytes, upper: bool
) -> None:
    """Whatever the chunks, the cuts and the extensions, the body is the same."""
    size = (b"%X" if upper else b"%x").__mod__
    data = b"".join(size(len(c)) + extension + b"\r\n" + c + b"\r\n" for c in chunks)
    data += b"0\r\n\r\nrest"
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    segments = [data[a:b] for a, b in itertools.pairwise(ends)]
    assert decode(decoder(), segments, limit) == (b"".join(chunks), b"rest")


def refused(data: bytes, **limits: int) -> HTTPInputError:
    """Return the refusal of `data`, the same whole and byte by byte."""
    with pytest.raises(HTTPInputError) as whole:
        decode(decoder(**limits), [data])
    with pytest.raises(HTTPInputError) as bytewise:
        decode(decoder(**limits), [data[i : i + 1] for i in range(len(data))])
    assert whole.value.status == bytewise.value.status
    return whole.value


def test_the_length_of_a_chunk_line() -> None:
    """A line of a chunk is at most so long, and refused without waiting for its end."""
    line = b"1;" + b"a" * (MAX_CHUNK_LINE - 2)
    assert decode(decoder(), [line + b"\r\nx\r\n0\r\n\r\n"]) == (b"x", b"")
    error = refused(line + b"aa")
    assert f"a line over {MAX_CHUNK_LINE} bytes" in str(error)
    assert "a line over" in str(refused(b"1" * (MAX_CHUNK_LINE + 2)))


def test_the_length_of_a_trailer_line() -> None:
    """A trailer line is at most so long."""
    line = b"X:" + b"a" * (MAX_TRAILER_LINE - 2)
    end = b"\r\n\r\n"
    assert decode(decoder(), [b"0\r\n" + line + end]) == (b"", b"")
    assert "a line over" in str(refused(b"0\r\n" + line + b"a" + end))


@pytest.mark.parametrize("allowed", [2010, 2100], ids=["used-up", "almost"])
def test_the_length_of_the_trailer_section(allowed: int) -> None:
    """Where the whole section is too long, its limit is named and not what was left of it."""
    line = b"X: " + b"a" * 1000 + b"\r\n"
    assert decode(decoder(trailer_bytes=allowed), [b"0\r\n" + line * 2 + b"\r\n"]) == (b"", b"")
    error = refused(b"0\r\n" + line * 3, trailer_bytes=allowed)
    assert str(error) == (
        f"chunked trailer section too long: more than {allowed} bytes (max_header_size)"
    )


def test_the_number_of_trailers() -> None:
    """There may be as many trailers as fields."""
    assert decode(decoder(), [b"0\r\n" + b"X: y\r\n" * 5 + b"\r\n"]) == (b"", b"")
    assert refused(b"0\r\n" + b"X: y\r\n" * 6).status == 431


@pytest.mark.parametrize("size", [5, 6])
def test_the_size_of_a_chunked_body(size: int) -> None:
    """The sum of the chunks is bounded, before the data of the last one comes."""
    data = b"3\r\nabc\r\n%x\r\n" % (size - 3)
    if size == 5:
        assert decode(decoder(max_size=5), [data]) == (b"abc", b"")
    else:
        assert refused(data, max_size=5).status == 413


def test_a_flood_of_tiny_chunks_is_taken_in_turns() -> None:
    """At most so many chunks are joined in one call, so that the caller can yield."""
    data = b"1\r\nx\r\n" * (MAX_CHUNKS + 10)
    piece, after = decoder().feed(data, 0, 10**6)
    assert len(piece) == MAX_CHUNKS
    assert after <= MAX_CHUNKS * 6


@pytest.mark.parametrize(
    "line",
    [b'1;a="' + b"\\a" * 2000, b"1" + b";a=b" * 1000, b"1" + b" ;" * 2000, b'1;a="' + b'"' * 4000],
    ids=["quoted-pairs", "extensions", "separators", "quotes"],
)
def test_chunk_extensions_cost_no_backtracking(line: bytes) -> None:
    """A line made to be matched in many ways is decided in one pass: this test ends."""
    for _ in range(50):
        with suppress(HTTPInputError):
            decode(decoder(), [line + b"\r\n"])


# Framing.


@pytest.mark.parametrize("segment", [13, 1000, 10**7])
@pytest.mark.parametrize(
    ("chunk", "passes"),
    [
        (b"1\r\na\r\n", True),
        (b"1;a=b\r\na\r\n", True),
        (b"00000001\r\na\r\n", True),
        (b"000000000001\r\na\r\n", True),  # 16 bytes of framing for one of content
        (b"1;extension=" + b"b" * 20 + b"\r\na\r\n", False),
        (b"1" + b";a" * 20 + b"\r\na\r\n", False),
        (b"1;a=" + b"b" * 1000 + b"\r\na\r\n", False),
        (b"a;a=" + b"b" * 100 + b"\r\n0123456789\r\n", True),
        (b"10000;chunk-signature=" + b"f" * 64 + b"\r\n" + b"x" * 65536 + b"\r\n", True),
    ],
    ids=[
        "tiny", "extension", "zeros", "at-the-ratio", "over-the-ratio", "extensions", "long",
        "ten", "signed",
    ],
)  # fmt: skip
def test_framing_is_bounded_by_the_content(chunk: bytes, passes: bool, segment: int) -> None:
    """More than 16 times the content and 64 KiB is refused, wherever the input is cut."""
    data = chunk * (150_000 // len(chunk) + 1)
    segments = [data[i : i + segment] for i in range(0, len(data), segment)]
    if passes:
        decode(decoder(max_size=10**8), [*segments, b"0\r\n\r\n"])
        return
    with pytest.raises(HTTPInputError, match="more than 16 times the") as raised:
        decode(decoder(max_size=10**8), segments)
    assert raised.value.status == 400
    assert raised.value.rfc == "RFC 9112 section 7.1.1"


def test_an_extension_that_never_ends_is_refused_in_time() -> None:
    """The room for framing is over in the middle of a line, too."""
    body = decoder()
    data = (b"1;a=" + b"b" * 4000 + b"\r\na\r\n") * (FRAMING_ROOM // 4009)
    position = 0
    while position < len(data):
        _, position = body.feed(data, position, 10**6)
    rest = b"1;a=" + b"b" * 4000
    assert len(data) + len(rest) > FRAMING_ROOM + 17 * (FRAMING_ROOM // 4009)
    with pytest.raises(HTTPInputError, match="chunk framing too long"):
        body.feed(rest, 0, 10**6)
