"""Which header fields an application does not get to see, because nobody vouches for them.

Decides by name alone. It must not know values, addresses or how the author of a head was judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["DECLARABLE", "SAFE_NAMES", "StripSet", "is_forwarding_name"]

DECLARABLE = frozenset(
    {
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-client-cert",
        b"client-cert",
        b"client-cert-chain",
    }
)
"""The headers that are read where a proxy declares that it sets them, and nowhere else."""

_EXACT = frozenset({b"forwarded", b"x-real-ip", b"x-scheme"})
_PREFIXES = (b"x-forwarded-", b"client-cert")

SAFE_NAMES = frozenset(
    b"host user-agent accept accept-language accept-encoding accept-charset connection keep-alive "
    b"cookie referer origin upgrade-insecure-requests sec-fetch-site sec-fetch-mode sec-fetch-user "
    b"sec-fetch-dest sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-gpc dnt priority te trailer "
    b"content-type content-length content-encoding transfer-encoding cache-control pragma via "
    b"if-none-match if-modified-since if-match if-range if-unmodified-since range expect upgrade "
    b"sec-websocket-key sec-websocket-version sec-websocket-extensions sec-websocket-protocol "
    b"authorization x-requested-with x-request-id traceparent tracestate".split()
)
"""Names that everybody sends and that are not forwarding headers: there is always room for them."""

_MAX_LEARNED = 1024
_MAX_LEARNED_BYTES = 64
_MAX_SHAPES = 256
_MAX_SHAPE = 32
_MAX_SHAPE_BYTES = 512


def is_forwarding_name(name: bytes, extra: frozenset[bytes] = frozenset()) -> bool:
    """Return whether a lower-case name, without underscores, is a forwarding header.

    Args:
        name: The name.
        extra: The configured source and scheme headers.
    """
    return name in _EXACT or name.startswith(_PREFIXES) or name in extra


class StripSet(frozenset[bytes]):
    """The names to remove: those known, and every other that follows the rule.

    A frozenset of the names that can be listed, whose `in` also knows those that cannot:
    `X-Forwarded-` anything, and any underscore alias.
    """

    __slots__ = ("_extra", "_kept", "_safe", "_shapes", "_strict", "_unsafe")

    _extra: frozenset[bytes]
    _kept: frozenset[bytes]
    _strict: bool
    _safe: set[bytes]  # of the names met so far: those that stay,
    _unsafe: set[bytes]  # and those that go
    _shapes: dict[tuple[bytes, ...], frozenset[bytes]]  # of all names of a head: those that go

    def __new__(
        cls, *, everything: bool, extra: Iterable[bytes], kept: Iterable[bytes] = ()
    ) -> StripSet:
        """Make the set for one kind of author.

        Args:
            everything: All forwarding headers that nobody vouches for; otherwise only aliases.
            extra: The configured source and scheme headers.
            kept: The headers for which the author is believed; their aliases go all the same.
        """
        extra = frozenset(extra)
        kept = frozenset(kept)
        known = _EXACT | DECLARABLE | extra | kept
        aliases = {alias for name in known if (alias := name.replace(b"-", b"_")) != name}
        self = super().__new__(cls, (known - kept if everything else frozenset()) | aliases)
        self._extra = extra
        self._kept = kept
        self._strict = everything
        self._safe = set()
        self._unsafe = set()
        self._shapes = {}
        return self

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, bytes):
            return False
        if name in self._safe:
            return False
        if name in self._unsafe:
            return True
        matches = self._matches(name)
        # Bounded, and never emptied: a stranger who fills it makes odd names cost this look-up, and
        # not those known beforehand.
        if (
            (self.learned < _MAX_LEARNED and len(name) <= _MAX_LEARNED_BYTES)
            or name in SAFE_NAMES
            or super().__contains__(name)
        ):
            (self._unsafe if matches else self._safe).add(name)
        return matches

    @property
    def learned(self) -> int:
        """How many names are remembered; at most 1,024, and those known beforehand."""
        return len(self._safe) + len(self._unsafe)

    def _matches(self, name: bytes) -> bool:
        if b"_" in name:
            return is_forwarding_name(name.replace(b"_", b"-"), self._extra)
        return self._strict and name not in self._kept and is_forwarding_name(name, self._extra)

    def among(self, names: Iterable[bytes]) -> frozenset[bytes]:
        """Return which of `names`, in lower case, are to be removed.

        Args:
            names: The names of one head, in their order.
        """
        shape = tuple(names)
        hidden = self._shapes.get(shape)
        return self._judge(shape) if hidden is None else hidden

    def _judge(self, shape: tuple[bytes, ...]) -> frozenset[bytes]:
        """Look at each of the names, and remember what came out for all of them together."""
        hidden = frozenset([name for name in shape if name in self])
        if len(shape) <= _MAX_SHAPE and sum(map(len, shape)) <= _MAX_SHAPE_BYTES:
            # Who fills it makes others pay the look at each name again, which is remembered apart.
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = hidden
        return hidden

    def listed(self) -> Iterator[bytes]:
        """Yield the names that can be listed."""
        return frozenset.__iter__(self)
