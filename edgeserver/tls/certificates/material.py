"""The files of one host, read once and checked against each other, as one value.

Decides whether files make a usable pair and says what is wrong, where, and the fix, before OpenSSL
sees them. It builds no context and keeps nothing; `contexts` does.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.x509.oid import PublicKeyAlgorithmOID

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.certificates.authorities import Authorities, load_authorities
from edgeserver.tls.certificates.chain import CertificateChain, repair_chain
from edgeserver.tls.certificates.files import (
    parse_certs,
    public_bytes_of,
    render_certs,
)
from edgeserver.tls.certificates.keys import (
    LoadedKey,
    describe_key,
    load_key,
    public_bytes,
    render_key,
)
from edgeserver.tls.certificates.names import common_name, server_names
from edgeserver.tls.certificates.pem import load_file
from edgeserver.tls.certificates.validity import explain_dates
from edgeserver.tls.settings.options import TLSOptions

__all__ = [
    "Material",
    "files_of",
    "load_material",
    "pair_material",
]


@dataclass(frozen=True, slots=True)
class Material:
    """What a context is built from: no file is needed any more.

    Args:
        chain: The chain as it is sent, and what was repaired in it.
        pair_pem: The chain and the key, for OpenSSL. Never shown.
        password: What decrypts the key in `pair_pem`; None if it is not encrypted. Never shown.
        authorities: What client certificates are checked with.
        digest: Changes when the content of any file changes.
        certfile: Where the chain came from, for messages.
    """

    chain: CertificateChain
    pair_pem: bytes = field(repr=False)
    password: bytes | None = field(default=None, repr=False, kw_only=True)
    authorities: Authorities = field(default_factory=Authorities)
    digest: bytes = b""
    certfile: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names and IP addresses that the certificate is for."""
        return server_names(self.chain.leaf)

    @property
    def not_after(self) -> datetime.datetime:
        """When the first certificate of the chain expires."""
        return min(cert.not_valid_after_utc for cert in self.chain.certs)

    def explain_dates(self, now: datetime.datetime) -> list[str]:
        """Say which certificates of the chain clients refuse at `now` for their dates."""
        return explain_dates(self.chain.certs, f'certfile "{self.certfile}"', now)

    def warnings(self, now: datetime.datetime | None = None) -> list[str]:
        """Say what stops nothing but should be read: of the dates, the authorities, the CRLs."""
        now = now or datetime.datetime.now(datetime.UTC)
        return [
            *self.explain_dates(now),
            *self.authorities.warnings,
            *self.authorities.explain_crls(now),
        ]


def files_of(options: TLSOptions) -> tuple[str, ...]:
    """Return the files whose change asks for a reload of this host."""
    paths = [options.certfile, options.keyfile]
    if options.client_policy.mode != "none":
        paths += [options.ca_certs, options.crl]
    return tuple(dict.fromkeys(path for path in paths if path))


def load_material(
    options: TLSOptions, *, now: datetime.datetime | None = None, is_reload: bool = False
) -> Material:
    """Read and check the files of one host (the hosts below it are not looked at).

    Args:
        options: The host's settings.
        now: By when dates are judged; the present if None.
        is_reload: Whether the files are to take the place of others that are in use.

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
    public = public_bytes(key.key.public_key())
    leaf = next((cert for cert in certs if public_bytes_of(cert) == public), None)
    if leaf is None:
        raise TLSConfigurationError(
            f"{key_where} does not belong to {cert_where}: the key "
            f"({describe_key(key.key.public_key())}) is not the one that the certificate "
            f'"{common_name(certs[0])}" was requested with: put the right one there'
        )
    authorities = load_authorities(options, now, is_reload=is_reload)
    return replace(
        pair_material(certs, leaf, key, options.certfile),
        authorities=authorities,
        digest=_digest(cert_data, key_data, *authorities.contents),
    )


def pair_material(
    certs: list[x509.Certificate], leaf: x509.Certificate, key: LoadedKey, certfile: str
) -> Material:
    """Return the material of a server's pair alone.

    The key stays as it stands in the file: one of RSA-PSS would be plain RSA when it is written
    anew, and its certificate another one's. A key that is encrypted is written anew even so, unless
    it is of RSA-PSS: old ways of encrypting are OpenSSL's no more, but `cryptography`'s still.

    Args:
        certs: The certificates of the file, in its order.
        leaf: The one that belongs to the key.
        key: The key.
        certfile: Where the certificates are from.
    """
    chain = repair_chain(certs, leaf)
    pem, password = key.pem, key.password
    # Below version 43 `cryptography` does not say which kind of key a certificate has.
    kind = getattr(leaf, "public_key_algorithm_oid", None)
    if password is not None and kind != PublicKeyAlgorithmOID.RSASSA_PSS:
        pem, password = render_key(key.key), None
    pair_pem = render_certs(chain.certs) + pem
    return Material(chain=chain, pair_pem=pair_pem, password=password, certfile=certfile)


def _digest(*contents: bytes) -> bytes:
    total = hashlib.sha256()
    for content in contents:
        total.update(len(content).to_bytes(8, "big") + content)
    return total.digest()
