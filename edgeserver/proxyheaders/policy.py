"""The trust policy: whom to believe, and about what.

Decides whether a configuration makes sense, once, and hands out its working form. It must not know
how a request is decided; nothing here runs per request but a look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from threading import Lock
from types import MappingProxyType
from typing import Any, Literal

from edgeserver.proxyheaders.addresses import (
    UNIX,
    Address,
    UnusableClaim,
    parse_address,
    parse_peer,
)
from edgeserver.proxyheaders.cache import DecisionCache
from edgeserver.proxyheaders.connection import MAX_KEY_BYTES, Bound, FieldValues
from edgeserver.proxyheaders.explanation.codes import CODES, make_finding
from edgeserver.proxyheaders.fast_path import ShortRoad
from edgeserver.proxyheaders.networks import NetworkTable, Rule
from edgeserver.proxyheaders.peer import Endpoint
from edgeserver.proxyheaders.resolvers import make_bound
from edgeserver.proxyheaders.results import REASONS, Finding, Provenance, Resolved
from edgeserver.proxyheaders.settings import (
    Entry,
    check_choice,
    check_max_hops,
    check_proto,
    check_source,
    read_entries,
)
from edgeserver.proxyheaders.shapes import Shapes
from edgeserver.proxyheaders.spellings import Spellings
from edgeserver.proxyheaders.stripping import StripSet
from edgeserver.proxyheaders.tornado_rules import UNLIMITED
from edgeserver.proxyheaders.walk import Memo, Outcome

__all__ = ["TrustPolicy"]

_CACHE_SIZE = 2048
_MAX_BOUNDS = 256
_NAME = itemgetter(0)

# Stands for "none yet": no peer equals None, so its bound is never asked.
_NO_PLACE: Any = (None, None, None, None)


class TrustPolicy:
    """Whom to believe about who the client is; immutable but for its counters and caches.

    Args:
        proxies: Whom to trust: addresses, CIDR ranges, `"unix:"`, presets (`"loopback"`,
            `"private"`) and `TrustedProxy` entries.
        source: The one field that names the client: `"x-forwarded-for"`, `"forwarded"`, or any
            field that holds one address.
        proto: The one field that names the scheme, or None to read none; with source
            `"forwarded"` it is the element's own `proto`.
        max_hops: How many entries of the source are examined at most.
        unlisted: `"strip"` hides forwarding headers from an unlisted peer from the application;
            `"keep"` leaves them.
        allow_all: Accept a range that holds every address.

    Raises:
        TrustConfigurationError: A setting is wrong; the message names it and the fix.
        TypeError: A setting has the wrong type, such as a `str` in place of a list.
    """

    def __init__(
        self,
        proxies: Iterable[Entry],
        *,
        source: str = "x-forwarded-for",
        proto: str | None = "x-forwarded-proto",
        max_hops: int = 20,
        unlisted: Literal["strip", "keep"] = "strip",
        allow_all: bool = False,
    ) -> None:
        source_name = check_source(source)
        proto_name = check_proto(proto, source_name)
        self._setup(
            mode="policy",
            proxies=read_entries(proxies, allow_all=allow_all, setting="proxies"),
            source=source_name,
            proto=proto_name,
            max_hops=check_max_hops(max_hops),
            unlisted=check_choice(unlisted, "unlisted", ("strip", "keep")),
            allow_all=allow_all,
        )

    @classmethod
    def tornado(cls, trusted_downstream: Iterable[str] | None = None) -> TrustPolicy:
        """Return Tornado's contract: what `HTTPServer(..., xheaders=True)` means.

        Args:
            trusted_downstream: Addresses or ranges to skip in `X-Forwarded-For`, from the right.

        Raises:
            TrustConfigurationError: An entry is wrong; the message names it and the fix.
            TypeError: A `str` in place of a list.
        """
        self = cls.__new__(cls)
        self._setup(
            mode="tornado",
            proxies=read_entries(
                trusted_downstream or (), allow_all=False, setting="trusted_downstream"
            ),
            source="x-forwarded-for",
            proto="x-forwarded-proto",
            max_hops=0,
            unlisted="keep",
            allow_all=True,
        )
        return self

    @classmethod
    def off(cls) -> TrustPolicy:
        """Return the policy that reads no header: the peer is the client, and nothing is hidden."""
        self = cls.__new__(cls)
        self._setup(
            mode="off",
            proxies=read_entries((), allow_all=False, setting="proxies"),
            source="x-forwarded-for",
            proto=None,
            max_hops=0,
            unlisted="keep",
            allow_all=False,
        )
        return self

    def _setup(
        self,
        *,
        mode: str,
        proxies: Any,
        source: str,
        proto: str | None,
        max_hops: int,
        unlisted: str,
        allow_all: bool,
    ) -> None:
        """Set every attribute; the settings are valid."""
        self.mode = mode
        self.proxies: tuple[str, ...] = proxies.texts
        self.source = source
        self.proto = proto
        self.max_hops = max_hops
        self.unlisted = unlisted
        self.allow_all = allow_all
        self._table = NetworkTable(proxies.networks, proxies.unix)
        self._source_raw = source.encode("ascii")
        self._proto_raw = proto.encode("ascii") if proto and source != "forwarded" else None
        warnings = list(proxies.warnings)
        if mode == "tornado" or proxies.trusts_all:
            warnings.insert(0, make_finding("any-peer-trusted", _ANY_PEER[mode]))
        self.warnings: tuple[Finding, ...] = tuple(warnings)
        self._extra = frozenset(
            {self._source_raw} | ({self._proto_raw} if self._proto_raw is not None else set())
        )
        self._strip_unlisted = StripSet(everything=True, extra=self._extra)
        self._strips: dict[frozenset[bytes], StripSet] = {}
        relevant = self._extra.union(*(rule.sets for _, rule in proxies.networks))
        if proxies.unix is not None:
            relevant |= proxies.unix.sets
        if mode == "tornado":
            relevant |= {b"x-real-ip", b"x-scheme"}
        self._spellings = Spellings(relevant)
        self._ignored = self._spellings.ignored
        self._shapes = Shapes((self._source_raw, self._proto_raw))
        self._caches: dict[str, DecisionCache[FieldValues, Resolved]] = {
            "http": DecisionCache(_CACHE_SIZE),
            "https": DecisionCache(_CACHE_SIZE),
        }
        self._memo: Memo = {}
        # RFC 7239's elements are read by its own grammar, and so by the walk alone.
        self._short = (
            ShortRoad(
                self._table,
                self._memo,
                is_list=self._source_raw == b"x-forwarded-for",
                max_hops=max_hops if mode == "policy" else UNLIMITED,
            )
            if source != "forwarded"
            else None
        )
        self._bounds: dict[object, Bound] = {}
        self._last: tuple[str, int | None, str, Bound] = _NO_PLACE
        self._reasons = dict.fromkeys(REASONS, 0)
        self._findings = dict.fromkeys(CODES, 0)
        self._counting = Lock()

    # -- the two questions ---------------------------------------------------------------------

    def resolve(
        self,
        *,
        peer: str,
        headers: Sequence[tuple[bytes, bytes]],
        scheme: str = "http",
        peer_port: int | None = None,
        prelude: Any = None,
    ) -> Resolved:
        """Return who the client is; never raises for anything in `headers`.

        Args:
            peer: The address text of the TCP peer, with zone if any, or `"unix:"`.
            headers: `(name, value)` pairs in the order received, names in any case.
            scheme: The scheme of the connection itself.
            peer_port: The peer's port.
            prelude: The connection's PROXY prelude, if there was one.

        Raises:
            ValueError: `peer` or `scheme` is wrong, or a prelude meets Tornado's contract.
        """
        last_peer, last_port, last_scheme, bound = self._last
        if (
            peer != last_peer
            or peer_port != last_port
            or scheme != last_scheme
            or prelude is not None
        ):
            bound = self._recall_bound(peer, peer_port, scheme, prelude)
        if headers.__class__ is list:
            shape = self._shapes.get(tuple(map(_NAME, headers)))
            if shape is not None:
                at, proto_at, places = shape
                cache = bound.direct
                if at >= 0 and cache is not None:
                    key = (headers[at][1], headers[proto_at][1])
                    if len(key[0]) + len(key[1]) <= MAX_KEY_BYTES:
                        resolved = cache.main.get(key)
                        if resolved is not None:
                            self._reasons[resolved.reason] += 1
                            return resolved
                known = {name: headers[index][1] for name, index in places}
                return bound.resolve(known.items(), known)
        ignored, spellings = self._ignored, self._spellings
        fields: dict[bytes, bytes] = {}
        picked = 0
        for name, value in headers:
            if name not in ignored:
                picked += 1
                fields[spellings[name]] = value
        if len(fields) == picked:
            if headers.__class__ is list:
                self._shapes.learn(headers, spellings)
            return bound.resolve(fields.items(), fields)
        raw = [(lower, value) for name, value in headers if (lower := spellings[name])]
        fields = dict(raw)
        return bound.resolve(raw, fields if len(fields) == len(raw) else None)

    def _recall_bound(self, peer: str, peer_port: int | None, scheme: str, prelude: Any) -> Bound:
        """Return this policy on a connection that may have been asked about before."""
        if prelude is not None:
            return self.bind(peer=peer, peer_port=peer_port, scheme=scheme, prelude=prelude)
        place = (peer, peer_port, scheme)
        bound = self._bounds.get(place)
        if bound is None:
            bound = self.bind(peer=peer, peer_port=peer_port, scheme=scheme)
            if len(self._bounds) >= _MAX_BOUNDS:
                self._bounds.clear()
            self._bounds[place] = bound
        self._last = (*place, bound)
        return bound

    def explain(
        self,
        *,
        peer: str,
        headers: Sequence[tuple[bytes, bytes]],
        scheme: str = "http",
        peer_port: int | None = None,
        prelude: Any = None,
    ) -> Provenance:
        """Return the whole proof of what `resolve` answers for the same arguments."""
        bound = self.bind(peer=peer, peer_port=peer_port, scheme=scheme, prelude=prelude)
        return bound.explain([(name.lower(), value) for name, value in headers])

    def bind(
        self,
        *,
        peer: str,
        peer_port: int | None = None,
        scheme: str | None = "http",
        prelude: Any = None,
    ) -> Bound:
        """Return this policy on one connection, for the requests that come over it.

        Raises:
            ValueError: `peer` or `scheme` is wrong, or a prelude meets Tornado's contract.
        """
        if scheme is None:
            scheme = "http"
        elif scheme not in ("http", "https"):
            raise ValueError(f"scheme={scheme!r}: give 'http', 'https' or None")
        endpoint = Endpoint(parse_peer(peer), peer, peer_port, scheme, prelude)
        if self.mode == "policy":
            self._judge(endpoint)
        elif prelude is not None:
            raise ValueError(
                "a PROXY prelude needs a trust policy: pass trust=TrustPolicy([...]) with the "
                "addresses that may speak it, in place of xheaders"
            )
        return make_bound(self, endpoint)

    def trusts(self, peer: str) -> bool:
        """Return whether a peer is a listed proxy, and may so speak the PROXY protocol."""
        return self.mode == "policy" and self._table.find(parse_peer(peer)) is not None

    def _judge(self, endpoint: Endpoint) -> None:
        """Decide what the connection itself says: the peer, then the PROXY source."""
        rule = endpoint.peer_rule = self._table.find(endpoint.peer)
        if rule is None:
            endpoint.outcome = Outcome("untrusted-peer", None)
            return
        prelude = endpoint.prelude
        if prelude is not None and prelude.ssl is not None and prelude.ssl.client_ssl:
            endpoint.scheme = "https"
        if prelude is None or prelude.command != "PROXY" or prelude.source is None:
            endpoint.author = rule
            return
        try:
            source = endpoint.source = _prelude_source(prelude.source, prelude.source_port)
        except UnusableClaim as error:
            endpoint.outcome = Outcome(error.code, None, None, error.detail)
            return
        # The head was written by whom the prelude names: only then does it count.
        endpoint.author = endpoint.source_rule = self._table.find(source)
        if endpoint.author is None:
            endpoint.outcome = Outcome("first-untrusted", source)

    def _strip_for(self, author: Rule) -> StripSet:
        """Return what is hidden of the head of a trusted author."""
        found = self._strips.get(author.sets)
        if found is None:  # bounded by the number of entries
            found = StripSet(everything=False, extra=self._extra, kept=author.sets)
            self._strips[author.sets] = found
        return found

    # -- what has happened so far ----------------------------------------------------------------

    @property
    def reason_counts(self) -> MappingProxyType[str, int]:
        """How many requests were decided for each reason; a live view."""
        return MappingProxyType(self._reasons)

    @property
    def finding_counts(self) -> MappingProxyType[str, int]:
        """How many findings of each code were explained; a live view."""
        return MappingProxyType(self._findings)

    def count_findings(self, findings: Iterable[Finding]) -> None:
        """Count findings, those of an explanation or of a refused prelude; from any thread."""
        with self._counting:
            for finding in findings:
                self._findings[finding.code] += 1

    def __repr__(self) -> str:
        if self.mode != "policy":
            return f"<TrustPolicy {self.mode}>"
        return f"<TrustPolicy source={self.source} proxies={', '.join(self.proxies) or 'none'}>"


_ANY_PEER = {
    "tornado": "Tornado's contract believes the headers of whoever can connect",
    "policy": "the policy trusts every address, so whoever can connect names the client",
}


def _prelude_source(source: str, port: int | None) -> Address:
    """Return the address that a PROXY prelude names.

    Raises:
        UnusableClaim: It names nobody.
    """
    if source.startswith("unix:"):
        return UNIX
    return parse_address(source.encode("ascii", "replace"))._replace(port=port)
