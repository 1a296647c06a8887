"""Certificates, keys and CRLs read from files, checked against each other, as one value.

Decides whether files make a usable pair and says what is wrong, where, and the fix, before OpenSSL
sees them. It builds no context and keeps nothing; `contexts` does.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.chain import Chain, repair_chain
from edgeserver.tls.keys import describe_key, load_key, public_bytes, render_key
from edgeserver.tls.names import common_name, find_extension, server_names
from edgeserver.tls.options import TLSOptions
from edgeserver.tls.pem import PemBlock, describe_content, load_file, parse_pem

__all__ = [
    "Material",
    "explain_dates",
    "files_of",
    "load_material",
    "parse_certs",
    "parse_crls",
    "public_bytes_of",
    "render_certs",
]


@dataclass(frozen=True, slots=True)
class Material:
    """What a context is built from: no file is needed any more.

    Args:
        chain: The chain as it is sent, and what was repaired in it.
        pair_pem: The chain and the unencrypted key, for OpenSSL. Never shown.
        ca_pem: Authorities of client certificates, each once; None if none are asked for.
        crl_pem: Revocation lists, or None.
        digest: Changes when the content of any file changes.
        warnings: What does not stop the start but should be read, in words.
    """

    chain: Chain
    pair_pem: bytes = field(repr=False)
    ca_pem: str | None = field(default=None, repr=False)
    crl_pem: bytes | None = field(default=None, repr=False)
    digest: bytes = b""
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names and IP addresses that the certificate is for."""
        return server_names(self.chain.leaf)

    @property
    def not_after(self) -> datetime.datetime:
        """When the first certificate of the chain expires."""
        return min(cert.not_valid_after_utc for cert in self.chain.certs)


def files_of(options: TLSOptions) -> tuple[str, ...]:
    """Return the files whose change asks for a reload of this host."""
    paths = [options.certfile, options.keyfile]
    if options.client_policy.mode != "none":
        paths += [options.ca_certs, options.crl]
    return tuple(dict.fromkeys(path for path in paths if path))


def load_material(options: TLSOptions, *, now: datetime.datetime | None = None) -> Material:
    """Read and check the files of one host (the hosts below it are not looked at).

    Raises:
        TLSConfigurationError: What is wrong, in which file, and the fix.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    cert_where = f'certfile "{options.certfile}"'
    cert_data = load_file(options.certfile, "certfile")
    certs = parse_certs(cert_data, cert_where)
    own_file = options.keyfile is not None and options.keyfile != options.certfile
    key_data = load_file(options.keyfile, "keyfile") if options.keyfile and own_file else cert_data
    key_where = f'keyfile "{options.keyfile}"' if own_file else cert_where
    key = load_key(key_data, options.password, key_where, own_file=own_file)
    public = public_bytes(key.public_key())
    leaf = next((cert for cert in certs if public_bytes_of(cert) == public), None)
    if leaf is None:
        raise TLSConfigurationError(
            f"{key_where} does not belong to {cert_where}: the key "
            f"({describe_key(key.public_key())}) is not the one that the certificate "
            f'"{common_name(certs[0])}" was requested with: put the right one there'
        )
    chain = repair_chain(certs, leaf)
    warnings = explain_dates(chain.certs, cert_where, now)
    ca_pem, crl_pem, contents = _load_client_side(options, now, warnings)
    return Material(
        chain=chain,
        pair_pem=render_certs(chain.certs) + render_key(key),
        ca_pem=ca_pem,
        crl_pem=crl_pem,
        digest=_digest(cert_data, key_data, *contents),
        warnings=tuple(warnings),
    )


def parse_certs(data: bytes, where: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one, in its order.

    Raises:
        TLSConfigurationError: There is none (and what is there instead), or one is damaged.
    """
    blocks = _parse_blocks(data, where)
    found = [block for block in blocks if block.is_certificate]
    if not found:
        if any(block.is_key for block in blocks):
            raise TLSConfigurationError(
                f"{where} holds a private key, not a certificate: "
                'are "certfile" and "keyfile" the wrong way round?'
            )
        raise TLSConfigurationError(
            f"{where} holds no certificate: {describe_content(data, blocks)}"
        )
    certs = []
    for block in found:
        try:
            cert = x509.load_der_x509_certificate(block.der())
            public_bytes_of(cert)
            cert.extensions  # noqa: B018 - parsed lazily, and it is here that damage is to be found
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
            raise TLSConfigurationError(
                f"{where}: the certificate that starts on line {block.line} is damaged: "
                f"copy it again ({error})"
            ) from None
        certs.append(cert)
    return certs


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
        if data[:1] == b"\x30":
            return [x509.load_der_x509_crl(data)]
    except ValueError as error:
        raise TLSConfigurationError(
            f"{where}: the revocation list is damaged: fetch it again ({error})"
        ) from None
    raise TLSConfigurationError(
        f"{where} holds no revocation list (X509 CRL): {describe_content(data, blocks)}"
    )


def public_bytes_of(cert: x509.Certificate) -> bytes:
    """Return a certificate's public key in the form in which two are compared."""
    return public_bytes(cert.public_key())


def render_certs(certs: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as PEM."""
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in certs)


def explain_dates(
    certs: Iterable[x509.Certificate], where: str, now: datetime.datetime
) -> list[str]:
    """Say of each certificate that is expired or not yet valid that it is, and since or until."""
    said = []
    for cert in certs:
        if cert.not_valid_after_utc < now:
            said.append(
                f'{where}: the certificate "{common_name(cert)}" expired on '
                f"{cert.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, every client refuses it: renew it"
            )
        elif cert.not_valid_before_utc > now:
            said.append(
                f'{where}: the certificate "{common_name(cert)}" is not valid before '
                f"{cert.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: is this machine's clock right?"
            )
    return said


def _parse_blocks(data: bytes, where: str) -> list[PemBlock]:
    try:
        return parse_pem(data)
    except ValueError as error:
        raise TLSConfigurationError(f"{where}: {error}") from None


def _load_client_side(
    options: TLSOptions, now: datetime.datetime, warnings: list[str]
) -> tuple[str | None, bytes | None, list[bytes]]:
    """Return the authorities and the CRLs that clients are checked with, and what was read."""
    if options.ca_certs is None:
        return None, None, []
    if options.client_policy.mode == "none":
        warnings.append(
            f'"ca_certs" is set ("{options.ca_certs}"), but no client is asked for a certificate: '
            'set "client_auth" to "optional" or "required", or remove "ca_certs"'
        )
        return None, None, []
    where = f'ca_certs "{options.ca_certs}"'
    contents = [load_file(options.ca_certs, "ca_certs")]
    authorities = list(dict.fromkeys(parse_certs(contents[0], where)))
    warnings += explain_dates(authorities, where, now)
    warnings += _explain_no_authority(authorities, where)
    ca_pem = render_certs(authorities).decode("ascii")
    if options.crl is None:
        return ca_pem, None, contents
    contents.append(load_file(options.crl, "crl"))
    crls = parse_crls(contents[1], f'crl "{options.crl}"')
    warnings += _explain_crls(crls, authorities, options.crl, now)
    pem = b"".join(crl.public_bytes(serialization.Encoding.PEM) for crl in crls)
    return ca_pem, pem, contents


def _explain_no_authority(authorities: list[x509.Certificate], where: str) -> list[str]:
    """Say which certificates could sign no client's: one of a server put there by mistake."""
    said = []
    for cert in authorities:
        constraints = find_extension(cert, x509.BasicConstraints)
        if cert.version is x509.Version.v3 and (constraints is None or not constraints.ca):
            said.append(
                f'{where}: "{common_name(cert)}" is no authority (its basic constraints do not say '
                "CA): only a client that has this very certificate gets in"
            )
    return said


def _explain_crls(
    crls: list[x509.CertificateRevocationList],
    authorities: list[x509.Certificate],
    path: str,
    now: datetime.datetime,
) -> list[str]:
    """Say for which authorities OpenSSL will refuse every client for want of a current CRL."""
    said = []
    for authority in authorities:
        name = common_name(authority)
        own = [crl for crl in crls if crl.issuer == authority.subject]
        if not own:
            said.append(
                f'crl "{path}" has no revocation list of "{name}": every client certificate that '
                f'"{name}" signed itself is refused'
            )
            continue
        due = max(crl.next_update_utc or now for crl in own)
        if due < now:
            said.append(
                f'crl "{path}": the revocation list of "{name}" expired on '
                f'{due:%Y-%m-%d %H:%M} UTC: every client certificate that "{name}" signed is '
                "refused. Fetch the current one"
            )
        key = authority.public_key()
        if not any(crl.is_signature_valid(key) for crl in own):  # type: ignore[arg-type] # it signs
            said.append(
                f'crl "{path}": the revocation list of "{name}" is not signed by its key in '
                f'"ca_certs": every client certificate that "{name}" signed is refused'
            )
    return said


def _digest(*contents: bytes) -> bytes:
    total = hashlib.sha256()
    for content in contents:
        total.update(len(content).to_bytes(8, "big") + content)
    return total.digest()
