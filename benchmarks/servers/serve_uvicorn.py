"""uvicorn: httptools on uvloop, its own proxy headers where asked."""

from __future__ import annotations

import os

import common
import uvicorn

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)
uvicorn.run(
    "asgi_app:app",
    host=common.HOST,
    port=options.port,
    loop="uvloop",
    http="httptools",
    lifespan="off",
    log_level="warning",
    access_log=False,
    proxy_headers=options.proxied,
    forwarded_allow_ips=[common.HOST, *common.PROXIES],
    timeout_keep_alive=common.KEEP_ALIVE_SECONDS,
    backlog=common.BACKLOG,
)
