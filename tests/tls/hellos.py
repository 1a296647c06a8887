"""ClientHellos for tests: built field by field, or as Python's `ssl` sends them.

Decides how a test writes a hello down; it checks nothing, so that wrong ones can be built as well.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence

__all__ = [
    "alpn",
    "build_hello",
    "groups",
    "real_hello",
    "record",
    "server_name",
    "signatures",
    "split_records",
    "versions",
]


def vector(data: bytes, prefix: int) -> bytes:
    """Return `data` with its length before it."""
    return len(data).to_bytes(prefix, "big") + data


def numbers(values: Sequence[int], prefix: int) -> bytes:
    """Return a vector of 16-bit numbers."""
    return vector(struct.pack(f">{len(values)}H", *values), prefix)


def server_name(name: bytes) -> tuple[int, bytes]:
    """Return a server_name extension with one host name."""
    return 0, vector(b"\0" + vector(name, 2), 2)


def alpn(*names: bytes) -> tuple[int, bytes]:
    """Return an ALPN extension."""
    return 16, vector(b"".join(vector(name, 1) for name in names), 2)


def groups(*values: int) -> tuple[int, bytes]:
    """Return a supported_groups extension."""
    return 10, numbers(values, 2)


def signatures(*values: int) -> tuple[int, bytes]:
    """Return a signature_algorithms extension."""
    return 13, numbers(values, 2)


def versions(*values: int) -> tuple[int, bytes]:
    """Return a supported_versions extension."""
    return 43, numbers(values, 1)


def build_hello(
    *extensions: tuple[int, bytes],
    version: int = 0x0303,
    suites: Sequence[int] = (0x1301, 0xC02F),
    session: bytes = b"",
    compressions: bytes = b"\0",
) -> bytes:
    """Return a ClientHello message with its four-byte header, without a record around it."""
    body = struct.pack(">H", version) + bytes(range(32)) + vector(session, 1)
    body += numbers(suites, 2) + vector(compressions, 1)
    if extensions:
        body += vector(b"".join(struct.pack(">H", k) + vector(d, 2) for k, d in extensions), 2)
    return b"\x01" + vector(body, 3)


def record(data: bytes, kind: int = 0x16, version: bytes = b"\3\1") -> bytes:
    """Return one record around `data`."""
    return bytes([kind]) + version + vector(data, 2)


def split_records(message: bytes, size: int = 16384) -> bytes:
    """Return a handshake message in records of at most `size` bytes."""
    return b"".join(record(message[at : at + size]) for at in range(0, len(message), size))


def real_hello(name: str | None = "a.test", protocols: Sequence[str] = ("h2", "http/1.1")) -> bytes:
    """Return the first record that Python's `ssl` sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
