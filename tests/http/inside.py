"""What tests set inside of an exchange, which each version of HTTP makes in its own way."""

from __future__ import annotations

from typing import Any

from edgeserver.http.exchange import FRESH, Exchange
from edgeserver.httputil.context import ConnectionInfo

__all__ = ["new_exchange"]


def new_exchange(
    owner: Any, info: ConnectionInfo, target: str, version: str, fields: dict[bytes, bytes]
) -> Exchange:
    """Return an exchange of a version of HTTP that has nothing of its own to keep.

    Not a subclass: compiled, there are none but compiled ones.
    """
    exchange = Exchange()
    exchange._owner = owner
    exchange.info = info
    exchange.method, exchange.target, exchange.version = "GET", target, version
    exchange.fields = exchange._head_fields = fields
    exchange.lines = exchange._head_lines = None
    exchange.status = exchange.bytes_sent = 0
    exchange.state = FRESH
    exchange._headers = exchange._close_callback = None
    return exchange
