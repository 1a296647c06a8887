"""The facts of a finished handshake, as an application sees them.

Decides only how the facts of a finished handshake are shown. It must not know how they came
about, nor the transport; a certificate is parsed when somebody first asks, since most never do.
"""

from __future__ import annotations

import functools
import ssl
import sys

from edgeserver.tls.connection.client_certificate import (
    ClientCertificateInfo,
    client_certificate_info,
)
from edgeserver.tls.handshake.ja4 import JA4Source, render_ja4

__all__ = ["TLSInfo"]

_VERSION_NUMBERS = {"TLSv1.3": 0x0304, "TLSv1.2": 0x0303, "TLSv1.1": 0x0302, "TLSv1": 0x0301}


class TLSInfo:
    """The TLS of one connection; it stays readable after the connection has ended.

    Making one costs next to nothing, so that every request may have it: what only OpenSSL knows
    is asked when it is read.

    Args:
        sslobject: The object of the finished handshake.
        sni: The server name that the client asked for, or None.
        ja4_source: What `keep_for_ja4` kept of the hello; None if that could not be read.
        host: The configured host whose certificate was served, empty for the default.
    """

    __slots__ = ("_client_certificate", "_ja4_source", "host", "sni", "sslobject")

    def __init__(
        self,
        sslobject: ssl.SSLObject,
        *,
        sni: str | None = None,
        ja4_source: JA4Source | bytes | None = None,
        host: str = "",
    ) -> None:
        self.sslobject = sslobject
        self._client_certificate: ClientCertificateInfo | None = None
        self.sni = sni
        self._ja4_source = ja4_source
        self.host = host

    @property
    def version(self) -> str:
        """The protocol version, such as `TLSv1.3`."""
        return self.sslobject.version() or ""

    @property
    def cipher(self) -> str:
        """The cipher suite's name in OpenSSL."""
        cipher = self.sslobject.cipher()
        return cipher[0] if cipher else ""

    @property
    def ja4(self) -> str:
        """The JA4 fingerprint of the ClientHello; empty if the hello could not be read."""
        return render_ja4(self._ja4_source) if self._ja4_source else ""

    @property
    def alpn(self) -> str | None:
        """The application protocol agreed on, or None."""
        return self.sslobject.selected_alpn_protocol()

    @property
    def resumed(self) -> bool:
        """Whether a session was resumed."""
        return bool(self.sslobject.session_reused)

    @property
    def client_certificate_der(self) -> bytes | None:
        """The client's certificate, verified; None if none was asked for or none was given."""
        return self.sslobject.getpeercert(True)

    @property
    def verified_chain(self) -> tuple[bytes, ...] | None:
        """The client's certificate and those up to its authority, as DER.

        None without a client certificate, and below Python 3.13, which cannot say.
        """
        if sys.version_info >= (3, 13) and self.client_certificate_der:
            return tuple(self.sslobject.get_verified_chain())
        return None

    @property
    def client_certificate(self) -> ClientCertificateInfo | None:
        """The client's certificate, parsed: subject, names, SPIFFE id, fingerprint."""
        if self._client_certificate is None and (der := self.client_certificate_der):
            self._client_certificate = client_certificate_info(der, self.verified_chain)
        return self._client_certificate

    @property
    def version_number(self) -> int | None:
        """The version as on the wire, such as 0x0304 for TLS 1.3; for ASGI's `tls` extension."""
        return _VERSION_NUMBERS.get(self.version)

    @property
    def cipher_number(self) -> int | None:
        """The cipher suite as on the wire, such as 0x1301; for ASGI's `tls` extension."""
        return _cipher_numbers().get(self.cipher)

    def __repr__(self) -> str:
        return (
            f"<TLSInfo {self.version} {self.cipher} sni={self.sni!r} alpn={self.alpn!r} "
            f"resumed={self.resumed} host={self.host!r}>"
        )


@functools.cache
def _cipher_numbers() -> dict[str, int]:
    """Return the numbers of all suites that OpenSSL knows, by its names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL")
    return {str(suite["name"]): int(suite["id"]) & 0xFFFF for suite in context.get_ciphers()}
