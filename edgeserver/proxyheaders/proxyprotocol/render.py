"""A prelude as a proxy would send it: `Prelude` to bytes, for clients and tests.

Decides only how the two formats are written. It refuses what a format cannot say, and must not
know what a receiver thinks of it.
"""

from __future__ import annotations

import ipaddress

from edgeserver.proxyheaders.proxyprotocol.model import (
    CRC32C,
    SSL,
    UNIX_PREFIX,
    Prelude,
    PreludeSSL,
)
from edgeserver.proxyheaders.proxyprotocol.v2 import (
    HEADER,
    SIGNATURE,
    SSL_TEXTS,
    UNIX_PATH,
    crc32c,
)

__all__ = ["render_prelude", "render_v1", "render_v2"]


def render_prelude(prelude: Prelude) -> bytes:
    """Return `prelude` as its own version writes it.

    Raises:
        ValueError: Its version cannot say it, or an address is none.
    """
    return render_v1(prelude) if prelude.version == 1 else render_v2(prelude)


def render_v1(prelude: Prelude) -> bytes:
    """Return `prelude` as a version 1 line; LOCAL becomes UNKNOWN, TLVs are left out.

    Raises:
        ValueError: It names a Unix socket, or an address is none.
    """
    if prelude.command != "PROXY":
        return b"PROXY UNKNOWN\r\n"
    ends = (prelude.source or "", prelude.destination or "")
    if ends[0].startswith(UNIX_PREFIX):
        raise ValueError("version 1 of the PROXY protocol knows no Unix sockets; use version 2")
    versions = {ipaddress.ip_address(end).version for end in ends}
    family, mapped = ("TCP6", "::ffff:") if 6 in versions else ("TCP4", "")
    source, destination = (end if ":" in end else mapped + end for end in ends)
    ports = f"{prelude.source_port or 0} {prelude.destination_port or 0}"
    return f"PROXY {family} {source} {destination} {ports}\r\n".encode("ascii")


def render_v2(prelude: Prelude, *, with_crc32c: bool = False) -> bytes:
    """Return `prelude` as version 2 bytes, as a proxy or a test would send it.

    Args:
        prelude: What to say. Its `ssl` is written where its `tlvs` hold none; a CRC32C among the
            `tlvs` is computed anew.
        with_crc32c: Whether to add a checksum.

    Raises:
        ValueError: An address is none, or it does not fit the format.
    """
    if prelude.command == "LOCAL":
        return SIGNATURE + b"\x20\x00\x00\x00"
    family, block = _render_addresses(prelude)
    tlvs: list[tuple[int, bytes]] = list(prelude.tlvs)
    kinds = {kind for kind, _ in tlvs}
    if prelude.ssl is not None and SSL not in kinds:
        tlvs.append((SSL, _render_ssl(prelude.ssl)))
    if with_crc32c and CRC32C not in kinds:
        tlvs.append((CRC32C, b""))
    crc_at = None
    for kind, value in tlvs:
        if kind == CRC32C:
            crc_at, value = HEADER + len(block) + 3, bytes(4)
        block += _render_tlv(kind, value)
    head = SIGNATURE + bytes([0x21, family]) + len(block).to_bytes(2, "big") + block
    if crc_at is not None:
        head = head[:crc_at] + crc32c(head).to_bytes(4, "big") + head[crc_at + 4 :]
    return head


def _render_tlv(kind: int, value: bytes) -> bytes:
    """Return type, length and value."""
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def _render_addresses(prelude: Prelude) -> tuple[int, bytes]:
    """Return family and transport, and the address block."""
    ends = [prelude.source or "", prelude.destination or ""]
    if prelude.command == "UNKNOWN":
        return 0x00, b""
    if ends[0].startswith(UNIX_PREFIX):
        paths = [end.removeprefix(UNIX_PREFIX).encode("ascii") for end in ends]
        if max(map(len, paths)) > UNIX_PATH:
            raise ValueError(f"a Unix path in a prelude takes at most {UNIX_PATH} bytes")
        return 0x31, b"".join(path.ljust(UNIX_PATH, b"\0") for path in paths)
    addresses = [ipaddress.ip_address(end) for end in ends]
    family = 0x11
    if any(address.version == 6 for address in addresses):
        family = 0x21
        addresses = [
            ipaddress.ip_address(bytes(10) + b"\xff\xff" + address.packed)
            if address.version == 4
            else address
            for address in addresses
        ]
    ports = [prelude.source_port or 0, prelude.destination_port or 0]
    parts = [address.packed for address in addresses] + [port.to_bytes(2, "big") for port in ports]
    return family, b"".join(parts)


def _render_ssl(ssl: PreludeSSL) -> bytes:
    """Return the value of PP2_TYPE_SSL."""
    flags = ssl.client_ssl | ssl.client_cert_conn << 1 | ssl.client_cert_sess << 2
    value = bytes([flags]) + (not ssl.verified).to_bytes(4, "big")
    for kind, (name, encoding) in SSL_TEXTS.items():
        text: str | None = getattr(ssl, name)
        if text is not None:
            value += _render_tlv(kind, text.encode(encoding))
    return value
