"""Flags of the audit: where each client's proof is written, and where probes are answered.

Decides which of them contradict each other; what a line holds is `edgeserver.audit.log`'s, what
an answer, `edgeserver.audit.echo`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.model import setting
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import AuditRequest, EchoRequest, ServePlan
from edgeserver.support.escape import escape

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write which audit log and which echo are wanted, if any, into `plan`."""
    plan.echo = _echo(values["audit_echo"], values["audit_token_file"])
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


def _echo(path: str | None, token_file: str | None) -> EchoRequest | None:
    """Return the echo that is wanted.

    Raises:
        ConfigurationError: One of the two flags is missing, or the path is none.
    """
    if path is None and token_file is None:
        return None
    if path is None or token_file is None:
        raise ConfigurationError(
            "--audit-echo says where probes are answered and --audit-token-file with which "
            "secret; give both"
        )
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or (
        set(path) & set(" ?#%")
    ):  # fmt: skip
        raise ConfigurationError(
            f"--audit-echo {escape(path)}: not a path; write /.well-known/edgeserver-audit, say"
        )
    return EchoRequest(path=path, token_file=token_file)


GROUP = FlagGroup(table="audit", apply=_apply)
