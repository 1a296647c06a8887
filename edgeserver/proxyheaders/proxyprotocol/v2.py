"""The binary PROXY prelude, version 2: bytes to `Prelude`.

Decides whether the bytes obey the format and what they say. It must not know whether the peer is
believed, nor anything of connections: bytes in, a value or an error out.

The rules of section 2.2, in the order in which they are checked:

1. twelve bytes of signature, which `parse.parse_prelude` has seen;
2. version 2 and command LOCAL or PROXY; anything else is dropped;
3. one of the seven defined families and transports ("other values must be rejected as invalid by
   receivers"), ignored with LOCAL, whose whole block is discarded;
4. a length that holds at least the family's addresses;
5. type-length-values that end exactly with the block.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Literal

from edgeserver.proxyheaders.proxyprotocol.model import (
    ALPN,
    AUTHORITY,
    CRC32C,
    NETNS,
    SSL,
    UNIQUE_ID,
    UNIX_PREFIX,
    Prelude,
    PreludeSSL,
    address_text,
    decoded,
    refusal,
)
from edgeserver.support.escape import escape
from edgeserver.support.preludes import V2_SIGNATURE

__all__ = [
    "HEADER",
    "MAX_BLOCK",
    "MAX_TLVS",
    "SIGNATURE",
    "SSL_TEXTS",
    "UNIX_PATH",
    "crc32c",
    "parse_v2",
]

SIGNATURE = V2_SIGNATURE
"""The twelve bytes that begin every v2 prelude."""

MAX_BLOCK = 4096
"""The most bytes after the fixed sixteen. Two Unix paths take 216, host name, checksum and TLS
details a few hundred; the rest is room for a client certificate."""

MAX_TLVS = 64
"""The most TLVs in one prelude; senders write fewer than ten."""

HEADER = 16
"""The bytes before the block: signature, version and command, family, length."""

UNIX_PATH = 108
"""The bytes that one Unix path takes, padded with NUL."""

_ADDRESS_BYTES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_SINGLE = {
    ALPN: "ALPN",
    AUTHORITY: "AUTHORITY",
    CRC32C: "CRC32C",
    UNIQUE_ID: "UNIQUE_ID",
    SSL: "SSL",
    NETNS: "NETNS",
}
SSL_TEXTS = {
    0x21: ("version", "ascii"),
    0x22: ("cn", "utf-8"),
    0x23: ("cipher", "ascii"),
    0x24: ("sig_alg", "ascii"),
    0x25: ("key_alg", "ascii"),
}


def parse_v2(data: bytes) -> tuple[Prelude, int] | None:
    """Parse the v2 prelude at the start of `data`.

    Args:
        data: What has arrived, beginning as the signature does; may go on past the prelude.

    Returns:
        The prelude and how many bytes it took, or None if more must arrive first.

    Raises:
        ProxyProtocolError: The bytes can no longer become a valid prelude.

    Source: section 2.2, "Binary header format (version 2)".
    """
    command = _check_header(data)
    if len(data) < HEADER:
        return None
    end = HEADER + int.from_bytes(data[14:16], "big")
    if command == "LOCAL":
        # "must use the real connection endpoints and discard the protocol block"
        return (Prelude(version=2, command=command), end) if len(data) >= end else None
    start = HEADER + _ADDRESS_BYTES[data[13]]
    tlvs = _split_tlvs(data, start=start, end=end)
    if len(data) < end:
        return None
    _check_tlvs(tlvs)
    _check_crc(data[:end], tlvs, start=start)
    source, source_port, destination, destination_port = _read_addresses(data[13], data[16:start])
    prelude = Prelude(
        version=2,
        command="UNKNOWN" if source is None else "PROXY",
        source=source,
        source_port=source_port,
        destination=destination,
        destination_port=destination_port,
        tlvs=tlvs,
        ssl=next((_read_ssl(value) for kind, value in tlvs if kind == SSL), None),
    )
    return prelude, end


def _check_header(data: bytes) -> Literal["LOCAL", "PROXY"]:
    """Check as much of the sixteen fixed bytes as is there; return the command."""
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        raise refusal(
            f"PROXY v2: version and command 0x{data[12]:02x} at byte 12; "
            "0x20 (LOCAL) and 0x21 (PROXY) exist",
            "2.2",
        )
    command: Literal["LOCAL", "PROXY"] = "LOCAL" if data[12:13] == b"\x20" else "PROXY"
    if len(data) > 13 and command == "PROXY" and data[13] not in _ADDRESS_BYTES:
        raise refusal(
            f"PROXY v2: family and transport 0x{data[13]:02x} at byte 13 are not defined", "2.2"
        )
    if len(data) >= HEADER:
        length = int.from_bytes(data[14:16], "big")
        if length > MAX_BLOCK:
            raise refusal(
                f"PROXY v2: {length} bytes announced at byte 14; this server takes {MAX_BLOCK}",
                "2.2",
            )
        if command == "PROXY" and length < _ADDRESS_BYTES[data[13]]:
            raise refusal(
                f"PROXY v2: {length} bytes announced at byte 14 cannot hold the "
                f"{_ADDRESS_BYTES[data[13]]} of the addresses of family 0x{data[13]:02x}",
                "2.2",
            )
    return command


def _read_addresses(
    family: int, block: bytes
) -> tuple[str | None, int | None, str | None, int | None]:
    """Return source, its port, destination, its port; all None for AF_UNSPEC."""
    if family == 0x00:
        return None, None, None, None
    if family in (0x31, 0x32):
        return _unix_text(block[:UNIX_PATH]), None, _unix_text(block[UNIX_PATH:]), None
    size = 4 if family in (0x11, 0x12) else 16
    ports = block[2 * size :]
    return (
        address_text(block[:size]),
        int.from_bytes(ports[:2], "big"),
        address_text(block[size : 2 * size]),
        int.from_bytes(ports[2:], "big"),
    )


def _unix_text(field: bytes) -> str:
    """Return `unix:` and the path, escaped; an abstract name keeps its leading NUL."""
    path = field.rstrip(b"\0")
    if not path.startswith(b"\0"):
        # a path ends at its first NUL; what senders leave behind it is not part of it
        path = path.split(b"\0", 1)[0]
    return UNIX_PREFIX + escape(path)


def _split_tlvs(
    data: bytes, *, start: int, end: int, where: str = "TLV"
) -> tuple[tuple[int, bytes], ...]:
    """Split `data[start:end]`, of which the tail may still be missing, into TLVs.

    Raises:
        ProxyProtocolError: A TLV runs past `end`, or there are too many.
    """
    tlvs: list[tuple[int, bytes]] = []
    while start < end:
        if len(tlvs) == MAX_TLVS:
            raise refusal(f"PROXY v2: more than {MAX_TLVS} {where}s", "2.2")
        if end - start < 3:
            raise refusal(
                f"PROXY v2: {end - start} stray bytes at byte {start} after the last "
                f"{where}; a {where} takes at least 3",
                "2.2",
            )
        if len(data) < start + 3:
            break
        stop = start + 3 + int.from_bytes(data[start + 1 : start + 3], "big")
        if stop > end:
            raise refusal(
                f"PROXY v2: {where} 0x{data[start]:02x} at byte {start} runs "
                f"{stop - end} bytes past the end",
                "2.2",
            )
        tlvs.append((data[start], data[start + 3 : stop]))
        start = stop
    return tuple(tlvs)


def _check_tlvs(tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """Refuse a known TLV that is repeated (which one would count?) or of a wrong length."""
    kinds = sorted(kind for kind, _ in tlvs if kind in _SINGLE)
    for left, right in pairwise(kinds):
        if left == right:
            raise refusal(f"PROXY v2: TLV {_SINGLE[left]} comes twice; which counts?", "2.2")
    for kind, value in tlvs:
        if kind == UNIQUE_ID and len(value) > 128:
            # "an opaque byte sequence of up to 128 bytes"
            raise refusal(f"PROXY v2: TLV UNIQUE_ID of {len(value)} bytes; at most 128", "2.2.5")
        if kind == CRC32C and len(value) != 4:
            raise refusal(f"PROXY v2: TLV CRC32C of {len(value)} bytes; always 4", "2.2.3")
        if kind == SSL and len(value) < 5:
            raise refusal(f"PROXY v2: TLV SSL of {len(value)} bytes; at least 5", "2.2.6")


def _check_crc(head: bytes, tlvs: tuple[tuple[int, bytes], ...], *, start: int) -> None:
    """Refuse a checksum that does not fit; a prelude without one passes."""
    for kind, value in tlvs:
        if kind == CRC32C:
            zeroed = head[: start + 3] + bytes(4) + head[start + 7 :]
            claimed, computed = int.from_bytes(value, "big"), crc32c(zeroed)
            if claimed != computed:
                # "If the CRC32c checksum does not match the receiver MUST reject"
                raise refusal(
                    f"PROXY v2: TLV CRC32C says 0x{claimed:08x}, the prelude's "
                    f"checksum is 0x{computed:08x}",
                    "2.2.3",
                )
            return
        start += 3 + len(value)


def _read_ssl(value: bytes) -> PreludeSSL:
    """Parse the value of PP2_TYPE_SSL.

    Raises:
        ProxyProtocolError: A sub-TLV runs past the end.
    """
    flags, result = value[0], int.from_bytes(value[1:5], "big")
    texts: dict[str, str | None] = {}
    for kind, text in _split_tlvs(value, start=5, end=len(value), where="SSL sub-TLV"):
        if kind in SSL_TEXTS:
            name, encoding = SSL_TEXTS[kind]
            if name in texts:
                raise refusal(f"PROXY v2: SSL sub-TLV 0x{kind:02x} comes twice", "2.2.6")
            texts[name] = decoded(text, encoding)
    return PreludeSSL(
        client_ssl=bool(flags & 0x01),
        client_cert_conn=bool(flags & 0x02),
        client_cert_sess=bool(flags & 0x04),
        verified=result == 0 and bool(flags & 0x01) and bool(flags & 0x06),
        **texts,
    )


@cache
def _crc_table() -> tuple[int, ...]:
    """Return the table of the Castagnoli polynomial, bit-reversed: 0x82F63B78."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """Return the CRC32c checksum of `data`.

    Source: RFC 3720 appendix B.4; RFC 4960 appendix B.
    """
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
