"""The certificates and revocation lists in a file's content, parsed whole or refused in words.

Decides what counts as damaged. It opens no file, and knows nothing of
keys or listeners.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.certificates.keys import EXPLICIT_CURVE, has_explicit_curve, public_bytes
from edgeserver.tls.certificates.pem import (
    PemBlock,
    PemError,
    TLSFileError,
    describe_content,
    parse_pem,
)

__all__ = [
    "parse_certs",
    "parse_crls",
    "public_bytes_of",
    "render_certs",
    "render_crls",
]


def parse_certs(data: bytes, where: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one, in its order.

    Raises:
        TLSConfigurationError: There is none (and what is there instead), or one is damaged.
    """
    blocks = _parse_blocks(data, where)
    found = [block for block in blocks if block.is_certificate]
    if not found:
        if any(block.is_key for block in blocks):
            raise TLSFileError(
                where,
                " holds a private key, not a certificate",
                'are "certfile" and "keyfile" the wrong way round?',
            )
        raise TLSFileError(where, f" holds no certificate: {describe_content(data, blocks)}")
    certs = []
    for block in found:
        try:
            cert = x509.load_der_x509_certificate(block.der())
            public_bytes_of(cert)
            cert.extensions  # noqa: B018 - parsed lazily, and it is here that damage is to be found
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
            what, fix = f" is damaged ({error})", "copy or fetch it again"
            if _has_explicit_curve(block):
                what, fix = EXPLICIT_CURVE
            raise TLSFileError(
                where, f": the certificate that starts on line {block.line}{what}", fix
            ) from None
        certs.append(cert)
    return certs


def _has_explicit_curve(block: PemBlock) -> bool:
    try:
        return has_explicit_curve(block.der())
    except ValueError:
        return False


def parse_crls(data: bytes, where: str) -> list[x509.CertificateRevocationList]:
    """Return the revocation lists of a PEM or DER file, at least one.

    Raises:
        TLSConfigurationError: There is none, or one is damaged.
    """
    blocks = _parse_blocks(data, where)
    ders = [block for block in blocks if block.is_crl]
    try:
        if ders:
            return [x509.load_der_x509_crl(block.der()) for block in ders]
    except ValueError as error:
        raise TLSFileError(
            where, f": the revocation list is damaged ({error})", "fetch it again"
        ) from None
    if data[:1] == b"\x30":
        return [_parse_der_crl(data, where)]
    raise TLSConfigurationError(
        f"{where} holds no revocation list (X509 CRL): {describe_content(data, blocks)}"
    )


def _parse_der_crl(data: bytes, where: str) -> x509.CertificateRevocationList:
    try:
        return x509.load_der_x509_crl(data)
    except ValueError as error:
        raise TLSConfigurationError(
            f"{where} is binary (DER), and no revocation list that can be read: name the file of"
            " the authority's revocation list (X509 CRL), or fetch it again and convert it with"
            f" `openssl crl -inform DER -in FILE -out crl.pem` ({error})"
        ) from None


def public_bytes_of(cert: x509.Certificate) -> bytes:
    """Return a certificate's public key in the form in which two are compared."""
    return public_bytes(cert.public_key())


def render_certs(certs: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as PEM."""
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in certs)


def render_crls(crls: Iterable[x509.CertificateRevocationList]) -> bytes:
    """Return revocation lists as PEM."""
    return b"".join(crl.public_bytes(serialization.Encoding.PEM) for crl in crls)


def _parse_blocks(data: bytes, where: str) -> list[PemBlock]:
    try:
        return parse_pem(data)
    except PemError as error:
        raise TLSFileError(where, f": {error.what}", error.fix) from None
