"""The floor: a uvloop protocol that parses nothing and answers fixed bytes."""

from __future__ import annotations

import asyncio

import common
import uvloop


def fixed_answer(answer_bytes: int, *, closes: bool = False) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % answer_bytes
    if closes:
        head += b"Connection: close\r\n"
    return head + b"\r\n" + common.answer(answer_bytes)


class Answering(asyncio.Protocol):
    """Answers every read."""

    __slots__ = ("answer", "transport")

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.answer)


class Closing(Answering):
    """Answers the first read and closes."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.answer)
        self.transport.close()


class Counting(Answering):
    """Answers as soon as a request's number of bytes has come, and keeps none of them."""

    __slots__ = ("missing", "size")

    def __init__(self, answer: bytes, size: int) -> None:
        super().__init__(answer)
        self.size = self.missing = size

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing <= 0:
            self.missing += self.size
            self.transport.write(self.answer)


class Joining(Answering):
    """Answers when the bytes of a request are there in one piece."""

    __slots__ = ("missing", "parts", "size")

    def __init__(self, answer: bytes, size: int) -> None:
        super().__init__(answer)
        self.size = self.missing = size
        self.parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        self.missing -= len(data)
        if self.missing <= 0:
            self.missing += self.size
            whole = b"".join(self.parts)
            self.parts = []
            if whole:
                self.transport.write(self.answer)


async def main() -> None:
    options = common.parser().parse_args()
    answer = fixed_answer(options.answer_bytes, closes=options.closes)
    size = options.request_bytes
    factories = {
        None: lambda: Closing(answer) if options.closes else Answering(answer),
        "count": lambda: Counting(answer, size),
        "join": lambda: Joining(answer, size),
    }
    await asyncio.get_running_loop().create_server(
        factories[options.body],
        common.HOST,
        options.port,
        backlog=common.BACKLOG,
        ssl=common.ssl_context(options),
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
