"""Which header fields an application does not get to see, because nobody vouches for them.

Decides by name alone. It must not know values, addresses or how the author of a head was judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

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
"""The headers that count only from a proxy that declares that it sets them."""

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
"""Names that are no forwarding headers, known beforehand; others are learned."""

_MAX_LEARNED = 1024
_MAX_LEARNED_BYTES = 64


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

    __slots__ = ("_extra", "_kept", "_strict", "learned")

    _extra: frozenset[bytes]
    _kept: frozenset[bytes]
    _strict: bool
    learned: set[bytes]  # names that are not in this set

    def __new__(
        cls, *, everything: bool, extra: Iterable[bytes], kept: Iterable[bytes] = ()
    ) -> StripSet:
        """Make the set for one kind of author.

        Args:
            everything: All forwarding headers, as from an author who is not trusted; otherwise
                only those that need a declaration, and aliases.
            extra: The configured source and scheme headers.
            kept: The headers that the author declares that it sets.
        """
        extra = frozenset(extra)
        kept = frozenset(kept)
        names = (_EXACT | DECLARABLE | extra) if everything else (DECLARABLE - kept)
        aliases = {name.replace(b"-", b"_") for name in _EXACT | DECLARABLE | extra}
        self = super().__new__(cls, names | (aliases - extra - kept - _EXACT))
        self._extra = extra
        self._kept = kept
        self._strict = everything
        self.learned = set(SAFE_NAMES - names)
        return self

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, bytes):
            return False
        if name in self.learned:
            return False
        if self._matches(name):
            return True
        # Bounded, and never emptied: a stranger who fills it makes new names cost this look-up.
        if len(self.learned) < _MAX_LEARNED and len(name) <= _MAX_LEARNED_BYTES:
            self.learned.add(name)
        return False

    def _matches(self, name: bytes) -> bool:
        if b"_" in name:
            return is_forwarding_name(name.replace(b"_", b"-"), self._extra)
        if self._strict:
            return is_forwarding_name(name, self._extra)
        if name in self._kept:
            return False
        return name in DECLARABLE or name.startswith(b"client-cert")

    def visible(self, raw: Collection[tuple[bytes, bytes]]) -> Collection[tuple[bytes, bytes]]:
        """Return `raw` without the fields to remove; `raw` itself if there are none.

        Args:
            raw: `(lower-case name, value)` pairs; never changed.
        """
        learned = self.learned
        hidden = {name for name, _ in raw if name not in learned and name in self}
        if not hidden:
            return raw
        return [pair for pair in raw if pair[0] not in hidden]

    def listed(self) -> Iterator[bytes]:
        """Yield the names that can be listed."""
        return frozenset.__iter__(self)
