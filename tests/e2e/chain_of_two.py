"""Two real proxies before an echo: the chains of the two commonest mistakes, and a right one.

Decides how HAProxy and nginx are put one behind the other on loopback, each with an address of its
own, and which log the inner one writes.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeserver.adapters.callback import CallbackAdapter
from edgeserver.audit.echo import Echo, EchoGate, nothing
from edgeserver.audit.nonces import NonceBook
from edgeserver.httpserver import HTTPServer
from edgeserver.netutil import bind_sockets
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.proxies import Proxy, haproxy_sections, nginx_blocks

__all__ = ["EDGE", "INNER", "PATH", "TOKEN", "YOU", "Chain", "EchoServer", "chain_of_two",
           "echo_server", "send_as"]  # fmt: skip

YOU, EDGE, INNER = "127.0.0.66", "127.0.0.5", "127.0.0.6"
PATH = "/.well-known/edgeserver-audit"
TOKEN = b"0123456789abcdef0123456789abcdef"

APPENDS = "option forwardfor"
SETS_SCHEME = "http-request set-header X-Forwarded-Proto http"

_HAPROXY = """
frontend edge
  mode http
  bind :443
  bind unix@{named} accept-proxy
  {lines}
  default_backend inner
backend inner
  mode http
  source {edge}
  server inner {host}:{port}
"""

_NGINX = """
log_format audit '$realip_remote_addr - $remote_user [$time_local] "$request" $status '
                 '$body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
server {{
  listen 443;
  server_name shop.example;
  access_log {log} audit;
  location / {{
    proxy_pass http://127.0.0.1:{port};
    proxy_bind {inner};
    proxy_set_header Host $host;
    {lines}
  }}
}}
"""

RIGHT_INNER = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"


@dataclass(frozen=True)
class Chain:
    """Two proxies that run.

    Args:
        port: Where the outer one listens, at 127.0.0.1.
        haproxy: The outer one's configuration.
        nginx: The inner one's.
        log: The inner one's access log.
        named: A socket of the outer one that takes a client's address from a PROXY prelude.
    """

    port: int
    haproxy: Path
    nginx: Path
    log: Path
    named: str


@contextlib.contextmanager
def chain_of_two(
    directory: Path, port: int, *, edge: str = APPENDS, inner: str = RIGHT_INNER
) -> Iterator[Chain]:
    """Run HAProxy before nginx before a port of 127.0.0.1.

    Args:
        directory: Where their files go.
        port: What stands behind.
        edge: Lines of HAProxy's frontend.
        inner: Lines of nginx's location.
    """
    log = directory / "access.log"
    blocks = _NGINX.format(log=log, port=port, inner=INNER, lines=inner)
    with nginx_blocks(directory, blocks) as nginx:
        lines = "\n  ".join((edge, SETS_SCHEME))
        # a path of its own: those of tests are too long for a socket
        with tempfile.TemporaryDirectory(prefix="edge") as short:
            named = f"{short}/named"
            sections = _HAPROXY.format(
                lines=lines, edge=EDGE, host="127.0.0.1", port=nginx.port, named=named
            )
            with haproxy_sections(directory, sections) as haproxy:
                yield Chain(haproxy.port, _conf(haproxy), _conf(nginx), log, named)


def send_as(chain: Chain, client: str, head: str = "", *, path: str = "/") -> bytes:
    """Send one request through a chain as a client of any address, and return the answer.

    A load balancer stands in front that says so in a PROXY prelude.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(chain.named)
        prelude = f"PROXY TCP4 {client} 192.0.2.1 4711 80\r\n"
        request = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n{head}Connection: close\r\n\r\n"
        sock.sendall((prelude + request).encode())
        received = b""
        while piece := sock.recv(65536):
            received += piece
    return received


def _conf(proxy: Proxy) -> Path:
    return proxy.log_files[0].parent / "conf"


@dataclass(frozen=True)
class EchoServer:
    """An echo that runs, and what it takes a request for."""

    server: HTTPServer
    port: int


@contextlib.asynccontextmanager
async def echo_server(*trusted: str, **options: Any) -> AsyncIterator[EchoServer]:
    """Run an echo that answers as often as a test asks."""
    echo = Echo(lambda: TOKEN, book=NonceBook(per_second=1000))
    gate = EchoGate(echo, PATH, CallbackAdapter(nothing))
    server = HTTPServer(gate, trust=TrustPolicy(list(trusted)), **options)
    echo.attach(server)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield EchoServer(server, sockets[0].getsockname()[1])
    finally:
        server.stop()
        await server.close_all_connections()
