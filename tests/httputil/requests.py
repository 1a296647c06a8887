"""Requests for tests: made by the constructor, and as the HTTP layer makes them."""

from collections.abc import Callable
from typing import Any

import pytest

from edgeserver.httputil.headers import HTTPHeaders
from edgeserver.httputil.hosts import authority_of
from edgeserver.httputil.request import HTTPServerRequest
from edgeserver.httputil.startlines import RequestStartLine

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Context:
    """The context of a connection."""

    def __init__(self) -> None:
        self.remote_ip = "203.0.113.9"
        self.protocol = "https"
        self.peer_ip = "10.0.0.1"
        self.tls: Any = "TLSv1.3"


class Connection:
    """What one request is answered through: a context, a client, and perhaps a stream."""

    def __init__(self, stream: Any = None, client: Any = "203.0.113.9") -> None:
        self.context = context = Context()
        self.remote_ip, self.protocol = context.remote_ip, context.protocol
        self.stream = stream
        self.client = client

    def explain(self) -> str | None:
        """Return the proof."""
        return None if self.client is None else f"proof of {self.client}"


def direct(
    uri: str = "/",
    *,
    method: str = "GET",
    version: str = "HTTP/1.1",
    host: str | None = "a.example",
    body: bytes = b"",
    connection: Any = None,
    **fields: str,
) -> HTTPServerRequest:
    """Make a request by its constructor."""
    headers = HTTPHeaders(fields) if host is None else HTTPHeaders(fields, Host=host)
    return HTTPServerRequest(
        start_line=RequestStartLine(method, uri, version),
        headers=headers,
        body=body,
        connection=connection,
    )


def validated(
    uri: str = "/",
    *,
    method: str = "GET",
    version: str = "HTTP/1.1",
    host: str | None = "a.example",
    body: bytes = b"",
    connection: Any = None,
    **fields: str,
) -> HTTPServerRequest:
    """Make a request as the HTTP layer does, which has replaced `Host` by the target's own."""
    host = authority_of(method, uri) or host
    headers = HTTPHeaders(fields) if host is None else HTTPHeaders(fields, Host=host)
    request = HTTPServerRequest.from_validated(
        RequestStartLine(method, uri, version),
        HTTPHeaders.from_raw(headers.raw),
        connection or Connection(),
        None,
    )
    if body:
        request.body = body
    return request


Make = Callable[..., HTTPServerRequest]
both = pytest.mark.parametrize("make", [direct, validated])
