"""What `serve` is going to do: everything that its flags decided, in one value.

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

KILL_GRACE_S = 5.0
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
        redirect_port: Where they send to: the port of https as clients see it; None for the one
            that is listened on.
        backlog: The length of the queue of connections not yet accepted.
        reuse_port: Whether other processes may listen on the same port.
        tls: The contexts of https listeners, which all workers share; None without TLS.
        workers: How many processes serve.
        graceful_timeout_s: How long requests in flight may take after a stop.
        access_log_format: `"text"`, `"json"`, or None for no access log.
        debug: Whether errors show their traceback.
        notes: Lines to print at start, after the addresses.
        on_start: Called before the first connection is accepted.
        on_reload: Called on SIGHUP.
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
    redirect_port: int | None = None
    backlog: int = 128
    reuse_port: bool = False
    tls: TLSContexts | None = None
    workers: int = 1
    graceful_timeout_s: float = 30.0
    access_log_format: str | None = "text"
    debug: bool = False
    notes: list[str] = field(default_factory=list)
    on_start: list[Hook] = field(default_factory=list)
    on_reload: list[Hook] = field(default_factory=list)
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
