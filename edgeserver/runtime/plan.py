"""The plan of `serve`: everything that its flags decided, in one value.

Decides nothing itself: each group of flags (`cli/flags/`) writes its part here, and `worker.py`
and `supervisor.py` carry it out. It must not know a flag's name.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeserver.config.bind import Bind

if TYPE_CHECKING:
    from edgeserver.tls import TLSContexts

__all__ = ["Hook", "Listener", "ServePlan"]

SHUTDOWN_TIMEOUT_S = 10.0
"""The longest that adapters take by default to stop an application."""

KILL_GRACE_S = 1.0
"""How much longer than all its time limits a worker may take before it is killed."""

Hook = Callable[[Any], Awaitable[None] | None]
"""Called with the server, in the process that serves; it may be a coroutine function."""


@dataclass(kw_only=True)
class Listener:
    """One `--bind`, and the sockets that it became.

    Args:
        bind: What the flag said.
        is_tls: Whether connections start with TLS.
        sockets: The listening sockets, once opened.
    """

    bind: Bind
    is_tls: bool
    sockets: list[socket.socket] = field(default_factory=list)


@dataclass(kw_only=True)
class ServePlan:
    """Everything that `serve` needs to know to start.

    Args:
        target: `MODULE:ATTR` of the application.
        app_dir: The application's directory.
        interface: `"auto"`, or the kind of application that the user says it is.
        factory: Whether to call the attribute first.
        adapter_options: What the application's adapter is given.
        spell_option: Writes an adapter's option as its user has.
        server_options: Keyword arguments of `HTTPServer`.
        listeners: Where to listen.
        redirects: Plain listeners that only send clients to https.
        backlog: The length of the queue of connections not yet accepted.
        reuse_port: Whether other processes may listen on the same port.
        tls: The contexts of https listeners, which all workers share; None without TLS.
        workers: How many processes serve.
        single_process: Whether the first process serves itself, and nothing watches it.
        start_timeout_s: How long a worker may take to start; 0 for no limit.
        worker_timeout_s: How long its event loop may be held by one call; 0 for no limit.
        slow_loop_s: From when on it is logged that it was; 0 for never.
        max_requests: After about how many requests a worker is renewed; 0 for never.
        max_lifetime_s: After about how long a worker is renewed; 0 for never.
        max_memory: With how many bytes of memory a worker is renewed; 0 for never.
        graceful_timeout_s: How long requests in flight may take after a stop.
        drain_idle_s: How long a connection may be silent after a stop before it is closed.
        access_log_format: `"text"`, `"json"`, or None for no access log.
        debug: Whether errors show their traceback.
        notes: Lines to print at start, after the addresses.
        on_start: Called before the first connection is accepted.
        on_reload: Called on SIGHUP.
        on_reopen: Called on SIGUSR1, when log files were renamed.
        on_stop: Called after the last connection has ended.
        on_abort: Called instead where the process is to end at once; they may take a second.
    """

    target: str
    app_dir: str = "."
    interface: str = "auto"
    factory: bool = False
    adapter_options: dict[str, Any] = field(default_factory=dict)
    spell_option: Callable[[str], str] = repr
    server_options: dict[str, Any] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    redirects: list[Listener] = field(default_factory=list)
    backlog: int = 128
    reuse_port: bool = False
    tls: TLSContexts | None = None
    workers: int = 1
    single_process: bool = False
    start_timeout_s: float = 60.0
    worker_timeout_s: float = 60.0
    slow_loop_s: float = 0.0
    max_requests: int = 0
    max_lifetime_s: float = 0.0
    max_memory: int = 0
    graceful_timeout_s: float = 30.0
    drain_idle_s: float = 1.0
    access_log_format: str | None = "text"
    debug: bool = False
    notes: list[str] = field(default_factory=list)
    on_start: list[Hook] = field(default_factory=list)
    on_reload: list[Hook] = field(default_factory=list)
    on_reopen: list[Hook] = field(default_factory=list)
    on_stop: list[Hook] = field(default_factory=list)
    on_abort: list[Callable[[], object]] = field(default_factory=list)

    @property
    def stop_timeout_s(self) -> float:
        """How long a worker may take to stop before it is killed.

        Requests have the graceful timeout; then an application's tasks, and again its own
        shutdown, have the shutdown timeout.
        """
        shutdown_s: float = self.adapter_options.get("shutdown_timeout", SHUTDOWN_TIMEOUT_S)
        return self.graceful_timeout_s + 2 * shutdown_s + KILL_GRACE_S
