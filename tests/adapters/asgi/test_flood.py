"""WebSocket peers that send as much as they can: others get their turns, and nothing piles up."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
import zlib
from random import Random

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from edgeserver.support.held import HeldBudget
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import LimitedLog
from edgeserver.support.turns import TurnBudget
from edgeserver.websocket.connection import WebSocketConnection
from edgeserver.websocket.deflate import RATIO, RATIO_FLOOR
from edgeserver.websocket.settings import (
    FREE_FRAGMENTS,
    HELD_BYTES,
    HELD_MESSAGES,
    MOST_CONTROLS,
    WebSocketSettings,
)
from tests.http1.conversation import FakeTransport

MAX_SIZE = 2**20
LOG = LimitedLog(gen_log, logging.INFO, "closed")


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, compressed: bool = False) -> bytes:
    """Return a masked frame."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + size.to_bytes(8, "big")
    return bytes([0x80 * fin | 0x40 * compressed | opcode]) + length + bytes(4) + data


def deflated(data: bytes) -> bytes:
    """Return a message in one frame, compressed."""
    encoder = zlib.compressobj(wbits=-12)
    packed = encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH)
    return frame(2, packed.removesuffix(b"\0\0\xff\xff"), compressed=True)


class Transport(FakeTransport):
    """One that says whether it reads, with limits of its own."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Keep the limits that it has."""

    def is_reading(self) -> bool:
        """Say whether data is given to the protocol."""
        return self.reading

    def come(self, data: bytes) -> None:
        """Give the protocol `data`, or keep it while that does not read."""
        self.inbox.append(data)
        self.deliver()

    def close_code(self) -> int | None:
        """Return the code of the Close frame that was written last; None without one."""
        at = self.sent.rfind(b"\x88")
        return None if at < 0 else int.from_bytes(self.sent[at + 2 : at + 4], "big")


def open_wire(
    *, compressed: bool = False, held: HeldBudget | None = None, turns: TurnBudget | None = None
) -> tuple[WebSocketConnection, Transport]:
    """Return an open WebSocket over a transport that keeps what is written.

    Its turns have no end, unless the test says so.
    """
    if turns is None:
        turns = TurnBudget(asyncio.get_running_loop(), clock=lambda: 0.0)
    settings = WebSocketSettings(
        max_size=MAX_SIZE, ping_interval=None, ping_timeout=None, per_message_deflate=compressed
    )
    protocol = settings.make_protocol()
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
    fields = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    }
    protocol.accept(Request("/", Headers([*fields.items(), *offer])))
    wire = WebSocketConnection(
        protocol,
        settings,
        held=HeldBudget() if held is None else held,
        log=LOG,
        turns=turns,
        name="peer",
    )
    transport = Transport()
    transport.protocol = wire
    wire.connection_made(transport)
    return wire, transport


async def received(wire: WebSocketConnection) -> list[str | bytes]:
    """Return all messages until the WebSocket is closed."""
    messages = []
    while (message := await wire.receive()) is not None:
        messages.append(message)
    return messages


class Clock:
    """A clock that goes on by a millisecond each time that somebody looks."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.001
        return self.now_s


async def test_a_full_inbox_takes_no_more_frames() -> None:
    """What is not decoded waits as bytes, reading pauses, and all arrive in order."""
    wire, transport = open_wire()
    numbers = [b"%05d" % number for number in range(10000)]
    transport.come(b"".join(frame(2, number) for number in numbers))
    transport.come(frame(2, b"last"))
    assert len(wire.messages) == HELD_MESSAGES + 1
    assert not transport.reading
    assert [await wire.receive() for _ in range(10001)] == [*numbers, b"last"]
    await asyncio.sleep(0)
    assert transport.reading


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
async def test_large_messages_stop_at_the_budget(compressed: bool) -> None:
    """One segment with many messages of 100 KB is decoded only as far as there is room."""
    wire, transport = open_wire(compressed=compressed)
    data = Random(1).randbytes(100_000)
    transport.come((deflated(data) if compressed else frame(2, data)) * 50)
    assert len(wire.messages) == HELD_BYTES // len(data) + 1
    assert not transport.reading
    assert [await wire.receive() for _ in range(50)] == [data] * 50


async def test_frames_leave_time_to_others() -> None:
    """Fragments are taken while the turn has time, the rest in later turns, behind others."""
    turns = TurnBudget(asyncio.get_running_loop(), turn_s=0.02, slice_s=0.01, clock=Clock())
    wires = [open_wire(turns=turns) for _ in range(3)]
    fragments = frame(2, b"", fin=False) + frame(0, b"", fin=False) * 1000 + frame(0, b"")
    for _, transport in wires:
        transport.come(fragments)
    other, transport = open_wire(turns=turns)
    transport.come(frame(2, b"small"))
    assert other.messages, "one frame needs no time"
    rounds = 0
    while not all(wire.messages for wire, _ in wires):
        assert not all(transport.reading for _, transport in wires)
        rounds += 1
        await asyncio.sleep(0)
    assert rounds >= 3002 * 0.001 / 0.021
    await asyncio.sleep(0)
    assert all(transport.reading for _, transport in wires)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        pytest.param(
            frame(2, fin=False) + frame(0, fin=False) * 100_000 + frame(0),
            1008,
            "fragments",
            id="empty-fragments",
        ),
        pytest.param(
            frame(1, b"x", fin=False) + frame(0, b"x", fin=False) * 100_000 + frame(0),
            1008,
            "fragments",
            id="one-byte-fragments",
        ),
        pytest.param(frame(9) * 100_000, 1008, "control frames", id="pings"),
        pytest.param(frame(10, b"x" * 125) * 20_000, 1008, "control frames", id="pongs"),
        pytest.param(frame(2, bytes(MAX_SIZE + 1)), 1009, "exceeds limit", id="too-large"),
    ],
)
async def test_what_costs_more_than_it_says_is_closed(
    data: bytes, code: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer and the log are told the rule, once, and nothing more is decoded."""
    caplog.set_level(logging.INFO, "edgeserver")
    wire, transport = open_wire()
    transport.come(data)
    assert await asyncio.wait_for(received(wire), 10) == []
    assert (wire.close_code, transport.close_code()) == (code, code)
    assert transport.eof_written
    [line] = [record.getMessage() for record in caplog.records if record.name[:4] == "edge"]
    assert line.startswith(f"WebSocket from peer: closed with {code}: ")
    assert words in line


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            frame(2, fin=False) + frame(0, fin=False) * (FREE_FRAGMENTS - 1) + frame(0),
            id="few-fragments",
        ),
        pytest.param(
            frame(2, fin=False) + frame(0, bytes(64), fin=False) * 10_000 + frame(0),
            id="many-fragments-with-content",
        ),
        pytest.param(frame(9) * MOST_CONTROLS + frame(2, b""), id="pings"),
    ],
)
async def test_what_is_honest_passes(data: bytes) -> None:
    """Small fragments, many large ones, and a burst of pings make their message."""
    wire, transport = open_wire()
    transport.come(data)
    assert await asyncio.wait_for(wire.receive(), 10) is not None
    assert wire.close_code is None


async def test_pings_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a few pings a second may do so for good."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    wire, transport = open_wire()
    for _ in range(3 * MOST_CONTROLS):
        now += 0.1
        transport.come(frame(9))
    assert wire.close_code is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(deflated(bytes(16 * MAX_SIZE)), "ws_max_size", id="size"),
        pytest.param(deflated(bytes(MAX_SIZE)), "100 times", id="ratio"),
        pytest.param(deflated(bytes(60_000)) * 100, "100 times", id="ratio-of-many"),
        pytest.param(
            frame(2, deflated(bytes(MAX_SIZE))[14:], fin=False, compressed=True) + frame(0),
            "100 times",
            id="ratio-of-a-fragment",
        ),
    ],
)
async def test_bombs_are_closed(data: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is inflated stays under the account, at most the size of a message."""
    caplog.set_level(logging.INFO, "edgeserver")
    wire, transport = open_wire(compressed=True)
    tracemalloc.start()
    try:
        transport.come(data)
        messages = await asyncio.wait_for(received(wire), 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (wire.close_code, transport.close_code()) == (1009, 1009)
    assert sum(map(len, messages)) <= RATIO_FLOOR + RATIO * len(data)
    assert peak < 3 * MAX_SIZE
    assert words in caplog.text


async def test_ten_bombers_stay_bounded() -> None:
    """Ten connections with 3.1 MB of compressed bytes hold only what has come, and little more."""
    bomb = deflated(bytes(16 * MAX_SIZE))
    data = bomb * (3_100_000 // len(bomb))
    wires = [open_wire(compressed=True) for _ in range(10)]
    tracemalloc.start()
    try:
        for _, transport in wires:
            for at in range(0, len(data), 2**18):
                transport.come(data[at : at + 2**18])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [wire.close_code for wire, _ in wires] == [1009] * 10
    # What was taken in is held; zlib's own buffer is larger by 2 MiB on Python 3.12.1.
    assert peak < 6 * MAX_SIZE


async def test_messages_that_compress_well_pass() -> None:
    """A message of zeros now and then is no attack, and others pay for the next."""
    wire, transport = open_wire(compressed=True)
    zeros, text = bytes(200_000), bytes(range(256)) * 10
    for _ in range(5):
        for data in (zeros, *[text] * 20):
            transport.come(deflated(data))
            assert await asyncio.wait_for(wire.receive(), 10) == data


async def test_pings_wait_for_a_peer_that_takes_nothing() -> None:
    """What is left of a flood of pings is not answered while the answers are not taken."""
    wire, transport = open_wire()
    transport.stalled = True
    transport.come(frame(9, b"x" * 100) * (MOST_CONTROLS - 1) + frame(2, b"end"))
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
    transport.come(frame(8, b"\x03\xe8") + frame(2, b"late") * 10000)
    assert wire.close_code == 1000
    for _ in range(10):
        await asyncio.sleep(0)
    assert not wire.messages
    assert transport.reading


async def test_what_comes_while_the_close_is_waited_for_is_bounded() -> None:
    """A peer that sends on instead of answering a Close frame fills no memory."""
    held = HeldBudget()
    wire, transport = open_wire(held=held)
    wire.close(1000)
    for _ in range(100):
        transport.come(frame(2, bytes(10_000)))
        await asyncio.sleep(0)
    assert len(wire.messages) <= HELD_MESSAGES + 1
    assert held.held < HELD_BYTES + 20_000
    transport.come(frame(8, b"\x03\xe8"))
    assert wire.close_code == 1000


class TestWhatTheServerHolds:
    """The budget of a whole server, of which WebSockets are a part."""

    @pytest.mark.parametrize(
        ("data", "least"),
        [
            pytest.param(frame(2, bytes(5000)), 5000, id="message"),
            pytest.param(frame(2), 1, id="empty-message"),
            pytest.param(frame(2, bytes(5000), fin=False), 5000, id="begun-message"),
            pytest.param(frame(2, bytes(5000))[:-1], 5000, id="begun-frame"),
            pytest.param(frame(2) * 5000, 25_000, id="not-decoded"),
        ],
    )
    async def test_all_that_waits_is_counted(self, data: bytes, least: int) -> None:
        """Messages, what has begun and what is not decoded count as long as they are there."""
        held = HeldBudget()
        wire, transport = open_wire(held=held)
        transport.come(data)
        assert least <= held.held < least + HELD_BYTES
        wire.connection_lost(None)
        waiting = list(wire.messages)
        assert await received(wire) == waiting
        assert held.held == 0

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(frame(3), id="failed"),
            pytest.param(frame(8, b"\x03\xe8"), id="closed"),
            pytest.param(frame(2, fin=False) + frame(1), id="failed-in-a-message"),
        ],
    )
    async def test_the_end_gives_back(self, data: bytes) -> None:
        """What came before the end is held until it is received, and nothing else."""
        held = HeldBudget()
        wire, transport = open_wire(held=held)
        transport.come(frame(2, bytes(5000)) + data + bytes(5000))
        assert 5000 < held.held < 6000
        assert await received(wire) == [bytes(5000)]
        assert held.held == 0

    async def test_an_application_that_ends_gives_back(self) -> None:
        """What it did not receive is forgotten, and what comes afterwards passed over."""
        held = HeldBudget()
        wire, transport = open_wire(held=held)
        transport.come(frame(2, bytes(5000)) * 100 + frame(2, bytes(5000), fin=False))
        wire.close(1000)
        wire.let_go()
        for _ in range(10):
            transport.deliver()
            await asyncio.sleep(0)
        transport.come(frame(0, bytes(5000)) + frame(2, bytes(5000)))
        assert held.held == 0
        transport.come(frame(8, b"\x03\xe8"))
        assert transport.eof_written

    async def test_beyond_the_budget_reading_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Large messages wait while the server holds too much, and come when it does not."""
        monkeypatch.setattr("edgeserver.websocket.connection.HELD_RETRY_S", 0)
        held = HeldBudget(100_000)
        held.take(100_000)
        wire, transport = open_wire(held=held)
        for _ in range(100):
            transport.come(frame(2, bytes(50_000)))
            await asyncio.sleep(0)
        assert not transport.reading
        assert not wire.messages
        assert wire.close_code is None
        assert held.held < 100_000 + 60_000
        held.give(100_000)
        for _ in range(100):
            assert await asyncio.wait_for(wire.receive(), 10) == bytes(50_000)
        wire.connection_lost(None)
        assert held.held == 0

    async def test_beyond_the_budget_small_messages_come_one_by_one(self) -> None:
        """Those who hold nothing are not silenced by those who hold much."""
        held = HeldBudget(100_000)
        held.take(100_000)
        wire, transport = open_wire(held=held)
        transport.come(frame(9) + frame(2, b"small") * 3)
        assert len(wire.messages) == 1
        assert transport.sent == b"\x8a\x00"
        assert [await wire.receive() for _ in range(3)] == [b"small"] * 3

    @pytest.mark.parametrize("fragments", [True, False], ids=["message", "frame"])
    async def test_beyond_the_budget_what_stalls_is_closed(
        self, fragments: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Peers that begin messages and do not end them cannot keep all others waiting."""
        monkeypatch.setattr("edgeserver.websocket.connection.UNFINISHED_S", 0)
        held = HeldBudget(100_000)
        wires = [open_wire(held=held) for _ in range(3)]
        data = frame(2, bytes(40_000), fin=False) if fragments else frame(2, bytes(40_000))[:-1]
        for _, transport in wires:
            transport.come(data)
            for _ in range(3):
                await asyncio.sleep(0)
        # The first to be looked at while there is too much: then there is not too much any more.
        assert sorted(wire.close_code or 0 for wire, _ in wires) == [0, 0, 1013]
        for wire, _ in wires:
            wire.connection_lost(None)
        assert held.held == 0
