"""hypercorn: one process on uvloop; its own middleware for proxy headers where asked."""

from __future__ import annotations

import os

import common
import uvloop

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)

import asgi_app  # noqa: E402 - reads the environment above
from hypercorn.asyncio import serve  # noqa: E402 - after the line above
from hypercorn.config import Config  # noqa: E402 - after the line above
from hypercorn.middleware import ProxyFixMiddleware  # noqa: E402 - after the line above

config = Config()
config.bind = [f"{common.HOST}:{options.port}"]
config.keep_alive_timeout = common.KEEP_ALIVE_SECONDS
config.keep_alive_max_requests = 1_000_000_000
config.backlog = common.BACKLOG
config.accesslog = None
config.loglevel = "WARNING"
# It knows no addresses, only how many proxies there are, our end included.
hops = len(common.PROXIES) + 1
app = getattr(asgi_app, options.app)
uvloop.run(serve(ProxyFixMiddleware(app, "legacy", hops) if options.proxied else app, config))
