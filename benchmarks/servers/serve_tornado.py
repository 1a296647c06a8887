"""Tornado: its HTTPServer with a callback, with a counting delegate, or with an application."""

from __future__ import annotations

import asyncio
from typing import Any

import common
import tornado_app
from tornado import httpserver, httputil


def head(length: int) -> tuple[httputil.ResponseStartLine, httputil.HTTPHeaders]:
    return (
        httputil.ResponseStartLine("HTTP/1.1", 200, "OK"),
        httputil.HTTPHeaders({"Content-Type": "text/plain", "Content-Length": str(length)}),
    )


class Callback:
    """Answers a request that has been read whole."""

    def __init__(self, options: Any) -> None:
        self.answer = common.answer(options.answer_bytes)
        self.read_field = options.read_field

    def __call__(self, request: httputil.HTTPServerRequest) -> None:
        answer = self.answer
        if request.uri == common.CLIENT_TARGET:
            answer = request.remote_ip.encode()
        elif self.read_field:
            request.headers.get(self.read_field)
        request.connection.write_headers(*head(len(answer)), answer)
        request.connection.finish()


class CountingDelegate(httputil.HTTPMessageDelegate):
    """Counts a body as it comes."""

    def __init__(self, connection: httputil.HTTPConnection, answer: bytes) -> None:
        self.connection = connection
        self.answer = answer
        self.count = 0

    def headers_received(self, start_line: Any, headers: Any) -> None:
        if start_line.path == common.CLIENT_TARGET:
            self.answer = self.connection.context.remote_ip.encode()

    def data_received(self, chunk: bytes) -> None:
        self.count += len(chunk)

    def finish(self) -> None:
        self.connection.write_headers(*head(len(self.answer)), self.answer)
        self.connection.finish()


class Counting(httputil.HTTPServerConnectionDelegate):
    """Makes a counting delegate for each request."""

    def __init__(self, options: Any) -> None:
        self.answer = common.answer(options.answer_bytes)

    def start_request(self, server_conn: object, request_conn: Any) -> CountingDelegate:
        return CountingDelegate(request_conn, self.answer)


def application(options: Any) -> Any:
    if options.web:
        return tornado_app.application(options)
    return Counting(options) if options.body == "count" else Callback(options)


async def main(options: Any) -> None:
    server = httpserver.HTTPServer(
        application(options),
        xheaders=options.proxied,
        trusted_downstream=list(common.PROXIES) if options.proxied else None,
        max_header_size=options.max_header_size,
        # As its documentation has it: a dictionary is made into a context for every connection.
        ssl_options=common.ssl_context(options),
    )
    server.listen(options.port, common.HOST, backlog=common.BACKLOG)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = common.parser()
    parser.add_argument("--web", action="store_true", help="an application instead of a callback")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    chosen = parser.parse_args()
    if chosen.uvloop:
        import uvloop

        uvloop.run(main(chosen))
    else:
        asyncio.run(main(chosen))
