"""The command `edgeserver serve`: from flags to a plan, from a plan to processes.

Decides the order: flags, what they name, addresses, then one process or several. What a flag means
is its group's (`flags/`), what a process does is `runtime/worker.py`'s.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from edgeserver.cli.failures import CommandFailure, reported
from edgeserver.cli.flags import GROUPS, GroupedCommand, add_flags
from edgeserver.cli.nextsteps import find_applications
from edgeserver.cli.sources import CONFIG_OPTIONS, SettingSources, flags_said
from edgeserver.cli.terminal import is_coloured
from edgeserver.runtime.plan import ServePlan
from edgeserver.support.escape import escape

if TYPE_CHECKING:
    from edgeserver.logs.setup import ErrorLog

__all__ = ["execute", "open_plan", "serve"]


_EXAMPLES = """\b
Examples:
  edgeserver serve main:app
  edgeserver serve main:create_app --factory --bind :8000 --workers 4
  edgeserver serve main:app --dev-tls --bind https://localhost:8443
  edgeserver serve main:app --certfile site.pem --bind https://:443 --http-redirect 80
  edgeserver serve main:app --bind unix:/run/app.sock,mode=660 --trust unix:
  edgeserver serve main:app --bind :8000,proxy=v2 --trust 10.0.0.5
  edgeserver serve --config edge.toml
"""


def _complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the applications of the directory; nothing of it is imported."""
    return [each for each in find_applications(".") if each.startswith(incomplete)]


@click.command(cls=GroupedCommand, epilog=_EXAMPLES)
@click.argument("target", metavar="MODULE:ATTR", required=False, shell_complete=_complete_target)
def serve(target: str | None, **values: Any) -> None:
    """Run the application that MODULE:ATTR, or the configuration, names.

    It may be a callback, a delegate, or an ASGI, WSGI or Tornado application. SIGTERM and SIGINT
    stop it gracefully; a second one ends it at once. SIGUSR2 replaces the workers without losing a
    request, SIGHUP reads the configuration, certificates and lists again.
    """
    with reported(debug=bool(values["debug"])):
        plan = SettingSources.from_values(values, target).read()
    with reported(debug=plan.debug, spell=plan.spell):
        _open(plan)
        sys.exit(execute(plan))


add_flags(serve, GROUPS)
serve.params.extend(CONFIG_OPTIONS)


def open_plan(target: str, values: Mapping[str, Any], *, app: Any = None) -> ServePlan:
    """Return the plan that the values of all flags make, with its sockets open.

    Args:
        target: The application's name.
        values: What was given for each flag, by its setting's key; None where nothing was.
        app: The application itself, where there is nothing to import.

    Raises:
        EdgeServerError: A value is wrong, or something cannot be had.
    """
    # A program has said all that it has to say: neither environment nor file counts.
    plan = SettingSources(flags_said(values, target), None, {}).read()
    plan.app = app
    _open(plan)
    return plan


def _open(plan: ServePlan) -> None:
    """Build what a plan asks for, and open its sockets."""
    plan.coloured = is_coloured(sys.stdout)
    log = _begin_log(plan)
    try:
        _prepare(plan)
        _open_listeners(plan, log)
    finally:
        log.end()


def execute(plan: ServePlan) -> int:
    """Do what a plan says, until a signal ends it; return the exit code.

    Raises:
        EdgeServerError: The one process that serves could not start.
    """
    log = _begin_log(plan)
    try:
        return _run_alone(plan, log) if plan.single_process else _run_workers(plan, log)
    except KeyboardInterrupt:  # before there is a loop that takes SIGINT
        return 130
    finally:
        log.end()
        _close_listeners(plan)


def _begin_log(plan: ServePlan) -> ErrorLog:
    """Have what is said from now on look as it was asked for; who forks has no thread."""
    from edgeserver.logs.setup import ErrorLog

    log = ErrorLog(**plan.logging.handler_options, threaded=False)
    log.begin()
    return log


def _prepare(plan: ServePlan) -> None:
    """Read and build what the flags ask for, once, for all workers."""
    from edgeserver.runtime.prepare import prepare

    prepare(plan)


def _open_listeners(plan: ServePlan, log: ErrorLog) -> None:
    """Open the sockets of every listener of `plan`; on a failure, close those that were opened."""
    from edgeserver.runtime.reconfigure import open_listener
    from edgeserver.runtime.sockets import ActivatedSockets

    activated = ActivatedSockets(os.environ)
    try:
        for listener in (*plan.listeners, *plan.redirects):
            open_listener(plan, listener, activated)
        for name in map(escape, activated.left):
            log.say(
                f"systemd has passed sockets named {name} that nobody asks for; add"
                f" --bind systemd:{name}, or take them out of the socket unit"
            )
    except BaseException:
        _close_listeners(plan)
        raise


def _close_listeners(plan: ServePlan) -> None:
    """Close the sockets that were opened."""
    from edgeserver.runtime.sockets import close_sockets

    for listener in (*plan.listeners, *plan.redirects):
        if listener.sockets:
            close_sockets(listener.sockets)


def _announce(plan: ServePlan, kind: str, log: ErrorLog) -> None:
    """Print the start lines; an output is the log's alone where that is JSON."""
    from edgeserver.cli.banner import print_lines, render_banner

    lines = render_banner(plan, kind)
    if plan.logging.format == "json":
        for line in lines:
            log.say(line)
        return
    only_log = plan.access is not None and plan.access.takes_stdout
    stream = sys.stderr if only_log else sys.stdout
    print_lines(lines, stream, took_s=time.monotonic() - plan.began_s)


def _listening_lines(plan: ServePlan) -> tuple[str, ...]:
    """Return where is listened, a line each."""
    from edgeserver.cli.banner import render_listeners

    return tuple(line.removeprefix("listening on ") for line in render_listeners(plan))


def _run_alone(plan: ServePlan, log: ErrorLog) -> int:
    """Serve in this process."""
    from edgeserver.runtime.manager import take_manager
    from edgeserver.runtime.worker import run_process

    manager = take_manager(os.environ)
    return run_process(plan, announce=lambda kind: _announce(plan, kind, log), manager=manager)


def _run_workers(plan: ServePlan, log: ErrorLog) -> int:
    """Serve in processes of their own, and watch them in this one."""
    from edgeserver.runtime.manager import take_manager
    from edgeserver.runtime.processes import run_workers
    from edgeserver.runtime.reconfigure import PlanInForce, limits_of
    from edgeserver.runtime.warm import warm, warm_adapter

    force = PlanInForce(plan, log.say)
    watching = contextlib.ExitStack()
    with reported(debug=plan.debug, spell=plan.spell):
        operators = _open_admin(plan, force, log) if plan.admin else None

    def body(link: Any) -> int:
        # What `warm` has imported: the parent itself needs nothing of it.
        from edgeserver.runtime.worker import run_process

        force.queues.take(link.place)
        mine = force.plan
        try:
            with reported(debug=mine.debug, spell=mine.spell):
                return run_process(mine, announce=link.ready, link=link)
        except CommandFailure as failure:
            failure.show()
            return failure.exit_code

    def ready(kind: str) -> None:
        _announce(plan, kind, log)
        warm_adapter(kind)

    warm(plan.loop)
    if plan.reloads:
        watching.callback(_watch_sources(plan, log).terminate)
    try:
        return run_workers(
            plan.workers,
            body,
            limits=limits_of(plan),
            queues=force.queues,
            shared_queue=force.queues.is_shared,
            on_ready=ready,
            say=log.say,
            waits_for_change=plan.reloads,
            manager=take_manager(os.environ),
            operators=operators,
            configuration=force,
        )
    finally:
        watching.close()
        force.close()
        gc.unfreeze()  # of a program that goes on


def _open_admin(plan: ServePlan, force: Any, log: ErrorLog) -> Any:
    """Open the admin listener, which takes more modules than the parent needs without it."""
    from edgeserver.runtime.admin import open_admin

    return open_admin(plan, lambda: force.plan, _listening_lines, log.say)


def _watch_sources(plan: ServePlan, log: ErrorLog) -> Any:
    """Start the process that asks for a roll when a source has changed, and return it."""
    from edgeserver.runtime.watch import start_watching

    path = plan.configuration.path if plan.configuration is not None else None
    log.say(f"--reload: watching {escape(os.path.abspath(plan.app_dir))}")
    return start_watching(plan.app_dir, [] if path is None else [path], os.getpid())
