"""edgeserver: its ASGI adapter, on uvloop."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import common
import uvloop

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.httpserver import HTTPServer


def build_server(options: Any) -> HTTPServer:
    os.environ["ANSWER_BYTES"] = str(options.answer_bytes)
    import asgi_app  # reads that

    server = HTTPServer(
        ASGIAdapter(getattr(asgi_app, options.app), lifespan="off"),
        xheaders=options.proxied,
        trusted_downstream=list(common.PROXIES) if options.proxied else None,
        max_body_size=common.MOST_BODY,
        **common.http2_choice(options),
        ssl_options=common.ssl_options(options),
    )
    if options.metered:
        server.keep_tally()
    return server


async def main(options: Any) -> None:
    server = build_server(options)
    server.listen(options.port, common.HOST, backlog=common.BACKLOG)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(common.parser().parse_args()))
