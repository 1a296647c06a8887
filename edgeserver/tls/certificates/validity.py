"""The dates of certificates: which are refused for them, and when one should be renewed.

Decides on dates alone; the moment is given. It opens no file.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from cryptography import x509

from edgeserver.tls.certificates.names import common_name

__all__ = ["explain_dates", "renew_after", "renewal_window"]


def renewal_window(cert: x509.Certificate) -> datetime.timedelta:
    """Return how long before its expiry a certificate should have been renewed.

    A third of its lifetime, as automatic clients do, but never more than 30 days: a certificate of
    some years has not become urgent a year before its end.
    """
    lifetime = cert.not_valid_after_utc - cert.not_valid_before_utc
    return min(lifetime / 3, datetime.timedelta(days=30))


def renew_after(chain: Iterable[x509.Certificate]) -> datetime.datetime:
    """Return from when on a chain should have been renewed: its first certificate to expire."""
    first = min(chain, key=lambda cert: cert.not_valid_after_utc)
    return first.not_valid_after_utc - renewal_window(first)


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
