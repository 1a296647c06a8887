"""The ASGI application that all ASGI servers serve: the least that answers as the others do."""

from __future__ import annotations

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
