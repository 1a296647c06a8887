"""The flags of `serve`, in groups: each declares its options and writes its part of the plan.

Decides which groups there are and in which order they are applied and shown. A new capability is a
new module with one `FlagGroup`, added to `GROUPS`; it must not need a change anywhere else.
"""

from edgeserver.cli.flags import application, limits, listening, process, proxies, tls
from edgeserver.cli.flags.group import FlagGroup, GroupedCommand, add_flags, apply_flags

__all__ = ["GROUPS", "FlagGroup", "GroupedCommand", "add_flags", "apply_flags"]

# TLS before listening: a bind without a scheme is https where a certificate is given.
GROUPS: tuple[FlagGroup, ...] = (
    application.GROUP,
    tls.GROUP,
    listening.GROUP,
    proxies.GROUP,
    limits.GROUP,
    process.GROUP,
)
