"""Flags that say where the application is and what kind it has.

Decides their names and defaults; finding and wrapping the application is done elsewhere.
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
    flag,
    seconds_flag,
    spell_flag,
    switch,
)
from edgeserver.runtime.plan import ServePlan

__all__ = ["ADAPTER_FLAGS", "GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the application into `plan`."""
    plan.app_dir = values["app_dir"]
    plan.interface = values["interface"]
    plan.factory = values["factory"]
    plan.adapter_options.update(
        {name: values[name] for name in ADAPTER_FLAGS if values[name] is not None}
    )
    plan.spell_option = lambda name: spell_flag(name, values.get(name))


ADAPTER_FLAGS = (
    "root_path",
    "threads",
    "wsgi_buffering",
    "lifespan",
    "shutdown_timeout",
    "ws_max_size",
    "ws_ping_interval",
    "ws_ping_timeout",
    "ws_per_message_deflate",
)
"""Flags that one kind of application or another understands; the name is its adapter's."""


GROUP = FlagGroup(
    title="Application",
    options=(
        flag(
            "--app-dir",
            "DIR",
            "Where the application's module is looked for.",
            default=".",
            show_default=True,
        ),
        click.Option(
            ["--interface"],
            type=click.Choice(["auto", "callback", "asgi", "wsgi", "tornado"]),
            default="auto",
            show_default=True,
            help="What the application is; auto looks at the object.",
        ),
        switch("--factory", "ATTR is a function that returns the application."),
        flag("--root-path", "PATH", "ASGI, WSGI: the path under which the application stands."),
        count_flag("--threads", "WSGI: requests that it works on at once. [default: 8]", 1024),
        click.Option(
            ["--wsgi-buffering/--no-wsgi-buffering"],
            default=None,
            help="WSGI: whether a body of unknown length is collected, so that the application is"
            " told of its length, or streamed. [default: collected]",
        ),
        click.Option(
            ["--lifespan"],
            type=click.Choice(["auto", "on", "off"]),
            help="ASGI: whether it is told of start and stop. [default: auto]",
        ),
        seconds_flag(
            "--shutdown-timeout",
            "ASGI: seconds for its tasks to end, and again for its own shutdown. [default: 10]",
            type=SECONDS_OR_NONE,
        ),
        bytes_flag("--ws-max-size", "ASGI: most bytes of a WebSocket message. [default: 1M]"),
        seconds_flag("--ws-ping-interval", "ASGI: seconds between WebSocket pings. [default: 20]"),
        seconds_flag("--ws-ping-timeout", "ASGI: seconds for a WebSocket pong. [default: 20]"),
        click.Option(
            ["--ws-per-message-deflate/--no-ws-per-message-deflate"],
            default=None,
            help="ASGI: whether WebSockets may be compressed. [default: off]",
        ),
    ),
    apply=_apply,
)
