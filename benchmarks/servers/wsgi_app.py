"""The WSGI application that all WSGI servers serve: the least that answers as the others do."""

from __future__ import annotations

import os
from collections.abc import Callable
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
