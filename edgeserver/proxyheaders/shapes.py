"""Where in a head the fields stand that take part in a decision, by the names in it.

Decides nothing about names; it remembers what `spellings` said of the same names in the same order,
in bounds. It must not know values.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeserver.proxyheaders.spellings import Spellings

__all__ = ["Shape", "Shapes"]

_MAX_SHAPES = 256
_MAX_NAMES = 32
_MAX_NAME_BYTES = 1024


Shape = tuple[int, int, tuple[tuple[bytes, int], ...]]
"""What one list of names says, as a plain tuple, which is taken apart the fastest.

The indexes of the two names that `Shapes` was made for, if those and no other take part, else -1
twice; then the lower-case name and the index of each field that takes part.
"""


class Shapes(dict[tuple[bytes, ...], Shape]):
    """Maps the names of a head, as sent and in order, to its shape.

    Emptied when full: whoever sends ever new names costs the others one more look at each of theirs
    per 256 of his heads, never more.

    Args:
        pair: The two names that most decisions are made from; the second may be None.
    """

    __slots__ = ("_pair",)

    def __init__(self, pair: tuple[bytes, bytes | None]) -> None:
        super().__init__()
        self._pair = pair

    def learn(self, headers: Sequence[tuple[bytes, bytes]], spellings: Spellings) -> None:
        """Remember a head in which no name that takes part repeats."""
        names = tuple(name for name, _ in headers)
        if len(names) > _MAX_NAMES or sum(map(len, names)) > _MAX_NAME_BYTES:
            return
        places = {known: index for index, name in enumerate(names) if (known := spellings[name])}
        first, second = self._pair
        at = second_at = -1
        if second is not None and places.keys() == {first, second}:
            at, second_at = places[first], places[second]
        if len(self) >= _MAX_SHAPES:
            self.clear()
        self[names] = at, second_at, tuple(places.items())
