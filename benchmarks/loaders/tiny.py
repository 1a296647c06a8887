"""Sends one payload over many connections at once, as fast as it is taken, and reads no sense.

    python -m benchmarks.loaders.tiny PORT CONNECTIONS BEGINNING UNIT REPEATS END

BEGINNING, UNIT and END are hexadecimal; each connection sends the first, then REPEATS times the
second, then the third, and is done when the server has closed it.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

_PIECE = 1 << 18
_AT_MOST_SECONDS = 60.0


def run(port: int, connections: int, payload: bytes) -> None:
    selector = selectors.DefaultSelector()
    sent: dict[socket.socket, int] = {}
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setblocking(False)
        sent[connection] = 0
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
    view = memoryview(payload)
    end_s = time.monotonic() + _AT_MOST_SECONDS
    while sent and time.monotonic() < end_s:
        for key, events in selector.select(1.0):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                over = events & selectors.EVENT_READ and not connection.recv(1 << 16)
                if events & selectors.EVENT_WRITE and not over:
                    at = sent[connection]
                    sent[connection] = at = at + connection.send(view[at : at + _PIECE])
                    if at == len(payload):
                        selector.modify(connection, selectors.EVENT_READ)
            except BlockingIOError:
                continue
            except OSError:
                over = True
            if over:
                selector.unregister(connection)
                connection.close()
                del sent[connection]


if __name__ == "__main__":
    port, connections, beginning, unit, repeats, end = sys.argv[1:]
    payload = bytes.fromhex(beginning) + bytes.fromhex(unit) * int(repeats) + bytes.fromhex(end)
    run(int(port), int(connections), payload)
