"""waitress: eight threads, its own X-Forwarded-For where asked."""

from __future__ import annotations

import os
from typing import Any

import common
import waitress

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)

import wsgi_app  # noqa: E402 - it reads the environment

proxies: dict[str, Any] = {}
if options.proxied:
    proxies = {
        "trusted_proxy": common.HOST,
        "trusted_proxy_count": len(common.PROXIES) + 1,
        "trusted_proxy_headers": "x-forwarded-for",
    }
waitress.serve(
    getattr(wsgi_app, options.app),
    host=common.HOST,
    port=options.port,
    threads=common.THREADS,
    channel_timeout=common.KEEP_ALIVE_SECONDS,
    backlog=common.BACKLOG,
    **proxies,
)
