"""What a PROXY protocol prelude says, whichever version said it.

Decides the shape of the result and how its addresses are written. It knows neither wire format,
and it must not judge whether the one who spoke may be believed: the trust policy does that.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

from edgeserver.errors import ProxyProtocolError

__all__ = ["SPECIFICATION", "UNIX_PREFIX", "Prelude", "PreludeSSL", "address_text", "refusal"]

SPECIFICATION = "HAProxy's PROXY protocol specification"

UNIX_PREFIX = "unix:"

# Section 2.2.1 to 2.2.7, "PP2_TYPE_*".
ALPN = 0x01
AUTHORITY = 0x02
CRC32C = 0x03
NOOP = 0x04
UNIQUE_ID = 0x05
SSL = 0x20
NETNS = 0x30


@dataclass(frozen=True, slots=True)
class PreludeSSL:
    """What the sender of a v2 prelude says about the TLS session it ended.

    Args:
        client_ssl: Whether the client came over TLS.
        client_cert_conn: Whether it showed a certificate on this connection.
        client_cert_sess: Whether it showed one at least once in this TLS session.
        verified: Whether a certificate was shown and found valid. The `verify` field alone does not
            say so: HAProxy sends 0 there for a client without a certificate too.
        version: The TLS version in words, such as `"TLSv1.3"`.
        cn: The common name of the certificate's subject, chosen by its owner.
        cipher: The cipher, such as `"ECDHE-RSA-AES128-GCM-SHA256"`.
        sig_alg: The algorithm that signed the certificate.
        key_alg: The algorithm of the certificate's key.

    Source: section 2.2.6, "The PP2_TYPE_SSL type and subtypes".
    """

    client_ssl: bool
    client_cert_conn: bool = False
    client_cert_sess: bool = False
    verified: bool = False
    version: str | None = None
    cn: str | None = None
    cipher: str | None = None
    sig_alg: str | None = None
    key_alg: str | None = None


@dataclass(frozen=True, slots=True)
class Prelude:
    """One PROXY protocol prelude, parsed.

    Args:
        version: 1 or 2.
        command: `"PROXY"`: the addresses below are the client's. `"LOCAL"` (the proxy itself, as
            for a health check) and `"UNKNOWN"`: the real endpoints of the connection count, and
            there is no address here.
        source: The client's address as RFC 5952 writes it, or `"unix:"` and the escaped path.
        source_port: The client's port; None without an IP address.
        destination: The address that the client connected to, in the same form.
        destination_port: Its port.
        tlvs: Every type-length-value of a v2 prelude in order, raw, known or not.
        ssl: The PP2_TYPE_SSL among them, parsed; None where it is absent.
    """

    version: Literal[1, 2]
    command: Literal["PROXY", "LOCAL", "UNKNOWN"]
    source: str | None = None
    source_port: int | None = None
    destination: str | None = None
    destination_port: int | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()
    ssl: PreludeSSL | None = None

    def tlv(self, kind: int) -> bytes | None:
        """Return the value of the first TLV of type `kind`, or None."""
        for found, value in self.tlvs:
            if found == kind:
                return value
        return None

    @property
    def alpn(self) -> str | None:
        """The protocol that the proxy and the client agreed on, such as `"http/1.1"`.

        None where it is absent or not ASCII; the raw bytes are in `tlvs`.
        """
        return decoded(self.tlv(ALPN), "ascii")

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for (TLS SNI); the client chose it.

        None where it is absent or not UTF-8; the raw bytes are in `tlvs`.
        """
        return decoded(self.tlv(AUTHORITY), "utf-8")

    @property
    def unique_id(self) -> bytes | None:
        """The proxy's identifier of this connection, opaque, at most 128 bytes."""
        return self.tlv(UNIQUE_ID)

    @property
    def netns(self) -> str | None:
        """The name of the proxy's network namespace."""
        return decoded(self.tlv(NETNS), "ascii")

    @property
    def crc32c(self) -> int | None:
        """The checksum that the prelude carried, and that was verified."""
        value = self.tlv(CRC32C)
        return None if value is None else int.from_bytes(value, "big")


def decoded(value: bytes | None, encoding: str) -> str | None:
    """Return `value` as text, or None where it is absent or not in `encoding`."""
    try:
        return None if value is None else value.decode(encoding)
    except UnicodeDecodeError:
        return None


def address_text(packed: bytes) -> str:
    """Return 4 or 16 bytes of an address as RFC 5952 writes them, IPv4-mapped as IPv4.

    Source: RFC 5952 section 4; RFC 4291 section 2.5.5.2.
    """
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def refusal(message: str, section: str) -> ProxyProtocolError:
    """Return the error that names the rule broken and where it stands.

    Args:
        message: What was wrong, where in the prelude, and why; already escaped.
        section: The section of the specification.
    """
    return ProxyProtocolError(message, rfc=f"{SPECIFICATION}, section {section}")
