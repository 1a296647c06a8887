"""The floor of HTTP/2: finds where frames end, and answers fixed ones to each HEADERS."""

from __future__ import annotations

import asyncio
import struct

import common
import uvloop

FRAME_HEADER = struct.Struct(">HBBBI")
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
ACKNOWLEDGEMENT = b"\0\0\0\4\1\0\0\0\0"
PREFACE_BYTES = 24
# :status 200, content-type text/plain, content-length, of RFC 7541's static table.
BLOCK = b"\x88\x0f\x10\x0atext/plain\x0f\x0d"


def fixed_frames(answer_bytes: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, between and after the two stream numbers of an answer."""
    length = b"%d" % answer_bytes
    block = BLOCK + bytes((len(length),)) + length
    return (
        b"\0\0" + bytes((len(block), 1, 4)),
        block + b"\0\0" + bytes((answer_bytes, 0, 1)),
        common.answer(answer_bytes),
    )


class Answering(asyncio.Protocol):
    """Answers every HEADERS."""

    def __init__(self, answer_bytes: int) -> None:
        self.before, self.between, self.body = fixed_frames(answer_bytes)
        self.buffer = b""
        self.skip = PREFACE_BYTES

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.write(SETTINGS + ACKNOWLEDGEMENT)

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data
        position, out = self.skip, []
        self.skip = 0
        while len(data) - position >= 9:
            high, low, kind, _, stream_id = FRAME_HEADER.unpack_from(data, position)
            end = position + 9 + (high << 8 | low)
            if end > len(data):
                break
            position = end
            if kind == 1:
                number = stream_id.to_bytes(4, "big")
                out += (self.before, number, self.between, number, self.body)
        self.buffer = data[position:]
        if out:
            self.transport.write(b"".join(out))


async def main() -> None:
    options = common.parser().parse_args()
    await asyncio.get_running_loop().create_server(
        lambda: Answering(options.answer_bytes),
        common.HOST,
        options.port,
        backlog=common.BACKLOG,
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
