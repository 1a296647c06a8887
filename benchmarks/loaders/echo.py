r"""WebSocket echo: one message in flight on each connection, compared byte by byte with its echo.

    python -m benchmarks.loaders.echo PORT --seconds 2 --connections 32 --request FILE \
        --message-bytes 13

The frames are made once, so that the loader is cheap beside the server: up to 125 bytes as text,
larger ones as binary, masked as a client must, and nothing compressed.
"""

from __future__ import annotations

import select
import socket
import time

from benchmarks.loaders import common

# RFC 6455 section 1.3: the key of its example, and what accepts it.
_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_MASK = b"\x37\xfa\x21\x3d"
_SMALL = 125


def payload_of(size: int) -> bytes:
    """Return a message of `size` bytes, all of them ASCII."""
    return (b"Hello, world! " * (size // 14 + 1))[:size]


def frame(payload: bytes, *, mask: bytes = b"") -> bytes:
    """Return `payload` in one frame, as RFC 6455 section 5.2 lays it out."""
    opcode = b"\x81" if len(payload) <= _SMALL else b"\x82"  # FIN, and text or binary
    bit = 0x80 if mask else 0
    if len(payload) <= _SMALL:
        length = bytes([bit | len(payload)])
    elif len(payload) < 1 << 16:
        length = bytes([bit | 126]) + len(payload).to_bytes(2, "big")
    else:
        length = bytes([bit | 127]) + len(payload).to_bytes(8, "big")
    if mask:
        repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
        number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
        payload = number.to_bytes(len(payload), "big")
    return opcode + length + mask + payload


class Client:
    """One WebSocket, open, with room for one echo."""

    def __init__(self, port: int, upgrade: bytes, message: bytes, echo: bytes) -> None:
        self.socket = socket.create_connection((common.HOST, port), timeout=common.STALL_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open(upgrade)
        self._message = message
        self._echo = echo
        self._room = memoryview(bytearray(len(echo) + 1))  # one more: too much is an error
        self._filled = 0

    def _open(self, upgrade: bytes) -> None:
        self.socket.sendall(upgrade)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)  # nothing behind the head may be lost
            if not piece:
                raise SystemExit(f"closed instead of upgraded: {head!r}")
            head += piece
        if not head.startswith(b"HTTP/1.1 101") or _ACCEPT not in head:
            raise SystemExit(f"no WebSocket: {head[:200]!r}")
        if b"permessage-deflate" in head:
            raise SystemExit("compression was negotiated that nobody offered")

    def send(self) -> None:
        self.began_s = time.perf_counter()
        self._filled = 0
        self.socket.sendall(self._message)

    def receive(self) -> bool:
        """Take what has come; return whether the echo is complete.

        Raises:
            SystemExit: It is no echo.
        """
        count = self.socket.recv_into(self._room[self._filled :])
        self._filled += count
        if count and self._filled < len(self._echo):
            return False
        if self._room[: self._filled] != self._echo:
            raise SystemExit(f"no echo: {bytes(self._room[:20])!r}, {self._filled} bytes")
        return True


def main() -> None:
    parser = common.parser(__doc__.partition("\n")[0])
    parser.add_argument("--message-bytes", type=int, required=True)
    options = parser.parse_args()
    payload = payload_of(options.message_bytes)
    message, echo = frame(payload, mask=_MASK), frame(payload)
    upgrade = options.request.read_bytes()
    clients = {}
    epoll = select.epoll()
    for _ in range(options.connections):
        client = Client(options.port, upgrade, message, echo)
        clients[client.socket.fileno()] = client
        epoll.register(client.socket, select.EPOLLIN)
    tally = common.Tally(options.seconds)
    for client in clients.values():
        client.send()
    waiting = len(clients)
    while waiting:
        ready = epoll.poll(common.STALL_SECONDS)
        if not ready:
            raise SystemExit(f"no echo for {common.STALL_SECONDS:.0f} s")
        for number, _ in ready:
            client = clients[number]
            if not client.receive():
                continue
            tally.count(client.began_s)
            if tally.is_over():
                waiting -= 1
                epoll.unregister(number)
            else:
                client.send()
    tally.report()


if __name__ == "__main__":
    common.run(main)
