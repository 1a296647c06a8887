"""granian: one worker that runs WSGI; its own wrapper for proxy headers where asked."""

from __future__ import annotations

import os

import common
from granian import Granian
from granian.utils.proxies import wrap_wsgi_with_proxy_headers

if __name__ == "__main__":
    options = common.parser().parse_args()
    os.environ["ANSWER_BYTES"] = str(options.answer_bytes)

import wsgi_app

app = wsgi_app.app
stream = wsgi_app.stream
trusted = [common.HOST, *common.PROXIES]
proxied_app = wrap_wsgi_with_proxy_headers(app, trusted_hosts=trusted)

if __name__ == "__main__":
    Granian(
        f"serve_granian_wsgi:{'proxied_' if options.proxied else ''}{options.app}",
        address=common.HOST,
        port=options.port,
        interface="wsgi",
        workers=1,
        blocking_threads=common.THREADS,
        log_access=False,
        log_level="warning",
        backlog=common.BACKLOG,
    ).serve()
