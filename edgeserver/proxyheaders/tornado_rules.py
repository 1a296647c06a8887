"""Tornado's rules: what `xheaders=True` and `trusted_downstream` mean.

Decides the address and the scheme as Tornado does, with our grammar. It must not know the peer,
which these rules believe whoever it is.

Source: `tornado.httpserver`, "xheaders" and "trusted_downstream"; checked against Tornado 6.6.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from edgeserver.proxyheaders.networks import NetworkTable
from edgeserver.proxyheaders.walk import (
    PLAIN,
    Memo,
    Outcome,
    Trace,
    read_scheme,
    walk,
    walk_single,
)

__all__ = ["UNLIMITED", "Claims", "decide_tornado", "read_claims"]

UNLIMITED = 1 << 30
"""Tornado has no limit of hops."""


class Claims(NamedTuple):
    """What the four fields hold: each its lines, and the last scheme of each name."""

    chain: Sequence[bytes]
    single: Sequence[bytes]
    x_scheme: bytes | None
    proto: bytes | None

    def joined(self) -> tuple[bytes | None, bytes | None, bytes | None, bytes | None]:
        """Return the chain, the proto, the single address and the X-Scheme, each as one value."""
        chain, single, x_scheme, proto = self
        return (
            b",".join(chain) if chain else None,
            proto,
            b",".join(single) if single else None,
            x_scheme,
        )


def read_claims(raw: Collection[tuple[bytes, bytes]]) -> Claims:
    """Return what the headers claim, from the head's `(lower-case name, value)` pairs."""
    chain: list[bytes] = []
    single: list[bytes] = []
    x_scheme: bytes | None = None
    proto: bytes | None = None
    for name, value in raw:
        if name == b"x-forwarded-for":
            chain.append(value)
        elif name == b"x-real-ip":
            single.append(value)
        elif name == b"x-scheme":
            x_scheme = value
        elif name == b"x-forwarded-proto":
            proto = value
    return Claims(chain, single, x_scheme, proto)


def decide_tornado(
    claims: Claims, table: NetworkTable, *, memo: Memo | None = None, trace: Trace | None = None
) -> tuple[Outcome, str | None]:
    """Return the client and the scheme that the headers claim.

    Args:
        claims: What the headers hold.
        table: `trusted_downstream`.
        memo: Remembers the entries of proxies, if given; for this table only.
        trace: Keeps every step of the header that decided, if given.
    """
    chain, single, x_scheme, proto = claims
    # A present but unusable X-Scheme hides X-Forwarded-Proto.
    claimed = x_scheme if x_scheme is not None else proto
    scheme = read_scheme(claimed) if claimed is not None else None
    if single:
        if trace is not None:
            trace.field = b"x-real-ip"
        # Tornado joins lines, and a list is not an address: even equal lines name nobody here.
        lines = single if len(single) == 1 else [b",".join(single)]
        outcome = walk_single(lines, _NOBODY, trace=trace)
        if outcome.reason == "first-untrusted":
            outcome = outcome._replace(reason="x-real-ip")
        return outcome, scheme
    if chain:
        return walk(PLAIN, chain, table, max_hops=UNLIMITED, trace=trace, memo=memo), scheme
    return _NO_CLAIM, scheme


_NO_CLAIM = Outcome("trusted-peer-as-client", None)

# X-Real-Ip is not filtered by trusted_downstream.
_NOBODY = NetworkTable(())
