"""edgeserver: its HTTPServer with a callback or with a counting delegate."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import common
import uvloop

from edgeserver import httputil
from edgeserver.httpserver import HTTPServer
from edgeserver.proxyheaders import TrustPolicy

# Who may say who the client is: the load and the two proxies behind it, or somebody else.
POLICIES = {
    "listed": lambda: TrustPolicy(["loopback", *common.PROXIES]),
    "unlisted": lambda: TrustPolicy(["192.0.2.0/24"]),
}


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
        self.busy_s = options.busy_us / 1e6

    def __call__(self, request: httputil.HTTPServerRequest) -> None:
        answer = self.answer
        if self.busy_s:
            until = time.perf_counter() + self.busy_s
            while time.perf_counter() < until:
                pass
        if request.uri == common.CLIENT_TARGET:
            answer = request.remote_ip.encode()
        elif self.read_field:
            request.headers.get(self.read_field)
        request.connection.write_headers(*head(len(answer)), answer)
        request.connection.finish()


class CountingDelegate(httputil.HTTPMessageDelegate):
    """Counts a body as it comes."""

    def __init__(self, connection: Any, answer: bytes) -> None:
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


def build_server(options: Any) -> HTTPServer:
    limits: dict[str, Any] = common.http2_choice(options)
    if options.max_header_fields:
        limits["max_header_fields"] = options.max_header_fields
    server = HTTPServer(
        Counting(options) if options.body == "count" else Callback(options),
        xheaders=options.proxied,
        trusted_downstream=list(common.PROXIES) if options.proxied else None,
        max_header_size=options.max_header_size,
        ssl_options=common.ssl_options(options),
        trust=POLICIES[options.trust]() if options.trust else None,
        **limits,
    )
    if options.metered:
        server.keep_tally()
    return server


def leave_out(road: str | None) -> None:
    """Have nothing take a special road, to see what it brings; of the source only."""
    # Imported here: `instructions` measures older versions too, whose rooms have other names.
    if road == "bulk":
        from edgeserver.http1 import connection

        connection.BULK_BODY = math.inf
    elif road == "slow-turn":
        from edgeserver.http import batching

        batching.SLOW_ANSWER_S = math.inf


async def main(options: Any) -> None:
    leave_out(options.without)
    server = build_server(options)
    server.listen(options.port, common.HOST, backlog=options.backlog)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(common.parser().parse_args()))
