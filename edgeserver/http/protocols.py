"""The protocols of HTTP's neighbours: what is asked of a policy, an audit log, a delegate.

Decides only which methods there are, and when they are called. Whatever has the same shape is
accepted: this room imports none of those that have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from edgeserver.httputil.interfaces import HTTPConnection, HTTPMessageDelegate

__all__ = [
    "Auditor",
    "BoundTrust",
    "ClientGate",
    "FindsClients",
    "ServerDelegate",
    "StripNames",
    "TakesRequests",
    "Trust",
]


class ServerDelegate(Protocol):
    """What makes a delegate for each request; see `HTTPServerConnectionDelegate`."""

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request."""
        ...

    def on_close(self, server_conn: object) -> None:
        """Called once per connection, when it has closed."""
        ...


class TakesRequests(Protocol):
    """What a server's delegate may be besides: one call for a request that has no body."""

    def take_request(self, server_conn: object, request_conn: HTTPConnection) -> None:
        """Called in place of `start_request`, `headers_received` and `finish`."""
        ...


class StripNames(Protocol):
    """The names of fields that are kept from the application."""

    def among(self, names: Iterable[bytes]) -> frozenset[bytes]:
        """Return which of `names`, in lower case, it may not see."""
        ...


class FindsClients(Protocol):
    """What finds the client of each request of one connection."""

    def resolve(
        self, raw: Collection[tuple[bytes, bytes]] | None, fields: dict[bytes, bytes]
    ) -> Any:
        """Return who the client of a request is; never raises.

        Args:
            raw: The lines of its head; None where `fields` are all of them.
            fields: The last value of each name; looked at only where `raw` is None.
        """
        ...


class BoundTrust(Protocol):
    """A trust policy for one connection, as `edgeserver.proxyheaders` makes it."""

    def begin(self, fields: dict[bytes, bytes]) -> None:
        """Called once, with the fields of the connection's first request, before `resolver` is."""
        ...

    @property
    def resolver(self) -> FindsClients:
        """What finds the client of each request; it stays the same."""
        ...

    @property
    def strip(self) -> StripNames | None:
        """What the application may not see of a head; None where it sees all."""
        ...

    def explain(self, raw: Collection[tuple[bytes, bytes]]) -> Any:
        """Return the whole proof of what `resolve` answers for the same pairs."""
        ...

    def report(self, raw: Collection[tuple[bytes, bytes]]) -> Any:
        """Return the same for a log, without what it was told of this connection before."""
        ...

    def has_findings(self, raw: Collection[tuple[bytes, bytes]]) -> bool:
        """Return whether a request is odd in itself, and not by how its proxy is set up."""
        ...

    def vouches(self) -> bool:
        """Return whether whoever wrote the heads on this connection is a listed proxy."""
        ...

    def count(self, resolved: Any) -> None:
        """Count a request with the fields of one before, of which `resolve` said `resolved`."""
        ...


class Trust(Protocol):
    """A trust policy, as `edgeserver.proxyheaders` makes it."""

    def bind(self, *, peer: str, peer_port: int | None, scheme: str, prelude: Any) -> BoundTrust:
        """Return the policy for one connection."""
        ...


class Auditor(Protocol):
    """Where the proof of each request's client goes, as `edgeserver.audit.log` takes it."""

    def record(
        self,
        explain: Callable[[], Any],
        method: str,
        target: str,
        now: float,
        *,
        pairs: Collection[tuple[bytes, bytes]],
        bound: Any,
        policy: Any,
        request_id: str | None,
    ) -> None:
        """Take a callable that gives the proof of `pairs`; it is called later, elsewhere."""
        ...


class ClientGate(Protocol):
    """Who limits how many connections one client has."""

    def enter(self, connection: object, transport: asyncio.BaseTransport, prelude: Any) -> bool:
        """Count a connection in; False where it is one too many, and was closed."""
        ...

    def leave(self, connection: object) -> None:
        """Count it out, if it was counted in."""
        ...

    def detached(self, connection: object, stream: Any) -> None:
        """Have `stream`, which takes over from it, count until it is closed."""
        ...
