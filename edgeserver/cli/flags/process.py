"""Flags that say how many processes serve, how they stop, and what they log.

Decides their names and defaults; `running.py` and `workers.py` carry them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the processes into `plan`."""
    plan.workers = values["workers"]
    plan.graceful_timeout_s = values["graceful_timeout"]
    plan.access_log_format = values["access_log_format"] if values["access_log"] else None
    plan.debug = values["debug"]


GROUP = FlagGroup(
    title="Process",
    options=(
        click.Option(
            ["--workers"],
            type=click.IntRange(1, 1024),
            default=1,
            metavar="N",
            help="How many processes serve. [default: 1]",
        ),
        click.Option(
            ["--graceful-timeout"],
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            default=30.0,
            help="How long requests in flight may take after SIGTERM or SIGINT. [default: 30]",
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
        click.Option(["--debug"], is_flag=True, help="Show tracebacks of errors at start."),
    ),
    apply=_apply,
)
