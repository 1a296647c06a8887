"""The stream view: what Tornado applications reach for below HTTP, of one stream.

Decides only which part of `request.connection.stream` a stream has. It must not write: bytes that
are no frames would break the requests beside it.

Source: Tornado, whose applications use `socket` (`get_ssl_certificate` does), `write`, `close` and
`closed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from edgeserver.errors import HTTPOutputError
from edgeserver.http.exchange import DONE, Exchange
from edgeserver.http.output import OutputBuffer

__all__ = ["StreamView"]


class StreamView:
    """The connection below one exchange, and the end of its stream.

    Args:
        output: What the connection is written to.
        exchange: The exchange that it is seen from.
    """

    __slots__ = ("_exchange", "_output")

    def __init__(self, output: OutputBuffer, exchange: Exchange) -> None:
        self._output = output
        self._exchange = exchange

    @property
    def socket(self) -> Any:
        """What has `getpeercert` where the connection is TLS, else the socket; or None."""
        return self._output.peer_socket()

    def closed(self) -> bool:
        """Tell whether nothing can be written any more."""
        return self._exchange.state == DONE

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Refuse bytes beside HTTP.

        Raises:
            HTTPOutputError: Always.
        """
        raise HTTPOutputError(
            "nothing can be written beside HTTP/2, whose connection other requests share: write"
            " with request.connection.write, or serve without it (http2=False)"
        )

    def close(self) -> None:
        """Reset the stream, unless its answer is complete."""
        if self._exchange.state != DONE:
            self._exchange.abort()

    def set_nodelay(self, value: bool) -> None:
        """Accept what Tornado's streams accept; the event loop has set TCP_NODELAY already."""

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called once when the stream ends before its answer."""
        self._exchange.set_close_callback(callback)
