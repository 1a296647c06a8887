"""The flags of a trust policy, for every command that has one: `serve` and `audit`.

Decides which flags these are. What they mean together is `config/trust.py`'s.
"""

from __future__ import annotations

import click

from edgeserver.cli.options import make_option
from edgeserver.config.model import settings_of
from edgeserver.config.trust import build_policy, describe_policy, split_list

__all__ = ["TRUST_OPTIONS", "XHEADERS_OPTIONS", "build_policy", "describe_policy", "split_list"]

_XHEADERS = ("xheaders", "trusted-downstream")

TRUST_OPTIONS: tuple[click.Option, ...] = tuple(map(make_option, settings_of(taker="trust")))
"""The flags of a trust policy."""

XHEADERS_OPTIONS: tuple[click.Option, ...] = tuple(
    make_option(each) for each in settings_of(table="proxies") if each.name in _XHEADERS
)
"""The flags of Tornado's rules."""
