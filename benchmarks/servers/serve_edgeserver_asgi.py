"""edgeserver: its ASGI adapter, on uvloop."""

from __future__ import annotations

import asyncio
import os

import common
import uvloop

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.httpserver import HTTPServer

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)


async def main() -> None:
    import asgi_app

    server = HTTPServer(
        ASGIAdapter(getattr(asgi_app, options.app), lifespan="off"),
        xheaders=options.proxied,
        trusted_downstream=list(common.PROXIES) if options.proxied else None,
        max_body_size=common.MOST_BODY,
    )
    server.listen(options.port, common.HOST, backlog=common.BACKLOG)
    await asyncio.Event().wait()


uvloop.run(main())
