"""What an application may know of the TLS under a connection.

Decides only how the facts of a finished handshake are shown. It must not know how they came
about; a certificate is parsed when somebody first asks, since most never do.
"""

from __future__ import annotations

import functools
import ssl
import sys

from edgeserver.tls.certificates import ClientCertificateInfo, client_certificate_info

__all__ = ["TLSInfo"]

_VERSION_NUMBERS = {"TLSv1.3": 0x0304, "TLSv1.2": 0x0303, "TLSv1.1": 0x0302, "TLSv1": 0x0301}


class TLSInfo:
    """The TLS of one connection.

    Attributes:
        version: Such as `"TLSv1.3"`.
        cipher: The cipher suite's name in OpenSSL.
        sni: The server name that the client asked for, or None.
        alpn: The application protocol agreed on, or None.
        ja4: The JA4 fingerprint of the ClientHello; empty if the hello could not be read.
        resumed: Whether a session was resumed.
        host: The configured host whose certificate was served, empty for the default.
        client_certificate_der: The client's certificate, verified; None if none was asked for
            or none was given.
        verified_chain: That certificate and those up to the authority, as DER; None without a
            client certificate, and below Python 3.13, which cannot say.
    """

    __slots__ = (
        "_client_certificate",
        "alpn",
        "cipher",
        "client_certificate_der",
        "host",
        "ja4",
        "resumed",
        "sni",
        "verified_chain",
        "version",
    )

    def __init__(
        self,
        sslobject: ssl.SSLObject,
        *,
        sni: str | None = None,
        ja4: str = "",
        host: str = "",
    ) -> None:
        cipher = sslobject.cipher()
        self.version = sslobject.version() or ""
        self.cipher = cipher[0] if cipher else ""
        self.sni = sni
        self.alpn = sslobject.selected_alpn_protocol()
        self.ja4 = ja4
        self.resumed = bool(sslobject.session_reused)
        self.host = host
        self.client_certificate_der = sslobject.getpeercert(True)
        self.verified_chain = _verified_chain(sslobject) if self.client_certificate_der else None
        self._client_certificate: ClientCertificateInfo | None = None

    @property
    def client_certificate(self) -> ClientCertificateInfo | None:
        """The client's certificate, parsed: subject, names, SPIFFE id, fingerprint."""
        if self._client_certificate is None and self.client_certificate_der:
            self._client_certificate = client_certificate_info(
                self.client_certificate_der, self.verified_chain
            )
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


def _verified_chain(sslobject: ssl.SSLObject) -> tuple[bytes, ...] | None:
    if sys.version_info >= (3, 13):
        return tuple(sslobject.get_verified_chain())
    return None


@functools.cache
def _cipher_numbers() -> dict[str, int]:
    """Return the numbers of all suites that OpenSSL knows, by its names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL")
    return {str(suite["name"]): int(suite["id"]) & 0xFFFF for suite in context.get_ciphers()}
