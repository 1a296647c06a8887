"""What a connection says about who is at its other end, before any header is read.

Decides only how that and the outcome of a walk make one result. It must not know trust or headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeserver.proxyheaders.addresses import Address
from edgeserver.proxyheaders.results import UNVERIFIED, Resolved
from edgeserver.proxyheaders.walk import Outcome, new_tuple

if TYPE_CHECKING:
    from edgeserver.proxyheaders.declared import Declared
    from edgeserver.proxyheaders.networks import Rule

__all__ = ["Endpoint"]


class Endpoint:
    """What a connection says about who is at its other end, before any header.

    Args:
        peer: The TCP peer.
        peer_text: Its text as given, for an explanation.
        peer_port: Its port.
        scheme: The scheme of the connection itself.
        prelude: Its PROXY prelude, if any.
    """

    __slots__ = (
        "author",
        "outcome",
        "peer",
        "peer_port",
        "peer_rule",
        "peer_text",
        "prelude",
        "scheme",
        "source",
        "source_rule",
    )

    def __init__(
        self, peer: Address, peer_text: str, peer_port: int | None, scheme: str, prelude: Any
    ) -> None:
        self.peer = peer
        self.peer_text = peer_text
        self.peer_port = peer_port
        self.scheme = scheme
        self.prelude = prelude
        self.peer_rule: Rule | None = None
        self.source: Address | None = None
        self.source_rule: Rule | None = None
        # Whoever wrote the head: the PROXY source if there is one, else the peer.
        self.author: Rule | None = None
        # Decided without any header, or None.
        self.outcome: Outcome | None = None

    def resolved(
        self, outcome: Outcome, scheme: str | None, declared: Declared | None = None
    ) -> Resolved:
        """Return the result for one outcome, which may be the peer itself."""
        address = outcome.address
        if address is None:
            text, port, zone = self.peer.text, self.peer_port, self.peer.zone
        else:
            text, port, zone = address.text, address.port, address.zone
        reason = outcome.reason
        return new_tuple(
            Resolved,
            (
                text,
                port,
                zone,
                scheme or self.scheme,
                reason not in UNVERIFIED,
                reason,
                self.prelude,
                declared,
            ),
        )
