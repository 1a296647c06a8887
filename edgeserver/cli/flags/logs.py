"""Flags of the logs: where lines go, how they look, which there are, and what requests are called.

Decides which of them contradict each other; how lines are written is `edgeserver.logs`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.model import setting, settings_of
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import AccessRequest, LoggingRequest, ServePlan

__all__ = ["GROUP"]

_OF_ACCESS = ("access-log-format", "access-log-sample")
"""Flags that say something of the access log, and so ask for it."""


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write which logs are wanted into `plan`."""
    level, log_format = values["log_level"], values["log_format"]
    if values["log_config"] is not None and log_format is not None:
        raise ConfigurationError(
            "--log-config and --log-format contradict each other: the file says how lines look; "
            "leave --log-format out, and give --access-log-format for the access log"
        )
    plan.logging = LoggingRequest(
        format=log_format or setting("log-format").in_force,
        level=(level or setting("log-level").in_force).upper(),
        config=values["log_config"],
        is_asked=log_format is not None,
        has_level=level is not None,
    )
    _apply_access(values, plan)
    for each in settings_of(table="logs", taker="server"):
        if values[each.key] is not None:
            plan.server_options[each.parameter] = values[each.key]


def _apply_access(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write whether and how requests are logged."""
    target = values["access_log"]
    asked = [name for name in _OF_ACCESS if values[setting(name).key] is not None]
    if values["no_access_log"] and target not in (None, "off"):
        raise ConfigurationError(
            "--no-access-log and --access-log contradict each other; give one of the two"
        )
    if values["no_access_log"] or target == "off":
        for name in asked:
            off = "--no-access-log" if values["no_access_log"] else "--access-log off"
            flag = setting(name).flag
            raise ConfigurationError(f"{off} and {flag} contradict each other; give one of the two")
        return
    if target == "":
        raise ConfigurationError(
            "--access-log is empty; name a file, or write - for standard output, or off"
        )
    plan.access = AccessRequest(
        target=setting("access-log").in_force if target is None else target,
        format=values["access_log_format"] or plan.logging.format,
        sample=values["access_log_sample"] or 1.0,
        is_asked=target is not None or bool(asked),
    )


GROUP = FlagGroup(table="logs", apply=_apply)
