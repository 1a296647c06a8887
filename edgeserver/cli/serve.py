"""The command `edgeserver serve`: from flags to a plan, from a plan to processes.

Decides the order: flags, what they name, addresses, then one process or several. What a flag means
is its group's (`flags/`), what a process does is `runtime/worker.py`'s.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from edgeserver.cli.failures import CommandFailure, reported
from edgeserver.cli.flags import APPLY_ORDER, GROUPS, GroupedCommand, add_flags, apply_flags
from edgeserver.runtime.plan import ServePlan

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
        _prepare(plan)
        _open_listeners(plan)
    try:
        code = _run_alone(plan) if plan.single_process else _run_workers(plan)
    except KeyboardInterrupt:  # before there is a loop that takes SIGINT
        code = 130
    finally:
        _close_listeners(plan)
    sys.exit(code)


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


def _announce(plan: ServePlan, kind: str) -> None:
    """Print the start lines; standard output is the log's alone where that is JSON."""
    from edgeserver.cli.banner import print_lines, render_banner

    stream = sys.stderr if plan.access_log_format == "json" else sys.stdout
    print_lines(render_banner(plan, kind), stream)


def _listening_lines(plan: ServePlan) -> tuple[str, ...]:
    """Return where is listened, a line each."""
    from edgeserver.cli.banner import render_listeners

    return tuple(line.removeprefix("listening on ") for line in render_listeners(plan))


def _run_alone(plan: ServePlan) -> int:
    """Serve in this process."""
    from edgeserver.runtime.worker import run_process

    with reported(debug=plan.debug):
        return run_process(plan, announce=lambda kind: _announce(plan, kind))


def _run_workers(plan: ServePlan) -> int:
    """Serve in processes of their own, and watch them in this one."""
    from edgeserver.runtime.admin import open_admin
    from edgeserver.runtime.processes import run_workers
    from edgeserver.runtime.sockets import PlaceSockets
    from edgeserver.runtime.supervisor import Limits

    queues = PlaceSockets((*plan.listeners, *plan.redirects))
    with reported(debug=plan.debug):
        operators = open_admin(plan, _listening_lines(plan), _say) if plan.admin else None

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
        on_ready=lambda kind: _announce(plan, kind),
        say=_say,
        operators=operators,
    )


def _say(line: str) -> None:
    """Print one line for the operator; a reader that is gone is no reason to stop watching."""
    with contextlib.suppress(OSError):
        click.echo(f"edgeserver: {line}", err=True)
