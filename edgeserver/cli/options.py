"""Flags made from the table of settings: how each kind of value is declared, parsed and shown.

Decides forms and their limits only; it must not know a single flag, nor what one means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from edgeserver.config.model import Kind, Setting, settings_of
from edgeserver.support.escape import escape

__all__ = [
    "MAX_SECONDS",
    "SECONDS",
    "Seconds",
    "make_option",
    "options_of",
    "parse_bytes",
    "spell_flag",
]

MAX_SECONDS = 365 * 86400.0
"""The longest time that a flag takes: event loops count milliseconds, and overflow some day."""


_BYTE_COUNT = re.compile(r"([0-9]{1,15})([kmg]?)(?:i?b)?\Z", re.IGNORECASE)
_WHOLE = re.compile(r"-?[0-9]{1,18}\Z")
_SUFFIXES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Seconds(click.FloatRange):
    """A time in seconds, at most a year.

    Args:
        zero: Whether 0 is one.
    """

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__(min=0, min_open=not zero)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return `value` as a number, with the fix for what is none."""
        least = "0 or more" if not self.min_open else "more than 0"
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        # So put, because no comparison with nan holds.
        if not 0 <= seconds <= MAX_SECONDS or (seconds == 0 and self.min_open):
            self.fail(
                f"{escape(str(value))} is not a time; give seconds, {least} and at most "
                f"{MAX_SECONDS:.0f}, a year",
                param,
                ctx,
            )
        return seconds


class _Number(click.IntRange):
    """A whole number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, with the fix for what is none."""
        text = str(value).strip()
        number = int(text) if _WHOLE.match(text) else None
        least, most = self.min or 0, self.max
        if number is None or number < least or (most is not None and number > most):
            bounds = f"from {least} on" if most is None else f"from {least} to {most}"
            self.fail(f"{escape(text)} is not a whole number {bounds}; give one", param, ctx)
        return number


class _Share(click.FloatRange):
    """A number above 0, and 1 at most."""

    def __init__(self) -> None:
        super().__init__(min=0, max=1, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, with the fix for what is none."""
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(
                f"{escape(str(value))} is not a share; give a number above 0 and at most 1, such "
                "as 0.01",
                param,
                ctx,
            )
        return share


SECONDS = Seconds()
"""More than no time."""


class _ByteCount(click.ParamType):  # type: ignore[type-arg]  # newer ones are generic
    """A number of bytes, with or without a unit.

    Args:
        setting: Says the smallest number, and an example of a good one.
    """

    name = "number of bytes"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, with the fix for what is none."""
        try:
            number = parse_bytes(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if number < (self._setting.least or 0):
            example = self._setting.written_default(serve=True)
            self.fail(f"nothing fits into {escape(str(value))}; write {example}, say", param, ctx)
        return number


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
        raise ValueError(f"{escape(text)} is not a number of bytes; write 65536, 64K or 10M")
    return int(match[1]) * _SUFFIXES[match[2].lower()]


_TYPES: dict[Kind, Callable[[Setting], Any]] = {
    "bytes": _ByteCount,
    "choice": lambda setting: click.Choice(setting.choices),
    "number": lambda setting: _Number(setting.least, setting.most),
    "seconds": lambda setting: Seconds(zero=setting.least == 0),
    "share": lambda setting: _Share(),
}
"""What parses the value of each kind that is not a plain text."""


def make_option(setting: Setting) -> click.Option:
    """Return the flag of a setting.

    A flag that nobody gave is None: what is in force then is the setting's to say.
    """
    shown = setting.written_default(serve=True)
    help_text = f"{setting.help} [default: {shown}]" if shown else setting.help
    if setting.kind == "switch":
        return click.Option([setting.flag], is_flag=True, default=None, help=help_text)
    if setting.kind == "toggle":
        names = f"{setting.flag}/--no-{setting.name}"
        return click.Option([names], default=None, help=help_text)
    make_type = _TYPES.get(setting.kind)
    return click.Option(
        [setting.flag],
        metavar=setting.placeholder or None,
        type=make_type(setting) if make_type else None,
        multiple=setting.many,
        help=help_text,
    )


def options_of(table: str) -> tuple[click.Option, ...]:
    """Return the flags of one table of settings, in its order."""
    return tuple(make_option(each) for each in settings_of(table=table))
