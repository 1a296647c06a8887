"""The head reader: header blocks to request heads, those that repeat without decoding them.

Decides which blocks may be known: under an unchanged table the very same bytes say the very same.
It must not know of streams.

On one connection most blocks differ in their path alone, and clients never index that. So a block
is looked for as it is, then with the value of its `:path` cut out; only then is it decoded. What is
known is forgotten when the table changes. Heads that differ in their path alone are one object,
whose target is set each time.
"""

from __future__ import annotations

from typing import Final

from edgeserver.errors import HTTPInputError
from edgeserver.http2.errors import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, HTTP2Error
from edgeserver.http2.head import RequestHead, check_trailers, parse_request_list
from edgeserver.http2.hpack.decoder import FIELD_OVERHEAD, Decoder, ListTooLongError
from edgeserver.http2.hpack.huffman import HuffmanError, huffman_decode
from edgeserver.http2.hpack.primitives import HPACKError
from edgeserver.http2.hpack.tables import Field
from edgeserver.http2.limits import MAX_CONTINUATIONS
from edgeserver.support.spelling import spelled

__all__ = ["HeadReader", "PendingBlock"]

MAX_KNOWN: Final = 32
"""Most blocks that a connection knows, whole and cut."""

MAX_KNOWN_BYTES: Final = 512
"""Most bytes of one of them."""

REFERENCES: Final = bytes(range(128, 255))
"""The first bytes of fields that stand in a table, and are that byte."""


class PendingBlock:
    """A header block of which CONTINUATION is still to come.

    Args:
        stream_id: Whose it is.
        content: What HEADERS has of it.
        ends: Whether it ends its stream.

    Attributes:
        stream_id: The same.
        content: What has come of it.
        ends: The same.
    """

    __slots__ = ("_frames", "content", "ends", "stream_id")

    def __init__(self, stream_id: int, content: bytes, *, ends: bool) -> None:
        self.stream_id = stream_id
        self.content = bytearray(content)
        self.ends = ends
        self._frames = 0  # how many CONTINUATION it has

    def add(self, payload: bytes, most: int) -> None:
        """Add what a CONTINUATION has, before anything of it is decoded.

        Raises:
            HTTP2Error: It is more than `most` bytes, or came in too many pieces.
        """
        self.content += payload
        self._frames += 1
        if len(self.content) > most or self._frames > MAX_CONTINUATIONS:
            raise HTTP2Error(
                ENHANCE_YOUR_CALM,
                f"a header block of more than {most} bytes or {MAX_CONTINUATIONS} CONTINUATION",
            )


class HeadReader:
    """The heads of one connection.

    Args:
        max_list_bytes: Most bytes of a head, as RFC 9113 section 6.5.2 counts them.
        max_fields: Most fields of a head.
    """

    __slots__ = ("_blocks", "_decoder", "_generation", "_max_list_bytes", "_templates")

    def __init__(self, *, max_list_bytes: int, max_fields: int) -> None:
        self._decoder = Decoder(max_list_bytes=max_list_bytes, max_fields=max_fields)
        self._max_list_bytes = max_list_bytes
        self._generation = 0  # the table's, when what is known was decoded
        self._blocks: dict[bytes, tuple[RequestHead, str]] = {}  # with its target, by whole block
        # By the block without the value of its path. Not in one dict with those above: a whole
        # block may be the same bytes, and then says something else.
        self._templates: dict[bytes, RequestHead] = {}

    def read(self, block: bytes) -> RequestHead:
        """Return the head that `block` says; what it says holds until the next is read.

        Raises:
            HTTP2Error: It cannot be decoded, or says so much that the table's state is lost.
            HTTPInputError: It is longer than allowed (431).
            StreamError: It is malformed.
        """
        known = self._blocks.get(block)
        if known is not None:
            head = known[0]
            head.target = known[1]
            return head
        key = b""
        size = len(block)
        if size <= MAX_KNOWN_BYTES:
            # Where the string of a `:path` stands that is in no table, after fields that are: a
            # literal that enters none, whose name is that of index 4: 0x04, or never indexed 0x14.
            rest = block.lstrip(REFERENCES)
            if len(rest) > 2 and rest[0] & 0xEF == 4:
                length = rest[1] & 127
                start = size - len(rest) + 2
                end = start + length
                if end <= size and length < 127:
                    key = block[: start - 1] + block[end:]
                    template = self._templates.get(key)
                    if template is not None:
                        path = block[start:end]
                        if rest[1] & 128:
                            path = _decode_path(path)
                        if template.list_bytes + len(path) <= self._max_list_bytes:
                            self._keep(block, template, template.aim(path))
                            return template
        return self._decode(block, key)

    def _keep(self, block: bytes, head: RequestHead, target: str) -> None:
        blocks = self._blocks
        if len(blocks) >= MAX_KNOWN:
            blocks.clear()
        blocks[block] = (head, target)

    def skip(self, block: bytes) -> None:
        """Decode `block` for the table's sake alone.

        Raises:
            HTTP2Error: It cannot be decoded, or says so much that the table's state is lost.
        """
        self._list(block)
        self._forget_if_changed()

    def read_trailers(self, block: bytes) -> None:
        """Accept `block` as the trailer section of a request.

        Raises:
            HTTP2Error: It cannot be decoded, or says so much that the table's state is lost.
            HTTPInputError: It is longer than allowed (431).
            StreamError: It is malformed.
        """
        listed = self._list(block)
        self._forget_if_changed()
        if self._decoder.too_long:
            raise _too_long()
        check_trailers(listed)

    def _decode(self, block: bytes, key: bytes) -> RequestHead:
        decoder = self._decoder
        listed = self._list(block)
        changed = self._forget_if_changed()
        if decoder.too_long:
            raise _too_long()
        head = parse_request_list(listed)
        if not changed and len(block) <= MAX_KNOWN_BYTES:
            if key:
                size = sum([len(name) + len(value) + FIELD_OVERHEAD for name, value in listed])
                head.list_bytes = size - len(head.target)
                if len(self._templates) >= MAX_KNOWN:
                    self._templates.clear()
                self._templates[key] = head
            self._keep(block, head, head.target)
        return head

    def _list(self, block: bytes) -> list[Field]:
        """Return the fields that `block` says.

        Raises:
            HTTP2Error: It cannot be decoded, or says so much that the table's state is lost.
        """
        try:
            return self._decoder.decode(block)
        except HPACKError as error:
            raise HTTP2Error(COMPRESSION_ERROR, str(error), "RFC 9113 section 4.3") from None
        except ListTooLongError:
            raise HTTP2Error(
                ENHANCE_YOUR_CALM, f"a header list of more than twice {spelled('max_header_size')}"
            ) from None

    def _forget_if_changed(self) -> bool:
        if self._decoder.generation == self._generation:
            return False
        self._generation = self._decoder.generation
        self._blocks.clear()
        self._templates.clear()
        return True


def _decode_path(text: bytes) -> bytes:
    try:
        return huffman_decode(text)
    except HuffmanError as error:
        raise HTTP2Error(COMPRESSION_ERROR, str(error), "RFC 9113 section 4.3") from None


def _too_long() -> HTTPInputError:
    return HTTPInputError(
        "Request header fields too large"
        f" ({spelled('max_header_size')}, {spelled('max_header_fields')})",
        status=431,
        rfc="RFC 6585 section 5",
    )
