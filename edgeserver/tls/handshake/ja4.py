"""The JA4 text of a ClientHello: which kind of client software this probably is.

Decides only how the fingerprint is written. It must know nothing of what it is used for; anyone
can imitate one, so it identifies software that does not hide, and never a person.

A server keeps a few hundred bytes for each connection, at next to no work, and writes the text when
somebody asks.

Source: FoxIO's public definition of JA4 (`technical_details/JA4.md` of FoxIO-LLC/ja4).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from edgeserver.tls.handshake.clienthello import (
    GREASE,
    ClientHello,
    parse_numbers,
    parse_whole_hello,
)

__all__ = ["JA4Source", "keep_for_ja4", "render_ja4"]

_MOST_KEPT = 640  # bytes of a hello; what is taken out of it needs nearly as many

_VERSION_TEXTS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 2: "s2"}


class JA4Source(NamedTuple):
    """What a JA4 text is made of, mostly as it came."""

    legacy_version: int
    suites: bytes
    extensions: tuple[int, ...]
    signatures: bytes
    versions: bytes
    alpn: str

    @classmethod
    def of(cls, hello: ClientHello) -> JA4Source:
        """Return the source of a hello's text."""
        return cls(
            hello.legacy_version,
            hello.suites_raw,
            hello.extensions,
            hello.extension(13),
            hello.extension(43),
            hello.alpn[0] if hello.alpn else "",
        )


def keep_for_ja4(hello: ClientHello) -> JA4Source | bytes:
    """Return what `render_ja4` needs of a hello: the bytes of a short one, as nobody may ask."""
    segment = hello.segment
    if 0 < len(segment) <= _MOST_KEPT:
        return segment
    return JA4Source.of(hello)


def render_ja4(source: JA4Source | bytes) -> str:
    """Return the JA4 of a hello over TCP, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`."""
    if isinstance(source, bytes):
        hello = parse_whole_hello(source)
        assert hello is not None, "it was read once"
        source = JA4Source.of(hello)
    suites = [suite for suite in parse_numbers(source.suites, 2) if suite not in GREASE]
    extensions = [kind for kind in source.extensions if kind not in GREASE]
    version = source.legacy_version
    if 43 in extensions:
        offered = (v for v in parse_numbers(source.versions, 1) if v not in GREASE)
        version = max(offered, default=0)
    named = "d" if 0 in extensions else "i"
    counts = f"{min(len(suites), 99):02d}{min(len(extensions), 99):02d}"
    # "removed" as the definition has it: server_name and ALPN are in the first part already
    hashed = _join(sorted(kind for kind in extensions if kind not in (0, 16)))
    schemes = [s for s in parse_numbers(source.signatures, 2) if s not in GREASE]
    if hashed and schemes:
        hashed = f"{hashed}_{_join(schemes)}"
    return (
        f"t{_VERSION_TEXTS.get(version, '00')}{named}{counts}{_render_alpn(source.alpn)}"
        f"_{_digest(_join(sorted(suites)))}_{_digest(hashed)}"
    )


def _join(values: Iterable[int]) -> str:
    return ",".join([f"{value:04x}" for value in values])


def _digest(text: str) -> str:
    """Return the first twelve digits of the hash, or zeros where there is nothing to hash."""
    return sha256(text.encode()).hexdigest()[:12] if text else "000000000000"


def _render_alpn(protocol: str) -> str:
    if not protocol:
        return "00"
    raw = protocol.encode("latin-1")
    ends = raw[:1] + raw[-1:]
    if not ends.isalnum():  # bytes.isalnum is ASCII only, as the definition asks
        shown = raw.hex()
        return shown[0] + shown[-1]
    return ends.decode("ascii")
