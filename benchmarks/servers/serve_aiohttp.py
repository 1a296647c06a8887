"""aiohttp: its low-level server on uvloop. It has no proxy headers: the handler walks them."""

from __future__ import annotations

import asyncio

import common
import uvloop
from aiohttp import web

options = common.parser().parse_args()
ANSWER = common.answer(options.answer_bytes)
HEADERS = {"Content-Type": "text/plain"}


async def handler(request: web.BaseRequest) -> web.Response:
    if options.request_bytes:
        await request.read()
    client = request.remote or ""
    if options.proxied:
        client = common.walk(request.headers.get("X-Forwarded-For"), client)
    body = client.encode() if request.path == common.CLIENT_TARGET else ANSWER
    return web.Response(body=body, headers=HEADERS)


async def main() -> None:
    server = web.Server(
        handler,
        access_log=None,
        keepalive_timeout=common.KEEP_ALIVE_SECONDS,
        client_max_size=1 << 30,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, common.HOST, options.port, backlog=common.BACKLOG).start()
    await asyncio.Event().wait()


uvloop.run(main())
