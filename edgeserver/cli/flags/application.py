"""Flags that say where the application is and what kind it has.

Decides their names and defaults; finding and wrapping the application is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the application into `plan`."""
    plan.app_dir = values["app_dir"]
    plan.interface = values["interface"]
    plan.factory = values["factory"]


GROUP = FlagGroup(
    title="Application",
    options=(
        click.Option(
            ["--app-dir"],
            metavar="DIR",
            default=".",
            show_default=True,
            help="Where the application's module is looked for.",
        ),
        click.Option(
            ["--interface"],
            type=click.Choice(["auto", "callback", "asgi", "wsgi", "tornado"]),
            default="auto",
            show_default=True,
            help="What the application is; auto looks at the object.",
        ),
        click.Option(
            ["--factory"], is_flag=True, help="ATTR is a function that returns the application."
        ),
    ),
    apply=_apply,
)
