"""A name that was typed wrongly, and the one that was meant.

Decides what counts as a slip of the pen: one letter left out, added or wrong, or two exchanged.
What is only spelled alike need not mean alike, and is not offered.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["find_slip"]


def find_slip(typed: str, names: Iterable[str]) -> str:
    """Return the name that differs from what was typed by one slip; empty where none does.

    Args:
        typed: What was typed, which is none of the names.
        names: The names that there are; those of fewer than four letters are no names to miss.
    """
    for name in names:
        if len(name.strip("-")) >= 4 and _is_slip(typed, name):
            return name
    return ""


def _is_slip(typed: str, meant: str) -> bool:
    """Tell whether one text becomes the other by one change."""
    same = 0
    while typed[same : same + 1] == meant[same : same + 1] != "":
        same += 1
    wrong, right = typed[same:], meant[same:]
    return (
        wrong[1:] == right  # one too many
        or wrong == right[1:]  # one too few
        or wrong[1:] == right[1:]  # another one
        or (wrong[1::-1] == right[:2] and wrong[2:] == right[2:])  # two exchanged
    )
