"""granian: one worker that runs WSGI; its own wrapper for proxy headers where asked."""

from __future__ import annotations

import os

import common
from granian import Granian
from granian.utils.proxies import wrap_wsgi_with_proxy_headers
from wsgi_app import app as bare_app

app = bare_app
proxied_app = wrap_wsgi_with_proxy_headers(bare_app, trusted_hosts=[common.HOST, *common.PROXIES])

if __name__ == "__main__":
    options = common.parser().parse_args()
    os.environ["ANSWER_BYTES"] = str(options.answer_bytes)
    Granian(
        "serve_granian_wsgi:proxied_app" if options.proxied else "serve_granian_wsgi:app",
        address=common.HOST,
        port=options.port,
        interface="wsgi",
        workers=1,
        blocking_threads=common.THREADS,
        log_access=False,
        log_level="warning",
        backlog=common.BACKLOG,
    ).serve()
