"""What a proxy says beside the address, where the policy declares that it sets those headers.

Decides which values are usable. It must not know whether the one who said them may be believed:
it is asked only about headers that were declared.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeserver.proxyheaders.addresses import parse_ipv6
from edgeserver.proxyheaders.forwarded import split_rightmost
from edgeserver.support.escape import escape

__all__ = ["Declared", "read_declared"]

_MAX_HOST_BYTES = 262
_MAX_PREFIX_BYTES = 1024

# RFC 3986 section 3.2.2: a name or an IPv4 address, or IPv6 in brackets; then an optional port.
_HOST = re.compile(rb"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
# RFC 3986 section 3.3: path-absolute, so that it can stand before a path; without '%', so that
# no encoded dot or slash can change what it means.
_PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
# Envoy, "x-forwarded-client-cert": key=value, a value with one of ',;="' is quoted.
_XFCC_PAIR = re.compile(
    rb'([A-Za-z]+)=(?:([^",;=]*)|"([^"\\]*(?:\\.[^"\\]*)*)")(?:;|\Z)', re.DOTALL
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
# RFC 8941 section 3.3.5: sf-binary = ":" base64 ":".
_BINARY = re.compile(rb":([A-Za-z0-9+/]*={0,2}):")


@dataclass(frozen=True, slots=True)
class Declared:
    """What declared headers say; a value that was unusable or repeated is None.

    Args:
        host: `X-Forwarded-Host`, with its port if any.
        port: `X-Forwarded-Port`.
        prefix: `X-Forwarded-Prefix`, without a slash at its end.
        client_cert: The DER certificate of `Client-Cert` (RFC 9440).
        client_cert_chain: The DER certificates of `Client-Cert-Chain`, nearest the leaf first.
        xfcc: The pairs of the last element of Envoy's `X-Forwarded-Client-Cert`.
        unusable: `(lower-case name, what is wrong with it)` for each value that was refused.
    """

    host: str | None = None
    port: int | None = None
    prefix: str | None = None
    client_cert: bytes | None = None
    client_cert_chain: tuple[bytes, ...] = ()
    xfcc: tuple[tuple[str, str], ...] = ()
    unusable: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return the values as JSON values, escaped where strangers may have written them."""
        return {
            "host": self.host,
            "port": self.port,
            "prefix": self.prefix,
            "client_cert_bytes": len(self.client_cert) if self.client_cert is not None else None,
            "client_cert_chain": len(self.client_cert_chain),
            "xfcc": [[escape(name), escape(value)] for name, value in self.xfcc],
            "unusable": [list(pair) for pair in self.unusable],
        }


def read_declared(values: Mapping[bytes, Sequence[bytes]]) -> Declared:
    """Read the declared headers of one request; never raises.

    Args:
        values: For each declared lower-case name that is present, its lines in order.
    """
    found: dict[str, object] = {}
    unusable: list[tuple[str, str]] = []
    for name, lines in values.items():
        attribute, read, single = _READERS[name]
        if single and any(line != lines[0] for line in lines):
            unusable.append((name.decode("ascii"), "it holds one value, and came with several"))
            continue
        try:
            found[attribute] = read(lines[0] if single else b", ".join(lines))
        except ValueError as error:
            unusable.append((name.decode("ascii"), str(error)))
    return Declared(**found, unusable=tuple(unusable))  # type: ignore[arg-type]  # _READERS pairs them


def _read_host(value: bytes) -> str:
    match = _HOST.fullmatch(value) if len(value) <= _MAX_HOST_BYTES else None
    if match is None or (match[1] is not None and parse_ipv6(match[1]) is None):
        raise ValueError("it is not one host with an optional port (RFC 9110 section 7.2)")
    if match[2] is not None and not 0 < int(match[2]) <= 65535:
        raise ValueError("its port is not 1-65535")
    return value.decode("ascii").lower()


def _read_port(value: bytes) -> int:
    if not _PORT.fullmatch(value) or int(value) > 65535:
        raise ValueError("it is not one port, 1-65535 in digits")
    return int(value)


def _read_prefix(value: bytes) -> str:
    if (
        len(value) > _MAX_PREFIX_BYTES
        or not _PREFIX.fullmatch(value)
        or b"/../" in value + b"/"
        or b"/./" in value + b"/"
    ):
        raise ValueError("it is not one absolute path without '//' and '..' (RFC 3986 section 3.3)")
    return value.decode("ascii").rstrip("/")


def _read_binary(value: bytes) -> bytes:
    match = _BINARY.fullmatch(value.strip(b" \t"))
    if match is None:
        raise ValueError("it is not one byte sequence ':base64:' (RFC 9440 section 2.2)")
    try:
        return binascii.a2b_base64(match[1], strict_mode=True)
    except binascii.Error as error:
        raise ValueError("it is not one byte sequence ':base64:' (RFC 9440 section 2.2)") from error


def _read_chain(value: bytes) -> tuple[bytes, ...]:
    return tuple(_read_binary(item) for item in value.split(b","))


def _read_xfcc(value: bytes) -> tuple[tuple[str, str], ...]:
    last = value[split_rightmost(value, len(value)) + 1 :].strip(b" \t")
    pairs: list[tuple[str, str]] = []
    position = 0
    while position < len(last):
        match = _XFCC_PAIR.match(last, position)
        if match is None:
            raise ValueError("its last element is not 'key=value' pairs separated by ';'")
        name, plain, quoted = match.groups()
        text = plain if quoted is None else _QUOTED_PAIR.sub(rb"\1", quoted)
        pairs.append((name.decode("ascii"), text.decode("latin-1")))
        position = match.end()
    return tuple(pairs)


_READERS = {
    b"x-forwarded-host": ("host", _read_host, True),
    b"x-forwarded-port": ("port", _read_port, True),
    b"x-forwarded-prefix": ("prefix", _read_prefix, True),
    b"x-forwarded-client-cert": ("xfcc", _read_xfcc, False),
    b"client-cert": ("client_cert", _read_binary, True),
    b"client-cert-chain": ("client_cert_chain", _read_chain, False),
}
