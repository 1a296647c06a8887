"""The rules of a trust policy: the working form of its settings, made once and used per request.

Decides what the settings mean for each author of a head: what is read, what is hidden, what may be
remembered. It must not know whether a setting was valid, nor any one connection or request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final

from edgeserver.proxyheaders.cache import DecisionCache
from edgeserver.proxyheaders.explanation.codes import CODES
from edgeserver.proxyheaders.fast_path import FastPath, FieldValues
from edgeserver.proxyheaders.networks import NetworkTable, Rule
from edgeserver.proxyheaders.results import REASONS, Finding, Resolved
from edgeserver.proxyheaders.stripping import StripSet
from edgeserver.proxyheaders.tornado_rules import UNLIMITED
from edgeserver.proxyheaders.walk import Memo

__all__ = ["ClaimsCallback", "Rules", "Tally"]

ClaimsCallback = Callable[[str, frozenset[bytes]], None]
"""Called with who claims something without being believed, and the lower-case names of the fields.
"""

CACHE_SIZE: Final = 2048


class Tally:
    """What has been decided so far, in numbers.

    Attributes:
        reasons: How many requests were decided for each key of `REASONS`.
        findings: How many findings of each code were explained.
    """

    __slots__ = ("_lock", "findings", "reasons")

    def __init__(self) -> None:
        self.reasons: dict[str, int] = dict.fromkeys(REASONS, 0)
        self.findings: dict[str, int] = dict.fromkeys(CODES, 0)
        # Audit logs explain in a thread of their own.
        self._lock = Lock()

    def count_findings(self, findings: Iterable[Finding]) -> None:
        """Count findings; from any thread."""
        with self._lock:
            for finding in findings:
                self.findings[finding.code] += 1


class Rules:
    """The working form of one policy, shared by all its connections.

    Args:
        mode: `"policy"`, `"tornado"` or `"off"`.
        table: Whom the policy trusts.
        source: The lower-case name of the field that names the client.
        proto: The field that names the scheme, or None.
        max_hops: How many entries are examined at most; 0 for Tornado's rules, which have no limit.
        unlisted: `"strip"` or `"keep"`.
        undeclared: `"strip"` or `"keep"`.
        declared: Every field that any proxy declares that it sets.
        trusts_all: Whether claims of any peer are believed.

    Attributes:
        source_raw: The name of the source, as bytes.
        proto_raw: The name of the scheme header, as bytes; None where none is read, and for
            `Forwarded`, whose elements have a `proto` of their own.
        extra: The configured source and scheme headers.
        proto_is_declared: Whether the scheme counts only from proxies that declare that they set
            it: where some say what they set, a scheme that nobody says to set is a client's.
        caches: The decisions of connections without a prelude, by the connection's scheme.
        memo: The entries of listed proxies that were met, for the walk and the fast path.
        fast: Decides the usual chain without a full walk, or None: the elements of RFC 7239 are
            read by their own grammar, and so by the walk alone.
        claims: The names of the fields in which whoever is not listed claims something.
        strip_unlisted: What is hidden of the head of whoever is not listed, or None.
        on_claims: Called where whoever is not believed claims something, or None.
        tally: What has been decided so far.
    """

    __slots__ = (
        "_strips",
        "caches",
        "claims",
        "extra",
        "fast",
        "max_hops",
        "memo",
        "mode",
        "on_claims",
        "proto",
        "proto_is_declared",
        "proto_raw",
        "source",
        "source_raw",
        "strip_unlisted",
        "table",
        "tally",
        "trusts_all",
        "undeclared",
        "unlisted",
    )

    def __init__(
        self,
        *,
        mode: str,
        table: NetworkTable,
        source: str,
        proto: str | None,
        max_hops: int,
        unlisted: str,
        undeclared: str,
        declared: frozenset[bytes],
        trusts_all: bool,
    ) -> None:
        self.mode = mode
        self.table = table
        self.source = source
        self.proto = proto
        self.max_hops = max_hops
        self.unlisted = unlisted
        self.undeclared = undeclared
        self.trusts_all = trusts_all
        self.source_raw = source.encode("ascii")
        self.proto_raw = proto.encode("ascii") if proto and source != "forwarded" else None
        self.proto_is_declared = mode == "policy" and bool(declared)
        self.extra = frozenset(
            (self.source_raw,) if self.proto_raw is None else (self.source_raw, self.proto_raw)
        )
        self.claims = StripSet(everything=True, extra=self.extra)
        self.strip_unlisted = self.claims if unlisted == "strip" else None
        self.on_claims: ClaimsCallback | None = None
        # What is hidden of the head of a listed author, by what it declares that it sets.
        self._strips: dict[frozenset[bytes], StripSet] = {}
        self.caches: dict[str, DecisionCache[FieldValues, Resolved]] = {
            "http": DecisionCache(CACHE_SIZE),
            "https": DecisionCache(CACHE_SIZE),
        }
        self.memo: Memo = {}
        self.fast: FastPath | None = None
        if source != "forwarded":
            self.fast = FastPath(
                table,
                self.memo,
                is_list=source == "x-forwarded-for",
                max_hops=max_hops if mode == "policy" else UNLIMITED,
            )
        self.tally = Tally()

    def strip_for(self, author: Rule) -> StripSet:
        """Return what is hidden of the head of a listed author."""
        found = self._strips.get(author.sets)
        if found is None:  # bounded by the number of entries
            kept = author.sets | {self.source_raw}
            proto = self.proto_of(author)
            found = StripSet(
                everything=self.undeclared == "strip",
                extra=self.extra,
                kept=kept if proto is None else kept | {proto},
            )
            self._strips[author.sets] = found
        return found

    def proto_of(self, author: Rule) -> bytes | None:
        """Return the scheme header as far as it counts from a listed author."""
        if self.proto_is_declared and self.proto_raw not in author.sets:
            return None
        return self.proto_raw
