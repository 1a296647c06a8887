"""socketify: its ASGI server; it has no proxy headers: the application walks them."""

from __future__ import annotations

import os

import common
from socketify import ASGI, AppListenOptions

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)

import asgi_app  # noqa: E402 - it reads the environment

app = asgi_app.walking_app if options.proxied else asgi_app.app
server = ASGI(app, lifespan=False, websocket=None)
server.listen(AppListenOptions(port=options.port, host=common.HOST))
server.run()
