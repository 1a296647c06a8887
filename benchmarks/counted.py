"""Rows of `instructions`: a server in this process, fed by hand, with marks for who counts.

    python -P benchmarks/counted.py ROW... [--requests N]

Decides what happens between two marks. callgrind counts the machine's instructions from one mark
to the next (`instructions.py` starts it); the bytecodes of a handshake are counted here. Time
stands still, so that no timer is due in one section and not in the next. Says as JSON which
edgeserver ran and what was counted. Only what edgeserver documents is called, so that another
version of it can be measured by the same file.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import itertools
import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

# At the end: the edgeserver beside this file is not the one to be measured where there is another.
sys.path.append(str(Path(__file__).resolve().parent.parent))

import uvloop

import edgeserver
from benchmarks import http2
from benchmarks.inprocess import CountingTransport, protocol_factory, requests_of
from benchmarks.loaders.handshakes import HOST_NAME, client_context
from benchmarks.model import HERE, PLAIN_ANSWER, Counted
from benchmarks.tables import COUNTED

CONNECTIONS = 16  # each gets one request in one turn of the loop
FIRST = 1_000_000  # the numbers in varied requests all have as many digits
NEVER_S = 1e6
TURNS = 3  # of the loop until an application has answered; an idle one costs next to nothing

_OWN = (str(HERE), str(Path(asyncio.__file__).parent))


class StillLoop(uvloop.Loop):
    """A loop whose time stands still: under valgrind all is so slow that more would be due."""

    time = itertools.repeat(1000.0).__next__  # type: ignore[assignment]  # as cheap as the loop's

    def call_later(self, delay: float, callback: Any, *arguments: Any, context: Any = None) -> Any:
        return super().call_later(NEVER_S, callback, *arguments, context=context)


def stop_clocks() -> None:
    """Let time stand still for everybody who asks for it, from the next import on."""
    for name in ("time", "monotonic", "perf_counter"):
        setattr(time, name, itertools.repeat(getattr(time, name)()).__next__)


class Connection(CountingTransport):
    """A connection that keeps what was written to it until somebody looks."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__(protocol)
        self.pieces: list[bytes] = []
        self.keeps = True

    def write(self, data: Any) -> None:
        self.written += len(data)
        if self.keeps:
            self.pieces.append(bytes(data))

    def pause_reading(self) -> None:
        """Ignore it: what is fed here is never much."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = b"".join(self.pieces)
        self.pieces.clear()
        return taken


class Client:
    """The other end of a connection: it gives the bytes to be received, and reads answers."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.connection = Connection(protocol)
        protocol.connection_made(self.connection)

    @property
    def receive(self) -> Callable[[bytes], None]:
        """What the protocol that stands on the connection by now is fed by."""
        protocol = self.connection.protocol
        assert isinstance(protocol, asyncio.Protocol)
        return protocol.data_received

    async def begin(self) -> None:
        """Do what comes before the first request."""

    def on_wire(self, request: bytes) -> bytes:
        """Return the bytes that carry `request`."""
        return request

    def answer(self) -> bytes:
        """Return what has been answered since the last call."""
        return self.connection.take()

    def check(self) -> None:
        """Hold the answer that is there to what was asked for.

        Raises:
            SystemExit: It is something else.
        """
        answer = self.answer()
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(PLAIN_ANSWER):
            raise SystemExit(f"not the answer that is to be counted: {answer[:200]!r}")


class TLSClient(Client):
    """A client that speaks TLS, in memory."""

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext) -> None:
        super().__init__(protocol)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=HOST_NAME)

    async def begin(self) -> None:
        """Shake hands; the last flight goes with the first request."""
        self._shake()
        self.receive(self._outgoing.read())
        await asyncio.sleep(0)
        self._incoming.write(self.connection.take())
        self._shake()

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass

    def on_wire(self, request: bytes) -> bytes:
        self._tls.write(request)
        return self._outgoing.read()

    def answer(self) -> bytes:
        self._incoming.write(self.connection.take())
        answer = bytearray()
        try:
            while piece := self._tls.read(1 << 16):
                answer += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return bytes(answer)


class HTTP2Client(Client):
    """A client that speaks HTTP/2 by prior knowledge, and encodes as browsers do."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        # hypercorn brings it; only who counts these rows needs it
        from hpack.huffman import HuffmanEncoder
        from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

        super().__init__(protocol)
        huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
        self._requests = http2.Requests(huffman.encode)

    async def begin(self) -> None:
        """Introduce itself."""
        self.receive(http2.opening())
        await asyncio.sleep(0)
        self.receive(http2.frame(http2.SETTINGS, 1, 0))
        self.connection.take()

    def on_wire(self, request: bytes) -> bytes:
        return self._requests.next(http2.fields_of(request))

    def check(self) -> None:
        answers = [
            payload
            for kind, flags, _, payload in http2.Frames().feed(self.answer())
            if kind == http2.DATA and flags == http2.END_STREAM
        ]
        if not answers or any(answer != PLAIN_ANSWER for answer in answers):
            raise SystemExit(f"not the answers that are to be counted: {answers[:3]!r}")


async def make_clients(row: Counted, count: int) -> tuple[list[Client], Callable[[], None]]:
    """Return clients that are connected, and what stops their server."""
    options = (*row.workload.settings(), *row.options)
    make, stop = await protocol_factory(*options, script=row.script)
    if not row.workload.tls:
        kind = HTTP2Client if row.workload.http2 else Client
        return [kind(make()) for _ in range(count)], stop
    context = client_context()
    return [TLSClient(make(), context) for _ in range(count)], stop


async def feed(receivers: list[Callable[[bytes], None]], rounds: list[tuple[bytes, ...]]) -> None:
    """Give each connection one request in each turn of the loop."""
    for requests in rounds:
        for receive, request in zip(receivers, requests, strict=True):
            receive(request)
        for _ in range(TURNS):
            await asyncio.sleep(0)


def rounds_of(
    row: Counted, clients: list[Client], count: int, start: int
) -> list[tuple[bytes, ...]]:
    """Return the next `count` requests as bytes on the wire, for each client in each round.

    One for each, or as many as it has streams, as far as there are so many.
    """
    requests = requests_of(row.workload, count, start)
    each = min(row.workload.streams, count // len(clients))
    carried = [clients[n // each % len(clients)].on_wire(requests[n]) for n in range(count)]
    bursts = [b"".join(carried[n : n + each]) for n in range(0, count, each)]
    return list(zip(*[iter(bursts)] * len(clients), strict=True))


async def count_instructions(row: Counted, count: int, sections: int) -> list[int]:
    """Serve `count` requests `sections` times between two marks; callgrind has the counts."""
    clients, stop = await make_clients(row, CONNECTIONS)
    for client in clients:
        await client.begin()
    receivers = [client.receive for client in clients]
    await feed(receivers, rounds_of(row, clients, CONNECTIONS, 0))
    for client in clients:
        client.check()
        client.connection.keeps = False
    # A handshake may have put another protocol on the connection. Everything twice: warm.
    receivers = [client.receive for client in clients]
    await feed(receivers, rounds_of(row, clients, CONNECTIONS, FIRST))
    before = written(clients)
    await feed(receivers, rounds_of(row, clients, count, FIRST + count))
    answer_bytes = (written(clients) - before) // count
    for section in range(sections):
        rounds = rounds_of(row, clients, count, FIRST + (section + 2) * count)
        before = written(clients)
        mark()
        await feed(receivers, rounds)
        mark()
        if written(clients) - before != count * answer_bytes:
            raise SystemExit(f"{written(clients) - before} bytes for {count} requests: too few")
    for client in clients:
        client.connection.lose()
    stop()
    return []


async def count_connections(row: Counted, count: int, sections: int) -> list[int]:
    """Serve `count` connections of one request `sections` times between two marks."""
    make, stop = await protocol_factory(*row.workload.settings(), *row.options, script=row.script)
    request = row.workload.template()
    checked = Client(make())
    checked.receive(request)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    checked.check()
    checked.connection.lose()
    for section in range(sections + 1):  # the first is to be warm
        batches = [
            [Connection(asyncio.Protocol()) for _ in range(CONNECTIONS)]
            for _ in range(count // CONNECTIONS)
        ]
        requests = [bytes(bytearray(request)) for _ in range(CONNECTIONS)]
        if section:
            mark()
        for connections in batches:
            await serve_once(make, connections, requests)
        if section:
            mark()
    stop()
    return []


async def serve_once(
    make: Callable[[], asyncio.Protocol], connections: list[Connection], requests: list[bytes]
) -> None:
    """Have each of some connections come, ask once and go, all in the same turns of the loop."""
    for connection, request in zip(connections, requests, strict=True):
        protocol = connection.protocol = make()
        connection.keeps = False
        protocol.connection_made(connection)
        protocol.data_received(request)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    for connection in connections:
        if not connection.written:
            raise SystemExit("a connection got no answer")
        connection.lose()


def written(clients: list[Client]) -> int:
    """Return how many bytes all connections have been given."""
    return sum(client.connection.written for client in clients)


def mark() -> None:
    """Call the function of the C library at which callgrind writes down what it has counted."""
    os.getloadavg()


async def count_handshakes(row: Counted, count: int) -> list[int]:
    """Return the bytecodes of each of `count` connections of one request, after as many others."""
    request = row.workload.template()
    options = (*row.workload.settings(), *row.options)
    make, stop = await protocol_factory(*options, script=row.script)
    context = client_context()
    counts = []
    for _ in range(2 * count):
        with bytecodes() as counted:
            client = TLSClient(make(), context)
            await client.begin()
            client.receive(client.on_wire(request))
            for _ in range(TURNS):
                await asyncio.sleep(0)
            client.connection.lose()
            await asyncio.sleep(0)
        client.check()
        counts.append(counted[0])
    stop()
    return counts[count:]


@contextmanager
def bytecodes() -> Iterator[list[int]]:
    """Count the bytecodes that run meanwhile, except those of this directory."""
    counted = [0]

    def global_trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename.startswith(_OWN):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return local_trace

    def local_trace(frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            counted[0] += 1
        return local_trace

    sys.settrace(global_trace)
    try:
        yield counted
    finally:
        sys.settrace(None)


def run(row: Counted, requests: int, sections: int) -> None:
    """Count one row, and say on a line of its own which edgeserver that was."""
    # No collection falls into one section and not into the next.
    gc.collect()
    gc.disable()
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        if row.unit == "bytecodes":
            counts = runner.run(count_handshakes(row, sections))
        elif row.workload.closes:
            counts = runner.run(count_connections(row, requests, sections))
        else:
            counts = runner.run(count_instructions(row, requests, sections))
    package = Path(edgeserver.__file__).parent
    said = {
        "row": row.name,
        "pid": os.getpid(),
        "package": str(package),
        "compiled": any(package.rglob("*.so")),
        "counts": counts,
    }
    print(json.dumps(said), flush=True)


def main() -> None:
    rows = {row.name: row for row in COUNTED}
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("rows", nargs="+", choices=tuple(rows), metavar="ROW")
    flags.add_argument("--requests", type=int, default=320, help="in one section")
    flags.add_argument("--sections", type=int, default=2)
    chosen = flags.parse_args()
    stop_clocks()
    # Callgrind makes starting dear: what all rows import they have in common. Nothing else: each
    # is a process that knows nothing of the others.
    for script in {row.script for row in COUNTED}:
        importlib.import_module(script)
    for name in chosen.rows:
        child = os.fork()
        if not child:
            run(rows[name], chosen.requests, chosen.sections)
            os._exit(0)  # an orderly end would take as long as the requests
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"{name} could not be counted")


if __name__ == "__main__":
    main()
