"""What the start says of TLS: what is served, and what the doctor finds in the same files.

Decides which findings are worth a line at every start. It stops nothing: what must stop the start
was an error before.
"""

from __future__ import annotations

from edgeserver.tls.checkfiles import check_files
from edgeserver.tls.material import files_of
from edgeserver.tls.selector import TLSContexts
from edgeserver.tls.status import status_lines

__all__ = ["start_lines"]

# The rest (dates, the chain's order, CRLs, uncovered names) is said by the status already.
_CODES = frozenset(
    (
        "intermediate-missing",
        "key-readable",
        "no-san",
        "not-for-servers",
        "self-signed",
        "weak-key",
        "weak-signature",
    )
)


def start_lines(contexts: TLSContexts) -> list[str]:
    """Return what is served, one line a host, and warnings, each starting with `warning:`."""
    lines = status_lines(contexts.status())
    for options in contexts.options.values():
        report = check_files(files_of(options), password=options.password)
        lines += [
            f"warning: {each.where}: {each.what}; {each.fix}"
            for each in report.findings
            if each.code in _CODES
        ]
    return list(dict.fromkeys(lines))
