"""Flags of the limits: one for each limit of the server's constructor.

Decides only that they become its arguments; the limits themselves are the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.model import settings_of
from edgeserver.config.rate import parse_rate
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the limits that were given, and `serve`'s own defaults, into `plan`."""
    for each in settings_of(table="limits"):
        value = each.serve_default if values[each.key] is None else values[each.key]
        if value is not None:
            if each.kind == "rate":
                parse_rate(each.flag, value)
            plan.server_options[each.parameter] = value


GROUP = FlagGroup(table="limits", apply=_apply)
