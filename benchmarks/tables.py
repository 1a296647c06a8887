"""The tables: which servers, which workloads, which targets. New ones join here.

Decides only what is measured; `rounds`, `idle` and `linear` decide how.
"""

from __future__ import annotations

from benchmarks.model import Server, Suite, Target, Workload

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

# --- workloads -------------------------------------------------------------------------------

MINIMAL = Workload("minimal", "one field, proxy headers off", "minimal")
BROWSER = Workload(
    "browser",
    "ten fields, X-Forwarded-For of three hops, proxy headers on",
    "browser",
    proxied=True,
)
VARIED = Workload(
    "varied",
    "the same, with path, cookie and client address different in every request",
    "varied",
    proxied=True,
    varied=True,
)
UPLOAD = Workload("upload", "POST of 1 MiB", "upload", body_bytes=MIB, connections=8)
DOWNLOAD = Workload("download", "answer of 1 MiB", "download", answer_bytes=MIB, connections=8)

# --- suites ----------------------------------------------------------------------------------

SUITES = (
    Suite(
        "http",
        "Requests over plain HTTP",
        (
            FLOOR,
            EDGESERVER,
            NGINX,
            GRANIAN,
            UVICORN,
            AIOHTTP,
            HYPERCORN,
            TORNADO,
            TORNADO_UVLOOP,
            TORNADO_WEB,
        ),
        (MINIMAL, BROWSER, VARIED),
        ("floor", "tornado"),
        (
            Target("browser", "edgeserver", "floor", 2.0),
            Target("browser", "edgeserver", "tornado", 0.125),
            Target("varied", "edgeserver", "floor", 2.4),
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
        "asgi",
        "An ASGI application",
        (FLOOR, EDGESERVER_ASGI, GRANIAN, UVICORN, HYPERCORN),
        (MINIMAL, BROWSER, VARIED),
        ("edgeserver-asgi", "uvicorn", "granian"),
        (
            Target("browser", "edgeserver-asgi", "uvicorn", 0.7),
            Target("browser", "edgeserver-asgi", "granian", 1.0),
        ),
    ),
    Suite(
        "wsgi",
        "A WSGI application in threads",
        (EDGESERVER_WSGI, GRANIAN_WSGI, GUNICORN, WAITRESS),
        (MINIMAL, BROWSER),
        ("edgeserver-wsgi", "granian-wsgi", "gunicorn"),
        (
            Target("browser", "edgeserver-wsgi", "granian-wsgi", 1.0),
            Target("browser", "edgeserver-wsgi", "gunicorn", 1.0),
        ),
    ),
)

IDLE_SERVERS = (FLOOR, EDGESERVER, NGINX, GRANIAN, UVICORN, AIOHTTP, HYPERCORN, TORNADO)
IDLE_LIMIT_KIB = 6.0

LINEAR_SERVERS = (EDGESERVER, TORNADO)
