"""The tables: which servers, which workloads, which targets. New ones join here.

Decides only what is measured; `rounds`, `idle` and `linear` decide how.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.model import Counted, IdleCase, Server, Suite, Target, Workload

MIB = 1 << 20

# --- servers ---------------------------------------------------------------------------------

FLOOR = Server(
    "floor",
    "serve_bare.py",
    "a bare uvloop protocol: fixed bytes for every read, nothing parsed",
    modules=("uvloop",),
    parses=False,
)
EDGESERVER = Server(
    "edgeserver",
    "serve_edgeserver.py",
    "edgeserver.HTTPServer(callback) on uvloop",
    modules=("uvloop", "edgeserver.httpserver"),
)
EDGESERVER_COMPILED = replace(
    EDGESERVER,
    name="edgeserver-compiled",
    about="the same from the wheel that `make wheel` makes: the road of a request compiled",
    compiled=True,
)
TORNADO = Server(
    "tornado",
    "serve_tornado.py",
    "tornado.httpserver.HTTPServer(callback), on asyncio's own loop as Tornado runs it",
    modules=("tornado",),
)
TORNADO_UVLOOP = Server(
    "tornado-uvloop",
    "serve_tornado.py",
    "the same on uvloop",
    options=("--uvloop",),
    modules=("tornado", "uvloop"),
)
TORNADO_WEB = Server(
    "tornado-web",
    "serve_tornado.py",
    "the same with a tornado.web.Application of one handler",
    options=("--web",),
    modules=("tornado",),
)
UVICORN = Server(
    "uvicorn",
    "serve_uvicorn.py",
    "uvicorn with httptools on uvloop, a bare ASGI application",
    modules=("uvicorn", "httptools", "uvloop"),
)
GRANIAN = Server(
    "granian",
    "serve_granian.py",
    "granian, one worker, the same ASGI application",
    modules=("granian", "uvloop"),
)
HYPERCORN = Server(
    "hypercorn",
    "serve_hypercorn.py",
    "hypercorn on uvloop, the same ASGI application",
    modules=("hypercorn", "uvloop"),
)
AIOHTTP = Server(
    "aiohttp",
    "serve_aiohttp.py",
    "aiohttp.web.Server(handler) on uvloop; the handler walks X-Forwarded-For itself",
    modules=("aiohttp", "uvloop"),
)
NGINX = Server(
    "nginx",
    "serve_nginx.py",
    "nginx `return 200` with one worker and the realip module",
    program="nginx",
)
EDGESERVER_ASGI = Server(
    "edgeserver-asgi",
    "serve_edgeserver_asgi.py",
    "edgeserver's ASGI adapter on uvloop, a bare ASGI application",
    modules=("uvloop", "edgeserver.adapters.asgi"),
)
EDGESERVER_ASGI_COMPILED = replace(
    EDGESERVER_ASGI,
    name="edgeserver-asgi-compiled",
    about="the same from the wheel that `make wheel` makes",
    compiled=True,
)
FRAMES = Server(
    "frames",
    "serve_frames.py",
    "a bare uvloop protocol: fixed frames for every HEADERS, no header block read",
    modules=("uvloop",),
    parses=False,
)
EDGESERVER_WSGI = Server(
    "edgeserver-wsgi",
    "serve_edgeserver_wsgi.py",
    "edgeserver's WSGI adapter with eight threads, a bare WSGI application",
    modules=("uvloop", "edgeserver.adapters.wsgi"),
)
GUNICORN = Server(
    "gunicorn",
    "serve_gunicorn.py",
    "gunicorn, one gthread worker of eight threads; the application walks X-Forwarded-For",
    modules=("gunicorn",),
)
WAITRESS = Server(
    "waitress",
    "serve_waitress.py",
    "waitress with eight threads, the same WSGI application",
    modules=("waitress",),
)
GRANIAN_WSGI = Server(
    "granian-wsgi",
    "serve_granian_wsgi.py",
    "granian, one worker of eight blocking threads, the same WSGI application",
    modules=("granian",),
)
UVICORN_ZTTP = Server(
    "uvicorn-zttp",
    "serve_uvicorn.py",
    "uvicorn with zttp on uvloop, the same ASGI application",
    options=("--http", "zttp"),
    modules=("uvicorn", "zttp", "uvloop"),
)
FASTPYSGI = Server(
    "fastpysgi",
    "serve_fastpysgi.py",
    "fastpysgi on its own loop, the same ASGI application, which walks X-Forwarded-For itself",
    modules=("fastpysgi",),
)
SOCKETIFY = Server(
    "socketify",
    "serve_socketify.py",
    "socketify on its own loop, the same ASGI application, which walks X-Forwarded-For itself",
    modules=("socketify",),
)
EDGESERVER_TORNADO = Server(
    "edgeserver-tornado",
    "serve_edgeserver_tornado.py",
    "edgeserver on uvloop with the tornado.web.Application of `tornado-web`",
    modules=("uvloop", "tornado", "edgeserver.adapters.tornado"),
)
EDGESERVER_TORNADO_ASYNCIO = Server(
    "edgeserver-tornado-asyncio",
    "serve_edgeserver_tornado.py",
    "the same on asyncio's own loop",
    options=("--asyncio",),
    modules=("uvloop", "tornado", "edgeserver.adapters.tornado"),
)
TORNADO_WEB_UVLOOP = Server(
    "tornado-web-uvloop",
    "serve_tornado.py",
    "`tornado-web` on uvloop",
    options=("--web", "--uvloop"),
    modules=("tornado", "uvloop"),
)


def _bodies(base: Server, name: str, body: str, about: str) -> Server:
    options = (*base.options, "--body", body)
    return Server(name, base.script, about, options, base.modules, parses=base.parses)


BARE_COUNT = _bodies(FLOOR, "bare-count", "count", "a bare uvloop protocol that counts the bytes")
BARE_JOIN = _bodies(FLOOR, "bare-join", "join", "a bare uvloop protocol that joins the bytes")
EDGESERVER_STREAM = _bodies(
    EDGESERVER, "edgeserver-stream", "count", "a delegate of edgeserver's that counts the bytes"
)
TORNADO_STREAM = _bodies(
    TORNADO, "tornado-stream", "count", "a delegate of Tornado's that counts the bytes"
)
_SLOW = ("--busy-us", "300")
# What a special road brings: the same without it.
STREAM_WITHOUT_BULK = replace(
    EDGESERVER_STREAM,
    name="edgeserver-no-bulk",
    about="the same without bulk reading",
    options=(*EDGESERVER_STREAM.options, "--without", "bulk"),
)
EDGESERVER_SLOW = replace(
    EDGESERVER,
    name="edgeserver-slow",
    about="a callback that is busy for 300 µs before it answers",
    options=_SLOW,
)
SLOW_WITHOUT_RULE = replace(
    EDGESERVER_SLOW,
    name="edgeserver-slow-batched",
    about="the same whose answers wait for each other all the same",
    options=(*_SLOW, "--without", "slow-turn"),
)


def _policies(name: str, about: str, *options: str, resolves: bool) -> Server:
    script, modules = EDGESERVER.script, EDGESERVER.modules
    return Server(f"edgeserver-{name}", script, about, options, modules, resolves=resolves)


EDGESERVER_OFF = _policies("off", "edgeserver with proxy headers off", resolves=False)
EDGESERVER_LISTED = _policies(
    "listed", "with a TrustPolicy that lists all proxies", "--trust", "listed", resolves=True
)
EDGESERVER_UNLISTED = _policies(
    "unlisted",
    "with a TrustPolicy that does not know the peer, whose forwarding headers are removed",
    *("--trust", "unlisted"),
    resolves=False,
)
EDGESERVER_XHEADERS = _policies("xheaders", "with `xheaders=True`", "--proxied", resolves=True)

# --- workloads -------------------------------------------------------------------------------

MINIMAL = Workload("minimal", "one field, proxy headers off", "minimal")
BROWSER = Workload(
    "browser",
    "ten fields, X-Forwarded-For of three hops, proxy headers on",
    "browser",
    proxied=True,
)
FORWARDED = replace(
    BROWSER,
    name="forwarded",
    about="ten fields, X-Forwarded-For of three hops, whatever the server makes of it",
    proxied=False,
)
VARIED = Workload(
    "varied",
    "the same, with path, cookie and client address different in every request",
    "varied",
    proxied=True,
    varied=True,
)
PAGE = Workload(
    "page",
    "the browser-like request with another path each time, as for the parts of a page",
    "page",
    proxied=True,
    varied=True,
)
UPLOAD = Workload("upload", "POST of 1 MiB", "upload", body_bytes=MIB, connections=8)
DOWNLOAD = Workload("download", "answer of 1 MiB", "download", answer_bytes=MIB, connections=8)
TLS_BROWSER = replace(BROWSER, name="keep-alive", about=f"{BROWSER.about}, over TLS", tls=True)
TLS_PAGE = replace(PAGE, name="page", about=f"{PAGE.about}, over TLS", tls=True)
TLS_VARIED = replace(VARIED, name="varied", about=f"{VARIED.about}, over TLS", tls=True)
_HANDSHAKE = replace(
    BROWSER, request="browser-close", tls=True, closes=True, loader="handshakes", connections=8
)
TLS_FULL = replace(
    _HANDSHAKE,
    name="full",
    about="a full handshake, one browser-like request, close",
    unit="connection",
)
TLS_RESUMED = replace(
    TLS_FULL,
    name="resumed",
    about="the same with a resumed session",
    loader_options=("--resume",),
)
TLS_DOWNLOAD = Workload(
    "10 MiB",
    "answer of 10 MiB over TLS",
    "browser",
    proxied=True,
    answer_bytes=10 * MIB,
    connections=4,
    tls=True,
    unit="answer",
)
ECHO_SMALL = Workload(
    "small",
    "a text of 13 bytes and its echo, proxy headers on",
    "websocket",
    proxied=True,
    connections=32,
    app="echo",
    loader="echo",
    loader_options=("--message-bytes", "13"),
    unit="message",
)
ECHO_LARGE = replace(
    ECHO_SMALL,
    name="large",
    about="a binary message of 64 KiB and its echo, proxy headers on",
    loader_options=("--message-bytes", str(1 << 16)),
    connections=16,
)

HTTP2_ALIKE = Workload(
    "alike",
    "eleven fields of a browser's over HTTP/2, every request alike",
    "http2",
    connections=8,
    loader="h2load",
    http2=True,
    streams=32,
)
HTTP2_PATHS = replace(
    HTTP2_ALIKE,
    name="paths",
    about="the same, with another path each time",
    request="http2-paths",
    varied=True,
)

HTTP2_DOWNLOAD = replace(
    HTTP2_ALIKE,
    name="download",
    about="answers of 1 MiB over HTTP/2",
    answer_bytes=MIB,
    connections=1,
    streams=100,
    total=100,
)
HTTP2_UPLOAD = replace(
    HTTP2_ALIKE,
    name="upload",
    about="POST of 1 MiB over HTTP/2",
    request="http2-upload",
    body_bytes=MIB,
    connections=1,
    streams=100,
    total=100,
    app="reader",
)

# --- suites ----------------------------------------------------------------------------------

HTTP_SERVERS = (
    FLOOR,
    EDGESERVER,
    EDGESERVER_COMPILED,
    NGINX,
    GRANIAN,
    UVICORN,
    AIOHTTP,
    HYPERCORN,
    TORNADO,
)
TLS_SERVERS = (FLOOR, EDGESERVER, EDGESERVER_COMPILED, NGINX, GRANIAN, UVICORN, TORNADO)


def _http2_targets(server: str, reference: str, alike: float, paths: float) -> tuple[Target, ...]:
    return (
        Target("alike", server, reference, alike),
        Target("paths", server, reference, paths),
    )


SUITES = (
    Suite(
        "http",
        "Requests over plain HTTP",
        (*HTTP_SERVERS, TORNADO_UVLOOP, TORNADO_WEB),
        (MINIMAL, BROWSER, PAGE, VARIED),
        ("floor", "tornado"),
        (
            Target("browser", "edgeserver", "floor", 2.0),
            Target("browser", "edgeserver", "tornado", 0.125),
            Target("varied", "edgeserver", "floor", 2.4),
        ),
    ),
    Suite(
        "policy",
        "What it costs to know the client",
        (EDGESERVER_OFF, EDGESERVER_LISTED, EDGESERVER_UNLISTED, EDGESERVER_XHEADERS),
        (FORWARDED,),
        ("edgeserver-off",),
        (
            Target("forwarded", "edgeserver-listed", "edgeserver-off", 1.1),
            Target("forwarded", "edgeserver-unlisted", "edgeserver-off", 1.1),
        ),
    ),
    Suite(
        "upload-stream",
        "1 MiB uploads to something that counts the bytes as they come",
        (BARE_COUNT, EDGESERVER_STREAM, TORNADO_STREAM),
        (UPLOAD,),
        ("bare-count",),
        (Target("upload", "edgeserver-stream", "bare-count", 1.4),),
    ),
    Suite(
        "bulk",
        "1 MiB uploads with bulk reading and without",
        (EDGESERVER_STREAM, STREAM_WITHOUT_BULK),
        (UPLOAD,),
        ("edgeserver-no-bulk",),
    ),
    Suite(
        "slow-turn",
        "Answers of 300 µs each that leave at once, and that wait for each other up to 1 ms",
        (EDGESERVER_SLOW, SLOW_WITHOUT_RULE),
        (MINIMAL,),
        ("edgeserver-slow-batched",),
    ),
    Suite(
        "upload-buffered",
        "1 MiB uploads to something that wants the body whole",
        (BARE_JOIN, EDGESERVER, TORNADO, AIOHTTP),
        (UPLOAD,),
        ("bare-join",),
        (Target("upload", "edgeserver", "bare-join", 1.3),),
    ),
    Suite(
        "upload-buffered-steady",
        "The same where the C library keeps freed memory instead of faulting it in anew",
        (BARE_JOIN, EDGESERVER, TORNADO, AIOHTTP),
        (UPLOAD,),
        ("bare-join",),
        (Target("upload", "edgeserver", "bare-join", 1.3),),
        # glibc returns the top of the heap when 1 MiB bodies come and go: in `upload-buffered` most
        # of what every server costs is the kernel's page faults, and how many is luck.
        {"MALLOC_TRIM_THRESHOLD_": str(1 << 28), "MALLOC_MMAP_THRESHOLD_": str(1 << 28)},
    ),
    Suite(
        "download",
        "1 MiB downloads from memory",
        (FLOOR, EDGESERVER, UVICORN, AIOHTTP, TORNADO),
        (DOWNLOAD,),
        ("floor",),
        (Target("download", "edgeserver", "floor", 1.3),),
    ),
    Suite(
        "tls",
        "Requests over TLS 1.3, ECDSA P-256",
        TLS_SERVERS,
        (TLS_BROWSER, TLS_PAGE, TLS_VARIED),
        ("floor", "nginx"),
        (
            Target("keep-alive", "edgeserver", "floor", 1.55),
            Target("keep-alive", "edgeserver-compiled", "floor", 1.42),
        ),
    ),
    Suite(
        "tls-handshake",
        "Connections over TLS 1.3, ECDSA P-256, with one request each",
        TLS_SERVERS,
        (TLS_FULL, TLS_RESUMED),
        ("floor", "nginx"),
        (
            # Guards: 95 % of a handshake is OpenSSL's, the same for all who reach it by Python.
            Target("full", "edgeserver", "floor", 1.1),
            Target("full", "edgeserver-compiled", "floor", 1.05),
            Target("resumed", "edgeserver", "floor", 1.1),
            Target("resumed", "edgeserver-compiled", "floor", 1.05),
        ),
    ),
    Suite(
        "tls-download",
        "10 MiB downloads over TLS 1.3",
        TLS_SERVERS,
        (TLS_DOWNLOAD,),
        ("floor", "nginx"),
        (Target("10 MiB", "edgeserver", "floor", 1.1),),
    ),
    Suite(
        "asgi",
        "An ASGI application",
        (
            FLOOR,
            EDGESERVER_ASGI,
            EDGESERVER_ASGI_COMPILED,
            GRANIAN,
            UVICORN,
            UVICORN_ZTTP,
            HYPERCORN,
            FASTPYSGI,
            SOCKETIFY,
        ),
        (BROWSER, VARIED),
        ("edgeserver-asgi", "uvicorn", "floor", "granian", "fastpysgi"),
        (
            # On 3.12 and newer the application's first step needs no turn of the loop.
            Target("browser", "edgeserver-asgi", "floor", 2.3, before=(3, 12)),
            Target("browser", "edgeserver-asgi", "floor", 2.1, since=(3, 12)),
            Target("browser", "edgeserver-asgi", "granian", 0.75),
            Target("browser", "edgeserver-asgi", "fastpysgi", 1.0, since=(3, 12)),
            Target("varied", "edgeserver-asgi", "granian", 0.85),
            Target("varied", "edgeserver-asgi-compiled", "granian", 0.7),
        ),
    ),
    Suite(
        "http2",
        "Requests over HTTP/2 without TLS, by prior knowledge",
        (
            FRAMES,
            EDGESERVER,
            EDGESERVER_COMPILED,
            EDGESERVER_ASGI,
            EDGESERVER_ASGI_COMPILED,
            NGINX,
            GRANIAN,
            UVICORN_ZTTP,
            HYPERCORN,
        ),
        (HTTP2_ALIKE, HTTP2_PATHS),
        ("nginx", "granian", "uvicorn-zttp", "frames"),
        (
            *_http2_targets("edgeserver-asgi", "granian", 0.7, 0.85),
            *_http2_targets("edgeserver-asgi", "nginx", 1.1, 1.3),
            *_http2_targets("edgeserver-asgi", "uvicorn-zttp", 0.3, 0.35),
            *_http2_targets("edgeserver", "nginx", 0.7, 0.75),
            *_http2_targets("edgeserver-asgi-compiled", "granian", 0.6, 0.6),
        ),
    ),
    Suite(
        "http2-bodies",
        "100 streams of 1 MiB over HTTP/2; nginx hands bodies to another listener of its own",
        (EDGESERVER, EDGESERVER_ASGI, EDGESERVER_ASGI_COMPILED, NGINX, GRANIAN),
        (HTTP2_DOWNLOAD, HTTP2_UPLOAD),
        ("nginx", "granian"),
    ),
    Suite(
        "wsgi",
        "A WSGI application in threads",
        (EDGESERVER_WSGI, GRANIAN_WSGI, GUNICORN, WAITRESS),
        (BROWSER, VARIED),
        ("edgeserver-wsgi", "granian-wsgi", "gunicorn"),
        (
            Target("browser", "edgeserver-wsgi", "granian-wsgi", 1.0),
            Target("browser", "edgeserver-wsgi", "gunicorn", 1.0),
        ),
    ),
    Suite(
        "tornado",
        "A Tornado application",
        (EDGESERVER_TORNADO, EDGESERVER_TORNADO_ASYNCIO, TORNADO_WEB, TORNADO_WEB_UVLOOP),
        (BROWSER, VARIED),
        ("edgeserver-tornado", "tornado-web", "tornado-web-uvloop"),
        (
            Target("browser", "edgeserver-tornado", "tornado-web", 0.6),
            Target("browser", "edgeserver-tornado", "tornado-web-uvloop", 0.6),
            Target("browser", "edgeserver-tornado-asyncio", "tornado-web", 0.6),
        ),
    ),
    Suite(
        "websocket",
        "WebSocket echo",
        (EDGESERVER_ASGI, EDGESERVER_TORNADO, UVICORN, TORNADO_WEB, TORNADO_WEB_UVLOOP),
        (ECHO_SMALL, ECHO_LARGE),
        ("edgeserver-asgi", "uvicorn", "tornado-web"),
        (
            Target("small", "edgeserver-asgi", "uvicorn", 1.0),
            Target("large", "edgeserver-asgi", "uvicorn", 0.8),
        ),
    ),
)

IDLES = (
    IdleCase(
        "idle",
        "Memory per idle connection after one browser-like request",
        HTTP_SERVERS,
        BROWSER,
        6.0,
    ),
    IdleCase(
        "http2-idle",
        "Memory per idle HTTP/2 connection after three browser-like requests",
        (EDGESERVER, EDGESERVER_COMPILED, EDGESERVER_ASGI, NGINX, GRANIAN, HYPERCORN),
        HTTP2_ALIKE,
        12.0,
        few=200,
        many=1200,
    ),
    IdleCase(
        "tls-idle",
        "Memory per idle TLS connection after one browser-like request",
        TLS_SERVERS,
        TLS_BROWSER,
        20.0,
    ),
    IdleCase(
        "tls-idle-download",
        "Memory per idle TLS connection after an answer of 10 MiB",
        TLS_SERVERS,
        TLS_DOWNLOAD,
        60.0,
        # Each costs 10 MiB through both ends.
        few=20,
        many=120,
        quick=(10, 40),
    ),
)

STREAM_SERVERS = (
    EDGESERVER_ASGI,
    EDGESERVER_WSGI,
    EDGESERVER_TORNADO,
    UVICORN,
    GRANIAN,
    GUNICORN,
    TORNADO_WEB,
)
STREAM_LIMIT_MIB = 8.0

BESIDE_SERVERS = (EDGESERVER_ASGI, NGINX, GRANIAN)

LINEAR_SERVERS = (EDGESERVER, TORNADO)

_CLOSING = replace(BROWSER, name="closing", request="browser-close", closes=True)
_FRESH = replace(VARIED, proxied=False)
_ASGI = "serve_edgeserver_asgi"
# Ten requests of a connection come at once.
_TEN_ALIKE = replace(HTTP2_ALIKE, streams=10)
_TEN_PATHS = replace(HTTP2_PATHS, streams=10)


def _counted_policies(name: str, about: str, *options: str) -> tuple[Counted, Counted]:
    return (
        Counted(name, f"browser, {about}", FORWARDED, options),
        Counted(f"{name} varied", f"varied, {about}", _FRESH, options),
    )


COUNTED = (
    Counted("minimal", MINIMAL.about, MINIMAL),
    Counted("browser", BROWSER.about, BROWSER),
    Counted("page", PAGE.about, PAGE),
    Counted("varied", VARIED.about, VARIED),
    Counted("asgi", "browser to a bare ASGI application", BROWSER, script=_ASGI),
    Counted("asgi varied", "varied to a bare ASGI application", VARIED, script=_ASGI),
    Counted("connection", "a connection with one request, which closes it", _CLOSING),
    Counted("asgi connection", "the same to a bare ASGI application", _CLOSING, script=_ASGI),
    Counted("tls", "browser over an open TLS connection", TLS_BROWSER),
    *_counted_policies("off", "proxy headers off"),
    *_counted_policies("listed", "a TrustPolicy that lists the peer", "--trust", "listed"),
    *_counted_policies("unlisted", "one that does not: claims removed", "--trust", "unlisted"),
    Counted("minimal metered", "minimal, counted for metrics", MINIMAL, ("--metered",)),
    Counted("browser metered", "browser, counted for metrics", BROWSER, ("--metered",)),
    Counted("varied metered", "varied, counted for metrics", VARIED, ("--metered",)),
    Counted("asgi metered", "asgi, counted for metrics", BROWSER, ("--metered",), script=_ASGI),
    Counted("minimal alone", "minimal, HTTP/2 off", MINIMAL, ("--no-http2",)),
    Counted("browser alone", "browser, HTTP/2 off", BROWSER, ("--no-http2",)),
    Counted("tls alone", "tls, HTTP/2 off", TLS_BROWSER, ("--no-http2",)),
    Counted("http2", HTTP2_ALIKE.about, _TEN_ALIKE),
    Counted("http2 paths", HTTP2_PATHS.about, _TEN_PATHS),
    Counted("http2 asgi", "http2 to a bare ASGI application", _TEN_ALIKE, script=_ASGI),
    Counted("http2 asgi paths", "http2 paths to the same", _TEN_PATHS, script=_ASGI),
    Counted("http2 single", "http2, one request at a time", replace(HTTP2_ALIKE, streams=1)),
    Counted("handshake", "a full handshake, one request, close", TLS_FULL, unit="bytecodes"),
    Counted(
        "asgi handshake", "the same to a bare ASGI application", TLS_FULL, (), _ASGI, "bytecodes"
    ),
)

PARTS = (
    *(suite.name for suite in SUITES),
    *(case.name for case in IDLES),
    "http2-beside",
    "stream",
    "linear",
    "hostile",
    "instructions",
)
# What one issue asks for, by one name.
GROUPS = {
    "all-tls": ("tls", "tls-handshake", "tls-download", "tls-idle", "tls-idle-download"),
    "all-http2": ("http2", "http2-bodies", "http2-idle", "http2-beside"),
    "hosting": ("asgi", "wsgi", "tornado", "websocket", "stream"),
}
