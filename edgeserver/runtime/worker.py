"""One process that serves: application, event loop, server, signals, and the graceful end.

Decides the order of these. It must not know flags, nor whether other processes serve beside it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.httpserver import HTTPServer
from edgeserver.logs.access import AccessLog
from edgeserver.logs.setup import ErrorLog, reopen_files
from edgeserver.operate.sampling import Sampler
from edgeserver.runtime.application import prepare_application
from edgeserver.runtime.exits import EXIT_OK, StartError
from edgeserver.runtime.lifecycle import Lifecycle, run_hooks
from edgeserver.runtime.link import ParentLink
from edgeserver.runtime.loading import add_app_dir, describe_startup
from edgeserver.runtime.manager import ServiceManager
from edgeserver.runtime.memory import keep_freed_memory
from edgeserver.runtime.outputs import Outputs
from edgeserver.runtime.plan import HTTP2_MODES, Hook, PlannedListener, ServePlan
from edgeserver.runtime.reload import put_in_force, reread
from edgeserver.runtime.slowloop import watch_loop
from edgeserver.server.redirect import HTTPSRedirect
from edgeserver.support.escape import escape
from edgeserver.support.loggers import app_log, gen_log
from edgeserver.support.spelling import spell_settings
from edgeserver.tcpserver import Listener as ServedListener

__all__ = ["run_process"]

REDIRECT_IDLE_S = 10.0

REPORT_EVERY_S = 2.0
"""How often is said, while the end waits for requests, which ones they are."""

NAMED = 5
"""How many of them are named."""

BEAT_S = 1.0
"""How often the event loop shows that it turns."""

LEFTOVER_S = 1.0
"""How long tasks have to end that are still there once the application has stopped."""

ORPHAN_S = 5.0
"""How much later a worker ends its own start than its parent would."""

ABORT_S = 1.0
"""How long each log has to be written where the process ends at once."""

_STARTING = "process's start"

TELL_START_S = 2.0
"""After so long is said what a start waits for."""

JITTER = 0.1
"""By which share `max_requests` differs, so that workers are not all renewed together."""


def run_process(
    plan: ServePlan,
    *,
    announce: Callable[[str], None],
    link: ParentLink | None = None,
    manager: ServiceManager | None = None,
) -> int:
    """Serve the application of `plan` on its open sockets until a signal ends it.

    Args:
        plan: What to do.
        announce: Called once connections are accepted, with what the application was taken for.
        link: The way to the parent that watches this process, None where there is none: then the
            time limits of start and stop end the process themselves.
        manager: The service manager, where this process itself tells it of start, reload and end.

    Returns:
        The exit code: 0 after a graceful stop.

    Raises:
        ConfigurationError: The application or a setting is wrong.
        StartError: The application cannot be started.
    """
    if manager is not None and plan.start_timeout_s:
        manager.needs(plan.start_timeout_s)
    if plan.reloads:
        # Python takes a source of the same second and length for the one that it has compiled.
        sys.dont_write_bytecode = True
    place = None if link is None else link.place
    errors = ErrorLog(**plan.logging.handler_options, worker=place)
    if plan.logging_config is not None:
        add_app_dir(plan.app_dir)  # it may name the application's own classes
    errors.begin(plan.logging_config, plan.logging.config or "")
    spell_settings(plan.spell_option)
    try:
        return _run(plan, announce, link, manager, errors)
    finally:
        spell_settings(None)
        errors.end()


def _run(
    plan: ServePlan,
    announce: Callable[[str], None],
    link: ParentLink | None,
    manager: ServiceManager | None,
    errors: ErrorLog,
) -> int:
    """Serve, once there is a log that says what goes wrong; see `run_process`."""
    start = _Start(plan, link)
    if plan.app is None:
        start.waits(f"the import of {escape(plan.target.partition(':')[0], 100)}")
    kind, delegate = prepare_application(plan)
    errors.settle()
    keep_freed_memory()
    outputs = Outputs(plan, kind, 1 if link is None else link.place, errors)
    plan.on_reload.append(lambda server: outputs.reopen())
    plan.on_reopen.append(lambda server: outputs.reopen())
    plan.on_reopen.append(lambda server: reopen_files())
    plan.on_abort.append(lambda: errors.finish(ABORT_S))
    # What the imports left lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    process = _Process(plan, delegate, outputs, start, link, manager)

    def ready() -> None:
        start.end()
        announce(kind)

    try:
        _run_loop(process.serve(ready), _loop_factory(plan.loop))
    finally:
        outputs.close()
    return EXIT_OK


class _Start:
    """The start of the process: what it waits for, and how long it may.

    A parent is told; without one this process says it itself, and ends itself.
    """

    def __init__(self, plan: ServePlan, link: ParentLink | None) -> None:
        self._link = link
        self._what = ""
        self._limited = plan.start_timeout_s > 0
        self._timer: threading.Timer | None = None
        if plan.start_timeout_s:
            # A parent that lives is earlier, and one that was killed leaves nobody who waits.
            _end_within(plan.start_timeout_s + (0 if link is None else ORPHAN_S))
        if link is None:
            self._timer = threading.Timer(TELL_START_S, self._tell)
            self._timer.daemon = True
            self._timer.start()

    def waits(self, what: str) -> None:
        """Note what is waited for from now on."""
        self._what = what
        if self._link is not None:
            self._link.waits(what)

    def end(self) -> None:
        """Note that the process serves."""
        if self._timer is not None:
            self._timer.cancel()
        if self._limited:
            faulthandler.cancel_dump_traceback_later()

    def _tell(self) -> None:
        gen_log.warning("still starting: waiting for %s", self._what)


class _Process:
    """The serving process: a server, and what starts and stops with it."""

    def __init__(
        self,
        plan: ServePlan,
        delegate: Any,
        outputs: Outputs,
        start: _Start,
        link: ParentLink | None,
        manager: ServiceManager | None,
    ) -> None:
        self._plan = plan
        self._delegate = delegate
        self._lifecycle = Lifecycle(delegate)
        self._outputs = outputs
        self._counter: _RequestCounter | None = None  # where there is a limit of requests
        self._redirecting: list[HTTPServer] = []
        self._start = start
        self._link = link
        self._manager = manager
        self._sampler: Sampler | None = None  # where somebody asks what is counted
        self._stopping = asyncio.Event()
        self._asked_to_stop = False
        self._served: list[list[ServedListener]] = []  # of each listener of the plan
        self._loop: asyncio.AbstractEventLoop

    async def serve(self, ready: Callable[[], None]) -> None:
        """Start, say so, wait for the end, and finish what is in flight."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        # A parent turns the INT of a terminal, which all get, into one TERM.
        stop_signals = (signal.SIGTERM, signal.SIGINT) if self._link is None else (signal.SIGTERM,)
        for number in stop_signals:
            # Not the loop's own handlers: this one also interrupts an application that blocks it.
            signal.signal(number, self._on_stop_signal)
        server = self._make_server()
        self._start.waits("the application's startup")
        await self._start_application()
        self._start.waits("what starts with the server")
        await run_hooks(self._plan.on_start, server)
        server.pause_accepting(by=_STARTING)
        for listener in self._plan.listeners:
            self._listen(server, listener)
        if self._link is not None and self._link.is_renewed:
            # What the parent has read, certificates for one, may be old by now.
            await self._run_each([self._reread_lists, *self._plan.on_reload], server, "at start")
        server.resume_accepting(by=_STARTING)
        redirecting = self._redirecting = self._start_redirects()
        self._hear_signals(server)
        if self._link is not None:
            loop.add_reader(self._link.lifeline, self._on_parent_gone, self._link.lifeline)
            self._sampler = self._make_sampler(self._link, [server, *redirecting])
            self._beat(self._link, loop.time())
        if self._plan.slow_loop_s:
            watch_loop(self._plan.slow_loop_s)
        ready()
        if self._manager is not None:
            self._manager.ready("serving")
            self._tell_of_life(self._manager)
        await self._stopping.wait()
        await self._drain([server, *redirecting])
        await self._lifecycle.stop()
        await run_hooks(self._plan.on_stop, server)
        if self._sampler is not None:
            self._sampler.sample()

    def _make_sampler(self, link: ParentLink, servers: list[HTTPServer]) -> Sampler | None:
        """Return what puts the counts of this process where its parent finds them."""
        if link.row is None:
            return None
        return Sampler(link.row, servers, dropped=lambda: self._outputs.dropped)

    def _listen(self, server: HTTPServer, listener: PlannedListener) -> None:
        """Have the server accept on the sockets of a listener."""
        options: dict[str, Any] = {"http2": HTTP2_MODES[listener.http2]}
        if listener.is_tls:
            contexts = self._plan.tls if listener.tls is None else listener.tls
            options["ssl_options"] = contexts[listener.http2]
        if listener.bind.proxy is not None:
            options["proxy_protocol"] = listener.bind.proxy
        if listener.trust is not None:
            options["trust"] = listener.trust
        before = len(server.listeners)
        server.add_sockets(listener.sockets, **options)
        self._served.append(server.listeners[before:])

    async def _reread_lists(self, server: HTTPServer) -> None:
        """Read the files of proxies again."""
        await put_in_force(server, self._served, self._plan, self._plan)

    def _hear_signals(self, server: HTTPServer) -> None:
        """Act on what an operator asks for beside the end."""
        loop = self._loop
        loop.add_signal_handler(signal.SIGHUP, self._on_reload_signal, server)
        loop.add_signal_handler(signal.SIGUSR1, self._on_reopen_signal, server)
        if self._link is None:
            for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
                loop.add_signal_handler(number, _refuse_signal, number)

    def _beat(self, link: ParentLink, due_s: float) -> None:
        """Show the parent once a second that the event loop turns, and what was counted."""
        link.beat()
        now_s = self._loop.time()
        if self._sampler is not None:
            self._sampler.sample(lag_s=max(0.0, now_s - due_s), is_ending=self._stopping.is_set())
        self._loop.call_later(BEAT_S, self._beat, link, now_s + BEAT_S)

    def _tell_of_life(self, manager: ServiceManager) -> None:
        """Tell the service manager again and again that the event loop turns, where it asks."""
        if manager.watchdog_s:
            manager.lives()
            self._loop.call_later(manager.watchdog_s / 2, self._tell_of_life, manager)

    async def _drain(self, servers: list[HTTPServer]) -> None:
        """Let what is in flight finish, and say what is waited for."""
        timeout_s, idle_s = self._plan.graceful_timeout_s, self._plan.drain_idle_s
        reporting = asyncio.create_task(_report_waiting(servers))
        try:
            await asyncio.gather(*(each.drain(timeout_s, idle=idle_s) for each in servers))
        finally:
            reporting.cancel()

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
                    access_log=self._outputs.access,
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
        log: Callable[[Any], None] | None = self._outputs.access
        if self._link is not None and self._plan.max_requests:
            log = self._counter = _RequestCounter(self._plan.max_requests, self._link, log)
        gate, delegate = self._plan.gate, self._delegate
        if gate is not None:
            delegate = gate(delegate)
        try:
            return HTTPServer(delegate, access_log=log, **self._plan.server_options)
        except ConfigurationError:
            raise
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    async def _start_application(self) -> None:
        """Let the application start, where its adapter has something to start."""
        try:
            await self._lifecycle.start()
        except ConfigurationError:
            raise
        except Exception as error:
            raise StartError(describe_startup(self._plan.target, error)) from error

    def _on_stop_signal(self, number: int, frame: object) -> None:
        """Begin the graceful end; asked again, end the process at once."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            delay_s = self._plan.drain_delay_s if self._link is None else 0.0
            if self._link is None:
                _end_within(delay_s + self._plan.stop_timeout_s)
            name = signal.Signals(number).name
            if delay_s:
                self._loop.call_soon_threadsafe(
                    self._loop.call_later, delay_s, self._begin_stop, name
                )
            else:
                self._loop.call_soon_threadsafe(self._begin_stop, name)
            return
        try:
            self._outputs.flush(ABORT_S)
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
        if self._manager is not None:
            self._manager.stopping("stopping: requests in flight may end")
            self._manager.needs(self._plan.stop_timeout_s)
        self._stopping.set()

    def _on_parent_gone(self, lifeline: int) -> None:
        """Stop gracefully: the process that would have told us to is gone."""
        asyncio.get_running_loop().remove_reader(lifeline)
        gen_log.warning("the parent process is gone; stopping")
        _end_within(self._plan.stop_timeout_s)
        self._stopping.set()

    def _on_reload_signal(self, server: HTTPServer) -> None:
        asyncio.get_running_loop().create_task(self._reload(server))

    async def _reload(self, server: HTTPServer) -> None:
        """Read again what can be; code is not.

        Where there is a parent it has checked all of it, and hands on what it has read.
        """
        gen_log.info("SIGHUP: reloading")
        if self._manager is not None:
            self._manager.reloading("SIGHUP: reloading")
        try:
            failed = await self._change(server)
        finally:
            if self._link is not None:
                self._link.reloaded()
            if self._manager is not None:
                self._manager.ready("serving")
        if self._sampler is not None:
            self._sampler.count_reload(failed=failed is None or failed > 0)
        if failed is None:
            gen_log.error("SIGHUP: nothing was changed")
            return
        gen_log.info("SIGHUP: reloaded%s", ", but for what failed" if failed else "")

    async def _change(self, server: HTTPServer) -> int | None:
        """Put in force what is said now; return how much has failed then, None where nothing is."""
        try:
            plan = self._reread()
            opened = self._outputs.open(plan)
            try:
                await put_in_force(server, self._served, self._plan, plan)
            except BaseException:
                self._outputs.discard(opened)
                raise
        except EdgeServerError as error:
            for line in self._plan.spell(str(error)).split("\n"):
                gen_log.error("SIGHUP: %s", line)
            return None
        self._outputs.put_in_force(opened, server, lambda log: self._take_access(log, server))
        self._plan.take_over(plan)
        return await self._run_each(self._plan.on_reload, server, "SIGHUP")

    def _take_access(self, log: AccessLog | None, server: HTTPServer) -> None:
        """Have another access log hear of what ends."""
        if self._counter is None:
            server.set_access_log(log)
        else:
            self._counter.log = log
        for each in self._redirecting:
            each.set_access_log(log)

    def _reread(self) -> ServePlan:
        """Return the plan that is to be in force.

        Raises:
            ConfigurationError: Something is wrong with it.
        """
        if self._link is not None:
            return reread(self._plan, self._link.configuration(), "reload", examines=False)
        configuration = self._plan.configuration
        return reread(self._plan, None if configuration is None else configuration.load(), "reload")

    def _on_reopen_signal(self, server: HTTPServer) -> None:
        asyncio.get_running_loop().create_task(self._reopen(server))

    async def _reopen(self, server: HTTPServer) -> None:
        """Open the log files again, which were renamed."""
        failed = await self._run_each(self._plan.on_reopen, server, "SIGUSR1")
        gen_log.info("SIGUSR1: log files opened again%s", ", but for what failed" if failed else "")

    async def _run_each(self, hooks: list[Hook], server: HTTPServer, why: str) -> int:
        """Run hooks; one that fails is logged, and changes nothing for the others."""
        failures = 0
        for hook in hooks:
            try:
                await run_hooks([hook], server)
            except EdgeServerError as error:
                failures += 1
                gen_log.error("%s: %s; what was there before stays", why, error)
            except Exception:
                failures += 1
                app_log.exception("%s: a reload failed; what was there before stays", why)
        return failures


class _RequestCounter:
    """An access log that counts, and asks the parent for a successor after so many requests."""

    def __init__(self, count: int, link: ParentLink, log: Callable[[Any], None] | None) -> None:
        self._left = round(count * (1 + JITTER * (2 * random.random() - 1)))
        self._count = count
        self._link = link
        self.log = log

    def __call__(self, exchange: Any) -> None:
        """Count an exchange that has ended, and pass it on."""
        self._left -= 1
        if self._left == 0:
            self._link.renew(f"it has served about {self._count} requests (--max-requests)")
        if self.log is not None:
            self.log(exchange)


async def _report_waiting(servers: list[HTTPServer]) -> None:
    """Say every few seconds which requests the end waits for."""
    while True:
        await asyncio.sleep(REPORT_EVERY_S)
        waiting = [request for server in servers for request in server.in_flight()]
        if waiting:
            more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
            what = "1 request" if len(waiting) == 1 else f"{len(waiting)} requests"
            gen_log.info("waiting for %s: %s%s", what, ", ".join(waiting[:NAMED]), more)


def _refuse_signal(number: signal.Signals) -> None:
    """Say that nobody is there who could do what a signal asks for."""
    gen_log.warning(
        "%s: there is no parent that could start workers; leave out --single-process", number.name
    )


def _end_within(seconds: float) -> None:
    """Have the process end with its stacks printed, whatever it does then.

    Nothing of it needs the event loop or the interpreter.
    """
    try:
        faulthandler.dump_traceback_later(seconds, exit=True)
    except (RuntimeError, ValueError, AttributeError, OSError):
        pass  # standard error was closed at start, or is no file


def _run_loop(
    main: Coroutine[Any, Any, None], make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Run a coroutine in a loop of its own, and close that within bounds.

    `asyncio.run` waits for good for a task that swallows its cancellation, and for minutes for
    what still runs in the loop's executor.
    """
    loop = make_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
    finally:
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=LEFTOVER_S))
            ending = loop.create_task(loop.shutdown_asyncgens())
            loop.run_until_complete(asyncio.wait([ending], timeout=LEFTOVER_S))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop: uvloop's where it is installed and `loop` allows it."""
    if loop == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
