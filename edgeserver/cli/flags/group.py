"""Groups of flags: how a command gets, shows and applies several of them.

Decides the mechanism only; it must not know a single flag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from edgeserver.cli.options import options_of
from edgeserver.config.model import TABLES
from edgeserver.runtime.plan import ServePlan

__all__ = ["FlagGroup", "GroupedCommand", "add_flags", "apply_flags"]


@dataclass(frozen=True, kw_only=True)
class FlagGroup:
    """The flags of one table of settings.

    Args:
        table: The table, a key of `config.model.TABLES`.
        apply: Writes what the flags say into the plan; it gets the values of all flags. It opens
            nothing and reads no file.
    """

    table: str
    apply: Callable[[Mapping[str, Any], ServePlan], None]
    options: Sequence[click.Option] = field(init=False)
    """The flags, in the order of `--help`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", options_of(self.table))

    @property
    def title(self) -> str:
        """The heading above them in `--help`."""
        return TABLES[self.table]


class GroupedCommand(click.Command):
    """A command whose `--help` shows its flags under the titles of their groups."""

    groups: Sequence[FlagGroup] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, so that each complaint knows which command it is of."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group, then one for the flags in none."""
        shown: set[str | None] = set()
        for group in self.groups:
            records = [
                record for option in group.options if (record := option.get_help_record(ctx))
            ]
            shown.update(option.name for option in group.options)
            with formatter.section(group.title):
                formatter.write_dl(records)
        rest = [
            record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            and parameter.name not in shown
            and (record := parameter.get_help_record(ctx))
        ]
        with formatter.section("Other"):
            formatter.write_dl(rest)


def add_flags(command: GroupedCommand, groups: Sequence[FlagGroup]) -> GroupedCommand:
    """Give `command` the flags of `groups`, and return it."""
    command.groups = groups
    for group in groups:
        command.params.extend(group.options)
    return command


def apply_flags(groups: Sequence[FlagGroup], values: Mapping[str, Any], plan: ServePlan) -> None:
    """Have every group write its part of `plan`.

    Raises:
        ConfigurationError: A flag's value is wrong, or two flags contradict each other.
    """
    for group in groups:
        group.apply(values, plan)
