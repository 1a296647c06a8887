"""A bridge for tests: WebSockets of HTTP/1.1 on one side, each a stream of HTTP/2 on the other.

So that every client and every conversation over HTTP/1.1 can be had again over HTTP/2. It is what a
proxy is that speaks HTTP/2 to its upstream; the client's side of HTTP/2 is the library `h2`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

__all__ = ["Bridge", "H2Client", "bridging"]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PIECE = 16384
GOAWAY = 7
CANCEL = int(h2.errors.ErrorCodes.CANCEL)


class H2Client:
    """One connection of HTTP/2, from the client's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.events: asyncio.Queue[h2.events.Event | None] = asyncio.Queue()
        self.moved = asyncio.Event()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self._reading = asyncio.ensure_future(self._read(reader))

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext | None = None) -> H2Client:
        """Return a connection to a port of this machine."""
        name = None if context is None else "127.0.0.1"
        return cls(
            *await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        )

    def flush(self) -> None:
        """Send what is to be sent."""
        self.writer.write(self.h2.data_to_send())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(9)
                frame = head + await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == GOAWAY:
                    continue  # for `h2` it would be the end of all streams, too
                for event in self.h2.receive_data(frame):
                    self.events.put_nowait(event)
                self.moved.set()
                self.flush()
        self.events.put_nowait(None)
        self.moved.set()

    async def settle(self) -> bool:
        """Wait for the server's settings; return whether they allow extended CONNECT."""
        while not isinstance(await self.events.get(), h2.events.RemoteSettingsChanged):
            pass
        return self.h2.remote_settings.enable_connect_protocol == 1

    def ask(self, stream: int, path: str, host: str, fields: list[tuple[str, str]]) -> None:
        """Ask for a WebSocket."""
        pseudo = {
            ":method": "CONNECT",
            ":protocol": "websocket",
            ":scheme": "http",
            ":path": path,
            ":authority": host,
        }
        self.h2.send_headers(stream, [*pseudo.items(), *fields])
        self.flush()

    async def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        """Send DATA as far as the windows go, and wait for the rest."""
        while data or ends:
            room = min(self.h2.local_flow_control_window(stream), PIECE)
            if data and not room:
                self.moved.clear()
                await self.moved.wait()
                continue
            piece, data = data[:room], data[room:]
            self.h2.send_data(stream, piece, end_stream=ends and not data)
            self.flush()
            await self.writer.drain()
            if not data:
                return

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        await self._reading


class Bridge:
    """Where handshakes of HTTP/1.1 are asked of another port over HTTP/2.

    Attributes:
        port: Where it listens.
        target: The port that speaks HTTP/2.
        context: How it is to be reached over TLS; None without.
    """

    def __init__(self) -> None:
        self.port = self.target = 0
        self.context: ssl.SSLContext | None = None
        self.running: dict[asyncio.Task[None], H2Client] = {}

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        client = self.running[task] = await H2Client.connect(self.target, self.context)
        try:
            await _relay(reader, writer, client)
        finally:
            del self.running[task]
            writer.close()
            await client.close()


@contextlib.asynccontextmanager
async def bridging() -> AsyncIterator[Bridge]:
    """Give a bridge, whose target is to be set; it ends the connections that are left."""
    bridge = Bridge()
    server = await asyncio.start_server(bridge.meet, "127.0.0.1", 0, limit=1024)
    bridge.port = server.sockets[0].getsockname()[1]
    try:
        yield bridge
    finally:
        server.close()
        for client in bridge.running.values():
            client.writer.transport.abort()
        await asyncio.gather(*bridge.running)


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: H2Client
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")[:-2]
    fields = [(line.partition(":")[0].lower(), line.partition(":")[2].strip()) for line in lines]
    known = dict(fields)
    assert await client.settle(), "the server does not say that it serves WebSockets"
    ours = ("host", "upgrade", "connection", "sec-websocket-key")
    rest = [(name, value) for name, value in fields if name not in ours]
    client.ask(1, first.split(" ")[1], known["host"], rest)
    up = asyncio.ensure_future(_up(reader, writer, client))
    try:
        await _down(writer, client, known["sec-websocket-key"])
    finally:
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)


async def _up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: H2Client) -> None:
    """Carry what the client sends, its end and its reset."""
    try:
        while data := await reader.read(65536):
            await client.send(1, data)
        await client.send(1, b"", ends=True)
    except OSError:
        client.h2.reset_stream(1, CANCEL)
        client.flush()


async def _down(writer: asyncio.StreamWriter, client: H2Client, key: str) -> None:
    """Carry what the server sends, its end and its reset."""
    while (event := await client.events.get()) is not None:
        if isinstance(event, h2.events.ResponseReceived):
            writer.write(_head(dict(event.headers), event.headers, key))
        elif isinstance(event, h2.events.DataReceived):
            writer.write(event.data)
            with contextlib.suppress(OSError):
                await writer.drain()
            if event.flow_controlled_length:
                with contextlib.suppress(h2.exceptions.StreamClosedError):
                    client.h2.acknowledge_received_data(event.flow_controlled_length, 1)
                client.flush()
        elif isinstance(event, h2.events.StreamEnded):
            with contextlib.suppress(OSError):
                writer.write_eof()
        elif isinstance(event, h2.events.StreamReset):
            if event.error_code:
                writer.transport.abort()
            return


def _head(known: dict[str, str], listed: list[tuple[str, str]], key: str) -> bytes:
    """Return the head of HTTP/1.1 that stands for an answer."""
    fields = [f"{name}: {value}" for name, value in listed if not name.startswith(":")]
    if known[":status"] == "200":
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-Websocket-Accept: {accept}",
        ]
    else:
        lines = [f"HTTP/1.1 {known[':status']} Refused", "Connection: close"]
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1")
