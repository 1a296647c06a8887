"""The answer stream: pieces of an answer, from the application's thread to the connection.

Decides when the thread waits for a slow client, and how it learns that there is none any more.
It must not know where the pieces come from.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any

from edgeserver.adapters.wsgi.input import CLOSED_EARLY, ClientDisconnectedError
from edgeserver.adapters.wsgi.pool import Mailbox
from edgeserver.httputil import HTTPConnection

__all__ = ["AnswerStream"]

_HIGH = 128 * 1024
"""Bytes given to the connection that it has not taken; beyond that the thread waits."""

_LOW = 32 * 1024
"""Bytes not yet taken at which the thread goes on."""

_PIECE = 128 * 1024
"""Most bytes that are written at once: what is written must be kept until the client takes it."""


class AnswerStream:
    """The answer to one request: written by one thread, sent by the event loop.

    Args:
        connection: Where it goes.
        mailbox: The way to the event loop.
        start_line: Its start line.
        fields: Its header fields.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        mailbox: Mailbox,
        start_line: tuple[str, int, str],
        fields: list[tuple[str, str]],
    ) -> None:
        self._connection = connection
        self._mailbox = mailbox
        self._start_line = start_line
        self._fields = fields
        # What the thread waits for, and the guard of all that follows.
        self._changed = threading.Condition()
        # Pieces for the event loop, and the size of those the client has not taken by now.
        self._chunks: list[bytes] = []
        self._untaken = 0
        # Whether the head was written, and whether the event loop has been asked to send.
        self._begun = False
        self._posted = False
        # Whether no more pieces come, and whether nobody hears them.
        self._complete = False
        self._gone = False

    def get_all(self) -> list[tuple[str, Any]]:
        """Return the header fields, as `write_headers` asks for them."""
        return self._fields

    # The thread's side.

    def write(self, data: bytes) -> None:
        """Send `data`, and wait while the client has too much to take already.

        Raises:
            ClientDisconnectedError: The client has left.
        """
        if len(data) <= _PIECE:
            self._put(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), _PIECE):
            self._put(bytes(view[start : start + _PIECE]))

    def finish(self) -> None:
        """Say that the answer is complete."""
        with self._changed:
            self._complete = True
            self._post()

    def _put(self, data: bytes) -> None:
        with self._changed:
            if not self._gone:
                self._chunks.append(data)
                self._untaken += len(data)
                self._post()
                if self._untaken > _HIGH:
                    self._changed.wait_for(self._may_go_on)
            if self._gone:
                raise ClientDisconnectedError(CLOSED_EARLY)

    def _may_go_on(self) -> bool:
        return self._untaken <= _LOW or self._gone

    def _post(self) -> None:
        if not self._posted:
            self._posted = True
            self._mailbox.post(self._send)

    # The event loop's side.

    def leave(self) -> None:
        """Called when the client has left: whoever writes is told so."""
        with self._changed:
            self._gone = True
            self._changed.notify()

    def _send(self) -> None:
        """Give the connection what has come since the last time."""
        with self._changed:
            chunks, self._chunks = self._chunks, []
            self._posted = False
            complete = self._complete
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        connection = self._connection
        if self._begun:
            taken = connection.write(data)
        else:
            self._begun = True
            taken = connection.write_headers(self._start_line, self, data)
        if complete:
            connection.finish()
        if taken.done():
            self._taken(len(data), taken)
        else:
            taken.add_done_callback(functools.partial(self._taken, len(data)))

    def _taken(self, size: int, taken: asyncio.Future[None]) -> None:
        with self._changed:
            self._untaken -= size
            if taken.cancelled() or taken.exception() is not None:
                self._gone = True
            self._changed.notify()
