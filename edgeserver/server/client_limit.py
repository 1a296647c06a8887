"""How many connections each client has open, and whose next one is closed at once.

Decides who counts as one client: the peer, or whom its PROXY prelude names, IPv6 by /64; listed
proxies and Unix sockets, behind which there are many, count as nobody. It knows where connections
begin and end, and nothing of what is spoken on them.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, Final, cast

from edgeserver.support.addresses import UNIX, peer_of
from edgeserver.support.escape import escape
from edgeserver.support.ratelimit import address_key
from edgeserver.support.spelling import spelled
from edgeserver.tls.handshake.layer import TLSLayer
from edgeserver.transport.proxyprotocol import RefusalLog

__all__ = ["ClientCounts", "ConnectionGate", "CountedTLSLayer", "DetachedCounts"]

NOBODY: Final = b""
"""The key of a connection that counts for no client."""

SWEEP_FROM: Final = 64
"""Clients with detached connections that are remembered before it is looked who still has any."""


class DetachedCounts:
    """The connections of each client that were handed to the application.

    They are the application's: that they close is seen, not told.
    """

    __slots__ = ("_streams", "_sweep_at")

    def __init__(self) -> None:
        self._streams: dict[bytes, weakref.WeakSet[Any]] = {}
        self._sweep_at = SWEEP_FROM

    def clients(self) -> set[bytes]:
        """Return the keys of those who are known."""
        return set(self._streams)

    def add(self, key: bytes, stream: Any) -> None:
        """Count a connection for a client until `stream` is closed; nobody's is not counted."""
        if not key:
            return
        if len(self._streams) >= self._sweep_at:
            for known in list(self._streams):
                self.count(known)
            self._sweep_at = max(SWEEP_FROM, 2 * len(self._streams))
        self._streams.setdefault(key, weakref.WeakSet()).add(stream)

    def count(self, key: bytes) -> int:
        """Return how many a client has; forget those that have closed."""
        streams = self._streams.get(key)
        if streams is None:
            return 0
        for stream in [stream for stream in streams if stream.closed()]:
            streams.discard(stream)
        if not streams:
            del self._streams[key]
        return len(streams)


class ClientCounts:
    """The open connections of each client of one server; only those who have some are known.

    Args:
        most: How many one client may have.
        exempt: Whether the connections of an address, such as a listed proxy's, are not counted.
        refusals: What writes the log lines.
    """

    __slots__ = ("_detached", "_exempt", "_open", "_refusals", "most")

    def __init__(
        self, most: int, exempt: Callable[[str], bool], refusals: RefusalLog | None = None
    ) -> None:
        self.most = most
        self._exempt = exempt
        self._refusals = RefusalLog() if refusals is None else refusals
        self._open: dict[bytes, int] = {}
        self._detached = DetachedCounts()

    @property
    def known(self) -> int:
        """How many clients are known, by what they have open or have detached."""
        return len(self._open.keys() | self._detached.clients())

    def enter(self, transport: asyncio.BaseTransport, source: str | None) -> bytes | None:
        """Count a connection in; abort it where its client has too many, and return None.

        Args:
            transport: The connection.
            source: Whom its PROXY prelude names, if there was one that names anybody.

        Returns:
            The client's key, which is owed a `leave`.
        """
        name = source or peer_of(transport)
        if not name or name.startswith(UNIX) or self._exempt(name):
            return NOBODY
        key = address_key(name)
        count = self._open.get(key, 0)
        if key and count + self._detached.count(key) >= self.most:
            refused = cast(asyncio.Transport, transport)  # uvloop's does not inherit it
            refused.set_protocol(asyncio.Protocol())  # whoever asks has not begun, and never will
            refused.abort()
            self._refusals.warn(
                f"connection from {escape(name)} closed: it has {self.most} open already"
                f" ({spelled('max_connections_per_client')})",
                name,
            )
            return None
        if key:
            self._open[key] = count + 1
        return key

    def leave(self, key: bytes) -> None:
        """Count a connection out."""
        if key:
            count = self._open.pop(key) - 1
            if count:
                self._open[key] = count

    def detached(self, key: bytes, stream: Any) -> None:
        """Count a connection that was handed to the application until `stream` is closed."""
        self._detached.add(key, stream)


class ConnectionGate:
    """The count of HTTP connections, as a service asks for it; see `http.protocols.ClientGate`.

    Args:
        clients: Who counts.
    """

    __slots__ = ("_clients", "_keys")

    def __init__(self, clients: ClientCounts) -> None:
        self._clients = clients
        self._keys: dict[object, bytes] = {}  # of the connections that count for somebody

    def enter(self, connection: object, transport: asyncio.BaseTransport, prelude: Any) -> bool:
        """Count a connection in; False where its client has too many, and it was closed."""
        key = self._clients.enter(transport, None if prelude is None else prelude.source)
        if key:
            self._keys[connection] = key
        return key is not None

    def leave(self, connection: object) -> None:
        """Count a connection out, if it was counted in."""
        self._clients.leave(self._keys.pop(connection, NOBODY))

    def detached(self, connection: object, stream: Any) -> None:
        """Have `stream` count from now on, which takes over from `connection`."""
        self._clients.detached(self._keys.get(connection, NOBODY), stream)


class CountedTLSLayer(TLSLayer):
    """A handshake that counts for its client; once it is done the connection above does."""

    __slots__ = ("_clients", "_counted", "_source")

    _clients: ClientCounts
    _counted: bytes
    _source: str | None

    def count_by(self, clients: ClientCounts, source: str | None) -> None:
        """Take what is needed to count, before the connection is made.

        Not in the constructor: compiled, one that passes keywords on as they came gets them wrong.

        Args:
            clients: Who counts.
            source: Whom the connection's PROXY prelude names, if anybody.
        """
        self._clients = clients
        self._source = source
        self._counted = NOBODY

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless the client has too many connections."""
        key = self._clients.enter(transport, self._source)
        if key is not None:
            self._counted = key
            super().connection_made(transport)

    def _finish(self, rest: bytes) -> None:
        self._count_out()
        super()._finish(rest)

    def _leave(self) -> None:
        self._count_out()
        super()._leave()

    def _count_out(self) -> None:
        key, self._counted = self._counted, NOBODY
        self._clients.leave(key)
