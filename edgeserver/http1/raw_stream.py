"""The raw stream: the bytes below HTTP that Tornado applications reach for.

Decides only which part of a byte stream stays reachable while HTTP owns the connection. It must
not know of framing: what is written here goes out as it is.

Source: Tornado, whose applications use `request.connection.stream`: `socket`, `write`, `close` and
`closed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from edgeserver.http.exchange import DONE, Exchange
from edgeserver.http.output import OutputBuffer
from edgeserver.iostream import closed_error

__all__ = ["Closable", "RawStream"]


class Closable(Protocol):
    """The connection below, as far as its end goes."""

    @property
    def closing(self) -> bool:
        """Whether nothing more will be read as a request."""
        ...

    def close_if_idle(self) -> None:
        """Close if nothing is in flight."""
        ...


class RawStream:
    """The connection of one exchange, seen as bytes.

    Args:
        connection: What is closed.
        output: What is written to.
        exchange: The exchange it is seen from; once that has ended the stream counts as closed.
    """

    __slots__ = ("_connection", "_exchange", "_output")

    def __init__(self, connection: Closable, output: OutputBuffer, exchange: Exchange) -> None:
        self._connection = connection
        self._output = output
        self._exchange = exchange

    @property
    def socket(self) -> Any:
        """What has `getpeercert` where the connection is TLS, else the socket; or None."""
        return self._output.peer_socket()

    def closed(self) -> bool:
        """Tell whether nothing can be written any more."""
        return self._connection.closing or self._exchange.state == DONE

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Write bytes as they are, beside whatever HTTP writes.

        Raises:
            StreamClosedError: The connection is closed.
        """
        if self.closed():
            raise closed_error()
        return self._output.send(bytes(data))

    def close(self) -> None:
        """Close the connection once what was written is delivered."""
        if self._exchange.state != DONE:
            self._exchange.abort()
        else:
            self._connection.close_if_idle()  # it may serve another request by now

    def set_nodelay(self, value: bool) -> None:
        """Accept what Tornado's streams accept; the event loop has set TCP_NODELAY already."""

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called once when the peer leaves."""
        self._exchange.set_close_callback(callback)
