"""Flags that say how far the headers of proxies are believed, by Tornado's contract.

Decides their names and which contradict each other; what they mean is `edgeserver.proxyheaders`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.plan import ServePlan
from edgeserver.errors import ConfigurationError

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write what is believed of proxies into `plan`."""
    trusted = [
        entry.strip()
        for value in values["trusted_downstream"]
        for entry in value.split(",")
        if entry.strip()
    ]
    if trusted and not values["xheaders"]:
        raise ConfigurationError(
            "--trusted-downstream says which proxies to skip in X-Forwarded-For, which is only "
            "read with --xheaders; add --xheaders"
        )
    if values["xheaders"]:
        plan.server_options["xheaders"] = True
        plan.notes.append(
            "warning: --xheaders believes X-Real-Ip and X-Forwarded-* from whoever can connect; "
            "let only your proxy reach the listening addresses"
        )
    if trusted:
        plan.server_options["trusted_downstream"] = trusted
    if values["protocol"] is not None:
        plan.server_options["protocol"] = values["protocol"]


GROUP = FlagGroup(
    title="Behind a proxy",
    options=(
        click.Option(
            ["--xheaders"],
            is_flag=True,
            help="Take client address and scheme from X-Real-Ip, X-Forwarded-For and the like.",
        ),
        click.Option(
            ["--trusted-downstream"],
            multiple=True,
            metavar="IP|CIDR[,...]",
            help="Proxies to skip in X-Forwarded-For, from the right.",
        ),
        click.Option(
            ["--protocol"],
            type=click.Choice(["http", "https"]),
            help="The scheme that clients used, where no header says so.",
        ),
    ),
    apply=_apply,
)
