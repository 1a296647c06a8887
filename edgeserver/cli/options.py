"""What flags are made of: how a flag that takes a file, a time, bytes or a list is declared.

Decides forms and their limits only; it must not know a single flag, nor what one means.
"""

from __future__ import annotations

import re
from typing import Any

import click

from edgeserver.support.escape import escape

__all__ = [
    "MAX_SECONDS",
    "SECONDS",
    "SECONDS_OR_NONE",
    "Seconds",
    "bytes_flag",
    "convert_bytes",
    "count_flag",
    "file_flag",
    "flag",
    "list_flag",
    "parse_bytes",
    "seconds_flag",
    "spell_flag",
    "switch",
]

MAX_SECONDS = 365 * 86400.0
"""The longest time that a flag takes: event loops count milliseconds, and overflow some day."""


_BYTE_COUNT = re.compile(r"([0-9]{1,15})([kmg]?)(?:i?b)?\Z", re.IGNORECASE)
_SUFFIXES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Seconds(click.FloatRange):
    """A time in seconds, at most a year.

    Args:
        zero: Whether 0 is one.
    """

    name = "number of seconds"

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__(min=0, min_open=not zero)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return `value` as a number, with click's error for what is none."""
        seconds = float(super().convert(value, param, ctx))
        if not seconds <= MAX_SECONDS:  # so put, because no comparison with nan holds
            self.fail(f"{value} is no time; give at most {MAX_SECONDS:.0f}, a year", param, ctx)
        return seconds


SECONDS = Seconds()
"""More than no time."""

SECONDS_OR_NONE = Seconds(zero=True)
"""A time that may be 0."""


def spell_flag(name: str, value: object = None) -> str:
    """Return the flag whose parameter is `name`, as it is typed to give it `value`."""
    return ("--no-" if value is False else "--") + name.replace("_", "-")


def parse_bytes(text: str) -> int:
    """Parse a number of bytes; `K`, `M` and `G` (or `KiB`, ...) are powers of 1024.

    Raises:
        ValueError: The text is no such number.
    """
    match = _BYTE_COUNT.match(text)
    if match is None:
        raise ValueError(f"{escape(text)} is no number of bytes; write 65536, 64K or 10M")
    return int(match[1]) * _SUFFIXES[match[2].lower()]


def convert_bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Parse a flag's value, with click's error for a wrong one."""
    try:
        return None if value is None else parse_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def flag(name: str, metavar: str, help_text: str, **settings: Any) -> click.Option:
    """Return a flag that takes one value, shown as `metavar` in `--help`."""
    return click.Option([name], metavar=metavar, help=help_text, **settings)


def file_flag(name: str, help_text: str, **settings: Any) -> click.Option:
    """Return a flag that names a file."""
    return flag(name, "FILE", help_text, **settings)


def list_flag(name: str, metavar: str, help_text: str) -> click.Option:
    """Return a flag that may be given more than once."""
    return flag(name, metavar, help_text, multiple=True)


def bytes_flag(name: str, help_text: str, **settings: Any) -> click.Option:
    """Return a flag that takes a number of bytes."""
    return flag(name, "BYTES", help_text, callback=convert_bytes, **settings)


def seconds_flag(name: str, help_text: str, **settings: Any) -> click.Option:
    """Return a flag that takes seconds, more than 0 unless `type` says otherwise."""
    return flag(name, "SECONDS", help_text, **{"type": SECONDS, **settings})


def count_flag(name: str, help_text: str, most: int | None = None, **settings: Any) -> click.Option:
    """Return a flag that takes a whole number from 1 on, to `most` where that is given."""
    return flag(name, "N", help_text, type=click.IntRange(1, most), **settings)


def switch(name: str, help_text: str) -> click.Option:
    """Return a flag that takes nothing."""
    return click.Option([name], is_flag=True, help=help_text)
