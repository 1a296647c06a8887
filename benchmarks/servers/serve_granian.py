"""granian: one worker on uvloop; its own ASGI wrapper for proxy headers where asked."""

from __future__ import annotations

import os

import common
from asgi_app import app as bare_app
from granian import Granian
from granian.utils.proxies import wrap_asgi_with_proxy_headers

app = bare_app
proxied_app = wrap_asgi_with_proxy_headers(bare_app, trusted_hosts=[common.HOST, *common.PROXIES])

if __name__ == "__main__":
    options = common.parser().parse_args()
    os.environ["ANSWER_BYTES"] = str(options.answer_bytes)
    Granian(
        "serve_granian:proxied_app" if options.proxied else "serve_granian:app",
        address=common.HOST,
        port=options.port,
        interface="asginl",  # ASGI without the lifespan protocol
        workers=1,
        loop="uvloop",
        log_access=False,
        log_level="warning",
        backlog=common.BACKLOG,
    ).serve()
