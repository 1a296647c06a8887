"""The ASGI applications that all ASGI servers serve: the least that answers as the others do."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import common

ANSWER = common.answer(int(os.environ.get("ANSWER_BYTES", "13")))


def _answering(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    return (
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer every request; the lifespan protocol is left alone."""
    if scope["type"] != "http":
        return
    body = ANSWER
    if scope["path"] == common.CLIENT_TARGET:
        body = scope["client"][0].encode()
    start, rest = _answering(body)
    await send(start)
    await send(rest)


async def walking_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Be `app` on a server that brings nothing for X-Forwarded-For."""
    for name, value in scope.get("headers", ()):
        if name == b"x-forwarded-for":
            # The port is not known behind a proxy. fastpysgi does not say who its peer is.
            scope["client"] = common.walk(value.decode("latin-1"), ""), 0
            break
    await app(scope, receive, send)


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Send every message of a WebSocket back."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


async def stream(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Count a body that it is slow to begin with, or send as many bytes as asked for."""
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        await _send_many(int(scope["query_string"]), send)
        return
    await asyncio.sleep(common.PAUSE_SECONDS)
    count, more = 0, True
    while more:
        event = await receive()
        count += len(event.get("body", b""))
        more = event.get("more_body", False)
    for message in _answering(b"%d" % count):
        await send(message)


async def _send_many(length: int, send: Any) -> None:
    headers = [(b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    piece = b"x" * common.PIECE
    for _ in range(length // common.PIECE):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def reader(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a request when its body has come."""
    while (await receive()).get("more_body", False):
        pass
    await app(scope, receive, send)


async def beside(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one target with as many bytes as asked for, in pieces, and all others with few."""
    if scope["path"] == common.LARGE_TARGET:
        await _send_many(len(ANSWER), send)
    else:
        for message in _answering(b"Hello, world!"):
            await send(message)


async def sink(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Receive every message of a WebSocket, and answer requests as `app`."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass
    else:
        await app(scope, receive, send)
