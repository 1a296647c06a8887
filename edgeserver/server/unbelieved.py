"""What is said where nobody is believed: of listeners at start, and of peers that claim something.

Decides which lines tell somebody that a proxy is not listed, and how often. It must not know how
a client is found: the policy says whom it lists, and who claimed what.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.support.addresses import UNIX, render_address
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import RateLimit, address_key
from edgeserver.support.spelling import is_typed

__all__ = ["ClaimLog", "warn_of_listener"]

MOST_PEERS: Final = 100
"""How many peers lines are written about in the life of a policy: an open port meets many."""

IN_A_MINUTE: Final = 5
"""How many of these lines there are in a minute."""

_NAMED: Final = 3
_SHOWN_BYTES: Final = 40

_ANY: dict[int, tuple[str, ...]] = {socket.AF_INET: ("0.0.0.0/0",), socket.AF_INET6: ("::/0",)}


class ClaimLog:
    """Writes one line for each peer that claims something and is not believed, within limits.

    Args:
        policy: What is in force.
        level: The level of the lines, of `logging`.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        policy: TrustPolicy,
        *,
        level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._level = level
        self._is_off = policy.mode == "off"
        self._hides = policy.unlisted == "strip"
        self._clock = clock
        self._limit = RateLimit(per_address=1, in_all=IN_A_MINUTE)
        # Whom a line was written about; at most MOST_PEERS.
        self._told: set[bytes] = set()

    def tell(self, author: str, names: frozenset[bytes]) -> None:
        """Write the line, unless it was written, or there are too many.

        Args:
            author: Who sent the head: an address, or `unix:`.
            names: The lower-case names of the forwarding headers in it.
        """
        if not gen_log.isEnabledFor(self._level):
            return  # it is written about when somebody listens
        key = address_key(author) or author.encode()
        if key in self._told or len(self._told) >= MOST_PEERS:
            return
        if not self._limit.permits(self._clock(), key):
            return
        self._told.add(key)
        line = self._line(author, names)
        if len(self._told) == MOST_PEERS:
            line += "; this was said of so many peers that it will not be said of others"
        gen_log.log(self._level, "%s", line)

    def _line(self, author: str, names: frozenset[bytes]) -> str:
        fields = [_title(name) for name in sorted(names)]
        said = ", ".join(fields[:_NAMED])
        if len(fields) > _NAMED:
            said += f" and {len(fields) - _NAMED} more"
        listed = f"--trust {author}"
        if not is_typed("trust"):
            listed += f", or trust=TrustPolicy([{author!r}])"
        if self._is_off:
            return (
                f"{author} sent {said}: not read, since no proxy is listed, so {author} is taken "
                f"for the client; if it is your proxy, list it: {listed}"
            )
        removed = ", and removed" if self._hides else ""
        return (
            f"{author} sent {said}: not believed{removed}, since it is not a listed proxy; if it is"
            f" yours, list it too: {listed}"
        )


def _title(name: bytes) -> str:
    """Return a field name as people write it, escaped."""
    return "-".join(part.capitalize() for part in escape(name, _SHOWN_BYTES).split("-"))


def warn_of_listener(
    sock: socket.socket,
    policy: TrustPolicy,
    proxy_protocol: Any,
    before: TrustPolicy | None = None,
) -> None:
    """Warn where no peer that can reach a listener is a listed proxy.

    Args:
        sock: The listening socket.
        policy: What is in force.
        proxy_protocol: Which PROXY preludes its connections begin with, None for none.
        before: What was in force before; nothing is said that was so under it, too.
    """
    if sock.family not in (socket.AF_UNIX, *_ANY):
        return
    peers, entry = _peers_of(sock)
    if not _is_in_vain(policy, peers) or (before is not None and _is_in_vain(before, peers)):
        return
    result = (
        "every connection to it is refused"
        if proxy_protocol
        else "no header that comes over it is believed"
    )
    gen_log.warning(
        "%s",
        f"nobody who can connect to {render_address(sock.getsockname())} is a listed proxy, so "
        f"{result}: peers there are {' and '.join(peers)}; if your proxy connects to it, add "
        f"{entry} to --trust{'' if is_typed('trust') else ' (TrustPolicy)'}",
    )


def _is_in_vain(policy: TrustPolicy, peers: tuple[str, ...]) -> bool:
    """Tell whether a policy lists proxies, and none of those that can connect."""
    return policy.mode == "policy" and not policy.trusts_any(peers)


def _peers_of(sock: socket.socket) -> tuple[tuple[str, ...], str]:
    """Return which peers can connect to a listening socket, and the entry that would list them."""
    if sock.family == socket.AF_UNIX:
        return (UNIX,), UNIX
    host = str(sock.getsockname()[0]).partition("%")[0]
    if ipaddress.ip_address(host).is_loopback:
        return ("127.0.0.0/8" if sock.family == socket.AF_INET else "::1/128",), "loopback"
    peers = _ANY[sock.family]
    if sock.family == socket.AF_INET6 and not sock.getsockopt(
        socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    ):
        peers += _ANY[socket.AF_INET]
    return peers, "its address"
