"""The doctor: what is wrong with files and endpoints, the fix for it, and a grade.

Decides only which of its parts looks at what. It prints nothing: the command does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from edgeserver.tls.doctor.endpoint import check_endpoint, parse_endpoint
from edgeserver.tls.doctor.files import check_files
from edgeserver.tls.doctor.findings import Defect, Report
from edgeserver.tls.settings.values import Password

__all__ = ["Defect", "Report", "check_endpoint", "check_files", "check_targets"]


def check_targets(
    targets: Sequence[str],
    *,
    names: Sequence[str] = (),
    ca_certs: str | None = None,
    password: Password | None = None,
    timeout_s: float = 5.0,
) -> Report:
    """Return what is wrong with files (looked at together) and endpoints (one by one).

    Args:
        targets: Paths of files, or HOST:PORT where no such file exists.
        names: The names that clients use.
        ca_certs: A PEM file of roots to trust besides the system's.
        password: What decrypts private keys.
        timeout_s: Seconds for each connection.

    Raises:
        TLSConfigurationError: A target is neither, or `ca_certs` cannot be used.
    """
    files = [target for target in targets if os.path.exists(target)]
    endpoints = [parse_endpoint(target) for target in targets if target not in files]
    report = Report()
    if files:
        report.extend([check_files(files, names=names, password=password, ca_certs=ca_certs)])
    for endpoint in endpoints:
        report.extend(
            [check_endpoint(endpoint, names=names, ca_certs=ca_certs, timeout_s=timeout_s)]
        )
    return report
