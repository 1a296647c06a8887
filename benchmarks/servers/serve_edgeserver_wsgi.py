"""edgeserver: its WSGI adapter with eight threads, on uvloop."""

from __future__ import annotations

import asyncio
import os

import common
import uvloop

from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.httpserver import HTTPServer

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)


async def main() -> None:
    import wsgi_app

    server = HTTPServer(
        WSGIAdapter(getattr(wsgi_app, options.app), threads=common.THREADS),
        xheaders=options.proxied,
        trusted_downstream=list(common.PROXIES) if options.proxied else None,
        max_body_size=common.MOST_BODY,
    )
    server.listen(options.port, common.HOST, backlog=common.BACKLOG)
    await asyncio.Event().wait()


uvloop.run(main())
