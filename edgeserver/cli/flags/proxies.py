"""Flags that say how far the headers of proxies are believed.

Decides only how what they say gets into the plan. They are shared with `edgeserver audit explain`
(`cli/trust.py`), and both make the same policy of them (`config/trust.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.model import settings_of
from edgeserver.config.trust import check_trust
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is believed of proxies into `plan`."""
    plan.trust = {each.key: values[each.key] for each in settings_of(table="proxies")}
    check_trust(plan.trust)
    if values["protocol"] is not None:
        plan.server_options["protocol"] = values["protocol"]


GROUP = FlagGroup(table="proxies", apply=_apply)
