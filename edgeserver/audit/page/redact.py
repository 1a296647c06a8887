"""Redaction: addresses of clients become their networks, /24 and /48, in every text of a report.

Decides what in a text is an address, and which ones stay: those that the report's own policy lists
and its proxies have. What might be one is cut, too: half an address says much.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from edgeserver.audit.page.values import objects_of, text_of, texts_of

__all__ = ["redact"]

_V4_BITS: Final = 24
_V6_BITS: Final = 48

_RUN = re.compile(
    r"(?:[0-9A-Fa-f]|:|%3[Aa])*:(?:[0-9A-Fa-f.]|:|%3[Aa])*(?:/\d{1,3}(?!\d))?"
    r"|[0-9A-Fa-f]*%3[Aa](?:[0-9A-Fa-f.:]|%3[Aa])*"
    r"|\d+(?:\.\d+){3,}(?:/\d{1,2}(?!\d))?"
)
"""Whatever may hold an address: hexadecimal digits with colons, or four decimal numbers."""

_V4 = re.compile(r"(?<!\d)(\d{1,3}(?:\.\d{1,3}){3})(?:/(\d{1,2}))?(?![\d.])")
_GROUPS = re.compile(r"(?:[0-9A-Fa-f]{1,4}:){3,}[0-9A-Fa-f]{0,4}|[0-9A-Fa-f:]*::[0-9A-Fa-f:]*")


def redact(value: dict[str, Any], name: str = "") -> tuple[dict[str, Any], str]:
    """Return a report and its name with clients' addresses mapped to networks, in keys and values.

    Args:
        value: The report.
        name: What it is called.
    """
    kept = _proxies_of(value)
    found = _mapped(value, kept, 0)
    assert isinstance(found, dict)
    return found, str(_mapped(name, kept, 0))


def _proxies_of(value: dict[str, Any]) -> frozenset[str]:
    """Return the addresses that are the operator's own: listed one by one, or given to a proxy."""
    named = [
        *texts_of(value, "policy", "proxies"),
        *(text_of(each, "address") for each in objects_of(value, "hops") if "kind" in each),
        *(text_of(each, "rule") for each in objects_of(value, "hops")),
        *(text_of(each, "address") for each in objects_of(value, "peers") if each.get("listed")),
        text_of(value, "address"),
    ]
    found = set()
    for text in named:
        try:
            found.add(str(ipaddress.ip_address(text)))
        except ValueError:
            continue
    return frozenset(found)


def _mapped(value: Any, kept: frozenset[str], depth: int) -> Any:
    """Return a value with every text of it redacted; what is nested deeper than any is left out."""
    if isinstance(value, str):
        return _RUN.sub(lambda found: _run(found[0], kept), value)
    if depth > 20:
        return None
    if isinstance(value, dict):
        return {
            _mapped(str(key), kept, depth): _mapped(each, kept, depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mapped(each, kept, depth + 1) for each in value]
    return value


def _run(text: str, kept: frozenset[str]) -> str:
    """Return what may hold addresses with each of them mapped."""
    plain = re.sub("%3[Aa]", ":", text)
    if ":" not in plain:
        return _V4.sub(lambda found: _v4(found, kept), plain)
    for start in range(min(3, len(plain))):  # what stands before one may be hexadecimal, too
        for end in (len(plain), len(plain.rstrip(":.")), len(plain.partition("/")[0].rstrip(":."))):
            network = _v6(plain[start:end], kept)
            if network is not None:
                return plain[:start] + network + plain[end:]
    mapped = _V4.sub(lambda found: _v4(found, kept), plain)
    cut = _GROUPS.sub(lambda found: _first_groups(found[0]), mapped)
    return text if cut == plain else cut


def _v4(found: re.Match[str], kept: frozenset[str]) -> str:
    """Return an IPv4 address as its network; a network that is as wide stays."""
    bits = int(found[2]) if found[2] else 32
    try:
        if bits <= _V4_BITS or (bits == 32 and str(ipaddress.IPv4Address(found[1])) in kept):
            return found[0]
        return str(ipaddress.ip_network(f"{found[1]}/{_V4_BITS}", strict=False))
    except ValueError:
        return found[0]


def _v6(text: str, kept: frozenset[str]) -> str | None:
    """Return an IPv6 address or network as its network; None for what is none."""
    address, _, prefix = text.partition("/")
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return None
    if str(found) in kept or (prefix and int(prefix) <= _V6_BITS):
        return text
    if found.ipv4_mapped is not None:
        if str(found.ipv4_mapped) in kept:
            return text
        return str(ipaddress.ip_network(f"{found.ipv4_mapped}/{_V4_BITS}", strict=False))
    return str(ipaddress.ip_network(f"{found}/{_V6_BITS}", strict=False))


def _first_groups(text: str) -> str:
    """Return the network of what was an IPv6 address before it was cut."""
    groups = [each for each in text.partition("::")[0].split(":") if each]
    return f"{':'.join(groups[:3])}::/{_V6_BITS}"
