"""Flags that say how many processes serve, how they stop, and what they log.

Decides their names and defaults; `runtime/worker.py` and `supervisor.py` carry them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.options import SECONDS_OR_NONE, count_flag, seconds_flag, switch
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the processes into `plan`."""
    plan.workers = values["workers"]
    plan.graceful_timeout_s = values["graceful_timeout"]
    plan.drain_idle_s = values["drain_idle"]
    plan.access_log_format = values["access_log_format"] if values["access_log"] else None
    plan.debug = values["debug"]


GROUP = FlagGroup(
    title="Process",
    options=(
        count_flag("--workers", "How many processes serve. [default: 1]", 1024, default=1),
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
