"""HTTP/2 fields and settings that all connections of one server share.

Decides what of an answer is the same for each, and what this server tells each peer first. It must
not know who asks for it.
"""

from __future__ import annotations

from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService
from edgeserver.http2.answer_fields import answer_field
from edgeserver.http2.frames import SETTINGS, render_frame, render_window_update
from edgeserver.http2.hpack.encoder import encode_literal
from edgeserver.http2.limits import CONNECTION_CREDIT, STREAM_CREDIT
from edgeserver.http2.settings import (
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
    render_settings,
)
from edgeserver.httputil.timestamps import format_timestamp

__all__ = ["HTTP2Shared"]


class HTTP2Shared:
    """What HTTP/2 connections share besides the service.

    Args:
        service: What all connections of the server share.

    Attributes:
        service: The same.
        date_block: The `date` of answers, encoded.
        strict_transport: The value of `strict-transport-security`; None where there is none.
        preface: The first frames of each connection.

    Raises:
        ValueError: The service's `strict_transport` cannot stand in a header.
    """

    __slots__ = ("_second", "date_block", "preface", "service", "strict_transport")

    def __init__(self, service: HTTPService) -> None:
        self.service = service
        value = service.strict_transport
        self.strict_transport = (
            None if value is None else answer_field("strict-transport-security", value).value
        )
        self.preface = _render_preface(service.limits, service.serves_websockets)
        self.date_block = b""
        self._second = -1  # that `date_block` says
        service.clock.on_date.append(self._set_date)
        service.on_limits.append(self._set_limits)

    def _set_limits(self, limits: HTTPLimits) -> None:
        self.preface = _render_preface(limits, self.service.serves_websockets)

    def _set_date(self, date_s: float) -> None:
        second = int(date_s)
        if second != self._second:
            self._second = second
            self.date_block = encode_literal(b"date", format_timestamp(second).encode("ascii"))


def _render_preface(limits: HTTPLimits, serves_websockets: bool) -> bytes:
    """Return the first frames of a connection."""
    entries = [
        (MAX_CONCURRENT_STREAMS, limits.max_streams),
        (INITIAL_WINDOW_SIZE, STREAM_CREDIT),
        (MAX_HEADER_LIST_SIZE, limits.max_header_size),
        (NO_RFC7540_PRIORITIES, 1),
    ]
    if serves_websockets:
        entries.append((ENABLE_CONNECT_PROTOCOL, 1))
    settings = render_frame(SETTINGS, 0, 0, render_settings(entries))
    return settings + render_window_update(0, CONNECTION_CREDIT - DEFAULT_WINDOW)
