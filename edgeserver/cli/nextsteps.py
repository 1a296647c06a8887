"""What to type next, for somebody who typed `edgeserver` and nothing else.

Decides which application of the directory they may mean, by a look at its files: nothing of it is
imported or run.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["advise", "find_applications"]

_NAMES = ("main", "app", "asgi", "wsgi", "server", "application")
"""Modules that applications usually stand in."""

_MADE = re.compile(
    r"^(?:async def |def )?(app|application)(?: *(?::[^=\n]+)?=(?!=)|\()", re.MULTILINE
)
"""An application that is made or defined at the level of its module."""

_MOST_BYTES = 256 * 1024
_MOST_SHOWN = 3

_TEXT = """\
edgeserver: the Python HTTP server for the edge.

Next:
{commands}
  edgeserver --help{padding}every command, with examples"""


def advise(directory: str) -> str:
    """Return the lines for somebody in `directory`."""
    found = find_applications(directory)
    rows = [
        *((f"edgeserver serve {target}", "run it on http://127.0.0.1:8000") for target in found),
        ("edgeserver serve edgeserver.demo:app", "see what the server knows of a request"),
        ("edgeserver serve --help", "every flag"),
    ]
    if not found:
        rows.insert(0, ("edgeserver serve MODULE:ATTR", "run app of main.py: main:app"))
    width = max(len(command) for command, _ in rows) + 2
    commands = "\n".join(f"  {command:{width}}{what}" for command, what in rows)
    padding = " " * (width - len("edgeserver --help"))
    return _TEXT.format(commands=commands, padding=padding)


def find_applications(directory: str) -> list[str]:
    """Return what `serve` would take in a directory, such as `main:app`; the likeliest first."""
    found = []
    for name in _NAMES:
        try:
            with open(Path(directory, f"{name}.py"), encoding="utf-8", errors="replace") as file:
                match = _MADE.search(file.read(_MOST_BYTES))
        except OSError:
            continue
        if match is not None:
            found.append(f"{name}:{match[1]}")
    return found[:_MOST_SHOWN]
