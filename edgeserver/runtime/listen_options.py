"""The options of `listen`: what it takes beside the application, the port and the address.

Decides nothing: each is an argument of `TCPServer.listen`, of `HTTPServer` or of the adapter of one
kind of application, where its meaning and default stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from edgeserver.audit.log import AuditLog
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.tcpserver import SSLOptions

__all__ = ["ListenOptions"]


class ListenOptions(TypedDict, total=False):
    """The options of `listen`; each may be left out."""

    # Of the socket.
    family: int
    backlog: int
    flags: int | None
    reuse_port: bool

    # Of the server.
    no_keep_alive: bool
    xheaders: bool
    ssl_options: SSLOptions | None
    protocol: Literal["http", "https"] | None
    decompress_request: bool
    chunk_size: int | None
    max_header_size: int | None
    idle_connection_timeout: float | None
    body_timeout: float | None
    max_body_size: int | None
    max_buffer_size: int | None
    trusted_downstream: list[str] | None
    header_timeout: float
    write_timeout: float
    max_header_fields: int
    max_connections: int | None
    max_connections_per_client: int | None
    max_held: int | None
    trust: TrustPolicy | None
    proxy_protocol: Literal["v1", "v2", "any"] | None
    http2: bool | Literal["only"]
    max_streams: int
    max_resets: int
    access_log: Callable[[Any], None] | None
    audit_log: AuditLog | None
    https_redirect: bool
    strict_transport_security: str | None
    request_id_header: str | None
    slow_request: float | None
    max_in_flight: int | None
    client_rate: str | None
    client_connections: int | None

    # Of the adapter: ASGI, WSGI, or both.
    root_path: str
    threads: int
    wsgi_buffering: bool
    multiprocess: bool
    lifespan: Literal["auto", "on", "off"]
    shutdown_timeout: float
    ws_max_size: int
    ws_ping_interval: float | None
    ws_ping_timeout: float | None
    ws_per_message_deflate: bool
