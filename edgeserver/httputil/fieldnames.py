"""Field names: how one is spelled on the wire, and how it is shown.

Decides that names on the wire are lower-case bytes, and that applications see
`Http-Header-Case`. It must not know any name: those it meets come from strangers, so what it
remembers is bounded, in entries and in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["raw_of", "title_of", "title_of_raw"]

_K = TypeVar("_K", str, bytes)
_V = TypeVar("_V")

_MAX_ENTRIES = 2048
_MAX_LENGTH = 64


class _NameCache(dict[_K, _V]):
    """A bounded cache from one spelling of a field name to another: `cache[name]`."""

    __slots__ = ("_convert",)

    def __init__(self, convert: Callable[[_K], _V]) -> None:
        super().__init__()
        self._convert: Callable[[_K], _V] = convert

    def __missing__(self, name: _K) -> _V:
        converted = self._convert(name)
        if len(name) <= _MAX_LENGTH:
            if len(self) >= _MAX_ENTRIES:
                self.clear()
            self[name] = converted
        return converted


def _title(name: str) -> str:
    return "-".join([word.capitalize() for word in name.split("-")])


title_of: _NameCache[str, str] = _NameCache(_title)
"""From a name in any case to `Http-Header-Case`."""

title_of_raw: _NameCache[bytes, str] = _NameCache(lambda raw: _title(raw.decode("latin-1")))
"""From a name on the wire to `Http-Header-Case`."""

raw_of: _NameCache[str, bytes] = _NameCache(
    # No name on the wire holds a backslash, so what is not latin-1 is found nowhere.
    lambda name: name.encode("latin-1", "backslashreplace").lower()
)
"""From a name in any case to the wire's spelling."""
