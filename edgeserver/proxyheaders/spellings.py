"""Which spelling of a field name takes part in a decision.

Decides that and remembers it, in bounds. It must not know what any header means.
"""

from __future__ import annotations

from edgeserver.proxyheaders.stripping import SAFE_NAMES

__all__ = ["Spellings"]

_MAX_SPELLINGS = 1024
_MAX_BYTES = 64


class Spellings(dict[bytes, bytes]):
    """Maps a name as sent to its lower-case form if it takes part in decisions, else to `b""`.

    Bounded, and nothing is ever pushed out: past the bound a new spelling costs one `lower` again.

    Args:
        relevant: The lower-case names that take part.
    """

    __slots__ = ("_relevant", "ignored")

    def __init__(self, relevant: frozenset[bytes]) -> None:
        super().__init__((name, name) for name in relevant)
        self._relevant = relevant
        self.ignored = {
            spelling
            for name in SAFE_NAMES - relevant
            for spelling in (name, b"-".join(part.capitalize() for part in name.split(b"-")))
        }

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        if lower in self._relevant:
            if len(self) < _MAX_SPELLINGS:
                self[name] = lower
            return lower
        if len(self.ignored) < _MAX_SPELLINGS and len(name) <= _MAX_BYTES:
            self.ignored.add(name)
        return b""
