"""The error response: what a client is told when an application fails.

Decides between an error page and a cut connection. It must not know what kind of application it
was, nor what went wrong: the log says that.
"""

from __future__ import annotations

from edgeserver.httputil import HTTPConnection, HTTPHeaders, ResponseStartLine

__all__ = ["answer_failure"]

_TEXT = b"Internal Server Error\n"


def answer_failure(connection: HTTPConnection) -> None:
    """Answer 500 if no head was written; else cut the connection.

    A client that has the head of an answer must not take what came of the body for all of it.

    Args:
        connection: Where the answer would have been written.
    """
    if connection.status:
        connection.abort()
        return
    connection.write_headers(
        ResponseStartLine("HTTP/1.1", 500, "Internal Server Error"),
        HTTPHeaders(
            {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(_TEXT))}
        ),
        _TEXT,
    )
    connection.finish()
