"""A client of HTTP/2 that asks on and on, and knows what became of each request."""

from __future__ import annotations

import asyncio
import struct

import h2.connection
import h2.events

__all__ = ["Asker"]


class Asker:
    """A client that keeps eight requests in flight until it is told that it is enough.

    Args:
        reader: What the server sends.
        writer: Where the client sends.
        enough: When set, nothing more is asked, and it leaves once all is answered.

    Attributes:
        open: The requests in flight; at the end those that were lost.
        answered: How many were answered.
        refused: How many were not taken, and may be asked elsewhere.
        last: The last that the server takes; more than any before it says so.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        enough: asyncio.Event | None = None,
    ) -> None:
        self.reader, self.writer = reader, writer
        self.enough = asyncio.Event() if enough is None else enough
        self.connection = h2.connection.H2Connection()
        self.connection.initiate_connection()
        self.open: set[int] = set()
        self.answered = self.refused = 0
        self.last = 2**31

    def ask(self) -> None:
        """Ask for more, as long as the server takes it."""
        while len(self.open) < 8 and self.last == 2**31 and not self.enough.is_set():
            stream = self.connection.get_next_available_stream_id()
            fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
            self.connection.send_headers(stream, fields, end_stream=True)
            self.open.add(stream)
        self.writer.write(self.connection.data_to_send())

    async def keep_asking(self) -> None:
        """Ask until the server closes; whatever it has not answered may be asked elsewhere."""
        self.ask()
        while data := await self.reader.read(65536):
            while data:
                size = 9 + int.from_bytes(data[:3], "big")
                if len(data) < size:
                    data += await self.reader.read(65536)
                    continue
                self.take(data[:size])
                data = data[size:]
            self.ask()
            if self.enough.is_set() and not self.open:
                break

    def take(self, frame: bytes) -> None:
        """Act on a frame; on GOAWAY by hand, since the library takes every one for the end."""
        if frame[3] == 7:
            last, code = struct.unpack_from(">II", frame, 9)
            assert code == 0
            if last != 2**31 - 1:
                self.last = last
                self.refused += len([each for each in self.open if each > last])
                self.open = {each for each in self.open if each <= last}
            return
        for event in self.connection.receive_data(frame):
            if isinstance(event, h2.events.StreamEnded):
                self.open.discard(event.stream_id)
                self.answered += 1
            elif isinstance(event, h2.events.StreamReset):
                assert event.stream_id > self.last
            assert not isinstance(event, h2.events.ConnectionTerminated)
