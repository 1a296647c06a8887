"""Values of a report's JSON, read without trust: whatever is not as it should be is nothing.

Decides what stands for a value of another type, and how many of a list are looked at. It must not
know which reports there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["MOST_ITEMS", "flag_of", "mapping_of", "number_of", "objects_of", "text_of", "texts_of"]

MOST_ITEMS: Final = 10_000
"""How many items of a list are looked at."""


def _at(value: object, *keys: str) -> object:
    """Return what stands at some keys, or None."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def text_of(value: object, *keys: str) -> str:
    """Return the text at some keys, a number as text; nothing where there is none."""
    found = _at(value, *keys)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    return str(found)


def number_of(value: object, *keys: str) -> float | None:
    """Return the number at some keys, or None."""
    found = _at(value, *keys)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if abs(number) < 1e18 else None  # neither infinite nor NaN


def flag_of(value: object, *keys: str) -> bool:
    """Return whether true stands at some keys."""
    return _at(value, *keys) is True


def mapping_of(value: object, *keys: str) -> dict[str, Any]:
    """Return the object at some keys; an empty one where there is none."""
    found = _at(value, *keys)
    if not isinstance(found, Mapping):
        return {}
    return {str(key): each for key, each in [*found.items()][:MOST_ITEMS]}


def objects_of(value: object, *keys: str) -> list[dict[str, Any]]:
    """Return the objects of the list at some keys."""
    return [each for each in _items(value, *keys) if isinstance(each, dict)]


def texts_of(value: object, *keys: str) -> list[str]:
    """Return the texts of the list at some keys."""
    return [each for each in _items(value, *keys) if isinstance(each, str)]


def _items(value: object, *keys: str) -> Iterator[object]:
    found = _at(value, *keys)
    if isinstance(found, list | tuple):
        yield from found[:MOST_ITEMS]
