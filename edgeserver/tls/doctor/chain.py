"""The doctor for a chain of certificates, wherever it was found: in a file or on the wire.

Decides the findings that need the certificates alone. It opens nothing and knows no key file.
"""

from __future__ import annotations

import datetime
import functools
import ssl
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from edgeserver.support.escape import escape
from edgeserver.tls.certificates.chain import is_issued_by, is_self_signed, repair_chain
from edgeserver.tls.certificates.keys import EXPLICIT_CURVE, describe_key, has_explicit_curve
from edgeserver.tls.certificates.names import (
    alternative_names,
    common_name,
    find_extension,
    server_names,
)
from edgeserver.tls.certificates.validity import renewal_window
from edgeserver.tls.doctor.findings import Report
from edgeserver.tls.settings.hosts import covers, normalize_name

__all__ = ["ChainCheck", "check_certificate", "check_chain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainCheck:
    """What a chain is judged against.

    Args:
        now: The moment.
        names: The names that clients use; empty if that is not known.
        roots: Authorities known besides the system's.
        roots_known: Whether clients trust no others than those and the system's.
        is_server: Whether the certificate is known to be a server's, as it is on the wire and at a
            start; else one that is for clients only is no defect.
        elsewhere: Authorities that are not roots, and the file where each was found.
    """

    now: datetime.datetime
    names: tuple[str, ...] = ()
    roots: tuple[x509.Certificate, ...] = field(default=())
    roots_known: bool = False
    is_server: bool = False
    elsewhere: Mapping[x509.Certificate, str] = field(default_factory=dict)


def check_chain(
    certs: Sequence[x509.Certificate], leaf: x509.Certificate, where: str, against: ChainCheck
) -> Report:
    """Return what is wrong with a server's chain as it was found.

    Args:
        certs: All certificates, in the order found.
        leaf: The server's own.
        where: The file or endpoint.
        against: The moment, the names and the roots.
    """
    report = Report()
    days = int((leaf.not_valid_after_utc - against.now) / datetime.timedelta(days=1))
    names = server_names(leaf)
    report.subjects.append(
        f"{where}: {', '.join(names[:6]) or common_name(leaf)}; "
        f"{describe_key(leaf.public_key())}; issued by {common_name_of_issuer(leaf)}; "
        f"valid until {leaf.not_valid_after_utc:%Y-%m-%d} "
        + (f"({days} days)" if leaf.not_valid_after_utc >= against.now else "(EXPIRED)")
    )
    for cert in dict.fromkeys(certs):
        check_certificate(cert, where, against.now, report)
    _check_key_usage(leaf, where, report)
    if has_explicit_curve(leaf.public_bytes(serialization.Encoding.DER)):
        report.add("explicit-curve", where, f"its key{EXPLICIT_CURVE[0]}", EXPLICIT_CURVE[1])
    if _is_for_servers(leaf, where, report, is_server=against.is_server):
        _check_names(leaf, where, against.names, report)
    _check_order(certs, leaf, where, report)
    _check_top(certs, leaf, where, against, report)
    return report


def check_certificate(
    cert: x509.Certificate, where: str, now: datetime.datetime, report: Report
) -> None:
    """Add what is wrong with one certificate: its dates, its key, its signature."""
    name = f'the certificate "{common_name(cert)}"'
    start, end = cert.not_valid_before_utc, cert.not_valid_after_utc
    if end < now:
        report.add("expired", where, f"{name} expired on {end:%Y-%m-%d %H:%M} UTC", "renew it")
    elif start > now:
        report.add(
            "not-yet-valid",
            where,
            f"{name} is not valid before {start:%Y-%m-%d %H:%M} UTC",
            "wait, or check this machine's clock",
        )
    elif end - now < renewal_window(cert):
        report.add(
            "renew-soon",
            where,
            f"{name} expires in {(end - now).days} days, on {end:%Y-%m-%d}",
            "renew it now; if that is automatic, find out why it has not happened",
        )
    _check_strength(cert, name, where, report)


def common_name_of_issuer(cert: x509.Certificate) -> str:
    """Return what a person calls the issuer of a certificate."""
    for attribute in cert.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        return f'"{escape(attribute.value, 100)}"'
    return f'"{escape(cert.issuer.rfc4514_string(), 100)}"'


def _check_strength(cert: x509.Certificate, name: str, where: str, report: Report) -> None:
    key = cert.public_key()
    short = isinstance(key, dsa.DSAPublicKey)
    if isinstance(key, rsa.RSAPublicKey):
        short = key.key_size < 2048
    elif isinstance(key, ec.EllipticCurvePublicKey):
        short = key.curve.key_size < 256
    if short:
        report.add(
            "weak-key",
            where,
            f"{name} has a weak key ({describe_key(key)})",
            "make a new key, ECDSA P-256 or RSA 2048 and above, and request a new certificate",
        )
    if is_self_signed(cert):
        return  # the signature on a trust anchor proves nothing to anybody
    try:
        digest = cert.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    if isinstance(digest, (hashes.MD5, hashes.SHA1)):
        report.add(
            "weak-signature",
            where,
            f"{name} is signed with {digest.name.upper()}",
            "have it issued again with SHA-256",
        )


def _check_key_usage(leaf: x509.Certificate, where: str, report: Report) -> None:
    """Look for what every handshake of today needs: a signature of the certificate's key.

    Source: RFC 8446 section 4.4.2.2 and RFC 5280 section 4.2.1.3: where there is
    a keyUsage, digitalSignature must be set.
    """
    usage = find_extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        report.add(
            "key-usage",
            where,
            "its key usage does not allow digital signatures, which TLS 1.3 and forward secrecy "
            "need: browsers refuse it",
            "have it issued again with digitalSignature in its keyUsage, or without that extension",
        )


def _is_for_servers(leaf: x509.Certificate, where: str, report: Report, *, is_server: bool) -> bool:
    """Return whether a certificate's names are a server's; say so where it is not for servers."""
    usage = find_extension(leaf, x509.ExtendedKeyUsage)
    clients_too = usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH in usage
    for_servers = usage is None or bool(
        {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage)
    )
    if for_servers:
        if clients_too and not server_names(leaf) and alternative_names(leaf):
            report.notes.append(f"{where}: a client's certificate by its names, not a server's")
            return False
        return True
    if clients_too and not is_server:
        report.notes.append(
            f"{where}: this is a client's certificate, not a server's: as a server's (--host NAME) "
            "every client refuses it"
        )
        return False
    report.add(
        "not-for-servers",
        where,
        "its extended key usage does not allow server authentication"
        + (", but only clients'" if clients_too else "")
        + ": every client refuses it",
        "request a certificate for a server (extendedKeyUsage serverAuth)",
    )
    return False


def _check_names(
    leaf: x509.Certificate, where: str, wanted: tuple[str, ...], report: Report
) -> None:
    names = server_names(leaf)
    if not names:
        report.add(
            "no-san",
            where,
            f'"{common_name(leaf)}" has no subject alternative name, and clients ignore the '
            "common name (RFC 9525)",
            "have it issued with every host name as a subject alternative name",
        )
        return
    asked = [normalize_name(name) for name in wanted]
    for name in asked:
        if not covers(names, name):
            report.add(
                "name-missing",
                where,
                f'it is not for "{escape(name)}" (but for {", ".join(names[:6])})',
                "use the certificate of that name, or have it issued with it",
            )
    unused = [name for name in names if not any(covers((name,), each) for each in asked)]
    if asked and unused:
        report.add(
            "name-unused",
            where,
            f"it is for names that no host uses: {', '.join(unused[:10])}",
            "serve them too, or leave them out when the certificate is renewed",
        )


def _check_order(
    certs: Sequence[x509.Certificate], leaf: x509.Certificate, where: str, report: Report
) -> None:
    fix = "put the server's certificate first, then each one's issuer, and no root"
    for repair in repair_chain(list(certs), leaf).repairs:
        what = repair.replace(" left out", "")
        if repair.startswith("root"):
            code, what = "root-included", f"{what}: sent to every client for nothing"
        elif "duplicate" in repair:
            code, what = "chain-duplicate", f"{what} in the chain"
        elif repair.startswith("put into order"):
            code, what = "chain-order", "the certificates are not in order"
        else:
            code = "chain-stranger"
        report.add(code, where, what, f"{fix} (edgeserver itself sends them right)")


def _check_top(
    certs: Sequence[x509.Certificate],
    leaf: x509.Certificate,
    where: str,
    against: ChainCheck,
    report: Report,
) -> None:
    """Look for the issuer of the last certificate of the path."""
    if is_self_signed(leaf):
        if leaf not in against.roots:
            report.add(
                "self-signed",
                where,
                "the certificate is its own issuer: only clients that were given it accept it",
                "get one from an authority; for development `edgeserver certs dev` makes one",
            )
        return
    top = leaf
    for cert in repair_chain(list(certs), leaf).certs[1:]:
        if is_issued_by(top, cert):
            top = cert
    known = [cert for cert in (*certs, *against.roots) if is_self_signed(cert)]
    if any(is_issued_by(top, root) for root in (*against.roots, *known)):
        return
    if _is_issued_by_system_root(top):
        return
    missing = (
        f'the certificate of {common_name_of_issuer(top)}, which issued "{common_name(top)}", '
        "is missing"
    )
    url = _ca_issuers_url(top)
    for issuer, path in against.elsewhere.items():
        if is_issued_by(top, issuer):
            report.add("intermediate-missing", where, missing, f"append it: it is in {path}")
            return
    if url:
        report.add(
            "intermediate-missing",
            where,
            f"{missing} and is not a root of this system",
            f"append it: it is at {url} (or use the authority's fullchain file)",
        )
    elif against.roots_known:
        report.add(
            "intermediate-missing",
            where,
            f"{missing} and is not a root of this system or in --ca-certs",
            "append it (the authority has a fullchain file), or correct --ca-certs",
        )
    else:
        report.notes.append(
            f"{where}: clients must have {common_name_of_issuer(top)} as a root: it is in no file "
            "given here and not among this system's roots"
        )


def _ca_issuers_url(cert: x509.Certificate) -> str:
    access = find_extension(cert, x509.AuthorityInformationAccess)
    for each in access or ():
        if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS and isinstance(
            each.access_location, x509.UniformResourceIdentifier
        ):
            return escape(each.access_location.value)
    return ""


@functools.cache
def _system_roots() -> dict[x509.Name, list[x509.Certificate]]:
    """Return the roots that this system trusts, by subject; those that cannot be parsed not."""
    roots: dict[x509.Name, list[x509.Certificate]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oddities in old roots, which nobody here can change
        for der in ssl.create_default_context().get_ca_certs(binary_form=True):
            try:
                cert = x509.load_der_x509_certificate(der)
                roots.setdefault(cert.subject, []).append(cert)
            except ValueError:
                continue
    return roots


def _is_issued_by_system_root(cert: x509.Certificate) -> bool:
    return any(is_issued_by(cert, root) for root in _system_roots().get(cert.issuer, ()))
