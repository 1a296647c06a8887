"""The files of one host, read once and checked against each other, as one value.

Decides whether files make a usable pair and says what is wrong, where, and the fix, before OpenSSL
sees them. It builds no context and keeps nothing; `contexts` does.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, field

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.certificates.authorities import Authorities, load_authorities
from edgeserver.tls.certificates.chain import Chain, repair_chain
from edgeserver.tls.certificates.files import (
    parse_certs,
    public_bytes_of,
    render_certs,
)
from edgeserver.tls.certificates.keys import describe_key, load_key, public_bytes, render_key
from edgeserver.tls.certificates.names import common_name, server_names
from edgeserver.tls.certificates.pem import load_file
from edgeserver.tls.certificates.validity import explain_dates
from edgeserver.tls.settings.options import TLSOptions

__all__ = [
    "Material",
    "files_of",
    "load_material",
]


@dataclass(frozen=True, slots=True)
class Material:
    """What a context is built from: no file is needed any more.

    Args:
        chain: The chain as it is sent, and what was repaired in it.
        pair_pem: The chain and the unencrypted key, for OpenSSL. Never shown.
        authorities: What client certificates are checked with.
        digest: Changes when the content of any file changes.
        certfile: Where the chain came from, for messages.
    """

    chain: Chain
    pair_pem: bytes = field(repr=False)
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
    public = public_bytes(key.public_key())
    leaf = next((cert for cert in certs if public_bytes_of(cert) == public), None)
    if leaf is None:
        raise TLSConfigurationError(
            f"{key_where} does not belong to {cert_where}: the key "
            f"({describe_key(key.public_key())}) is not the one that the certificate "
            f'"{common_name(certs[0])}" was requested with: put the right one there'
        )
    chain = repair_chain(certs, leaf)
    authorities = load_authorities(options, now, is_reload=is_reload)
    return Material(
        chain=chain,
        pair_pem=render_certs(chain.certs) + render_key(key),
        authorities=authorities,
        certfile=options.certfile,
        digest=_digest(cert_data, key_data, *authorities.contents),
    )


def _digest(*contents: bytes) -> bytes:
    total = hashlib.sha256()
    for content in contents:
        total.update(len(content).to_bytes(8, "big") + content)
    return total.digest()
