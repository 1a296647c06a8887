"""One flag for each limit of the server's constructor.

Decides their names, units and `serve`'s own defaults; the limits themselves are the server's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.plan import ServePlan
from edgeserver.errors import ConfigurationError
from edgeserver.escaping import escape

__all__ = ["GROUP", "parse_bytes"]

_BYTE_COUNT = re.compile(r"([0-9]{1,15})([kmg]?)(?:i?b)?\Z", re.IGNORECASE)
_SUFFIXES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def parse_bytes(text: str) -> int:
    """Parse a number of bytes; `K`, `M` and `G` (or `KiB`, ...) are powers of 1024.

    Raises:
        ValueError: The text is no such number.
    """
    match = _BYTE_COUNT.match(text)
    if match is None:
        raise ValueError(f"{escape(text)} is no number of bytes; write 65536, 64K or 10M")
    return int(match[1]) * _SUFFIXES[match[2].lower()]


def _convert_bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Parse a flag's value, with click's error for a wrong one."""
    try:
        return None if value is None else parse_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_SECONDS = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)

# (flag, type, serve's default or None for the server's, help)
_LIMITS: tuple[tuple[str, Any, Any, str], ...] = (
    ("--max-header-size", "bytes", None, "Bytes of a request's head [default: 64K]; more is 431."),
    ("--max-header-fields", _COUNT, None, "Fields of a request's head [default: 256]."),
    ("--max-body-size", "bytes", None, "Bytes of a request's body [default: 100M]; more is 413."),
    ("--max-buffer-size", "bytes", None, "Bytes held for one connection [default: 100M]."),
    ("--chunk-size", "bytes", None, "Bytes given to the application at a time [default: 64K]."),
    ("--idle-connection-timeout", _SECONDS, 75.0, "Seconds between two requests [default: 75]."),
    ("--header-timeout", _SECONDS, None, "Seconds for a head, from its first byte [default: 60]."),
    ("--body-timeout", _SECONDS, 300.0, "Seconds for a whole body [default: 300]."),
    ("--write-timeout", _SECONDS, None, "Seconds without the client reading [default: 60]."),
    ("--max-connections", _COUNT, None, "Connections at a time [default: 80% of the file limit]."),
)


def _parameter(flag: str) -> str:
    """Return the name of the constructor's parameter for `flag`."""
    return flag.removeprefix("--").replace("-", "_")


def _make_option(flag: str, kind: Any, default: Any, text: str) -> click.Option:
    """Return the option for one line of the table."""
    if kind == "bytes":
        return click.Option([flag], metavar="BYTES", callback=_convert_bytes, help=text)
    metavar = "SECONDS" if kind is _SECONDS else "N"
    return click.Option([flag], metavar=metavar, type=kind, default=default, help=text)


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the limits that were given, and `serve`'s own defaults, into `plan`."""
    for flag, _, _, _ in _LIMITS:
        value = values[_parameter(flag)]
        if value is not None:
            plan.server_options[_parameter(flag)] = value
    if values["chunk_size"] == 0:
        raise ConfigurationError("--chunk-size 0: a piece needs a size; write 64K, say")
    if values["decompress_request"]:
        plan.server_options["decompress_request"] = True
    if values["no_keep_alive"]:
        plan.server_options["no_keep_alive"] = True


GROUP = FlagGroup(
    title="Limits (of one worker)",
    options=(
        *(_make_option(flag, kind, default, text) for flag, kind, default, text in _LIMITS),
        click.Option(
            ["--decompress-request"],
            is_flag=True,
            help="Decode gzip bodies, up to --max-body-size.",
        ),
        click.Option(["--no-keep-alive"], is_flag=True, help="One request for each connection."),
    ),
    apply=_apply,
)
