"""A client's certificate as an application sees it, parsed when somebody asks.

Decides how it is shown to an application. That it is genuine was OpenSSL's to verify; whether its
owner may do something is the application's.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edgeserver.tls.certificates.names import alternative_names, common_name, render_name

__all__ = ["ClientCertificateInfo", "client_certificate_info"]


class ClientCertificateInfo:
    """A verified client certificate; each attribute is worked out on first use.

    Args:
        der: The certificate.
        chain: The verified chain as DER, the certificate first; None or empty where Python (below
            3.13) does not give it.
    """

    def __init__(self, der: bytes, chain: Sequence[bytes] | None = None) -> None:
        self.der = der
        self.chain = tuple(chain) if chain else None

    @functools.cached_property
    def certificate(self) -> x509.Certificate:
        """The certificate as `cryptography` has it.

        Raises:
            ValueError: It cannot be parsed, though OpenSSL accepted it.
        """
        return x509.load_der_x509_certificate(self.der)

    @functools.cached_property
    def subject(self) -> str:
        """The subject's distinguished name, such as `CN=alice,O=Example`; printable ASCII."""
        return render_name(self.certificate.subject)

    @functools.cached_property
    def issuer(self) -> str:
        """The issuer's distinguished name; printable ASCII."""
        return render_name(self.certificate.issuer)

    @functools.cached_property
    def common_name(self) -> str:
        """The common name, or the first alternative name; printable ASCII."""
        return common_name(self.certificate)

    @functools.cached_property
    def serial_number(self) -> str:
        """The serial number, hexadecimal."""
        return f"{self.certificate.serial_number:x}"

    @functools.cached_property
    def alternative_names(self) -> tuple[tuple[str, str], ...]:
        """The subject alternative names as (type, value), as they stand: not escaped."""
        return alternative_names(self.certificate)

    @functools.cached_property
    def spiffe_id(self) -> str | None:
        """The SPIFFE id, if the certificate is an X.509-SVID.

        Source: SPIFFE X.509-SVID section 2: exactly one URI SAN, and its scheme is spiffe.
        """
        uris = [value for kind, value in self.alternative_names if kind == "URI"]
        if len(uris) == 1 and uris[0].startswith("spiffe://"):
            return uris[0]
        return None

    @functools.cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, hexadecimal."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.der)
        return digest.finalize().hex()

    @property
    def not_before(self) -> datetime.datetime:
        """The start of its validity (UTC)."""
        return self.certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime.datetime:
        """The end of its validity (UTC)."""
        return self.certificate.not_valid_after_utc

    def __repr__(self) -> str:
        return f"<ClientCertificateInfo {self.subject} fingerprint={self.fingerprint[:16]}...>"


def client_certificate_info(
    der: bytes, chain: Sequence[bytes] | None = None
) -> ClientCertificateInfo:
    """Return what a client's certificate says; nothing is parsed yet."""
    return ClientCertificateInfo(der, chain)
