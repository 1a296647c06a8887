"""Origins of values: which flag, variable or line of a file has said what, and how that is spelled.

Decides how a complaint that names flags is put into the words that somebody has typed, and before
it the place where they stand. It must not know what any setting means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgeserver.config.model import SETTINGS
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["DEFAULT", "MOST_PROBLEMS", "Origin", "Problem", "Said", "WrongConfiguration", "spell"]

MOST_PROBLEMS = 100
"""How many are shown of what is wrong at once."""

_FLAG = re.compile(r"--(?:no-)?([a-z0-9]+(?:-[a-z0-9]+)*)")
_PLACE_WORDS = {"file": "the key", "environment": "the variable"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Args:
        kind: By what it was said.
        place: Where it stands, as people look for it: `--workers`, `EDGESERVER_WORKERS`,
            `edge.toml:12`.
        name: What the setting is called there: `--workers`, `EDGESERVER_WORKERS`,
            `[process] workers`.
        entries: Of a list in a file, where each entry stands.
    """

    kind: Literal["flag", "environment", "file", "default"]
    place: str
    name: str = ""
    entries: tuple[str, ...] = ()


DEFAULT = Origin("default", "default")
"""That of what nobody has said."""


@dataclass(frozen=True, slots=True)
class Said:
    """A value, and who has said it."""

    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong or odd, in one line: where, what, and the fix.

    Args:
        text: The line.
        is_error: Whether nothing can start with it.
    """

    text: str
    is_error: bool = True

    def __str__(self) -> str:
        return self.text


class WrongConfiguration(ConfigurationError):
    """All that is wrong at once, a line each.

    Args:
        problems: The errors.
    """

    def __init__(self, problems: list[Problem]) -> None:
        lines = [each.text for each in problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            lines.append(f"and {len(problems) - MOST_PROBLEMS} more like these")
        super().__init__("\n".join(lines))


def spell(message: str, said: Mapping[str, Said]) -> str:
    """Return a complaint that names flags in the words of whoever has set them.

    Args:
        message: Such as `--bind x: the port is missing; write x:8000, say`.
        said: What was said of each setting, by its key.
    """
    first = _first_said(message, said)
    if first is None or first.origin.kind in ("flag", "default"):
        return message

    def name(match: re.Match[str]) -> str:
        setting = SETTINGS.get(match[1])
        if setting is None:
            return match[0]
        known = said.get(setting.key)
        if known is not None:
            return known.origin.name
        # What is to be added is added where the rest stands.
        return f"[{setting.table}] {setting.name}" if first.origin.kind == "file" else match[0]

    place, message = _name_entry(message, said, first)
    message = _FLAG.sub(name, message)
    message = message.replace("the flag", _PLACE_WORDS[first.origin.kind])
    return f"{place}: {message}" if first.origin.kind == "file" else message


def _first_said(message: str, said: Mapping[str, Said]) -> Said | None:
    """Return the first of the settings that a message names which somebody has set."""
    for match in _FLAG.finditer(message):
        setting = SETTINGS.get(match[1])
        if setting is not None and setting.key in said:
            return said[setting.key]
    return None


def _name_entry(message: str, said: Mapping[str, Said], first: Said) -> tuple[str, str]:
    """Return where a complaint belongs, and the same with the number of the entry it is about."""
    origin = first.origin
    if isinstance(first.value, tuple) and origin.kind == "file":
        for number, entry in enumerate(first.value):
            shown = escape(str(entry))
            at = re.search(rf"--[a-z0-9-]+ {re.escape(shown)}(?=[:, ]|\Z)", message)
            if at is not None and number < len(origin.entries):
                named = f'{origin.name}[{number}] "{shown}"'
                return origin.entries[number], message[: at.start()] + named + message[at.end() :]
    return origin.place, message
