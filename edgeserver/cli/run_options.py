"""The settings of `edgeserver.run`: those of `edgeserver serve`, as arguments of a call.

Decides nothing: each is an entry of `config.model`, where its meaning and default stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

__all__ = ["RunOptions"]


class RunOptions(TypedDict, total=False):
    """The settings of `run`; each may be left out, and None is as if it were."""

    # Application.
    app_dir: str | None
    interface: Literal["auto", "callback", "asgi", "wsgi", "tornado"] | None
    factory: bool | None
    root_path: str | None
    threads: int | None
    wsgi_buffering: bool | None
    lifespan: Literal["auto", "on", "off"] | None
    shutdown_timeout: float | None
    ws_max_size: int | str | None
    ws_ping_interval: float | None
    ws_ping_timeout: float | None
    ws_per_message_deflate: bool | None

    # Listening.
    bind: str | Sequence[str] | None
    http2: bool | None
    http_redirect: str | None
    backlog: int | None
    reuse_port: bool | None

    # TLS.
    certfile: str | None
    keyfile: str | None
    key_password_file: str | None
    ca_certs: str | None
    cert_reqs: Literal["none", "optional", "required"] | None
    crl: str | None
    ciphers: str | None
    tls_policy: Literal["default", "modern"] | None
    tickets: int | None
    tls_host: str | Sequence[str] | None
    handshake_timeout: float | None
    hsts: int | None
    dev_tls: bool | None

    # Behind a proxy.
    trust: str | Sequence[str] | None
    trust_file: str | Sequence[str] | None
    trust_file_max_age: int | None
    source: str | None
    proto_header: str | None
    max_hops: int | None
    unlisted: Literal["strip", "keep"] | None
    undeclared: Literal["strip", "keep"] | None
    xheaders: bool | None
    trusted_downstream: str | Sequence[str] | None
    protocol: Literal["http", "https"] | None

    # Audit.
    audit_log: str | None
    audit_findings: bool | None
    audit_sample: float | None
    audit_echo: str | None
    audit_token_file: str | None

    # Operators.
    admin: str | Sequence[str] | None
    admin_token_file: str | None

    # Limits (of one worker).
    max_header_size: int | str | None
    max_header_fields: int | None
    max_streams: int | None
    max_resets: int | None
    max_body_size: int | str | None
    max_buffer_size: int | str | None
    max_held: int | str | None
    chunk_size: int | str | None
    idle_connection_timeout: float | None
    header_timeout: float | None
    body_timeout: float | None
    write_timeout: float | None
    max_connections: int | None
    max_connections_per_client: int | None
    max_in_flight: int | None
    client_rate: str | None
    client_connections: int | None
    decompress_request: bool | None
    no_keep_alive: bool | None

    # Logs.
    access_log: str | bool | None
    no_access_log: bool | None
    access_log_format: Literal["text", "json", "combined"] | None
    access_log_sample: float | None
    request_id_header: str | None
    slow_request: float | None
    log_format: Literal["text", "json"] | None
    log_level: Literal["debug", "info", "warning", "error", "critical"] | None
    log_config: str | None

    # Process.
    workers: int | None
    single_process: bool | None
    start_timeout: float | None
    worker_timeout: float | None
    slow_loop: float | None
    max_requests: int | None
    max_lifetime: float | None
    max_memory: int | str | None
    graceful_timeout: float | None
    drain_idle: float | None
    drain_delay: float | None
    reload: bool | None
    loop: Literal["auto", "uvloop", "asyncio"] | None
    debug: bool | None
