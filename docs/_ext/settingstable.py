"""The directive `settings`: what a taker of settings can be told, from the table of settings.

Decides how the entries of `edgeserver.config.model` become a table of the reference, so that it can
never say another default than the one in force.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from edgeserver.config.model import Setting, settings_of

_HEAD = ("argument", "default in a program", "flag", "default of serve", "what it says", "SIGHUP")


class SettingsTable(Directive):
    """Show the settings of the taker that the argument names."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return one table."""
        taker: Any = self.arguments[0]
        settings = list(settings_of(taker=taker))
        if not settings:
            raise self.error(f"there is no taker {taker}")
        group = nodes.tgroup(cols=len(_HEAD))
        group += [nodes.colspec(colwidth=1) for _ in _HEAD]
        group += nodes.thead("", _row([nodes.Text(text) for text in _HEAD]))
        group += nodes.tbody("", *(_row(_cells(each)) for each in settings))
        table = nodes.table()
        table += group
        return [table]


def _cells(setting: Setting) -> list[nodes.Node]:
    """Return the cells of one setting."""
    return [
        nodes.literal("", setting.parameter or "-"),
        nodes.Text(setting.written_default(serve=False) or "-"),
        nodes.literal("", setting.flag),
        nodes.Text(setting.written_default(serve=True) or "-"),
        nodes.Text(setting.help),
        nodes.Text("read again" if setting.reloads else "-"),
    ]


def _row(cells: list[nodes.Node]) -> nodes.row:
    """Return a row of a table."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("settings", SettingsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
