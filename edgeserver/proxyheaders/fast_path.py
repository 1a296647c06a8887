"""The fast path: the client of one line of addresses, where it stands left of known proxies.

Decides the one case that nearly every request is: an untrusted address, right of which stand a few
listed proxies. It must give the answer of `walk.walk` or none at all; findings, reasons for a
refusal and everything odd are the walk's.
"""

from __future__ import annotations

from edgeserver.proxyheaders.addresses import OCTETS, UnusableClaim, parse_address
from edgeserver.proxyheaders.cache import DecisionCache
from edgeserver.proxyheaders.networks import NetworkTable
from edgeserver.proxyheaders.peer import Peer
from edgeserver.proxyheaders.results import Resolved
from edgeserver.proxyheaders.walk import SCHEMES, Memo, new_tuple, read_scheme, remember

__all__ = ["FastPath", "FieldValues"]

_MAX_BYTES = 256
"""Of a longer line only so much is looked at, from the right."""

_MAX_SPLITS = 7
_MAX_TAILS = 256
_MAX_TAIL_BYTES = 128

FieldValues = tuple[bytes | None, ...]
"""The values of the fields that a kind of policy reads, in an order of its own."""


class FastPath:
    """Reads lines of addresses under one table.

    Remembered are, by their exact bytes, entries that are listed proxies and tails: what stands
    right of a first comma, if each of its entries was found to be a listed proxy. Both follow from
    the table, which never changes, so no stranger can have anything remembered that is not so; how
    much is remembered is bounded, and whatever is not is read again.

    Args:
        table: Whom the policy trusts.
        memo: The entries of listed proxies, shared with the walk under the same table.
        is_list: Whether the source holds a list; otherwise it is one entry, or nobody.
        max_hops: How many entries of a list are examined at most; at least 1.
    """

    __slots__ = ("_foreign", "_memo", "_splits", "_table", "_tails")

    def __init__(self, table: NetworkTable, memo: Memo, *, is_list: bool, max_hops: int) -> None:
        self._table = table
        self._foreign = table.foreign_octets
        self._memo = memo
        self._tails: set[bytes] = set()
        # The entry left of `max_hops` others is never split off, and so never is an address.
        self._splits = min(max_hops - 1, _MAX_SPLITS) if is_list else 0

    def resolve(
        self,
        key: FieldValues,
        line: bytes,
        claimed: bytes | None,
        peer: Peer,
        cache: DecisionCache[FieldValues, Resolved] | None,
    ) -> Resolved | None:
        """Return the client if the answer is `first-untrusted`, or None: the walk has to say.

        Args:
            key: What the answer is remembered under; it is not in the cache's `main`.
            line: The whole value of the source.
            claimed: The value that names the scheme, or None.
            peer: The connection's other end.
            cache: Remembers the answer; None for a line too long for that.
        """
        if cache is None:
            # No address begins with NUL: what was cut off cannot make another one of the rest.
            if len(line) > _MAX_BYTES:
                line = b"\0" + line[-_MAX_BYTES:]
        elif cache.old:
            resolved = cache.recall(key)
            if resolved is not None:
                return resolved
        first, comma, tail = line.partition(b",")
        host = port = zone = None
        if not comma or tail in self._tails:
            octets = first.split(b".")
            if len(octets) == 4:
                a, b, c, d = octets
                if a in self._foreign and b in OCTETS and c in OCTETS and d in OCTETS:
                    host = first.decode()
        if host is None:
            found = self._read(line)
            if found is None:
                return None
            host, port, zone = found
        scheme = None
        if claimed is not None:
            scheme = SCHEMES.get(claimed) or read_scheme(claimed)
        if scheme is None:
            scheme = peer.scheme
        resolved = new_tuple(
            Resolved, (host, port, zone, scheme, True, "first-untrusted", peer.prelude, None)
        )
        if cache is not None:
            cache.admit(key, resolved, hash(line))  # a line has one scheme, as a rule
        return resolved

    def _read(self, line: bytes) -> tuple[str, int | None, str | None] | None:
        """Return text, port and zone of the nearest untrusted address; None if the walk must say.

        Args:
            line: The value of the source, or the right end of it.
        """
        memo = self._memo
        entries = line.rsplit(b",", self._splits)
        left = len(entries)
        for entry in reversed(entries):
            left -= 1
            if entry in memo:
                continue
            try:
                address = parse_address(entry)
            except UnusableClaim:
                return None
            rule = self._table.find(address)
            if rule is not None:
                remember(memo, entry, (address, None, ()), rule)
                continue
            if left == 0 and len(entries) > 1:
                self._learn(line[len(entry) + 1 :])
            _, _, text, port, zone = address
            return text, port, zone
        return None

    def _learn(self, tail: bytes) -> None:
        """Remember what stands right of a first entry: each of its entries is a listed proxy.

        Emptied when full: whoever can name ever new proxies costs the others one reading more per
        256 of his lines, never more.
        """
        if len(tail) <= _MAX_TAIL_BYTES:
            if len(self._tails) >= _MAX_TAILS:
                self._tails.clear()
            self._tails.add(tail)
