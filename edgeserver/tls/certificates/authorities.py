"""The authorities and revocation lists of a host: whose client certificates count.

Decides what `ca_certs` and `crl` must hold, and says before the first client comes whom OpenSSL
will refuse because of them. It verifies no client: OpenSSL does.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509

from edgeserver.tls.certificates.files import (
    parse_certs,
    parse_crls,
    render_certs,
    render_crls,
)
from edgeserver.tls.certificates.names import common_name, find_extension
from edgeserver.tls.certificates.pem import load_file
from edgeserver.tls.certificates.validity import explain_dates
from edgeserver.tls.settings.options import TLSOptions

__all__ = ["Authorities", "explain_crls", "load_authorities"]


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authorities of client certificates and their revocation lists.

    Args:
        path: Where the revocation lists came from, for messages.
        certs: The authorities, each once; empty if no client is asked.
        crls: The revocation lists; empty if none are checked.
        contents: What was read, to see later whether it changed.
        warnings: What does not stop the start but should be read, in words.
    """

    path: str = ""
    certs: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    contents: tuple[bytes, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def ca_pem(self) -> str | None:
        """The authorities as PEM, None if there are none."""
        return render_certs(self.certs).decode("ascii") if self.certs else None

    @property
    def crl_pem(self) -> bytes | None:
        """The revocation lists as PEM, None if there are none."""
        return render_crls(self.crls) if self.crls else None

    def explain_crls(self, now: datetime.datetime) -> list[str]:
        """Say whom the revocation lists, or the lack of one, shut out at `now`."""
        return explain_crls(self.crls, self.certs, self.path, now) if self.crls else []


def load_authorities(
    options: TLSOptions, now: datetime.datetime, *, is_reload: bool = False
) -> Authorities:
    """Read `ca_certs` and `crl` of one host.

    Args:
        options: The host's settings.
        now: By when dates are judged.
        is_reload: Whether a server runs that authorities which nobody is asked for must not keep
            from a new certificate; at a start a wrong file is an error even so.

    Raises:
        TLSConfigurationError: What is wrong, in which file, and the fix.
    """
    if options.ca_certs is None:
        return Authorities()
    where = f'ca_certs "{options.ca_certs}"'
    if options.client_policy.mode == "none":
        if not is_reload:
            parse_certs(load_file(options.ca_certs, "ca_certs"), where)
        return Authorities(
            warnings=(
                f'"ca_certs" is set ("{options.ca_certs}"), but no client is asked for a '
                'certificate: set "client_auth" to "optional" or "required", or remove "ca_certs"',
            )
        )
    contents = [load_file(options.ca_certs, "ca_certs")]
    certs = tuple(dict.fromkeys(parse_certs(contents[0], where)))
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    warnings = explain_dates(certs, where, now) + _explain_no_authority(certs, where)
    if options.crl is not None:
        contents.append(load_file(options.crl, "crl"))
        crls = tuple(parse_crls(contents[1], f'crl "{options.crl}"'))
    return Authorities(options.crl or "", certs, crls, tuple(contents), tuple(warnings))


def _explain_no_authority(authorities: Sequence[x509.Certificate], where: str) -> list[str]:
    """Say which certificates could sign no client's: one of a server put there by mistake."""
    said = []
    for cert in authorities:
        constraints = find_extension(cert, x509.BasicConstraints)
        if cert.version is x509.Version.v3 and (constraints is None or not constraints.ca):
            said.append(
                f'{where}: "{common_name(cert)}" is not an authority (its basic constraints do not '
                "say CA): only a client that has this very certificate gets in"
            )
    return said


def explain_crls(
    crls: Sequence[x509.CertificateRevocationList],
    authorities: Sequence[x509.Certificate],
    path: str,
    now: datetime.datetime,
) -> list[str]:
    """Say for which authorities OpenSSL will refuse every client for want of a current CRL."""
    said = []
    for authority in authorities:
        name = common_name(authority)
        refused = f'every client certificate that "{name}" signed is refused'
        if len(authorities) > 1:
            refused += "; those of other authorities are not"
        own = [crl for crl in crls if crl.issuer == authority.subject]
        if not own:
            said.append(
                f'crl "{path}" has no revocation list of "{name}": {refused}. Append the list that '
                "this authority publishes"
            )
            continue
        due = max(crl.next_update_utc or now for crl in own)
        if due < now:
            said.append(
                f'crl "{path}": the revocation list of "{name}" expired on '
                f"{due:%Y-%m-%d %H:%M} UTC: {refused}. Fetch the current one"
            )
        begins = min(crl.last_update_utc for crl in own)
        if begins > now:
            said.append(
                f'crl "{path}": the revocation list of "{name}" is not valid before '
                f"{begins:%Y-%m-%d %H:%M} UTC: {refused}. Is this machine's clock right?"
            )
        key = authority.public_key()
        if not any(crl.is_signature_valid(key) for crl in own):  # type: ignore[arg-type] # it signs
            said.append(
                f'crl "{path}": the revocation list of "{name}" is not signed by its key in '
                f'"ca_certs": {refused}. Fetch it from the authority itself'
            )
    return said
