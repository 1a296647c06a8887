"""Flags made from the table of settings: how each kind of value is declared, parsed and shown.

Decides forms and their limits only; it must not know a single flag, nor what one means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from edgeserver.config.model import Kind, Setting, settings_of
from edgeserver.config.values import parse_duration, parse_value

__all__ = [
    "SECONDS",
    "Seconds",
    "complete_directories",
    "complete_files",
    "make_option",
    "options_of",
    "spell_flag",
]


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
        try:
            return parse_duration(str(value), zero=not self.min_open)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Value(click.ParamType):  # type: ignore[type-arg]  # newer ones are generic
    """A value that the table of settings describes.

    Args:
        setting: Says its kind and bounds.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.name = setting.kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, with the fix for what is none."""
        try:
            return parse_value(self._setting, str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Choice(click.Choice):  # type: ignore[type-arg]  # newer ones are generic
    """One of a setting's values, as help and completion show them.

    Args:
        setting: Says which, and what others call them.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.choices)
        self._setting = setting

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value as we write it; click says what there is where it is none."""
        try:
            value = parse_value(self._setting, str(value))
        except ValueError:
            pass
        return super().convert(value, param, ctx)


SECONDS = Seconds()
"""More than no time."""


def spell_flag(name: str, value: object = None) -> str:
    """Return the flag whose parameter is `name`, as it is typed to give it `value`."""
    return ("--no-" if value is False else "--") + name.replace("_", "-")


_TYPES: dict[Kind, Callable[[Setting], Any]] = {
    "bytes": _Value,
    "choice": _Choice,
    "number": _Value,
    "seconds": _Value,
    "share": _Value,
}
"""What parses the value of each kind that is not a plain text."""


def complete_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Have the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_directories(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Have the shell complete the name of a directory."""
    return [CompletionItem(incomplete, type="dir")]


_COMPLETED = {
    "directory": complete_directories,
    "file": complete_files,
    "output": complete_files,
}
"""How a shell completes the value of each kind that is a path."""


class _Flag(click.Option):
    """A flag that complaints call by its long name alone."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return the name."""
        return f"'{self.opts[0]}'"


def make_option(setting: Setting) -> click.Option:
    """Return the flag of a setting.

    A flag that nobody gave is None: what is in force then is the setting's to say.
    """
    shown = setting.written_default(serve=True)
    help_text = f"{setting.help} [default: {shown}]" if shown else setting.help
    names = [setting.flag, *((setting.short,) if setting.short else ())]
    if setting.kind == "switch":
        return click.Option(names, is_flag=True, default=None, help=help_text)
    if setting.kind == "toggle":
        both = f"{setting.flag}/--no-{setting.name}"
        return click.Option([both], default=None, help=help_text)
    make_type = _TYPES.get(setting.kind)
    return _Flag(
        names,
        metavar=setting.placeholder or None,
        type=make_type(setting) if make_type else None,
        multiple=setting.many,
        shell_complete=_COMPLETED.get(setting.kind),
        help=help_text,
    )


def options_of(table: str) -> tuple[click.Option, ...]:
    """Return the flags of one table of settings, in its order."""
    return tuple(make_option(each) for each in settings_of(table=table) if each.has_flag)
