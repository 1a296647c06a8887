"""One process that serves: application, event loop, server, signals, and the graceful end.

Decides the order of these. It must not know flags, nor whether other processes serve beside it.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

from edgeserver.adapters.detect import detect_interface, make_delegate
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.httpserver import HTTPServer
from edgeserver.logs.access import AccessLog
from edgeserver.logs.format import RecordFormatter
from edgeserver.runtime.exits import EXIT_OK, StartError
from edgeserver.runtime.loading import load_application
from edgeserver.runtime.plan import Hook, ServePlan
from edgeserver.server.redirect import HTTPSRedirect
from edgeserver.support.escape import escape
from edgeserver.support.loggers import app_log, gen_log

__all__ = ["run_process"]

REDIRECT_IDLE_S = 10.0

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_process(
    plan: ServePlan,
    *,
    ready: Callable[[str], None],
    stop_signals: Iterable[signal.Signals] = _STOP_SIGNALS,
    lifeline: int | None = None,
) -> int:
    """Serve the application of `plan` on its open sockets until a signal ends it.

    Args:
        plan: What to do.
        ready: Called once connections are accepted, with what the application was taken for.
        stop_signals: Which signals stop gracefully; the second one ends at once.
        lifeline: A descriptor whose end of file also stops gracefully.

    Returns:
        The exit code: 0 after a graceful stop.

    Raises:
        ConfigurationError: The application or a setting is wrong.
        StartError: The application cannot be started.
    """
    app = load_application(plan.target, app_dir=plan.app_dir, factory=plan.factory)
    try:
        kind = detect_interface(app) if plan.interface == "auto" else plan.interface
        options = _adapter_options(plan, kind)
        delegate = make_delegate(kind, app, options, spelled=plan.spell_option)
    except ConfigurationError as error:
        raise ConfigurationError(f"{escape(plan.target)}: {error}") from error
    _configure_logging()
    log = None
    # Tornado applications log themselves; an output that was closed at start is None.
    if plan.access_log_format is not None and kind != "tornado" and sys.stdout is not None:
        log = AccessLog(sys.stdout, plan.access_log_format)
    # What the imports left lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    process = _Process(plan, delegate, log)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(process.serve(lambda: ready(kind), tuple(stop_signals), lifeline))
    finally:
        if log is not None:
            log.close()
    return EXIT_OK


def _adapter_options(plan: ServePlan, kind: str) -> dict[str, Any]:
    """Return what the adapter is given: what flags say, and what only this process knows."""
    if kind == "wsgi":
        return plan.adapter_options | {"multiprocess": plan.workers > 1}
    return plan.adapter_options


class _Process:
    """The serving process: a server, and what starts and stops with it."""

    def __init__(self, plan: ServePlan, delegate: Any, log: AccessLog | None) -> None:
        self._plan = plan
        self._delegate = delegate
        self._log = log
        self._stopping = asyncio.Event()
        self._asked_to_stop = False
        self._loop: asyncio.AbstractEventLoop

    async def serve(
        self,
        ready: Callable[[], None],
        stop_signals: tuple[signal.Signals, ...],
        lifeline: int | None,
    ) -> None:
        """Start, say so, wait for the end, and finish what is in flight."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        for number in stop_signals:
            # Not the loop's own handlers: this one also interrupts an application that blocks it.
            signal.signal(number, self._on_stop_signal)
        server = self._make_server()
        await self._start_application()
        await self._run_hooks(self._plan.on_start, server)
        for listener in self._plan.listeners:
            options: dict[str, Any] = {}
            if listener.is_tls:
                options["ssl_options"] = self._plan.tls
            if listener.bind.proxy is not None:
                options["proxy_protocol"] = listener.bind.proxy
            server.add_sockets(listener.sockets, **options)
        redirecting = self._start_redirects()
        loop.add_signal_handler(signal.SIGHUP, self._on_reload_signal, server)
        if lifeline is not None:
            loop.add_reader(lifeline, self._on_parent_gone, lifeline)
        ready()
        await self._stopping.wait()
        timeout_s = self._plan.graceful_timeout_s
        await asyncio.gather(*(each.drain(timeout=timeout_s) for each in (server, *redirecting)))
        await self._call_application("shutdown")
        await self._run_hooks(self._plan.on_stop, server)

    def _start_redirects(self) -> list[HTTPServer]:
        """Start what sends clients of plain ports to https: a server for each port to send to."""
        servers: dict[int, HTTPServer] = {}
        for listener in self._plan.redirects:
            port = self._plan.redirect_port or self._https_port(listener.bind.host)
            if port not in servers:
                servers[port] = HTTPServer(
                    HTTPSRedirect(port),
                    idle_connection_timeout=REDIRECT_IDLE_S,
                    body_timeout=REDIRECT_IDLE_S,
                    max_body_size=sys.maxsize,  # never read: it is answered at the head
                    access_log=self._log,
                )
            servers[port].add_sockets(listener.sockets)
        return list(servers.values())

    def _https_port(self, host: str) -> int:
        """Return the port on which https is listened on at `host`."""
        secure = next(
            listener
            for listener in self._plan.listeners
            if listener.is_tls and listener.bind.port is not None and listener.bind.host == host
        )
        port: int = secure.sockets[0].getsockname()[1]
        return port

    def _make_server(self) -> HTTPServer:
        """Return the server; a wrong setting that only it knows is a `ConfigurationError`."""
        try:
            return HTTPServer(self._delegate, access_log=self._log, **self._plan.server_options)
        except ConfigurationError:
            raise
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    async def _start_application(self) -> None:
        """Let the application start, where its adapter has something to start."""
        try:
            await self._call_application("startup")
        except EdgeServerError:
            raise
        except Exception as error:
            raise StartError(f"the application did not start: {error}") from error

    async def _call_application(self, name: str) -> None:
        """Call the delegate's method `name` if it has one."""
        method = getattr(self._delegate, name, None)
        if inspect.iscoroutinefunction(method):
            await method()

    async def _run_hooks(self, hooks: Iterable[Hook], server: HTTPServer) -> None:
        """Call each hook with the server."""
        for hook in hooks:
            result = hook(server)
            if inspect.isawaitable(result):
                await result

    def _on_stop_signal(self, number: int, frame: object) -> None:
        """Begin the graceful end; asked again, end the process at once."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            self._loop.call_soon_threadsafe(self._begin_stop, signal.Signals(number).name)
            return
        try:
            if self._log is not None:
                self._log.flush()
            for hook in self._plan.on_abort:
                hook()
        finally:
            os._exit(128 + number)

    def _begin_stop(self, why: str) -> None:
        """Say that the end begins, and let it."""
        gen_log.info(
            "%s: stopping; requests in flight have %g s, a second signal ends at once",
            why,
            self._plan.graceful_timeout_s,
        )
        self._stopping.set()

    def _on_parent_gone(self, lifeline: int) -> None:
        """Stop gracefully: the process that would have told us to is gone."""
        asyncio.get_running_loop().remove_reader(lifeline)
        gen_log.warning("the parent process is gone; stopping")
        self._stopping.set()

    def _on_reload_signal(self, server: HTTPServer) -> None:
        """Run the reload hooks; one that fails changes nothing for the others."""
        asyncio.get_running_loop().create_task(self._reload(server))

    async def _reload(self, server: HTTPServer) -> None:
        """Call each reload hook, logging what it raises."""
        gen_log.info("SIGHUP: reloading")
        failures = 0
        for hook in self._plan.on_reload:
            try:
                await self._run_hooks([hook], server)
            except EdgeServerError as error:
                failures += 1
                gen_log.error("SIGHUP: %s; what was there before stays", error)
            except Exception:
                failures += 1
                app_log.exception("SIGHUP: a reload failed; what was there before stays")
        gen_log.info("SIGHUP: reloaded%s", ", but for what failed" if failures else "")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop: uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _configure_logging() -> None:
    """Show our logs on standard error, unless the application has set logging up itself."""
    logger = logging.getLogger("edgeserver")
    if logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(RecordFormatter("%(asctime)s [%(process)d] %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
