"""What the server scripts share: options, the answer, and whom they trust.

Every script takes PORT and these options, serves on 127.0.0.1 in one process (or one worker),
writes no access log, and answers `/client` with the client address that it resolved.
"""

from __future__ import annotations

import argparse
import os
import ssl
from pathlib import Path

HOST = "127.0.0.1"
CLIENT_TARGET = "/client"
LARGE_TARGET = "/large"
# The two proxies that stand right of the client in requests/browser.txt and requests/varied.txt.
PROXIES = ("10.20.0.7", "10.30.0.9")
KEEP_ALIVE_SECONDS = 600
BACKLOG = 2048
THREADS = 8  # of every WSGI server

# What the applications that stream do, see `benchmarks/streaming.py`: they wait before they read.
PIECE = 1 << 16
MOST_BODY = 1 << 30
PAUSE_SECONDS = 0.5


def parser() -> argparse.ArgumentParser:
    """Return a parser for the options that the harness may give to any script."""
    options = argparse.ArgumentParser()
    options.add_argument("port", type=int)
    options.add_argument("--proxied", action="store_true", help="resolve X-Forwarded-For")
    options.add_argument("--answer-bytes", type=int, default=13)
    options.add_argument("--request-bytes", type=int, default=0, help="head and body of a request")
    options.add_argument("--body", choices=("count", "join"), help="what becomes of request bodies")
    options.add_argument("--max-header-size", type=int)
    options.add_argument("--max-header-fields", type=int)
    options.add_argument("--trust", choices=("listed", "unlisted"), help="edgeserver: by a policy")
    options.add_argument("--metered", action="store_true", help="edgeserver: counts for metrics")
    options.add_argument("--without", choices=("bulk", "slow-turn"), help="edgeserver: a road less")
    options.add_argument("--busy-us", type=int, default=0, help="edgeserver: before each answer")
    options.add_argument("--read-field", help="a field that the application looks at")
    options.add_argument("--tls", action="store_true", help="HTTPS with the harness's certificate")
    options.add_argument("--http2", action="store_true", help="HTTP/2 without TLS, nothing else")
    options.add_argument("--no-http2", action="store_true", help="edgeserver: HTTP/1 alone")
    options.add_argument("--closes", action="store_true", help="every request says it is the last")
    options.add_argument("--backlog", type=int, default=BACKLOG, help="edgeserver: of its socket")
    apps = ("app", "reader", "echo", "stream", "beside")
    options.add_argument("--app", choices=apps, default="app")
    return options


def pair() -> tuple[str, str]:
    """Return the files of the certificate and of its key, which the harness has made."""
    home = Path(os.environ["BENCH_CERTIFICATES"])
    return str(home / "server.pem"), str(home / "server.key")


def http2_choice(options: argparse.Namespace) -> dict[str, bool]:
    """Return what edgeserver is told of HTTP/2: nothing, unless it is to do without."""
    return {"http2": False} if options.no_http2 else {}


def ssl_options(options: argparse.Namespace) -> dict[str, str] | None:
    """Return what edgeserver takes for TLS."""
    return dict(zip(("certfile", "keyfile"), pair(), strict=True)) if options.tls else None


def ssl_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the plainest context that has the certificate."""
    if not options.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair())
    return context


def answer(answer_bytes: int) -> bytes:
    """Return the body of every answer."""
    return b"Hello, world!" if answer_bytes == 13 else b"x" * answer_bytes


def walk(forwarded: str | None, peer: str) -> str:
    """Return the first address from the right that is no proxy of ours.

    For the servers that bring nothing of their own for it.
    """
    if not forwarded:
        return peer
    address = peer
    for entry in reversed(forwarded.split(",")):
        address = entry.strip()
        if address not in PROXIES:
            break
    return address
