"""The doctor for files: certificates, keys and revocation lists, and how they fit together.

Decides what each file is from its content, so that they may be given in any order. It changes no
file, and says nothing of a key but its kind.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from edgeserver.errors import TLSConfigurationError
from edgeserver.support.escape import escape
from edgeserver.tls.certificates.chain import is_self_signed
from edgeserver.tls.certificates.files import parse_certs, parse_crls, public_bytes_of
from edgeserver.tls.certificates.keys import LoadedKey, describe_key, load_key, public_bytes
from edgeserver.tls.certificates.material import pair_material
from edgeserver.tls.certificates.names import common_name, find_extension, render_name
from edgeserver.tls.certificates.pem import (
    PemError,
    TLSFileError,
    describe_content,
    load_file,
    parse_pem,
)
from edgeserver.tls.contexts.build import build_context
from edgeserver.tls.doctor.chain import ChainCheck, check_certificate, check_chain
from edgeserver.tls.doctor.findings import Report
from edgeserver.tls.settings.options import TLSOptions
from edgeserver.tls.settings.values import Password

__all__ = ["check_files", "check_mode"]


@dataclass(slots=True)
class _Content:
    """What was found in one file."""

    path: str
    certs: list[x509.Certificate] = field(default_factory=list)
    crls: list[x509.CertificateRevocationList] = field(default_factory=list)
    key: LoadedKey | None = None
    locked: bool = False


def check_files(
    paths: Iterable[str],
    *,
    names: Sequence[str] = (),
    password: Password | None = None,
    ca_certs: str | None = None,
    now: datetime.datetime | None = None,
) -> Report:
    """Return what is wrong with these files, each alone and all together.

    Args:
        paths: PEM files of certificates, keys, authorities and revocation lists.
        names: The host names that clients use; empty if that is not known.
        password: What decrypts the keys.
        ca_certs: A PEM file of the roots that clients trust besides the system's; None if it is
            not known which those are.
        now: The moment to judge by.

    Raises:
        TLSConfigurationError: `ca_certs` cannot be used.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    report = Report()
    trusted: tuple[x509.Certificate, ...] = ()
    if ca_certs is not None:
        trusted = tuple(parse_certs(load_file(ca_certs, "ca_certs"), f'ca_certs "{ca_certs}"'))
        paths = [*paths, ca_certs]
    contents = [_read(path, password, report) for path in dict.fromkeys(paths)]
    keys = {
        public_bytes(each.key.key.public_key()): each for each in contents if each.key is not None
    }
    roots = tuple(cert for each in contents if _is_authorities(each, keys) for cert in each.certs)
    against = ChainCheck(
        now=now,
        names=tuple(names),
        roots=(*(cert for cert in roots if is_self_signed(cert)), *trusted),
        roots_known=ca_certs is not None,
        is_server=bool(names),
        elsewhere={
            cert: each.path
            for each in contents
            for cert in each.certs
            if cert in roots and cert not in trusted and not is_self_signed(cert)
        },
    )
    leaves: set[bytes] = set()
    authorities: set[bytes] = set()
    for each in contents:
        if _is_authorities(each, keys):
            _check_authorities(each, now, report)
            authorities.update(public_bytes_of(cert) for cert in each.certs)
        elif each.certs:
            leaf = _find_leaf(each.certs, keys)
            leaves.add(public_bytes_of(leaf))
            found = check_chain(each.certs, leaf, each.path, against)
            _check_service(each, leaf, keys, found)
            report.extend([found])
        _check_crls(each, roots, now, report)
    _note_lists_missing(contents, roots, report)
    _check_pairs(contents, keys, leaves, authorities, report)
    return report


def _read(path: str, password: Password | None, report: Report) -> _Content:
    content = _Content(path)
    try:
        data = load_file(path, "file")
        blocks = parse_pem(data)
    except TLSFileError as error:
        report.add("unreadable", path, error.what, error.fix or "name a file that can be read")
        return content
    except PemError as error:
        report.add("damaged", path, error.what, error.fix)
        return content
    try:
        if any(block.is_certificate for block in blocks):
            content.certs = parse_certs(data, "file")
        if any(block.is_crl for block in blocks):
            content.crls = parse_crls(data, "file")
    except TLSFileError as error:
        report.add("damaged", path, error.what, error.fix or "copy or fetch the file again")
    if not blocks and data[:1] == b"\x30":
        # DER: a revocation list is used as it is, everything else has to be converted
        with contextlib.suppress(TLSConfigurationError):
            content.crls = parse_crls(data, "file")
    if any(block.is_key for block in blocks):
        check_mode(path, report)
        _read_key(content, data, password, report)
    if not blocks and not content.crls:
        what = f"it holds nothing to check: {describe_content(data, blocks)}"
        report.add("unreadable", path, what, "name a PEM file of certificates, keys or CRLs")
    return content


def _read_key(content: _Content, data: bytes, password: Password | None, report: Report) -> None:
    try:
        content.key = load_key(data, password, "file", own_file=True)
    except TLSFileError as error:
        if "needs a password" in error.what:
            content.locked = True
            report.notes.append(f"{content.path}: an encrypted key, not checked without password")
        else:
            report.add("damaged", content.path, error.what, error.fix or "use a key of TLS")
    else:
        report.subjects.append(
            f"{content.path}: private key, {describe_key(content.key.key.public_key())}"
        )


def check_mode(path: str, report: Report) -> None:
    """Add whether others can reach the private key in the file `path`."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:  # gone since it was read
        return
    if mode & 0o027:  # others may do anything, or the group may write
        report.add(
            "key-readable",
            path,
            f"users that should not can reach this private key (mode {mode:04o})",
            f"chmod 600 {path} (or 640 with a group of its own)",
        )
    elif mode & 0o040:
        report.notes.append(f"{path}: the group of this private key may read it (mode {mode:04o})")


def _is_authority(cert: x509.Certificate) -> bool:
    constraints = find_extension(cert, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _is_authorities(content: _Content, keys: dict[bytes, _Content]) -> bool:
    """Return whether a file has authorities only, none of them a server's own certificate.

    `openssl req -x509` makes a server's certificate that calls itself an authority: that is one
    whose key is at hand, and which does not say that it signs certificates.
    """
    return bool(content.certs) and all(
        _is_authority(cert) and (public_bytes_of(cert) not in keys or _signs_others(cert))
        for cert in content.certs
    )


def _signs_others(cert: x509.Certificate) -> bool:
    usage = find_extension(cert, x509.KeyUsage)
    return usage is not None and usage.key_cert_sign


def _find_leaf(certs: list[x509.Certificate], keys: dict[bytes, _Content]) -> x509.Certificate:
    with_key = [cert for cert in certs if public_bytes_of(cert) in keys]
    own = [cert for cert in certs if not _is_authority(cert)]
    return (with_key or own or certs)[0]


def _check_authorities(content: _Content, now: datetime.datetime, report: Report) -> None:
    for cert in dict.fromkeys(content.certs):
        report.subjects.append(
            f'{content.path}: authority "{common_name(cert)}"; '
            f"{describe_key(cert.public_key())}; valid until {cert.not_valid_after_utc:%Y-%m-%d}"
        )
        check_certificate(cert, content.path, now, report)


def _check_crls(
    content: _Content,
    authorities: tuple[x509.Certificate, ...],
    now: datetime.datetime,
    report: Report,
) -> None:
    for crl in content.crls:
        due = crl.next_update_utc
        until = f"{due:%Y-%m-%d}" if due else "never replaced"
        report.subjects.append(
            f"{content.path}: revocation list, {len(crl)} revoked, valid until {until}"
        )
        if due is not None and due < now:
            report.add(
                "crl-expired",
                content.path,
                f"the revocation list of {_issuer_of(crl)} expired on {due:%Y-%m-%d %H:%M} UTC: "
                "where it is checked every client of that authority is refused",
                "fetch the current one from the authority, and do so before each next update",
            )
        issuers = [cert for cert in authorities if cert.subject == crl.issuer]
        if not issuers:
            if authorities:
                report.notes.append(f"{content.path}: its issuer is none of the authorities given")
        elif not any(_is_signed_by(crl, cert) for cert in issuers):
            report.add(
                "crl-forged",
                content.path,
                "the revocation list is not signed by the authority of its name",
                "fetch it from the authority itself",
            )


def _issuer_of(crl: x509.CertificateRevocationList) -> str:
    for attribute in crl.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        return f'"{escape(attribute.value, 100)}"'
    return f'"{render_name(crl.issuer)}"'


def _note_lists_missing(
    contents: list[_Content], authorities: tuple[x509.Certificate, ...], report: Report
) -> None:
    """Note which authorities have no list where others have: whom a server would refuse."""
    listed = {crl.issuer for each in contents for crl in each.crls}
    with_list = [cert for cert in authorities if cert.subject in listed]
    if not with_list:
        return
    for cert in dict.fromkeys(authorities):
        if cert.subject not in listed:
            report.notes.append(
                f'no revocation list of "{common_name(cert)}" is given: where "crl" is set, every '
                "client certificate that it signed is refused; those of the others are not"
            )


def _is_signed_by(crl: x509.CertificateRevocationList, cert: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(cert.public_key())  # type: ignore[arg-type] # caught below
    except TypeError:  # a kind of key that signs nothing
        return False


def _check_service(
    content: _Content, leaf: x509.Certificate, keys: dict[bytes, _Content], report: Report
) -> None:
    """Add what would stop a server from starting with a pair: the judge is the same."""
    holder = keys.get(public_bytes_of(leaf))
    if holder is None or holder.key is None or report.grade == "F":
        return  # what is found already is why, and says more
    options = TLSOptions(certfile=content.path, keyfile=holder.path)
    try:
        build_context(pair_material(content.certs, leaf, holder.key, content.path), options)
    except TLSFileError as error:
        report.add("unusable", content.path, error.what, error.fix or "see the server's log")


def _check_pairs(
    contents: list[_Content],
    keys: dict[bytes, _Content],
    leaves: set[bytes],
    authorities: set[bytes],
    report: Report,
) -> None:
    for public, content in keys.items():
        if leaves and public not in leaves | authorities:
            report.add(
                "key-mismatch",
                content.path,
                "the private key belongs to none of the certificates given",
                "use the key that the certificate was requested with",
            )
    if any(each.locked for each in contents):
        return
    if not keys and leaves:
        report.notes.append("no private key was given: whether it fits was not checked")
    elif keys and not any(each.certs for each in contents):
        report.notes.append("no certificate was given: whether the key fits was not checked")
