"""permessage-deflate whose messages may be only so many times what they are on the wire.

Decides how far a frame is inflated, and when a connection has inflated too much. It must not know
what becomes of a message: the sans-IO layer closes with 1009 on what is raised here.

Source: RFC 7692 section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from websockets.exceptions import PayloadTooBig
from websockets.extensions import Extension, ServerExtensionFactory
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.typing import ExtensionParameter

from edgeserver.support.spelling import spelled

__all__ = ["RATIO", "RATIO_FLOOR", "BoundedDeflateFactory"]

RATIO: Final = 100
"""Bytes that a byte on the wire may become, in the long run.

Text and JSON become 5 to 20, logs that repeat themselves 50; deflate itself can do 1032.
"""

RATIO_FLOOR: Final = 256 * 1024
"""Bytes beyond that, which come back as honest bytes come: an empty picture is no attack.

It is what a connection may hold for its application anyway.
"""


class _TooLarge(PayloadTooBig):
    """A frame that would become too large; the words are the reason in the Close frame."""

    def __init__(self, words: str) -> None:
        Exception.__init__(self, words)
        self._words = words

    def __str__(self) -> str:
        return self._words

    def set_current_size(self, current_size: int | None) -> None:
        """Ignore what came before: the words say all."""


class _BoundedDeflate(Extension):
    """One connection's permessage-deflate, with an account of what was inflated.

    The account is the connection's, not a message's: a bomb in a thousand messages is one too.
    """

    def __init__(self, inner: Extension) -> None:
        self.name = inner.name
        self._inner = inner
        # How many more bytes it may become than what is on the wire pays for.
        self._credit_bytes = RATIO_FLOOR

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Inflate a frame, never further than the message and the account allow.

        Raises:
            PayloadTooBig: It would be larger.
        """
        credit = self._credit_bytes + RATIO * len(frame.data)
        most = credit if max_size is None else min(credit, max_size)
        decoded = self._inflate(frame, most)
        if decoded is None:
            if most < credit:
                raise _TooLarge(f"message over the limit of its size ({spelled('ws_max_size')})")
            raise _TooLarge(f"decompressed to over {RATIO} times its size on the wire")
        self._credit_bytes = min(credit - len(decoded.data), RATIO_FLOOR)
        return decoded

    def _inflate(self, frame: Frame, most: int) -> Frame | None:
        """Return a frame of at most `most` bytes; None if it would be larger.

        What was raised ends here: its traceback holds what has been inflated, and the sans-IO layer
        keeps what it catches.
        """
        try:
            decoded = self._inner.decode(frame, max_size=max(most, 1))  # to zlib, 0 is no limit
        except PayloadTooBig:
            return None
        return decoded if len(decoded.data) <= most else None

    def encode(self, frame: Frame) -> Frame:
        """Deflate a frame."""
        return self._inner.encode(frame)


class BoundedDeflateFactory(ServerExtensionFactory):
    """What agrees with a client on permessage-deflate."""

    def __init__(self) -> None:
        # The values that `websockets` itself uses: 4 KiB windows instead of 32 KiB ones.
        self._inner = ServerPerMessageDeflateFactory(
            server_max_window_bits=12,
            client_max_window_bits=12,
            compress_settings={"memLevel": 5},
        )
        self.name = self._inner.name

    def process_request_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> tuple[list[ExtensionParameter], Extension]:
        """Return the answer to an offer, and the extension of the connection.

        Raises:
            NegotiationError: The offer cannot be taken.
        """
        answer, inner = self._inner.process_request_params(params, accepted_extensions)
        return answer, _BoundedDeflate(inner)
