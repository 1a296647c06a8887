"""The names of settings in messages: an argument in a program, a flag where flags were typed.

Decides only how a setting is called. It must not know which settings there are.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["is_typed", "spell_settings", "spelled"]


def _as_argument(name: str) -> str:
    return name


_spell: Callable[[str], str] = _as_argument


def spelled(name: str) -> str:
    """Return how the people who run this process call a setting: `max_held` or `--max-held`.

    Args:
        name: The argument's name.
    """
    return _spell(name)


def is_typed(name: str) -> bool:
    """Return whether a setting is called otherwise than its argument: a command was typed."""
    return _spell(name) != name


def spell_settings(spell: Callable[[str], str] | None) -> None:
    """Have settings called by other names from now on, in all of this process.

    Args:
        spell: Returns how an argument's setting is called; None for the argument's own name.
    """
    global _spell
    _spell = _as_argument if spell is None else spell
