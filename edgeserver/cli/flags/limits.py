"""One flag for each limit of the server's constructor.

Decides their names, units and `serve`'s own defaults; the limits themselves are the server's.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.options import bytes_flag, count_flag, seconds_flag, switch
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]

# (flag, what makes it, serve's default or None for the server's, help)
_LIMITS: tuple[tuple[str, Callable[..., click.Option], float | None, str], ...] = (
    (
        "--max-header-size",
        bytes_flag,
        None,
        "Bytes of a request's head [default: 64K]; more is 431.",
    ),
    ("--max-header-fields", count_flag, None, "Fields of a request's head [default: 256]."),
    (
        "--max-body-size",
        bytes_flag,
        None,
        "Bytes of a request's body [default: 100M]; more is 413.",
    ),
    ("--max-buffer-size", bytes_flag, None, "Bytes held for one connection [default: 100M]."),
    ("--chunk-size", bytes_flag, None, "Bytes given to the application at a time [default: 64K]."),
    (
        "--idle-connection-timeout",
        seconds_flag,
        75.0,
        "Seconds between two requests [default: 75].",
    ),
    (
        "--header-timeout",
        seconds_flag,
        None,
        "Seconds for a head, from its first byte [default: 60].",
    ),
    ("--body-timeout", seconds_flag, 300.0, "Seconds for a whole body [default: 300]."),
    ("--write-timeout", seconds_flag, None, "Seconds without the client reading [default: 60]."),
    (
        "--max-connections",
        count_flag,
        None,
        "Connections at a time [default: 80% of the file limit].",
    ),
)


_MAY_BE_ZERO = "--max-body-size"
"""Where 0 has a meaning: no body at all."""


def _parameter(name: str) -> str:
    """Return the name of the constructor's parameter for a flag."""
    return name.removeprefix("--").replace("-", "_")


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the limits that were given, and `serve`'s own defaults, into `plan`."""
    for name, _, _, _ in _LIMITS:
        value = values[_parameter(name)]
        if value == 0 and name != _MAY_BE_ZERO:
            raise ConfigurationError(f"{name} 0: nothing would fit; write 64K, say")
        if value is not None:
            plan.server_options[_parameter(name)] = value
    _note_connections(values["max_connections"], plan)
    if values["decompress_request"]:
        plan.server_options["decompress_request"] = True
    if values["no_keep_alive"]:
        plan.server_options["no_keep_alive"] = True


def _note_connections(wanted: int | None, plan: ServePlan) -> None:
    """Warn of a number of connections for which a process has no file descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted is not None and soft != resource.RLIM_INFINITY and wanted >= soft:
        plan.notes.append(
            f"warning: --max-connections {wanted} is more than the limit of open files allows"
            f" ({soft}): raise that (ulimit -n, LimitNOFILE=) or give less"
        )


GROUP = FlagGroup(
    title="Limits (of one worker)",
    options=(
        *(make(name, text, default=default) for name, make, default, text in _LIMITS),
        switch("--decompress-request", "Decode gzip bodies, up to --max-body-size."),
        switch("--no-keep-alive", "One request for each connection."),
    ),
    apply=_apply,
)
