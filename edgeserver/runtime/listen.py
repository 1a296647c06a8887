"""`listen`: a server for any kind of application, in one call.

Decides which of its options are the listener's, the server's and the adapter's. What an
application is, and what runs it, is for `adapters` to say.

Source: `tornado.web.Application.listen`, which this is to every kind of application.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Callable
from typing import Any, Literal, Unpack

from edgeserver.adapters.detect import detect_interface, make_delegate
from edgeserver.httpserver import HTTPServer
from edgeserver.ioloop import IOLoop
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.runtime.lifecycle import Lifecycle
from edgeserver.runtime.listen_options import ListenOptions
from edgeserver.support.loggers import app_log
from edgeserver.tcpserver import TCPServer

__all__ = ["ApplicationServer", "listen"]


_STARTING = "application's start"


class ApplicationServer(HTTPServer):
    """An `HTTPServer` that starts and stops its application, where that has anything to do then.

    Until the application has started, connections wait in the system's queue. It is stopped once,
    at the end of `drain` or of `close_all_connections`.
    """

    _lifecycle: Lifecycle | None = None  # of the application, once it was given one
    _starting: asyncio.Task[None] | None = None  # the start, where the loop ran already

    def run_application(self, delegate: Any) -> None:
        """Start the application behind `delegate`, and accept connections from then on.

        In a loop that runs, this goes on behind the caller's back; see `started`. In one that
        does not run yet it is done when this returns.

        Raises:
            Exception: What the application's start has raised, where that was waited for.
        """
        lifecycle = self._lifecycle = Lifecycle(delegate)
        loop = IOLoop.current().asyncio_loop
        if not loop.is_running():
            loop.run_until_complete(self._start(lifecycle))
        elif lifecycle.has_startup:
            self._starting = loop.create_task(self._start(lifecycle))
            self._starting.add_done_callback(_log_failure)
        else:
            self.resume_accepting(by=_STARTING)

    async def started(self) -> None:
        """Wait until the application has started and connections are accepted.

        Raises:
            Exception: The application did not start; nothing is listened on any more.
        """
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def drain(self, timeout: float = 30, *, idle: float = 1.0) -> bool:
        """Stop accepting, wait for what is in flight, then close and stop the application.

        Args:
            timeout: How many seconds to wait for what is in flight.
            idle: How long a connection may be silent before it is closed.

        Returns:
            Whether everything in flight was finished in time.
        """
        in_time = await super().drain(timeout, idle=idle)
        await self._stop_application()
        return in_time

    async def close_all_connections(self) -> None:
        """Close every connection, idle or busy, and stop the application if no more can come."""
        await super().close_all_connections()
        if not self.listeners:
            await self._stop_application()

    async def _start(self, lifecycle: Lifecycle) -> None:
        try:
            await lifecycle.start()
        except BaseException:
            self.stop()
            raise
        self.resume_accepting(by=_STARTING)

    async def _stop_application(self) -> None:
        if self._lifecycle is not None:
            await self._lifecycle.stop()


def listen(
    app: Any,
    port: int,
    address: str = "",
    *,
    interface: Literal["auto", "callback", "asgi", "wsgi", "tornado", "delegate"] = "auto",
    **options: Unpack[ListenOptions],
) -> ApplicationServer:
    """Serve an application of any kind on a port from now on, and return its server.

    It works before the event loop runs, too, and does not run it: a program that ends behind this
    call serves nobody. `edgeserver.run(app)` serves until a signal.

    An application with something to do at its start (ASGI's lifespan) does it before the first
    connection is accepted; await the returned server's `started()` to know of it.

    Args:
        app: A callback, a delegate, or an ASGI, WSGI or Tornado application.
        port: The port; 0 for any that is free.
        address: The address or host name to listen on; all addresses where it is empty.
        interface: What `app` is, where its shape does not say it; see `detect_interface`.
        **options: Those of `TCPServer.listen` (`family`, `backlog`, `flags`, `reuse_port`) and of
            `HTTPServer` (`ssl_options`, `trust`, `max_body_size` ...); all others are the
            adapter's (`threads` and `root_path` for WSGI, for instance).

    Raises:
        TypeError: There is no such option.
        ConfigurationError: `app` is of no kind that is known, or an option cannot work, or means
            nothing to an application of this kind.
        OSError: The port cannot be bound.
    """
    given: dict[str, Any] = {**options}
    for name in given:
        if name not in ListenOptions.__annotations__:
            near = difflib.get_close_matches(name, ListenOptions.__annotations__, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see edgeserver.listen"
            raise TypeError(f"a server has no option {name!r}; {hint}")
    kind = detect_interface(app) if interface == "auto" else interface
    listening = _take(given, TCPServer.listen)
    serving = _take(given, HTTPServer.initialize)
    if not any(serving.get(name) for name in ("trust", "xheaders", "trusted_downstream")):
        serving["trust"] = TrustPolicy.off()  # given, so that who claims something is warned of
    delegate = make_delegate(kind, app, given)
    server = ApplicationServer(delegate, **serving)
    server.pause_accepting(by=_STARTING)
    server.listen(port, address, **listening)
    try:
        server.run_application(delegate)
    except BaseException:
        server.stop()
        raise
    return server


def _take(options: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Remove from `options` those that `function` takes, and return them."""
    return {
        name: options.pop(name)
        for name in inspect.signature(function).parameters
        if name in options
    }


def _log_failure(starting: asyncio.Task[None]) -> None:
    if starting.cancelled():
        return
    error = starting.exception()
    if error is not None:
        app_log.error("the application did not start; its server has stopped", exc_info=error)
