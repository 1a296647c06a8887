"""The order in which a server sends its certificates, and what was wrong with the file's.

Decides on parsed certificates alone: which one is the leaf's issuer, what is superfluous. It reads
no file, checks no date and trusts nobody: that is the client's part.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from edgeserver.tls.certificates.names import common_name

__all__ = ["CertificateChain", "is_issued_by", "is_self_signed", "repair_chain"]

_MAX_DEPTH = 10


@dataclass(frozen=True, slots=True)
class CertificateChain:
    """A chain in the order in which a server sends it.

    Args:
        certs: The leaf, then each one's issuer; no root, unless the leaf is one.
        repairs: What had to be changed in the file's order, in words; empty if nothing.
    """

    certs: tuple[x509.Certificate, ...]
    repairs: tuple[str, ...] = ()

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return self.certs[0]


def is_issued_by(cert: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether `issuer`'s name and key made `cert`."""
    if cert.issuer != issuer.subject:
        return False
    try:
        cert.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def is_self_signed(cert: x509.Certificate) -> bool:
    """Return whether a certificate is its own issuer, as roots are."""
    return is_issued_by(cert, cert)


def repair_chain(certs: list[x509.Certificate], leaf: x509.Certificate) -> CertificateChain:
    """Order the certificates of a file for sending.

    Duplicates, roots and strangers are left out; certificates of a second path (a cross-signed
    intermediate) stay behind the first path, since a client may need them.

    Args:
        certs: Those of the file, in its order.
        leaf: The one of them that belongs to the private key.

    Source: RFC 8446 section 4.4.2: the sender's certificate comes first, each following one
    SHOULD directly certify the one before, and the trust anchor MAY be omitted.
    """
    repairs: list[str] = []
    unique = list(dict.fromkeys(certs))
    if len(unique) < len(certs):
        repairs.append(_count("duplicate", len(certs) - len(unique)) + " left out")
    others = [cert for cert in unique if cert != leaf]
    path, spare = _walk(leaf, others)
    roots = [cert for cert in spare if is_self_signed(cert)]
    if roots:
        names = ", ".join(f'"{common_name(cert)}"' for cert in roots)
        repairs.append(f"root {names} left out (clients have it or do not trust it)")
    spare = [cert for cert in spare if cert not in roots]
    reachable = {leaf, *path, *spare, *roots}
    strangers = [cert for cert in others if cert not in reachable]
    if strangers:
        names = ", ".join(f'"{common_name(cert)}"' for cert in strangers)
        repairs.append(f"{names} left out (not in the path of the certificate)")
    result = (leaf, *path, *spare)
    if [cert for cert in unique if cert in result] != list(result):
        repairs.append("put into order (the server's certificate first, then each one's issuer)")
    return CertificateChain(result, tuple(repairs))


def _walk(
    leaf: x509.Certificate, others: list[x509.Certificate]
) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """Return the path above `leaf` without a root, and what else is reachable from it."""
    path: list[x509.Certificate] = []
    spare: list[x509.Certificate] = []
    left = list(others)
    at: x509.Certificate | None = leaf
    if is_self_signed(leaf):
        return path, spare
    while at is not None and len(path) < _MAX_DEPTH:
        issuers = [cert for cert in left if is_issued_by(at, cert)]
        left = [cert for cert in left if cert not in issuers]
        # A cross-signed issuer leads further than the root of the same name.
        following = [cert for cert in issuers if not is_self_signed(cert)]
        at = following[0] if following else None
        if at is not None:
            path.append(at)
        spare.extend(cert for cert in issuers if cert is not at)
    # What a spare (a second signature for the same authority) needs comes along with it.
    for cert in spare:
        if not is_self_signed(cert):
            issuers = [other for other in left if is_issued_by(cert, other)]
            left = [other for other in left if other not in issuers]
            spare.extend(issuers)
    return path, spare


def _count(word: str, number: int) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
