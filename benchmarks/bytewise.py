"""A head in one-byte pieces: CPU microseconds per byte for heads of the sizes given, as JSON.

    python -m benchmarks.bytewise 65536 131072

Runs without a network, because there the kernel joins segments that the server is slow to read, and
the worst case is never met.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from benchmarks.inprocess import connect, protocol_factory

_START, _END = b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n"
_LINE = b"X-Filler: 1\r\n"


def head_of(size: int) -> list[bytes]:
    """Return the bytes of a head of exactly `size`, made of short lines, one by one."""
    room = size - len(_START) - len(_END)
    # Short lines: a parser that looks for the end of each again from the start shows it most.
    lines = _LINE * (room // len(_LINE) - 1)
    last = b"X-Last: " + b"1" * (room - len(lines) - len(b"X-Last: "))
    head = _START + lines + last + _END
    return [head[index : index + 1] for index in range(len(head))]


async def cost_us(size: int, repeats: int = 3) -> float:
    """Return the CPU microseconds per byte, the best of some repeats."""
    make_protocol, stop = await protocol_factory(
        "--max-header-size", str(1 << 26), "--max-header-fields", str(1 << 22)
    )
    pieces = head_of(size)
    figures = []
    for _ in range(repeats):
        transport = connect(make_protocol)
        receive = transport.protocol.data_received
        before = time.process_time()
        for piece in pieces:
            receive(piece)
        await asyncio.sleep(0)  # the answers of one turn of the loop are written at its end
        await asyncio.sleep(0)
        figures.append(time.process_time() - before)
        if not transport.last.endswith(b"Hello, world!"):
            raise SystemExit(f"the head was not answered: {transport.last!r}")
        transport.lose()
    stop()
    return min(figures) / size * 1e6


async def main(sizes: list[int]) -> None:
    print(json.dumps({size: await cost_us(size) for size in sizes}))


if __name__ == "__main__":
    uvloop.run(main([int(size) for size in sys.argv[1:]]))
