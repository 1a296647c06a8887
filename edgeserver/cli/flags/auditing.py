"""Flags of the audit log: where the proof of each request's client is written.

Decides which of them contradict each other; what a line holds is `edgeserver.audit.log`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.model import setting
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import AuditRequest, ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write which audit log is wanted, if any, into `plan`."""
    path, sample = values["audit_log"], values["audit_sample"]
    if path is None:
        for name in ("audit-sample", "audit-findings"):
            if values[setting(name).key]:
                raise ConfigurationError(
                    f"{setting(name).flag} without an audit log; add --audit-log FILE"
                )
        return
    if sample is not None and values["audit_findings"]:
        raise ConfigurationError(
            "--audit-sample and --audit-findings exclude each other; give one of the two"
        )
    if sample is not None:
        plan.audit = AuditRequest(path=path, mode="sample", sample=sample)
    else:
        plan.audit = AuditRequest(path=path, mode="findings" if values["audit_findings"] else "all")


GROUP = FlagGroup(table="audit", apply=_apply)
