"""fastpysgi: its loop of asyncio's own; it has no proxy headers: the application walks them."""

from __future__ import annotations

import os

import common
import fastpysgi

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)

import asgi_app  # noqa: E402 - it reads the environment

server = fastpysgi.server
server.backlog = common.BACKLOG
server.lifespan = 0
app = asgi_app.walking_app if options.proxied else asgi_app.app
fastpysgi.run(app, common.HOST, options.port)
