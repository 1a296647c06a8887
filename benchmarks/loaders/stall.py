r"""Stalled handshakes: connections that send a ClientHello and then nothing.

    python -m benchmarks.loaders.stall PORT --connections 64 --addresses 1 --per-second 7

Opens the connections as fast as it can, in turns from the addresses 127.0.0.1 and up, says `opened`
on its output, and goes on to open new ones at the given rate, each in the place of the oldest. It
ends when its input ends. What the server closes is opened again only by that rate.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import ssl
import sys
import time
from collections import deque

from benchmarks.idle import raise_file_limit
from benchmarks.loaders.handshakes import HOST_NAME, client_context


def hello() -> bytes:
    """Return the ClientHello of an ordinary client."""
    outgoing = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST_NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def main() -> None:
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    flags.add_argument("port", type=int)
    flags.add_argument("--connections", type=int, required=True)
    flags.add_argument("--addresses", type=int, default=1)
    flags.add_argument("--per-second", type=float, required=True)
    options = flags.parse_args()
    raise_file_limit()
    first_bytes = hello()
    held: deque[socket.socket] = deque()
    opened = 0

    def open_one() -> None:
        nonlocal opened
        source = (f"127.0.0.{opened % options.addresses + 1}", 0)
        opened += 1
        with contextlib.suppress(OSError):  # refused or reset: the server's right
            held.append(
                socket.create_connection(("127.0.0.1", options.port), source_address=source)
            )
            held[-1].sendall(first_bytes)

    for _ in range(options.connections):
        open_one()
    sys.stdout.write("opened\n")
    sys.stdout.flush()
    due_s = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due_s - time.monotonic()))[0]:
        due_s += 1 / options.per_second
        if len(held) >= options.connections:
            held.popleft().close()
        open_one()


if __name__ == "__main__":
    main()
