"""Flags of the admin listener: where operators are answered.

Decides what may be said together; the grammar of an address is `config/admin.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.admin import parse_admin
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write where operators are answered into `plan`."""
    token_file = values["admin_token_file"]
    plan.admin = [parse_admin(text, has_token=token_file is not None) for text in values["admin"]]
    plan.admin_token_file = token_file
    if token_file is not None and all(bind.path is not None for bind in plan.admin):
        raise ConfigurationError(
            "--admin-token-file is for addresses; add --admin HOST:PORT, or leave the file out: the"
            " rights of a Unix socket say who may connect"
        )


GROUP = FlagGroup(table="admin", apply=_apply)
