"""Bodies: where the next piece of one ends, for a known length and for chunked.

Decides how bytes become pieces of at most `chunk_size`. It must not know of connections or
delegates: bytes and an offset in, a piece and an offset out.

Both decoders have one method, `feed(data, start, limit)`, which takes from `data` from `start` on
and returns `(piece, end)`: the next piece, at most `limit` bytes and empty where more input is
needed, and where the next call starts. `complete` says that the body has ended at `end`.
"""

from __future__ import annotations

import re
from typing import Final

from edgeserver.errors import HTTPInputError
from edgeserver.http1.head import parse_field
from edgeserver.support.escape import escape
from edgeserver.support.spelling import spelled

__all__ = ["BodyDecoder", "ChunkedDecoder", "LengthDecoder"]

Buffer = bytes | bytearray

MAX_CHUNK_LINE: Final = 4096
"""Most bytes of a chunk-size line, extensions included."""

MAX_TRAILER_LINE: Final = 8192
"""Most bytes of one trailer line."""

MAX_CHUNKS: Final = 64
"""Most chunks taken in one call, so that who reads a flood of tiny ones can look at the time."""

FRAMING_RATIO: Final = 16
FRAMING_ROOM: Final = 64 * 1024
"""Sizes, extensions and line ends may be so many times the content, and so many bytes more."""

# RFC 9112 section 7.1:
#   chunk      = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
#   chunk-size = 1*HEXDIG
# Section 7.1.1: chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
# Possessive, so that no extension can make the pattern try twice.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION = (
    rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*+")
_SMALL_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,3})\r\n")  # a small one, at its plainest


class LengthDecoder:
    """A body of a known length.

    Attributes:
        complete: Whether it has ended.
        remaining: How many bytes are still to come.
    """

    __slots__ = ("complete", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.complete = length == 0

    def feed(self, data: Buffer, start: int, limit: int) -> tuple[bytes, int]:
        """Take the next piece of the body from `data`, from `start` on."""
        end = start + min(self.remaining, limit, len(data) - start)
        self.take(end - start)
        if start == 0 and end == len(data) and type(data) is bytes:
            return data, end
        return bytes(memoryview(data)[start:end]), end

    def take(self, size: int) -> None:
        """Count `size` bytes as read, at most what remains."""
        self.remaining -= size
        if not self.remaining:
            self.complete = True


class ChunkedDecoder:
    """A chunked body; extensions and trailers are checked, bounded and dropped.

    Framing is bounded by the content that it carries: one-byte chunks with a size each pass,
    what is made to be mostly extensions does not.

    Args:
        max_size: Most bytes of the body; read anew for each chunk.
        max_trailer_bytes: Most bytes of the trailer section.
        max_trailer_fields: Most lines of it.

    Attributes:
        complete: Whether it has ended.
    """

    __slots__ = (
        "_framing",
        "_in_data",
        "_in_trailers",
        "_max_trailer_bytes",
        "_max_trailer_fields",
        "_remaining",
        "_size",
        "_trailer_bytes",
        "_trailer_fields",
        "complete",
        "max_size",
    )

    def __init__(self, max_size: int, max_trailer_bytes: int, max_trailer_fields: int) -> None:
        self.complete = False
        self.max_size = max_size
        self._max_trailer_bytes = max_trailer_bytes
        self._max_trailer_fields = max_trailer_fields
        self._size = 0
        self._framing = 0
        self._remaining = 0
        self._in_data = False
        self._in_trailers = False
        self._trailer_bytes = 0
        self._trailer_fields = 0

    def feed(self, data: Buffer, start: int, limit: int) -> tuple[bytes, int]:
        """Take the next piece from `data`, from `start` on; consecutive chunks are joined.

        Raises:
            HTTPInputError: The body breaks its framing, or is larger than allowed.
        """
        pieces: list[memoryview] = []
        taken = chunks = 0
        position = start
        with memoryview(data) as view:
            while taken < limit and chunks < MAX_CHUNKS:
                if self._in_data:
                    if self._remaining:
                        end = position + min(self._remaining, limit - taken, len(data) - position)
                        if end == position:
                            break
                        pieces.append(view[position:end])
                        taken += end - position
                        self._remaining -= end - position
                        position = end
                        continue
                    after = self._end_chunk(data, position)
                elif self._in_trailers:
                    after = self._read_trailer(data, position)
                else:
                    chunks += 1
                    small = _SMALL_CHUNK.match(data, position)
                    if small is not None:
                        begin = small.end()
                        end = begin + int(small[1], 16)
                        if (
                            begin < end <= begin + limit - taken
                            and data[end : end + 2] == b"\r\n"
                            and self._count_small(begin - position, end - begin)
                        ):
                            pieces.append(view[begin:end])
                            taken += end - begin
                            position = end + 2
                            continue
                    after = self._begin_chunk(data, position)
                if after == position:
                    break
                position = after
                if self.complete:
                    break
            piece = b"".join(pieces)
            for part in pieces:
                part.release()
        return piece, position

    def _count_small(self, line: int, size: int) -> bool:
        """Count a chunk that has come whole, or leave it to `_begin_chunk` to say what is wrong."""
        framing = self._framing + line
        if framing > FRAMING_RATIO * self._size + FRAMING_ROOM or self._size + size > self.max_size:
            return False
        self._framing = framing + 2
        self._size += size
        return True

    def _begin_chunk(self, data: Buffer, start: int) -> int:
        line, after = _next_line(data, start, MAX_CHUNK_LINE, "invalid chunk size")
        framing = self._framing + (after if line is not None else len(data)) - start
        if framing > FRAMING_RATIO * self._size + FRAMING_ROOM:
            # RFC 9112 section 7.1.1: "A server ought to limit the total length of chunk extensions
            # received in a request to an amount reasonable for the services provided".
            raise HTTPInputError(
                f"chunk framing too long: {framing} bytes of sizes and extensions are more than"
                f" {FRAMING_RATIO} times the {self._size} bytes of content and {FRAMING_ROOM} more",
                rfc="RFC 9112 section 7.1.1",
            )
        if line is None:
            return start
        self._framing = framing
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise HTTPInputError(
                f"invalid chunk size: '{escape(line)}'", rfc="RFC 9112 section 7.1"
            )
        self._remaining = int(match[1], 16)
        self._size += self._remaining
        if self._size > self.max_size:
            raise HTTPInputError(
                f"chunked body too large: more than {self.max_size} bytes"
                f" ({spelled('max_body_size')})",
                status=413,
                rfc="RFC 9110 section 15.5.14",
            )
        if self._remaining:
            self._in_data = True
        else:
            self._in_trailers = True
        return after

    def _end_chunk(self, data: Buffer, start: int) -> int:
        ending = bytes(data[start : start + 2])
        if ending == b"\r\n":
            self._in_data = False
            self._framing += 2
            return start + 2
        if ending in (b"", b"\r"):
            return start
        raise HTTPInputError(
            "improperly terminated chunk: no CRLF after its data", rfc="RFC 9112 section 7.1"
        )

    def _read_trailer(self, data: Buffer, start: int) -> int:
        # RFC 9112 section 7.1.2: trailer-section = *( field-line CRLF )
        # What is left of the whole section; the empty line that ends it may always come.
        allowed, over = max(self._max_trailer_bytes - self._trailer_bytes, 0), ""
        if allowed < MAX_TRAILER_LINE:
            over = f"more than {self._max_trailer_bytes} bytes ({spelled('max_header_size')})"
        else:
            allowed = MAX_TRAILER_LINE
        line, after = _next_line(data, start, allowed, "chunked trailer section too long", over)
        if line is None:
            return start
        if not line:
            self.complete = True
            return after
        self._trailer_bytes += after - start
        self._trailer_fields += 1
        if self._trailer_fields > self._max_trailer_fields:
            raise HTTPInputError(
                f"more than {self._max_trailer_fields} trailer fields"
                f" ({spelled('max_header_fields')})",
                status=431,
                rfc="RFC 6585 section 5",
            )
        parse_field(line)
        return after


BodyDecoder = LengthDecoder | ChunkedDecoder


def _next_line(
    data: Buffer, start: int, limit: int, what: str, over: str = ""
) -> tuple[bytes | None, int]:
    """Return the line at `start` without its CRLF, or None where its end is not there yet.

    Args:
        data: The input.
        start: Where the line begins.
        limit: Most bytes of it, without its CRLF.
        what: What a complaint begins with.
        over: What is said of a line that is too long, where `limit` is not its own.
    """
    line_feed = data.find(b"\n", start, start + limit + 2)
    if line_feed < 0:
        rest = bytes(data[start : start + limit + 2])
        if len(rest) > limit + 1:
            over = over or f"a line over {limit} bytes"
            raise HTTPInputError(f"{what}: {over}", rfc="RFC 9112 section 7.1")
        carriage_return = rest.find(b"\r")
        if 0 <= carriage_return < len(rest) - 1:
            raise HTTPInputError(f"{what}: a bare CR", rfc="RFC 9112 section 2.2")
        return None, start
    line = bytes(data[start : line_feed - 1]) if line_feed > start else b""
    if line_feed == start or data[line_feed - 1] != 0x0D:
        raise HTTPInputError(f"{what}: a line that ends in a bare LF", rfc="RFC 9112 section 2.2")
    if b"\r" in line:
        raise HTTPInputError(f"{what}: a bare CR", rfc="RFC 9112 section 2.2")
    return line, line_feed + 1
