"""The request reader: finds request heads in what a connection has received.

Decides what is kept of the input, where a head ends in it, and when a head is refused before it is
complete, and whether the transport gives more. It must not know delegates, nor an event loop.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, Protocol

from edgeserver.errors import HTTPInputError
from edgeserver.http1.head import Fields, Head, check_partial_head, parse_head, parse_lines
from edgeserver.http1.head_cache import HeadCache
from edgeserver.http1.shared import HTTP1Shared
from edgeserver.support.preludes import LONGEST_START, is_v2_part, prelude_version
from edgeserver.support.spelling import spelled

__all__ = ["HELD_INPUT", "FieldsKeeper", "RequestReader"]

HELD_INPUT: Final = 64 * 1024
"""Bytes of input kept while nobody takes them; beyond that reading pauses."""


class FieldsKeeper(Protocol):
    """Who decides on the fields of a head only once where the next one repeats them."""

    def fields_kept(self, fields: Fields | None) -> None:
        """Called when other fields are kept for the next head; with None where none are."""
        ...


class RequestReader:
    """The input of one connection, and the heads in it.

    Args:
        shared: What all connections share.

    Attributes:
        buffer: What has come and has not been let go.
        position: Up to where it has been taken.
        checked: Up to where a head that is not complete holds no byte that breaks a rule; not
            behind `position` where nothing of it was seen yet.
        paused: Whether the transport is not to give more.
        begun: Whether a head has come; before that it may turn out that something else is spoken.
    """

    __slots__ = (
        "_cache",
        "_keep_after",
        "_shared",
        "_skipped",
        "begun",
        "buffer",
        "checked",
        "paused",
        "position",
    )

    def __init__(self, shared: HTTP1Shared) -> None:
        self._shared = shared
        self.buffer: bytes | bytearray = b""
        self.position = 0
        self.checked = 0
        self.paused = False
        self.begun = False
        self._skipped = False  # whether an empty line before the present head was ignored
        self._keep_after = 1  # a client that asks only once leaves nothing behind
        self._cache: HeadCache | None = None  # from the second request on

    # Input.

    def keep(self, data: bytes) -> None:
        """Keep what has come behind what is kept already."""
        buffer = self.buffer
        if not buffer:
            self.buffer = data
            self.position = self.checked = 0
            return
        if type(buffer) is bytearray:
            if self.position:
                del buffer[: self.position]
        else:
            buffer = self.buffer = bytearray(memoryview(buffer)[self.position :])
        self.checked = max(self.checked - self.position, 0)
        self.position = 0
        buffer += data

    def drop(self) -> None:
        """Keep nothing."""
        self.buffer = b""
        self.position = 0

    @property
    def untaken(self) -> int:
        """How many bytes are kept that have not been taken."""
        return len(self.buffer) - self.position

    @property
    def has_too_much(self) -> bool:
        """Whether so much has not been taken that no more should come."""
        return len(self.buffer) - self.position > HELD_INPUT

    def pause(self, transport: asyncio.Transport | None) -> None:
        """Have `transport` give no more for now; once it is gone it does not anyway."""
        if not self.paused and transport is not None:
            self.paused = True
            transport.pause_reading()

    def resume(self, transport: asyncio.Transport | None) -> None:
        """Have `transport` give more, if it was told to pause."""
        if self.paused and transport is not None:
            self.paused = False
            transport.resume_reading()

    def rest(self) -> bytes:
        """Return what is kept and has not been taken."""
        return bytes(memoryview(self.buffer)[self.position :])

    # Heads.

    def read_segment(self, data: bytes, keeper: FieldsKeeper) -> Head | None:
        """Return the head that a segment is, if it is one head and nothing else, as nearly all are.

        It takes the same steps as `next_head`, without looking for what cannot be there.

        Args:
            data: What has come; nothing else is kept, and nobody is at work on another request.
            keeper: Who is told which fields are kept.

        Returns:
            The head; None where the segment is to be kept, and looked at by `next_head`.
        """
        if len(data) > self._shared.small_head:
            return None
        cache = self._cache
        passing = self._keep_after
        if not passing and cache is not None and data.endswith(cache.tail):
            repeating = cache.read(data)
            if repeating is not None:
                self._skipped = False
                return repeating
        if not data or data[-1] != 0x0A:
            return None
        if passing:
            self._keep_after = passing - 1
        lines = data.split(b"\r\n")
        if not lines[0] or lines[-1] or lines[-2]:
            return None
        del lines[-2:]
        try:
            head = parse_lines(lines, self._shared.max_fields)
        except HTTPInputError:
            return None  # `next_head` says what is wrong, if anything: it may be a head and a body
        self._skipped = False
        if passing:
            self.begun = True
        else:
            self._keep_fields(data, head, keeper)
        return head

    def next_head(self) -> Head | None:
        """Take the next head from what is kept; None where it is not complete.

        Raises:
            HTTPInputError: It breaks a rule, or can no longer become one that does not.
        """
        buffer = self.buffer
        start = self.position
        if start >= len(buffer):
            return None
        if buffer[start] == 0x0D:
            if not self._skipped and buffer.startswith(b"\r\n", start):
                # RFC 9112 section 2.2: "a server that is expecting to receive and parse a
                # request-line SHOULD ignore at least one empty line (CRLF) received prior".
                self._skipped = True
                self.position = start = start + 2
                if start >= len(buffer):
                    return None
            if not self.begun and is_v2_part(self._first_bytes()):
                return None  # whether it is a PROXY header is told by what follows
        end = buffer.find(b"\r\n\r\n", max(start, self.checked - 4))
        limit = self._shared.service.limits.max_header_size
        if (end if end >= 0 else len(buffer)) - start > limit:
            self._check_long(start, limit)
        if end < 0:
            self.checked = check_partial_head(buffer, start, max(start, self.checked))
            return None
        raw = buffer[start:end]
        head = parse_head(raw if type(raw) is bytes else bytes(raw), self._shared.max_fields)
        self.position = end + 4
        self._skipped = False
        self.begun = True
        return head

    def prelude(self) -> Literal["v1", "v2"] | None:
        """Return the version of the PROXY header that a connection began with, or None."""
        if self.begun:
            return None
        first = self._first_bytes()
        return prelude_version(first) or prelude_version(first[2:] if self._skipped else first)

    def _first_bytes(self) -> bytes:
        """Return how the next head begins, with the empty line before it that was ignored."""
        first = bytes(self.buffer[self.position : self.position + LONGEST_START])
        return b"\r\n" + first if self._skipped else first

    def _check_long(self, start: int, limit: int) -> None:
        """Refuse a head over the limit, unless it may still end right at it.

        Raises:
            HTTPInputError: It is too long (431), or its request line is (414); or had it come byte
                by byte, another rule would have been broken before.
        """
        buffer = self.buffer
        tail = bytes(buffer[start + limit : start + limit + 4])
        while not b"\r\n\r\n".startswith(tail):
            tail = tail[:-1]
        within = start + limit + len(tail)
        if within == len(buffer):
            return
        check_partial_head(buffer[:within], start, max(start, self.checked))
        if buffer.find(b"\r\n", start, within) < 0:
            # RFC 9112 section 3: "A server that receives a request-target longer than any URI it
            # wishes to parse MUST respond with a 414 (URI Too Long) status code".
            raise HTTPInputError(
                f"request line over {limit} bytes ({spelled('max_header_size')})",
                status=414,
                rfc="RFC 9112 section 3",
            )
        raise HTTPInputError(
            f"request head over {limit} bytes ({spelled('max_header_size')})",
            status=431,
            rfc="RFC 6585 section 5",
        )

    # What is kept of a head.

    @property
    def kept_fields(self) -> Fields | None:
        """The fields of the last head, kept for a next one that repeats them; or None."""
        return None if self._cache is None else self._cache.fields

    def forget_fields(self) -> None:
        """Keep nothing of the last head."""
        if self._cache is not None:
            self._cache.forget()

    def _keep_fields(self, data: bytes, head: Head, keeper: FieldsKeeper) -> None:
        cache = self._cache
        if cache is None:
            cache = self._cache = HeadCache()
            self.begun = True
        self._keep_after = cache.replace(data, head)
        keeper.fields_kept(cache.fields)
