"""edgeserver: a `tornado.web.Application`, on uvloop unless told otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

import common
import tornado_app
import uvloop

from edgeserver.httpserver import HTTPServer


async def main(options: Any) -> None:
    server = HTTPServer(
        tornado_app.application(options),
        xheaders=options.proxied,
        trusted_downstream=list(common.PROXIES) if options.proxied else None,
        max_body_size=common.MOST_BODY,
    )
    server.listen(options.port, common.HOST, backlog=common.BACKLOG)
    await asyncio.Event().wait()


parser = common.parser()
parser.add_argument("--asyncio", action="store_true", help="run on asyncio's own loop")
chosen = parser.parse_args()
asyncio.run(main(chosen)) if chosen.asyncio else uvloop.run(main(chosen))
