"""WebSocket peers that send as many frames as they can: others get their turns, nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from edgeserver.websocket.connection import WebSocketWire
from edgeserver.websocket.settings import WebSocketSettings
from tests.http1.conversation import FakeTransport


def frame(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """Return a short masked frame."""
    return bytes([0x80 * fin | opcode, 0x80 | len(data)]) + bytes(4) + data


class Transport(FakeTransport):
    """One that says whether it reads, with limits of its own."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Keep the limits that it has."""

    def is_reading(self) -> bool:
        """Say whether data is given to the protocol."""
        return self.reading


def open_wire() -> tuple[WebSocketWire, FakeTransport]:
    """Return an open WebSocket over a transport that keeps what is written."""
    settings = WebSocketSettings(
        max_size=2**20, ping_interval=None, ping_timeout=None, per_message_deflate=False
    )
    wire = WebSocketWire(settings.make_protocol(), settings)
    transport = Transport()
    transport.protocol = wire
    wire.connection_made(transport)
    return wire, transport


async def test_tiny_messages_come_in_slices() -> None:
    """Thousands of messages in one segment are taken by slices, and all arrive in order."""
    wire, transport = open_wire()
    numbers = [b"%05d" % number for number in range(10000)]
    transport.inbox += [b"".join(frame(2, number) for number in numbers), frame(2, b"last")]
    transport.deliver()
    assert 0 < len(wire.messages) < 2000
    assert not transport.reading
    assert [await wire.receive() for _ in range(10001)] == [*numbers, b"last"]
    await asyncio.sleep(0)
    assert transport.reading


@pytest.mark.parametrize(
    "data",
    [frame(1, b"", fin=False) + frame(0, b"", fin=False) * 20000 + frame(0, b""), b""],
    ids=["empty-fragments", "nothing"],
)
async def test_frames_without_messages_yield(data: bytes) -> None:
    """Frames that make no message do not keep the event loop either."""
    wire, transport = open_wire()
    transport.inbox.append(data + frame(2, b"end"))
    transport.deliver()
    turns = 0
    while b"end" not in wire.messages:
        turns += 1
        await asyncio.sleep(0)
    assert (turns > 5) is bool(data)


async def test_pings_wait_for_a_peer_that_takes_nothing() -> None:
    """What is left of a flood of pings is not answered while the answers are not taken."""
    wire, transport = open_wire()
    transport.stalled = True
    transport.inbox.append(frame(9, b"x" * 100) * 2000 + frame(2, b"end"))
    transport.deliver()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not wire.messages
    while not wire.messages:
        transport.take()
        await asyncio.sleep(0)
    assert await wire.receive() == b"end"


async def test_a_close_drops_what_is_left() -> None:
    """After a Close frame nothing more of the same segment is taken."""
    wire, transport = open_wire()
    transport.inbox.append(frame(8, b"\x03\xe8") + frame(2, b"late") * 10000)
    transport.deliver()
    assert wire.close_code == 1000
    for _ in range(10):
        await asyncio.sleep(0)
    assert not wire.messages
    assert transport.reading
