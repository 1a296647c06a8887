"""Flags that say how far the headers of proxies are believed.

Decides only how the policy that they describe reaches the server and the start lines; the flags are
shared with `edgeserver audit explain` (`cli/trust.py`), so that both mean the same by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.trust import TRUST_OPTIONS, XHEADERS_OPTIONS, build_policy, describe_policy
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is believed of proxies into `plan`."""
    policy = build_policy(values)
    if policy is not None:
        plan.server_options["trust"] = policy
    plan.notes += describe_policy(policy)
    if values["trust_file"]:
        plan.on_reload.append(lambda server: server.set_trust(build_policy(values)))
    if values["protocol"] is not None:
        plan.server_options["protocol"] = values["protocol"]


GROUP = FlagGroup(
    title="Behind a proxy",
    options=(
        *TRUST_OPTIONS,
        *XHEADERS_OPTIONS,
        click.Option(
            ["--protocol"],
            type=click.Choice(["http", "https"]),
            help="The scheme that clients used, where no header says so.",
        ),
    ),
    apply=_apply,
)
