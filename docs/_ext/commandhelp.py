"""The directive `commandhelp`: the `--help` of a command, as the installed version prints it.

Decides how help becomes a block of text, so that the reference can never differ from the command.
"""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive

from edgeserver.cli import cli


class CommandHelp(Directive):
    """Show the help of the subcommand that the arguments name."""

    optional_arguments = 5

    def run(self) -> list[nodes.Node]:
        """Return one literal block."""
        command: click.Command = cli
        context = click.Context(
            cli, info_name="edgeserver", max_content_width=88, terminal_width=88
        )
        for name in self.arguments:
            assert isinstance(command, click.Group)
            found = command.get_command(context, name)
            if found is None:
                raise self.error(f"there is no subcommand {name}")
            context = click.Context(found, info_name=name, parent=context)
            command = found
        text = command.get_help(context)
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commandhelp", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
