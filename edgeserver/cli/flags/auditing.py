"""Flags of the audit log: where the proof of each request's client is written.

Decides their names, and that the log is reopened on SIGHUP and flushed at the end; what a line
holds is `edgeserver.audit.log`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.options import file_flag, flag, switch
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan
from edgeserver.support.escape import escape

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the audit log, if one is wanted, into `plan`."""
    path, sample = values["audit_log"], values["audit_sample"]
    if path is None:
        for flag in ("audit_sample", "audit_findings"):
            if values[flag]:
                name = "--" + flag.replace("_", "-")
                raise ConfigurationError(f"{name} without an audit log; add --audit-log FILE")
        return
    if sample is not None and values["audit_findings"]:
        raise ConfigurationError("--audit-sample and --audit-findings exclude each other")
    from edgeserver.audit.log import AuditLog

    mode: Literal["all", "findings", "sample"] = "all"
    if sample is not None:
        mode = "sample"
    elif values["audit_findings"]:
        mode = "findings"
    try:
        # It opens the file at once, so a wrong path stops the start and not the first request.
        log = AuditLog(path, mode=mode, sample=0.01 if sample is None else sample)
    except ConfigurationError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise ConfigurationError(
            f"--audit-log {escape(path)}: {cause.strerror}; name a file that this user may write"
        ) from error
    plan.server_options["audit_log"] = log
    plan.notes.append(f"audit log: {escape(path)} ({mode})")
    plan.on_reload.append(lambda server: log.reopen())
    plan.on_reopen.append(lambda server: log.reopen())
    plan.on_stop.append(lambda server: log.close())
    plan.on_abort.append(lambda: log.flush(1.0))


GROUP = FlagGroup(
    title="Audit",
    options=(
        file_flag("--audit-log", "One JSON line for each request: who its client is, and why."),
        switch(
            "--audit-findings",
            "Only requests with findings, such as headers that contradict each other.",
        ),
        flag(
            "--audit-sample",
            "SHARE",
            "Only a share of the requests, such as 0.01.",
            type=click.FloatRange(min=0, max=1, min_open=True),
        ),
    ),
    apply=_apply,
)
