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
from edgeserver.transport.proxyprotocol import RefusalLog

__all__ = ["ClientCounts", "ConnectionGate", "CountedHandshake", "DetachedCounts"]

NOBODY: Final = b""
"""The key of a connection that counts for no client."""

PER_CLIENT: Final = "max-connections-per-client"
"""Why a connection is closed, as counters say it: the setting."""

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
        on_refusal: Called with the setting, for each connection that is closed.
    """

    __slots__ = ("_detached", "_exempt", "_on_refusal", "_open", "_refusals", "most")

    def __init__(
        self,
        most: int,
        exempt: Callable[[str], bool],
        refusals: RefusalLog | None = None,
        on_refusal: Callable[[str], object] | None = None,
    ) -> None:
        self.most = most
        self._on_refusal = on_refusal
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
            if self._on_refusal is not None:
                self._on_refusal(PER_CLIENT)
            self._refusals.warn(
                f"connection from {escape(name)} closed: it has {self.most} open already"
                f" ({spelled('max_connections_per_client')})",
                name,
            )
            return None
        if key:
            self._open[key] = count + 1
        return key

    def adopt(self, name: str | None) -> bytes:
        """Count a connection in that was there before anybody counted; return its client's key.

        Args:
            name: The peer, or whom its PROXY prelude names.
        """
        if not name or name.startswith(UNIX) or self._exempt(name):
            return NOBODY
        key = address_key(name)
        if key:
            self._open[key] = self._open.get(key, 0) + 1
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
    """The count of connections and of handshakes; see `http.protocols.ClientGate`.

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

    def set_most(self, most: int) -> None:
        """Have a client have so many from now on; those that are open stay."""
        self._clients.most = most

    def adopt(self, connection: object, info: Any) -> None:
        """Count a connection in that was there before this gate, if it is anybody's.

        Args:
            connection: The connection.
            info: Its ends, a `ConnectionInfo`.
        """
        source = None if info.prelude is None else info.prelude.source
        key = self._clients.adopt(source or info.peer)
        if key:
            self._keys[connection] = key

    def leave(self, connection: object) -> None:
        """Count a connection out, if it was counted in."""
        self._clients.leave(self._keys.pop(connection, NOBODY))

    def detached(self, connection: object, stream: Any) -> None:
        """Have `stream` count from now on, which takes over from `connection`."""
        self._clients.detached(self._keys.get(connection, NOBODY), stream)


class CountedHandshake(asyncio.Protocol):
    """The first protocol of a connection over TLS, where clients are counted.

    It counts the handshake for its client until that is over; then the connection above counts. Who
    ends a handshake tells the gate; see `HandshakeLimiter.on_end`.

    Args:
        gate: Who counts.
        layer: Does the handshake, in this one's place.
        prelude: The PROXY header that came first, or None.
    """

    __slots__ = ("_above", "_gate", "_layer", "_prelude")

    def __init__(self, gate: ConnectionGate, layer: asyncio.Protocol, prelude: Any = None) -> None:
        self._gate = gate
        self._layer = layer
        self._prelude = prelude
        self._above = asyncio.Protocol()  # nobody, where the client has too many connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless the client has too many connections."""
        layer = self._layer
        if self._gate.enter(layer, transport, self._prelude):
            self._above = layer
            layer.connection_made(transport)

    # What whoever puts a protocol on a live transport tells it besides.

    def pause_writing(self) -> None:
        """Pass it on."""
        self._above.pause_writing()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._above.data_received(data)
