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
    plan.adapter_options.update(
        {name: values[name] for name in _ADAPTER_FLAGS if values[name] is not None}
    )


_ADAPTER_FLAGS = (
    "root_path",
    "threads",
    "lifespan",
    "ws_max_size",
    "ws_ping_interval",
    "ws_ping_timeout",
)
"""Flags that one kind of application or another understands; the name is its adapter's."""


def _seconds(flag: str, help_text: str) -> click.Option:
    """Return a flag that takes seconds."""
    kind = click.FloatRange(min=0, min_open=True)
    return click.Option([flag], type=kind, metavar="SECONDS", help=help_text)


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
        click.Option(
            ["--root-path"],
            metavar="PATH",
            help="ASGI, WSGI: the path under which the application stands.",
        ),
        click.Option(
            ["--threads"],
            type=click.IntRange(1, 1024),
            metavar="N",
            help="WSGI: requests that it works on at once. [default: 8]",
        ),
        click.Option(
            ["--lifespan"],
            type=click.Choice(["auto", "on", "off"]),
            help="ASGI: whether it is told of start and stop. [default: auto]",
        ),
        click.Option(
            ["--ws-max-size"],
            type=click.IntRange(min=1),
            metavar="BYTES",
            help="ASGI: most bytes of a WebSocket message. [default: 16 MiB]",
        ),
        _seconds("--ws-ping-interval", "ASGI: seconds between WebSocket pings. [default: 20]"),
        _seconds("--ws-ping-timeout", "ASGI: seconds for a WebSocket pong. [default: 20]"),
    ),
    apply=_apply,
)
