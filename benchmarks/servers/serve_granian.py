"""granian: one worker on uvloop; its own ASGI wrapper for proxy headers where asked."""

from __future__ import annotations

import os
from pathlib import Path

import common
from granian import Granian
from granian.constants import HTTPModes
from granian.utils.proxies import wrap_asgi_with_proxy_headers

if __name__ == "__main__":
    options = common.parser().parse_args()
    os.environ["ANSWER_BYTES"] = str(options.answer_bytes)

import asgi_app

app = asgi_app.app
echo = asgi_app.echo
stream = asgi_app.stream
reader = asgi_app.reader
beside = asgi_app.beside
trusted = [common.HOST, *common.PROXIES]
proxied_app = wrap_asgi_with_proxy_headers(app, trusted_hosts=trusted)
proxied_echo = wrap_asgi_with_proxy_headers(echo, trusted_hosts=trusted)

if __name__ == "__main__":
    certificate, key = map(Path, common.pair()) if options.tls else (None, None)
    Granian(
        f"serve_granian:{'proxied_' if options.proxied else ''}{options.app}",
        address=common.HOST,
        port=options.port,
        interface="asginl",  # ASGI without the lifespan protocol
        workers=1,
        loop="uvloop",
        log_access=False,
        log_level="warning",
        backlog=common.BACKLOG,
        http=HTTPModes.http2 if options.http2 else HTTPModes.auto,
        ssl_cert=certificate,
        ssl_key=key,
    ).serve()
