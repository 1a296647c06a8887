"""The application of a plain port that only sends clients to https.

Decides the one answer that such a port gives. It must not know how the port is listened on.

Source: RFC 9110 section 15.4.9 (308), RFC 6797 section 7.2.
"""

from __future__ import annotations

import re
from typing import Final

from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)

__all__ = ["HTTPSRedirect"]

HTTPS_PORT: Final = 443

# RFC 3986 section 3.2.2, without percent-encoding and sub-delims, which no real host name has.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")

# RFC 9112 section 3.2.1, origin-form, in the characters of RFC 3986 sections 3.3 and 3.4.
_TARGET = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")


class HTTPSRedirect(HTTPServerConnectionDelegate):
    """Answers every request with 308 to the same URL on https.

    A body is not waited for: the client sends it again there, and only there it may be read.

    Args:
        port: The port that https is served on, as clients see it.
    """

    def __init__(self, port: int = HTTPS_PORT) -> None:
        self._port = "" if port == HTTPS_PORT else f":{port}"

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return what answers a request with a body once its head is there."""
        return _Answering(self, request_conn)

    def take_request(self, server_conn: object, request_conn: HTTPConnection) -> None:
        """Answer one request."""
        request = HTTPServerRequest(
            start_line=RequestStartLine(
                request_conn.method, request_conn.target, request_conn.version
            ),
            headers=request_conn.headers,
            connection=request_conn,
        )
        url = self._https_url(request)
        if url is None:
            text = "This port only redirects to https, and the request names no usable host.\n"
            self._answer(request_conn, 400, "Bad Request", text, None)
        else:
            self._answer(request_conn, 308, "Permanent Redirect", f"Use {url}\n", url)

    def _https_url(self, request: HTTPServerRequest) -> str | None:
        # HTTP/1.0 may come without a host, and has 127.0.0.1 as Tornado's: the client's machine.
        if "Host" not in request.headers:
            return None
        # Nothing of the request reaches the answer but what matches a strict pattern.
        host = re.sub(r":[0-9]*\Z", "", request.host)
        target = request.path + (f"?{request.query}" if request.query else "")
        if not _NAME.fullmatch(host):
            return None
        return f"https://{host}{self._port}{target if _TARGET.fullmatch(target) else '/'}"

    def _answer(
        self, connection: HTTPConnection, code: int, reason: str, text: str, url: str | None
    ) -> None:
        headers = HTTPHeaders(
            {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
        )
        if url is not None:
            headers["Location"] = url
        connection.write_headers(
            ResponseStartLine("HTTP/1.1", code, reason), headers, text.encode("ascii")
        )
        connection.finish()


class _Answering(HTTPMessageDelegate):
    """Answers at the head; what comes of the body is dropped."""

    __slots__ = ("_connection", "_redirect")

    def __init__(self, redirect: HTTPSRedirect, connection: HTTPConnection) -> None:
        self._redirect = redirect
        self._connection = connection

    def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        """Answer."""
        self._redirect.take_request(None, self._connection)
