"""The flags of `serve`, in groups: each declares its options and writes its part of the plan.

Decides which groups there are and in which order they are applied and shown. A new capability is a
new module with one `FlagGroup`, added to `GROUPS`; it must not need a change anywhere else.
"""

from edgeserver.cli.flags import (
    application,
    auditing,
    limits,
    listening,
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
    limits.GROUP,
    process.GROUP,
)
"""The groups, in the order of `--help`."""

# A bind without a scheme is https where a certificate is given, so the binds come last.
APPLY_ORDER = (*(group for group in GROUPS if group is not listening.GROUP), listening.GROUP)
