"""The configured host that a name belongs to: exact, one-label wildcard, or the default.

Decides on names alone. It knows no certificate, no context and nothing of HTTP, but for how the
value of a `Host` field splits into name and port.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from edgeserver.errors import TLSConfigurationError

__all__ = [
    "DEFAULT_HOST",
    "covers",
    "find_host",
    "name_of_authority",
    "normalize_name",
    "parse_host_name",
]

DEFAULT_HOST = ""
"""The name under which the default certificate stands."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


def normalize_name(name: str) -> str:
    """Return a name that a client sent in the form of the table: lower case, no trailing dot.

    Source: RFC 6066 section 3 ("without a trailing dot"), RFC 4343 (case does not matter).
    """
    return name.lower().removesuffix(".")


def parse_host_name(written: object) -> str:
    """Check a configured host name and return it in the form of the table.

    Args:
        written: `www.example.com` or, for any one label in front, `*.example.com`.

    Raises:
        TLSConfigurationError: It is not a host name; an IP address (RFC 6066 section 3: never sent
            as a server name); or has characters beyond ASCII (the message gives the A-label).
    """
    if not isinstance(written, str) or not written:
        raise TLSConfigurationError(f'"hosts" holds {written!r}: a host name is a non-empty string')
    if not written.isascii():
        raise TLSConfigurationError(
            f'"hosts" holds {written!r}: write the name as clients send it, '
            f"in A-labels{_hint(written)}"
        )
    name = normalize_name(written)
    bare = name.removeprefix("*.")
    try:
        ipaddress.ip_address(bare.strip("[]"))
    except ValueError:
        pass
    else:
        raise TLSConfigurationError(
            f'"hosts" holds "{written}": clients never send an IP address as the server name '
            "(RFC 6066 section 3); put the address into the default certificate"
        )
    if "*" in bare:
        raise TLSConfigurationError(
            f'"hosts" holds "{written}": a wildcard is the whole first label, as in "*.example.com"'
        )
    if len(bare) > 253 or not all(_LABEL.fullmatch(label) for label in bare.split(".")):
        raise TLSConfigurationError(
            f'"hosts" holds "{written}", which is not a host name: '
            "give it without scheme, port or path"
        )
    return name


def _hint(written: str) -> str:
    try:
        return f': "{written.lower().encode("idna").decode("ascii")}"'
    except UnicodeError:
        return ' ("xn--...")'


def find_host(hosts: Collection[str], name: str) -> str | None:
    """Return the host of `hosts` that `name` belongs to, or None for the default.

    Args:
        hosts: Configured names as `parse_host_name` gave them, in a set or dict.
        name: A name as `normalize_name` gave it.

    Source: RFC 9525 section 6.3: a wildcard stands for exactly the left-most label.
    """
    if name in hosts:
        return name
    dot = name.find(".")
    if dot > 0:
        wildcard = "*" + name[dot:]
        if wildcard in hosts:
            return wildcard
    return None


def name_of_authority(authority: str) -> str:
    """Return the name in a `Host` field's value: no port, lower case, no trailing dot.

    Source: RFC 9110 section 7.2, `Host = uri-host [ ":" port ]`.
    """
    if authority.startswith("["):
        return authority[: authority.find("]") + 1].lower()
    return normalize_name(authority.partition(":")[0])


def covers(names: Collection[str], name: str) -> bool:
    """Return whether a certificate for `names` (lower case) is one for the host `name`."""
    return find_host(names, name) is not None
