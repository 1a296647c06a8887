"""What changed between versions of products: a dated table of defaults.

Decides which behaviour a version has. A product without a version is taken for a recent one.
"""

from __future__ import annotations

import re

from edgeserver.chains.model import Where
from edgeserver.chains.readers.base import refuse
from edgeserver.support.escape import escape

__all__ = ["CHANGES", "has"]

CHANGES: dict[str, tuple[str, tuple[int, int], str]] = {
    "nginx-joined-lines": (
        "nginx",
        (1, 23),
        "2022-06: $http_name holds all lines of a field, not the first alone",
    ),
    "caddy-distrusts": (
        "caddy",
        (2, 5),
        "2022-04: X-Forwarded-* of a peer that is not trusted is replaced, not kept",
    ),
    "haproxy-forwarded": ("haproxy", (2, 8), "2023-05: option forwarded"),
    "ingress-nginx-own-field": (
        "ingress-nginx",
        (1, 13),
        "2025-07: with use-forwarded-headers and use-proxy-protocol the client is read from a field"
        " of the controller's own",
    ),
}
"""Each change: the product, the first version that has it, and what it is, with its date."""

_VERSION = re.compile(r"v?(\d{1,4})(?:\.(\d{1,4}))?")


def has(change: str, version: str) -> bool:
    """Return whether a version has a change; without a version, yes.

    Args:
        change: A key of `CHANGES`.
        version: As the product writes it, such as `1.22.1`.

    Raises:
        ReadingError: It is no version.
    """
    if not version:
        return True
    found = _VERSION.match(version)
    if found is None:
        refuse(Where("--product-version"), f"{escape(version, 40)!r} is no version; write 1.22")
    return (int(found[1]), int(found[2] or 0)) >= CHANGES[change][1]
