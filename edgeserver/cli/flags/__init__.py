"""The flags of `serve`, in groups: each is a table of settings, and writes its part of the plan.

Decides the order in which groups are applied and shown. A flag is an entry of `config/model.py`;
what is special about one, a contradiction or how it gets into the plan, is its group's. Reading
flags has no side effects: what they name is opened and built by `runtime/prepare.py`.
"""

from edgeserver.cli.flags import (
    admin,
    application,
    auditing,
    limits,
    listening,
    logs,
    process,
    proxies,
    tls,
)
from edgeserver.cli.flags.group import FlagGroup, GroupedCommand, add_flags, apply_flags

__all__ = ["APPLY_ORDER", "GROUPS", "FlagGroup", "GroupedCommand", "add_flags", "apply_flags"]

GROUPS: tuple[FlagGroup, ...] = (
    application.GROUP,
    listening.GROUP,
    tls.GROUP,
    proxies.GROUP,
    auditing.GROUP,
    admin.GROUP,
    limits.GROUP,
    logs.GROUP,
    process.GROUP,
)
"""The groups, in the order of `--help`."""

# A bind without a scheme is https where a certificate is given, so the binds come last.
APPLY_ORDER = (*(group for group in GROUPS if group is not listening.GROUP), listening.GROUP)
