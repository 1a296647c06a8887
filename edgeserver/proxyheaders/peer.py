"""What a connection itself says of its other end, before any header is read.

Decides whether the peer is listed, whom its PROXY prelude names, and how that and the outcome of a
walk make one result. It must not know headers.
"""

from __future__ import annotations

from typing import Any

from edgeserver.proxyheaders.addresses import Address, UnusableClaim, parse_address
from edgeserver.proxyheaders.declared import Declared
from edgeserver.proxyheaders.networks import NetworkTable, Rule
from edgeserver.proxyheaders.proxyprotocol.model import UNIX_PREFIX
from edgeserver.proxyheaders.results import UNVERIFIED, Resolved
from edgeserver.proxyheaders.walk import Outcome, new_tuple

__all__ = ["Peer"]


class Peer:
    """The other end of one connection, and whom its PROXY prelude names.

    Args:
        address: The TCP peer.
        text: Its text as given, for an explanation.
        port: Its port.
        scheme: The scheme of the connection itself.
        prelude: The connection's PROXY prelude, if any.

    Attributes:
        rule: The entry of the policy that lists the peer, or None.
        source: Whom the prelude names, or None.
        author: The entry that lists whoever wrote the head, which is the PROXY source if there is
            one, else the peer; None where that is nobody listed.
        outcome: What is decided without any header, or None.
    """

    __slots__ = (
        "address",
        "author",
        "outcome",
        "port",
        "prelude",
        "rule",
        "scheme",
        "source",
        "text",
    )

    def __init__(
        self, address: Address, text: str, port: int | None, scheme: str, prelude: Any
    ) -> None:
        self.address = address
        self.text = text
        self.port = port
        self.scheme = scheme
        self.prelude = prelude
        self.rule: Rule | None = None
        self.source: Address | None = None
        self.author: Rule | None = None
        self.outcome: Outcome | None = None

    def judge(self, table: NetworkTable) -> None:
        """Decide what the connection itself says: the peer, then the PROXY source."""
        rule = self.rule = table.find(self.address)
        if rule is None:
            self.outcome = Outcome("untrusted-peer", None)
            return
        prelude = self.prelude
        if prelude is None:
            self.author = rule
            return
        unnamed = _why_unnamed(prelude)
        if unnamed:
            # The peer passes on somebody's bytes and does not say whose: nobody vouches for them.
            self.outcome = Outcome("prelude-names-nobody", None, None, unnamed)
            return
        try:
            source = self.source = _prelude_source(prelude.source, prelude.source_port)
        except UnusableClaim as error:
            self.outcome = Outcome(error.code, None, None, error.detail)
            return
        if prelude.ssl is not None and prelude.ssl.client_ssl:
            self.scheme = "https"
        # The head was written by whom the prelude names: only then does it count.
        self.author = table.find(source)
        if self.author is None:
            self.outcome = Outcome("first-untrusted", source)

    def resolved(
        self, outcome: Outcome, scheme: str | None, declared: Declared | None = None
    ) -> Resolved:
        """Return the result for one outcome, which may be the peer itself."""
        address = outcome.address
        if address is None:
            text, port, zone = self.address.text, self.port, self.address.zone
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


def _why_unnamed(prelude: Any) -> str:
    """Return why a prelude names nobody by its own words, or "" where it has an IP address."""
    if prelude.command != "PROXY":
        return f"it says {prelude.command}"
    if prelude.source is None:
        return "its address family is unspecified"
    if prelude.source.startswith(UNIX_PREFIX):
        return "its source is a Unix socket, which anybody behind the proxy may be"
    return ""


def _prelude_source(source: str, port: int | None) -> Address:
    """Return the address that a PROXY prelude names.

    Raises:
        UnusableClaim: No client has such an address.
    """
    return parse_address(source.encode("ascii", "replace"))._replace(port=port)
