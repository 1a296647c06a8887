"""The WSGI applications that all WSGI servers serve: the least that answers as the others do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import common

ANSWER = common.answer(int(os.environ.get("ANSWER_BYTES", "13")))
WALKS = bool(os.environ.get("WALKS"))
"""Whether the server brings nothing for X-Forwarded-For, so that the application walks it."""


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer every request."""
    client = environ["REMOTE_ADDR"]
    if WALKS:
        client = common.walk(environ.get("HTTP_X_FORWARDED_FOR"), client)
    body = client.encode() if environ["PATH_INFO"] == common.CLIENT_TARGET else ANSWER
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def stream(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Count a body that it is slow to begin with, or send as many bytes as asked for."""
    if environ["REQUEST_METHOD"] == "GET":
        length = int(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Length", str(length))])
        piece = b"x" * common.PIECE
        return (piece for _ in range(length // common.PIECE))
    time.sleep(common.PAUSE_SECONDS)
    count, body = 0, environ["wsgi.input"]
    while piece := body.read(common.PIECE):
        count += len(piece)
    answer = str(count).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
