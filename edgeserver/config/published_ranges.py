"""Published address ranges: what clouds and CDNs say of themselves, read from local files.

Decides how each provider's file is read and which of its ranges are asked for; every refusal names
the file. It must not know what the ranges are trusted with, and fetches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from edgeserver.config.ip_ranges import load_ranges
from edgeserver.errors import TrustConfigurationError
from edgeserver.proxyheaders.networks import Network, parse_network, render_network
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = ["PROVIDERS", "Published", "load_published", "merge_ranges"]

MAX_JSON_BYTES = 64 * 1024 * 1024

# For each provider: where its lists of entries stand, and under which keys an entry's range does;
# no key where the entry is the range itself.
PROVIDERS: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "cloudflare": ((("result", "ipv4_cidrs"), ()), (("result", "ipv6_cidrs"), ())),
    "aws": ((("prefixes",), ("ip_prefix",)), (("ipv6_prefixes",), ("ipv6_prefix",))),
    "fastly": ((("addresses",), ()), (("ipv6_addresses",), ())),
    "google": ((("prefixes",), ("ipv4Prefix", "ipv6Prefix")),),
    "list": (),
}
"""Whose files can be read; a file of one range a line is read for each of them."""


class Published(NamedTuple):
    """What one file gave.

    Args:
        source: The file and what was asked of it, escaped.
        ranges: The ranges, checked.
        dated: When the provider wrote it, if the file says so, escaped.
    """

    source: str
    ranges: tuple[str, ...]
    dated: str


def load_published(typed: str) -> Published:
    """Load PROVIDER:FILE[?KEY=VALUE&...], such as `aws:ip-ranges.json?service=CLOUDFRONT`.

    Raises:
        TrustConfigurationError: The provider is none, or the file cannot be read or holds no range.
    """
    provider, colon, rest = typed.partition(":")
    if not colon or provider not in PROVIDERS:
        raise TrustConfigurationError(
            f"{escape(typed)}: write PROVIDER:FILE with one of {', '.join(PROVIDERS)}"
        )
    path, _, query = rest.partition("?")
    wanted = dict(parse_qsl(query))
    shown = escape(typed)
    try:
        content = read_file(path, MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrustConfigurationError(f"{shown}: the file cannot be read: {reason}") from error
    if len(content) > MAX_JSON_BYTES:
        raise TrustConfigurationError(f"{shown}: more than {MAX_JSON_BYTES} bytes")
    if not content.lstrip().startswith((b"{", b"[")):
        if wanted:
            raise TrustConfigurationError(f"{shown}: a list has nothing to choose by; drop '?...'")
        return Published(shown, tuple(load_ranges(path)), "")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TrustConfigurationError(f"{shown}: this is no JSON: {escape(str(error))}") from error
    ranges = tuple(_check(text, shown) for text in _entries(value, provider, wanted))
    if not ranges:
        raise TrustConfigurationError(f"{shown}: no range in it; look at PROVIDER and at '?...'")
    dated = ""
    if isinstance(value, dict):
        dated = escape(str(value.get("createDate") or value.get("creationTime") or ""), 40)
    return Published(shown, ranges, dated)


def _entries(value: Any, provider: str, wanted: dict[str, str]) -> Iterator[str]:
    """Yield the ranges in a provider's JSON that have what is wanted."""
    for path, keys in PROVIDERS[provider]:
        at = value
        for key in path:
            at = at.get(key) if isinstance(at, dict) else None
        for entry in at if isinstance(at, list) else ():
            if isinstance(entry, str):
                yield entry
            elif isinstance(entry, dict) and all(
                str(entry.get(key)) == text for key, text in wanted.items()
            ):
                yield from (str(entry[key]) for key in keys if key in entry)


def _check(text: str, where: str) -> str:
    """Return a range as text.

    Raises:
        TrustConfigurationError: It is none, or holds every address.
    """
    shown = escape(text, 60)
    try:
        network = parse_network(shown)
    except TrustConfigurationError as error:
        raise TrustConfigurationError(f"{where}: {error}") from error
    if network.prefix == 0:
        raise TrustConfigurationError(f"{where}: {shown} is every address")
    return render_network(network)


def merge_ranges(texts: Iterable[str]) -> list[str]:
    """Return ranges sorted, each once, without those that another holds."""
    networks = sorted({parse_network(text) for text in texts}, key=_place)
    kept: list[Network] = []
    for network in networks:
        if not kept or not _holds(kept[-1], network):
            kept.append(network)
    return [render_network(each) for each in kept]


def _place(network: Network) -> tuple[int, int, int]:
    return network.version, network.value, network.prefix


def _holds(outer: Network, inner: Network) -> bool:
    bits = 32 if outer.version == 4 else 128
    return (
        outer.version == inner.version
        and outer.prefix <= inner.prefix
        and outer.value >> (bits - outer.prefix) == inner.value >> (bits - outer.prefix)
    )
