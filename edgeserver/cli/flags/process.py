"""Flags that say how many processes serve, and how they stop.

Decides how they get into the plan; `runtime/worker.py` and `supervisor.py` carry it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.model import setting
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the processes into `plan`."""
    plan.workers = setting("workers").value_in(values)
    plan.single_process = bool(values["single_process"])
    if plan.single_process:
        _refuse_what_needs_a_parent(values)
    plan.start_timeout_s = setting("start-timeout").value_in(values)
    plan.worker_timeout_s = setting("worker-timeout").value_in(values)
    plan.slow_loop_s = values["slow_loop"] or 0.0
    plan.max_requests = values["max_requests"] or 0
    plan.max_lifetime_s = values["max_lifetime"] or 0.0
    plan.max_memory = values["max_memory"] or 0
    plan.graceful_timeout_s = setting("graceful-timeout").value_in(values)
    plan.drain_idle_s = setting("drain-idle").value_in(values)
    plan.drain_delay_s = setting("drain-delay").value_in(values)
    plan.reloads = bool(values["reload"])
    plan.loop = setting("loop").value_in(values)
    plan.debug = bool(values["debug"])


def _refuse_what_needs_a_parent(values: Mapping[str, Any]) -> None:
    """Refuse what only a parent can do, where there is to be none."""
    for name in (
        "workers",
        "worker_timeout",
        "max_requests",
        "max_lifetime",
        "max_memory",
        "reload",
        "admin",
    ):
        # What may be repeated is an empty list where it was not said.
        given = values[name] is not False and values[name] not in (None, (), [])
        if given and not (name == "workers" and values[name] == 1):
            flag = setting(name.replace("_", "-")).flag
            raise ConfigurationError(
                f"--single-process and {flag} exclude each other: nobody watches the process;"
                f" drop {flag}, or --single-process"
            )


GROUP = FlagGroup(table="process", apply=_apply)
