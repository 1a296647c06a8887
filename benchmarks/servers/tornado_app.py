"""The Tornado applications, which Tornado's server and edgeserver serve unchanged."""

from __future__ import annotations

import asyncio
from typing import Any

import common
from tornado import web, websocket


class Handler(web.RequestHandler):
    """The answer as an application gives it."""

    def initialize(self, answer: bytes) -> None:
        self.answer = answer

    def compute_etag(self) -> None:
        """Make none: no other server hashes the answer."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain")
        client = self.request.path == common.CLIENT_TARGET
        self.finish(self.request.remote_ip if client else self.answer)


class Echo(websocket.WebSocketHandler):
    """Sends every message back."""

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))


@web.stream_request_body
class Stream(web.RequestHandler):
    """Counts a body that it is slow to begin with, and sends as many bytes as asked for."""

    async def prepare(self) -> None:
        # Or a body longer than its application's usual limit would be refused.
        self.request.connection.set_max_body_size(common.MOST_BODY)
        self.count = 0
        if self.request.method == "POST":
            await asyncio.sleep(common.PAUSE_SECONDS)

    def data_received(self, chunk: bytes) -> None:
        self.count += len(chunk)

    def post(self) -> None:
        self.finish(str(self.count))

    async def get(self) -> None:
        length = int(self.request.query)
        self.set_header("Content-Length", str(length))
        piece = b"x" * common.PIECE
        for _ in range(length // common.PIECE):
            self.write(piece)
            await self.flush()


def application(options: Any) -> web.Application:
    answer = {"answer": common.answer(options.answer_bytes)}
    handlers: dict[str, Any] = {
        "app": (r"/.*", Handler, answer),
        "echo": (r"/.*", Echo),
        "stream": (r"/.*", Stream),
    }
    return web.Application([handlers[options.app]], log_function=lambda handler: None)
