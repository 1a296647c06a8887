"""Clients that behave badly, for tests of what a server bears.

Decides what such a client does and how it ends; which server it meets is the test's.
"""

from __future__ import annotations

import asyncio

import pytest

__all__ = ["send_until_cut_off"]

MOST_BYTES = 64 * 1024 * 1024
"""More than all buffers on the way hold together; a server that reads so much has no limit."""


async def send_until_cut_off(writer: asyncio.StreamWriter, first: bytes = b"") -> None:
    """Send `first`, then zeros without end, and fail if the server does not cut the connection."""
    piece = bytes(65536)

    async def send() -> None:
        writer.write(first)
        for _ in range(MOST_BYTES // len(piece)):
            writer.write(piece)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await send()
    writer.close()
