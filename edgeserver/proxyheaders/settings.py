"""The settings of a trust policy, checked: what may be configured, and what is refused.

Decides validity and nothing else; every refusal names the entry and the fix, and nothing that looks
like a typo ever becomes an entry that matches nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeserver.errors import TrustConfigurationError
from edgeserver.proxyheaders.explanation.codes import make_finding
from edgeserver.proxyheaders.networks import (
    PRESETS,
    Network,
    Rule,
    expand_preset,
    find_cover,
    parse_network,
    render_network,
)
from edgeserver.proxyheaders.results import Finding
from edgeserver.proxyheaders.stripping import DECLARABLE, is_forwarding_name

__all__ = [
    "Entries",
    "Entry",
    "TrustedProxy",
    "check_choice",
    "check_max_hops",
    "check_proto",
    "check_source",
    "read_entries",
]

_MAX_NAMED = 8
"""Most entries that one message names."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}", re.ASCII)
_DECLARABLE = frozenset(name.decode() for name in DECLARABLE)
_NOT_ADDRESSES = _DECLARABLE | {
    "host",
    "connection",
    "cookie",
    "via",
    "content-length",
    "transfer-encoding",
    "x-scheme",
    "x-forwarded-proto",
}


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """One trusted entry with more to say than its range.

    Args:
        address: An address, a CIDR range, `unix:` or a preset.
        name: What explanations call it.
        sets: The forwarding headers that this proxy sets, replacing what a client sent, the scheme
            header among them. `x-forwarded-host`, `x-forwarded-port`, `x-forwarded-prefix`,
            `x-forwarded-client-cert`, `client-cert` and `client-cert-chain` are read; every other
            reaches the application as it is.
    """

    address: str
    name: str | None = None
    sets: Iterable[str] = frozenset()


_IPEntry = (
    ipaddress.IPv4Network | ipaddress.IPv6Network | ipaddress.IPv4Address | ipaddress.IPv6Address
)
Entry = str | TrustedProxy | _IPEntry


@dataclass(slots=True)
class Entries:
    """The list of trusted entries, checked.

    Args:
        networks: Every range with its rule.
        unix: The rule for Unix peers, if they are trusted.
        texts: The entries as configured.
        sets: What each of them declares that it sets, sorted.
        warnings: What a person should know about them.
        trusts_all: Whether a range holds every address of a family.
    """

    networks: list[tuple[Network, Rule]] = field(default_factory=list)
    unix: Rule | None = None
    texts: tuple[str, ...] = ()
    sets: tuple[tuple[str, ...], ...] = ()
    warnings: list[Finding] = field(default_factory=list)
    trusts_all: bool = False

    @property
    def declared(self) -> frozenset[bytes]:
        """Every header that some entry declares that it sets."""
        unix = frozenset() if self.unix is None else self.unix.sets
        return unix.union(*(rule.sets for _, rule in self.networks))


def read_entries(
    entries: Iterable[Entry],
    *,
    allow_all: bool,
    setting: str,
    configured: frozenset[bytes] = frozenset(),
) -> Entries:
    """Check a list of trusted entries.

    Args:
        entries: The list.
        allow_all: Whether a range may hold every address.
        setting: The name of the setting, for messages.
        configured: The source and scheme headers, which can be declared by whatever name they have.

    Raises:
        TrustConfigurationError: An entry is wrong; the message names it and the fix.
        TypeError: It is not a list of entries.
    """
    if isinstance(entries, str | bytes | TrustedProxy) or not isinstance(entries, Iterable):
        raise TypeError(f"{setting}={entries!r} is not a list: write {setting}=[{entries!r}]")
    checked = Entries()
    texts: list[str] = []
    declared: list[tuple[str, ...]] = []
    for entry in entries:
        proxy = _as_proxy(entry, setting)
        texts.append(proxy.address)
        label = proxy.name
        sets = _check_sets(proxy, configured)
        declared.append(tuple(sorted(name.decode("ascii") for name in sets)))
        if proxy.address == "unix:":
            known = checked.unix.sets if checked.unix is not None else frozenset()
            checked.unix = Rule("unix:", label, sets | known)
            continue
        for text in expand_preset(proxy.address):
            network = parse_network(text)
            _check_width(network, proxy.address, allow_all=allow_all, checked=checked)
            preset = proxy.address if proxy.address in PRESETS else None
            rule = Rule(render_rule(text, network), label or preset, sets)
            checked.networks.append((network, rule))
    checked.texts, checked.sets = tuple(texts), tuple(declared)
    _check_cover(checked, allow_all=allow_all)
    return checked


def render_rule(text: str, network: Network) -> str:
    """Return how explanations name a range: as configured, unless that would mislead."""
    return render_network(network) if network.had_host_bits or "/" in text else text


def _as_proxy(entry: object, setting: str) -> TrustedProxy:
    """Return an entry as a `TrustedProxy`."""
    if isinstance(entry, TrustedProxy):
        if not isinstance(entry.address, str):
            raise TypeError(f"{entry!r}: address is a str")
        return entry
    if isinstance(entry, str):
        return TrustedProxy(entry)
    if isinstance(entry, _IPEntry):
        return TrustedProxy(str(entry))
    raise TypeError(f"{setting} holds {entry!r}: an entry is a str or a TrustedProxy")


def _check_sets(proxy: TrustedProxy, configured: frozenset[bytes]) -> frozenset[bytes]:
    """Return the declared headers in lower case."""
    if isinstance(proxy.sets, str | bytes):
        raise TypeError(f"{proxy!r}: sets is a set of names; write sets={{{proxy.sets!r}}}")
    names = set()
    for name in proxy.sets:
        if not isinstance(name, str):
            raise TypeError(f"{proxy!r}: sets holds {name!r}; a header name is a str")
        lower = name.lower().encode("ascii", "replace")
        if b"_" in lower or not _TOKEN.fullmatch(name):
            raise TrustConfigurationError(
                f"trusted proxy {proxy.address!r}: sets={name!r} is not a header name, or an alias "
                "with '_', which never counts; write one such as 'x-forwarded-host'"
            )
        if not is_forwarding_name(lower, configured):
            raise TrustConfigurationError(
                f"trusted proxy {proxy.address!r}: sets={name!r} cannot be declared: it is not a "
                "forwarding header, and is never hidden; those that can are X-Forwarded-*, "
                "Client-Cert*, Forwarded, X-Real-Ip, X-Scheme and the configured scheme header"
            )
        names.add(lower)
    return frozenset(names)


def _check_width(network: Network, text: str, *, allow_all: bool, checked: Entries) -> None:
    """Refuse a range of every address unless asked for, and note one with host bits set."""
    if network.prefix == 0:
        if not allow_all:
            raise TrustConfigurationError(
                f"trusted proxy {text!r} is every address: whoever can connect would name the "
                "client; list your proxies, or pass allow_all=True if nobody else can connect"
            )
        checked.trusts_all = True
    if network.had_host_bits:
        checked.warnings.append(
            make_finding(
                "host-bits-set",
                f"{text} has bits set past its prefix; it is taken as {render_network(network)}",
            )
        )


def _check_cover(checked: Entries, *, allow_all: bool) -> None:
    """Refuse ranges that are every address of a family together unless asked for."""
    for version in (4, 6):
        cover = find_cover((network for network, _ in checked.networks), version)
        if not cover:
            continue
        checked.trusts_all = True
        if not allow_all:
            texts = [repr(render_network(each)) for each in cover[:_MAX_NAMED]]
            more = f" and {len(cover) - _MAX_NAMED} more" if len(cover) > _MAX_NAMED else ""
            raise TrustConfigurationError(
                f"trusted proxies {', '.join(texts)}{more} are together every IPv{version} address:"
                " whoever can connect would name the client; list your proxies, or pass"
                " allow_all=True if nobody else can connect"
            )


def check_source(source: object) -> str:
    """Return the source header in lower case.

    Raises:
        TrustConfigurationError: It is not a header name that can hold an address.
        TypeError: It is not a str.
    """
    name = _check_name(source, "source", "x-forwarded-for")
    if name in _NOT_ADDRESSES:
        raise TrustConfigurationError(
            f"source={source!r} does not hold the client's address; name the header that your "
            "proxy sets, such as 'x-forwarded-for', 'forwarded' or 'x-real-ip'"
        )
    return name


def check_proto(proto: object, source: str) -> str | None:
    """Return the scheme header in lower case, or None.

    Raises:
        TrustConfigurationError: It is not a header name, or contradicts `source`.
        TypeError: It is neither str nor None.
    """
    if proto is None:
        return None
    name = _check_name(proto, "proto", "x-forwarded-proto")
    if name == source:
        raise TrustConfigurationError(
            f"proto={proto!r} is the source too; one header holds an address or a scheme, not both"
        )
    if source == "forwarded" and name != "x-forwarded-proto":
        raise TrustConfigurationError(
            f"proto={proto!r}: with source='forwarded' the scheme is the element's own proto; "
            "leave proto out, or pass proto=None to read no scheme"
        )
    return name


def _check_name(name: object, setting: str, example: str) -> str:
    """Return a header name in lower case."""
    if not isinstance(name, str):
        raise TypeError(f"{setting}={name!r}: a header name is a str, such as {example!r}")
    if not _TOKEN.fullmatch(name):
        raise TrustConfigurationError(
            f"{setting}={name!r} is not a header name (RFC 9110 section 5.1); write one such as "
            f"{example!r}"
        )
    if "_" in name:
        raise TrustConfigurationError(
            f"{setting}={name!r}: a name with '_' is an alias that anybody can send past a proxy; "
            f"write {name.replace('_', '-')!r}"
        )
    return name.lower()


def check_max_hops(max_hops: object) -> int:
    """Return the hop limit.

    Raises:
        TrustConfigurationError: It is below 1.
        TypeError: It is not an int.
    """
    if isinstance(max_hops, bool) or not isinstance(max_hops, int):
        raise TypeError(f"max_hops={max_hops!r}: give an int, such as 20")
    if max_hops < 1:
        raise TrustConfigurationError(f"max_hops={max_hops}: at least 1 entry must be examined")
    return max_hops


def check_choice(value: str, setting: str, choices: tuple[str, ...]) -> str:
    """Return a setting that is one of several words.

    Raises:
        TrustConfigurationError: It is none of them.
    """
    if value not in choices:
        raise TrustConfigurationError(
            f"{setting}={value!r}: give {' or '.join(repr(choice) for choice in choices)}"
        )
    return value
