"""Flags that say where the application is and what kind it has.

Decides how they get into the plan; finding and wrapping the application is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.options import spell_flag
from edgeserver.config.model import setting, settings_of
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is said of the application into `plan`."""
    plan.app_dir = setting("app-dir").value_in(values)
    plan.interface = setting("interface").value_in(values)
    plan.factory = bool(values["factory"])
    plan.adapter_options.update(
        {
            each.parameter: values[each.key]
            for each in settings_of(taker="adapter")
            if values[each.key] is not None
        }
    )
    plan.spell_option = lambda name: spell_flag(name, values.get(name))


GROUP = FlagGroup(table="application", apply=_apply)
