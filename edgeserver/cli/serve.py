"""The command `edgeserver serve`: from flags to a plan, from a plan to processes.

Decides the order: flags, what they name, addresses, then one process or several. What a flag means
is its group's (`flags/`), what a process does is `runtime/worker.py`'s.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edgeserver.cli.failures import CommandFailure, reported
from edgeserver.cli.flags import APPLY_ORDER, GROUPS, GroupedCommand, add_flags, apply_flags
from edgeserver.runtime.plan import ServePlan

if TYPE_CHECKING:
    from edgeserver.logs.setup import ErrorLog

__all__ = ["serve"]


@click.command(cls=GroupedCommand)
@click.argument("target", metavar="MODULE:ATTR")
def serve(target: str, **values: Any) -> None:
    """Run the application that MODULE:ATTR names.

    It may be a callback, a delegate, or an ASGI, WSGI or Tornado application. SIGTERM and SIGINT
    stop it gracefully; a second one ends it at once. SIGUSR2 replaces the workers without losing a
    request, SIGHUP reads certificates and lists again.
    """
    plan = ServePlan(target=target, debug=bool(values["debug"]))
    with reported(debug=plan.debug):
        apply_flags(APPLY_ORDER, values, plan)
    log = _begin_log(plan)
    try:
        code = _serve(plan, log)
    finally:
        log.end()
    sys.exit(code)


def _serve(plan: ServePlan, log: ErrorLog) -> int:
    """Prepare what the plan asks for and carry it out; return the exit code."""
    with reported(debug=plan.debug):
        _prepare(plan)
        _open_listeners(plan)
    try:
        code = _run_alone(plan, log) if plan.single_process else _run_workers(plan, log)
    except KeyboardInterrupt:  # before there is a loop that takes SIGINT
        code = 130
    finally:
        _close_listeners(plan)
    return code


add_flags(serve, GROUPS)


def _prepare(plan: ServePlan) -> None:
    """Read and build what the flags ask for, once, for all workers."""
    from edgeserver.runtime.prepare import prepare

    prepare(plan)


def _open_listeners(plan: ServePlan) -> None:
    """Open the sockets of every listener of `plan`; on a failure, close those that were opened."""
    from edgeserver.runtime.sockets import open_sockets

    try:
        for listener in (*plan.listeners, *plan.redirects):
            listener.sockets = open_sockets(
                listener.bind, backlog=plan.backlog, reuse_port=plan.reuse_port
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


def _begin_log(plan: ServePlan) -> ErrorLog:
    """Have what is said from now on look as it was asked for; who forks has no thread."""
    from edgeserver.logs.setup import ErrorLog

    log = ErrorLog(**plan.logging.handler_options, threaded=False)
    log.begin()
    return log


def _announce(plan: ServePlan, kind: str, log: ErrorLog) -> None:
    """Print the start lines; an output is the log's alone where that is JSON."""
    from edgeserver.cli.banner import print_lines, render_banner

    lines = render_banner(plan, kind)
    if plan.logging.format == "json":
        for line in lines:
            log.say(line)
        return
    only_log = plan.access is not None and plan.access.takes_stdout
    print_lines(lines, sys.stderr if only_log else sys.stdout)


def _run_alone(plan: ServePlan, log: ErrorLog) -> int:
    """Serve in this process."""
    from edgeserver.runtime.worker import run_process

    with reported(debug=plan.debug):
        return run_process(plan, announce=lambda kind: _announce(plan, kind, log))


def _run_workers(plan: ServePlan, log: ErrorLog) -> int:
    """Serve in processes of their own, and watch them in this one."""
    from edgeserver.runtime.processes import run_workers
    from edgeserver.runtime.sockets import PlaceSockets
    from edgeserver.runtime.supervisor import Limits

    queues = PlaceSockets((*plan.listeners, *plan.redirects))

    def body(link: Any) -> int:
        # Not before the fork: the parent needs no event loop, and a roll takes new code.
        from edgeserver.runtime.worker import run_process

        queues.take(link.place)
        try:
            with reported(debug=plan.debug):
                return run_process(plan, announce=link.ready, link=link)
        except CommandFailure as failure:
            failure.show()
            return failure.exit_code

    return run_workers(
        plan.workers,
        body,
        limits=Limits(
            start_timeout_s=plan.start_timeout_s,
            stop_timeout_s=plan.stop_timeout_s,
            worker_timeout_s=plan.worker_timeout_s,
            max_lifetime_s=plan.max_lifetime_s,
            max_memory=plan.max_memory,
        ),
        queues=queues,
        shared_queue=queues.is_shared,
        on_ready=lambda kind: _announce(plan, kind, log),
        say=log.say,
    )
