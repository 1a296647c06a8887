"""The old home of `edgeserver.audit.log`, kept for programs, with a warning."""

import warnings

from edgeserver.audit.log import AuditLog, render_audit_line

__all__ = ["AuditLog", "render_audit_line"]

warnings.warn(
    "edgeserver.auditlog has moved: import edgeserver.audit.log", DeprecationWarning, stacklevel=2
)
