"""The directives `configkeys` and `variables`: the reference of the file and of the environment.

Decides how the entries of `edgeserver.config.model` become the tables of two pages, so that they
name each setting that there is, and no other.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from edgeserver.config.model import SETTINGS, Setting, settings_of

_APPLIES = {"reload": "SIGHUP", "roll": "SIGUSR2", "restart": "a new start"}
_VALUES = {
    "text": "a text",
    "file": "a path",
    "directory": "a path",
    "address": "an address",
    "number": "a whole number",
    "bytes": '65536 or "64K"',
    "seconds": '30, "30s" or "500ms"',
    "share": "a number up to 1",
    "switch": "true or false",
    "toggle": "true or false",
    "application": '"module:attr"',
    "rate": '"20/s,burst=40"',
    "output": '"-", a path or "off"',
}


class ConfigKeys(Directive):
    """Show the keys of the table that the argument names."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return one table."""
        settings = list(settings_of(table=self.arguments[0]))
        if not settings:
            raise self.error(f"there is no table {self.arguments[0]}")
        head = ("key", "value", "default", "what it says", "a change is put in force by")
        return [_table(head, [_key_cells(each) for each in settings])]


class Variables(Directive):
    """Show the variable of each setting."""

    def run(self) -> list[nodes.Node]:
        """Return one table."""
        rows = [
            [
                nodes.literal("", each.variable),
                nodes.literal("", f"[{each.table}] {each.name}"),
                nodes.Text("more than one, between white space" if each.many else _value_of(each)),
            ]
            for each in SETTINGS.values()
        ]
        return [_table(("variable", "key of the file", "value"), rows)]


def _value_of(setting: Setting) -> str:
    """Return how a value is written."""
    if setting.choices:
        return ", ".join(setting.choices)
    return _VALUES.get(setting.kind, "a text")


def _key_cells(setting: Setting) -> list[nodes.Node]:
    """Return the cells of one key."""
    value = _value_of(setting)
    return [
        nodes.literal("", setting.name),
        nodes.Text(f"a list: {value}" if setting.many else value),
        nodes.Text(setting.written_default(serve=True) or "-"),
        nodes.Text(setting.help),
        nodes.Text(_APPLIES[setting.applies]),
    ]


def _table(head: tuple[str, ...], rows: list[list[nodes.Node]]) -> nodes.table:
    """Return a table."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row([nodes.Text(text) for text in head]))
    group += nodes.tbody("", *(_row(cells) for cells in rows))
    table = nodes.table()
    table += group
    return table


def _row(cells: list[nodes.Node]) -> nodes.row:
    """Return a row of a table."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("configkeys", ConfigKeys)
    app.add_directive("variables", Variables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
