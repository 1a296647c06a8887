"""uvicorn: httptools, or another parser, on uvloop; its own proxy headers where asked."""

from __future__ import annotations

import os

import common
import uvicorn

parser = common.parser()
parser.add_argument("--http", default="httptools", help="which parser")
options = parser.parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)
certificate, key = common.pair() if options.tls else (None, None)
uvicorn.run(
    f"asgi_app:{options.app}",
    host=common.HOST,
    port=options.port,
    loop="uvloop",
    http=options.http,
    lifespan="off",
    log_level="warning",
    access_log=False,
    proxy_headers=options.proxied,
    forwarded_allow_ips=[common.HOST, *common.PROXIES],
    timeout_keep_alive=common.KEEP_ALIVE_SECONDS,
    backlog=common.BACKLOG,
    ssl_certfile=certificate,
    ssl_keyfile=key,
    # what versions before HTTP/2 do not know
    **({"http2": True} if options.http2 else {}),
)
