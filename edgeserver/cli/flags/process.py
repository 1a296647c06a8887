"""Flags that say how many processes serve, how they stop, and what they log.

Decides their names and defaults; `runtime/worker.py` and `supervisor.py` carry them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.options import (
    SECONDS_OR_NONE,
    bytes_flag,
    count_flag,
    seconds_flag,
    switch,
)
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the processes into `plan`."""
    plan.workers = values["workers"] or 1
    plan.single_process = values["single_process"]
    if plan.single_process:
        _refuse_what_needs_a_parent(values)
    plan.start_timeout_s = values["start_timeout"]
    plan.worker_timeout_s = 60.0 if values["worker_timeout"] is None else values["worker_timeout"]
    plan.slow_loop_s = values["slow_loop"] or 0.0
    plan.max_requests = values["max_requests"] or 0
    plan.max_lifetime_s = values["max_lifetime"] or 0.0
    plan.max_memory = values["max_memory"] or 0
    plan.graceful_timeout_s = values["graceful_timeout"]
    plan.drain_idle_s = values["drain_idle"]
    plan.access_log_format = values["access_log_format"] if values["access_log"] else None
    plan.debug = values["debug"]


def _refuse_what_needs_a_parent(values: Mapping[str, Any]) -> None:
    """Refuse what only a parent can do, where there is to be none."""
    for name in ("workers", "worker_timeout", "max_requests", "max_lifetime", "max_memory"):
        if values[name] is not None and not (name == "workers" and values[name] == 1):
            flag = "--" + name.replace("_", "-")
            raise ConfigurationError(
                f"--single-process and {flag} exclude each other: nobody watches the process;"
                f" drop {flag}, or --single-process"
            )


GROUP = FlagGroup(
    title="Process",
    options=(
        count_flag("--workers", "How many processes serve. [default: 1]", 1024),
        switch("--single-process", "Serve in this process, which nothing watches or replaces."),
        seconds_flag(
            "--start-timeout",
            "How long a worker may take to start; 0 for no limit. [default: 60]",
            type=SECONDS_OR_NONE,
            default=60.0,
        ),
        seconds_flag(
            "--worker-timeout",
            "A worker whose event loop is held for longer is replaced; 0 for never. [default: 60]",
            type=SECONDS_OR_NONE,
        ),
        seconds_flag("--slow-loop", "Log where the event loop was held, if for longer than this."),
        count_flag("--max-requests", "Renew a worker after about so many requests."),
        seconds_flag("--max-lifetime", "Renew a worker after about so long."),
        bytes_flag("--max-memory", "Renew a worker that takes more memory."),
        seconds_flag(
            "--graceful-timeout",
            "How long requests in flight may take after SIGTERM or SIGINT. [default: 30]",
            type=SECONDS_OR_NONE,
            default=30.0,
        ),
        seconds_flag(
            "--drain-idle",
            "How long a connection may be silent after SIGTERM before it is closed. [default: 1]",
            type=SECONDS_OR_NONE,
            default=1.0,
        ),
        click.Option(
            ["--access-log/--no-access-log"],
            default=True,
            help="One line for each request on standard output. [default: on]",
        ),
        click.Option(
            ["--access-log-format"],
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="json moves the start lines to standard error.",
        ),
        switch("--debug", "Show tracebacks of errors at start."),
    ),
    apply=_apply,
)
