"""HTTP/1 bytes that all connections of one server share.

Decides what of an answer is the same for each: the lines of `Date` and `Strict-Transport-Security`;
and which buffer long bodies are read into. It must not know who asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService, TrustSource
from edgeserver.http1.bulk_reader import make_bulk_buffer
from edgeserver.http1.response_head import date_line, encode_field

__all__ = ["KEEP_FIELDS_S", "HTTP1Shared", "KeepsFields"]

KEEP_FIELDS_S: Final = 10.0
"""How long a connection without a request keeps the fields of its last one."""

SMALL_HEAD: Final = 8192
"""A head up to this many bytes may take the fast path through `RequestReader`."""


class KeepsFields(Protocol):
    """Who keeps the fields of its last head."""

    def forget_fields_since(self, idle_deadline: float) -> bool:
        """Keep nothing if no request has come for so long; say whether there is nothing now.

        Args:
            idle_deadline: What the deadline would be of a connection that is idle just as long as
                fields are kept.
        """
        ...


class HTTP1Shared:
    """What HTTP/1 connections share besides the service.

    Args:
        service: What all connections of the server share.

    Attributes:
        date_line: The `Date` of answers, with its CRLF.
        strict_transport_line: That of answers over TLS; empty where the server has none.
        max_fields: Most field lines of a head.
        small_head: Most bytes of a head that may take the fast path.
        keeping: The connections that keep the fields of their last heads.
        other_version: Given the first bytes of a connection, its PROXY header and who is believed
            on it, where HTTP/1 cannot read them, returns the protocol that can; None for nobody.

    Raises:
        ValueError: The service's `strict_transport` cannot stand in a header.
    """

    __slots__ = (
        "_bulk",
        "date_line",
        "keeping",
        "max_fields",
        "other_version",
        "service",
        "small_head",
        "strict_transport_line",
    )

    def __init__(self, service: HTTPService) -> None:
        self.service = service
        value = service.strict_transport
        self.strict_transport_line = (
            b"" if value is None else encode_field("Strict-Transport-Security", value)
        )
        self.date_line = b""
        self.max_fields = service.limits.max_header_fields
        self.small_head = min(service.limits.max_header_size, SMALL_HEAD)
        self.keeping: set[KeepsFields] = set()
        self.other_version: Callable[[bytes, Any, TrustSource], asyncio.Protocol | None] | None = (
            None
        )
        self._bulk: memoryview | None = None  # made for the first long body
        service.clock.on_date.append(self._set_date)
        service.on_limits.append(self._set_limits)
        service.on_tick.append(self._forget_fields)

    def bulk_buffer(self) -> memoryview:
        """Return the buffer that long bodies are read into, one for all connections."""
        if self._bulk is None:
            self._bulk = make_bulk_buffer()
        return self._bulk

    def _set_limits(self, limits: HTTPLimits) -> None:
        self.max_fields = limits.max_header_fields
        self.small_head = min(limits.max_header_size, SMALL_HEAD)

    def _set_date(self, date_s: float) -> None:
        self.date_line = date_line(date_s)

    def _forget_fields(self, now_s: float) -> None:
        recent = self.service.clock.idle_deadline - KEEP_FIELDS_S
        for connection in list(self.keeping):
            if connection.forget_fields_since(recent):
                self.keeping.discard(connection)
