"""How one layer of a connection hands the transport to the next.

Decides what a protocol is owed when it takes over a live transport. It knows no layer.
"""

from __future__ import annotations

import asyncio

__all__ = ["replace_layer"]


def replace_layer(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    leftover: bytes = b"",
    paused: bool = False,
) -> None:
    """Make `protocol` the reader of `transport`, as if the connection had just been made.

    After `set_protocol` a new protocol gets neither `connection_made` nor the bytes that the old
    one had read too far, and may get `resume_writing` without ever a `pause_writing`; this gives
    it all three, in order.

    Args:
        transport: The live transport.
        protocol: What reads from now on.
        leftover: Bytes already read that belong to the new layer.
        paused: Whether the transport has told the old layer to stop writing.
    """
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if paused:
        protocol.pause_writing()
    if leftover and not transport.is_closing():
        protocol.data_received(leftover)
