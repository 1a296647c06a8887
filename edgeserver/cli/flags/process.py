"""Flags that say how many processes serve, how they stop, and what they log.

Decides how they get into the plan; `runtime/worker.py` and `supervisor.py` carry it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the processes into `plan`."""
    plan.workers = values["workers"]
    plan.graceful_timeout_s = values["graceful_timeout"]
    plan.access_log_format = values["access_log_format"] if values["access_log"] else None
    plan.debug = values["debug"]


GROUP = FlagGroup(table="process", apply=_apply)
