"""The doctor at each load: its findings in the files as warnings for log and status.

Decides which findings are worth a line at every load. It stops nothing: what must stop the start
was an error before.
"""

from __future__ import annotations

import datetime

from edgeserver.tls.certificates.material import Material
from edgeserver.tls.doctor.chain import ChainCheck, check_chain
from edgeserver.tls.doctor.files import check_mode
from edgeserver.tls.doctor.findings import Report
from edgeserver.tls.settings.options import TLSOptions

__all__ = ["find_weaknesses"]

# The rest (dates, the chain's order, CRLs, uncovered names) is judged anew with each status.
_CODES = frozenset(
    (
        "explicit-curve",
        "intermediate-missing",
        "key-readable",
        "key-usage",
        "no-san",
        "not-for-servers",
        "self-signed",
        "weak-key",
        "weak-signature",
    )
)


def find_weaknesses(material: Material, options: TLSOptions) -> tuple[str, ...]:
    """Return what is wrong with a chain and its key's file, and the fix, one sentence each."""
    report = Report()
    check_mode(options.keyfile or options.certfile, report)
    against = ChainCheck(now=datetime.datetime.now(datetime.UTC), is_server=True)
    certs = material.chain.certs
    report.extend([check_chain(certs, certs[0], options.certfile, against)])
    return tuple(
        f"{each.where}: {each.what}: {each.fix}" for each in report.findings if each.code in _CODES
    )
