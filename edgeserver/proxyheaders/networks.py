"""The entries of a trust policy: what may stand in the list of proxies, and which entry matches.

Decides how a configured entry is read and which one an address falls under. It must not know
requests or headers; every refusal names the entry and the fix.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from edgeserver.errors import TrustConfigurationError
from edgeserver.proxyheaders.addresses import (
    Address,
    parse_ipv4,
    parse_ipv6,
    render_ipv4,
    render_ipv6,
)

__all__ = [
    "PRESETS",
    "Network",
    "NetworkTable",
    "Rule",
    "expand_preset",
    "find_cover",
    "parse_network",
    "render_network",
]

PRESETS = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}
"""Named sets of ranges: this machine; RFC 1918 and RFC 4193."""

_PREFIX = re.compile(r"(?:0|[1-9][0-9]{0,2})\Z", re.ASCII)
_MAPPED = 0xFFFF


class Network(NamedTuple):
    """A range of addresses.

    Args:
        version: 4 or 6.
        value: The first address as an integer, host bits cleared.
        prefix: The number of leading bits that count.
        had_host_bits: Whether the entry had bits set past its prefix.
    """

    version: int
    value: int
    prefix: int
    had_host_bits: bool = False


def find_cover(networks: Iterable[Network], version: int) -> list[Network]:
    """Return ranges that hold every address of a family together; none where they do not.

    Args:
        networks: The ranges, of either family, in any order.
        version: 4 or 6.
    """
    bits = 32 if version == 4 else 128
    cover: list[Network] = []
    reached = 0
    # Of ranges that begin together the widest comes first, and holds the others.
    for network in sorted({each for each in networks if each.version == version}, key=_by_place):
        if network.value > reached:
            return []
        if network.value == reached:
            cover.append(network)
            reached += 1 << (bits - network.prefix)
    return cover if reached == 1 << bits else []


def _by_place(network: Network) -> tuple[int, int]:
    return network.value, network.prefix


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the policy, as an explanation names it.

    Args:
        text: The range, or `unix:`.
        label: A name given to it, or the preset or file that it came from.
        sets: The headers that this proxy declares that it sets.
    """

    text: str
    label: str | None = None
    sets: frozenset[bytes] = frozenset()

    def __str__(self) -> str:
        return self.text if self.label is None else f"{self.text} ({self.label})"


def expand_preset(entry: str) -> tuple[str, ...]:
    """Return the ranges that an entry of a policy stands for: a preset's, or itself."""
    return PRESETS.get(entry, (entry,))


def parse_network(entry: str) -> Network:
    """Parse one address or CIDR range of a policy; IPv4-mapped ranges become IPv4.

    Raises:
        TrustConfigurationError: It is neither; a typo never becomes something that matches nothing.
    """
    if entry != entry.strip():
        raise TrustConfigurationError(
            f"trusted proxy {entry!r} has white space around it: write {entry.strip()!r}"
        )
    host, slash, length = entry.partition("/")
    raw = host.encode("ascii", "replace")
    value = parse_ipv4(raw)
    version, bits = 4, 32
    if value is None:
        version, bits = 6, 128
        value = parse_ipv6(raw) if ":" in host else None
    if value is None:
        raise _refuse_entry(entry, host)
    prefix = bits
    if slash:
        if not _PREFIX.match(length) or int(length) > bits:
            raise TrustConfigurationError(
                f"trusted proxy {entry!r}: the prefix length after '/' is 0 to {bits} for "
                f"IPv{version}, in digits: how many bits its addresses have in common; "
                f"{bits} is {host} alone"
            )
        prefix = int(length)
    if version == 6 and value >> 32 == _MAPPED and prefix >= 96:
        # A mapped peer or claim becomes IPv4 before it is compared, so the range must too.
        version, bits, value, prefix = 4, 32, value & 0xFFFFFFFF, prefix - 96
    first = value >> (bits - prefix) << (bits - prefix)
    return Network(version, first, prefix, first != value)


def _refuse_entry(entry: str, host: str) -> TrustConfigurationError:
    """Return the error for an entry that is not an address, with the likeliest fix."""
    if host.startswith("unix"):
        hint = "peers on a Unix socket have no address; write 'unix:' for all of them"
    elif "%" in host:
        hint = "a range has no zone; write it without '%' and what follows"
    elif host.startswith("[") or (host.count(":") == 1 and "." in host):
        hint = "a range has neither port nor brackets; write the address alone"
    elif "," in entry or " " in entry:
        hint = "write one entry per list element"
    else:
        # a slip of the pen, and no other name that happens to look alike
        close = difflib.get_close_matches(entry, PRESETS, n=1, cutoff=0.8)
        hint = (
            f"did you mean {close[0]!r}?"
            if close
            else "names are not resolved; write an IP address, a CIDR range such as 10.0.0.0/8, "
            f"'unix:', or one of the presets {', '.join(sorted(PRESETS))}"
        )
    return TrustConfigurationError(f"trusted proxy {entry!r} is not an address or range: {hint}")


def render_network(network: Network) -> str:
    """Return the CIDR text that `parse_network` reads back."""
    render = render_ipv4 if network.version == 4 else render_ipv6
    return f"{render(network.value)}/{network.prefix}"


_UNICAST = range(1, 224)
"""The first octets with which every IPv4 address is usable."""


def _octets(key: int, shift: int) -> range:
    """Return the first octets that a range has: those of `key` followed by `shift` bits."""
    first = key << shift >> 24
    last = ((key + 1 << shift) - 1) >> 24
    return range(first, last + 1)


class NetworkTable:
    """Finds the entry that an address falls under; the longest prefix wins.

    One dictionary per prefix length in use, so a look-up costs a shift and a hash for each length
    and does not grow with the number of ranges.

    Args:
        entries: Ranges and their rules; of the same range twice, the declared headers add up.
        unix: The rule for Unix peers, if they are trusted.
    """

    __slots__ = ("_v4", "_v6", "foreign_octets", "unix")

    def __init__(self, entries: Iterable[tuple[Network, Rule]], unix: Rule | None = None) -> None:
        tables: dict[int, dict[int, dict[int, Rule]]] = {4: {}, 6: {}}
        for network, rule in entries:
            shift = (32 if network.version == 4 else 128) - network.prefix
            rules = tables[network.version].setdefault(shift, {})
            key = network.value >> shift
            known = rules.get(key)
            if known is not None:
                rule = Rule(known.text, known.label or rule.label, known.sets | rule.sets)
            rules[key] = rule
        self._v4 = tuple(sorted(tables[4].items()))
        self._v6 = tuple(sorted(tables[6].items()))
        self.unix = unix
        listed = {
            octet for shift, rules in self._v4 for key in rules for octet in _octets(key, shift)
        }
        # Whatever follows these first octets is usable, and in no entry.
        self.foreign_octets = frozenset(b"%d" % octet for octet in _UNICAST if octet not in listed)

    def overlaps(self, network: Network) -> bool:
        """Return whether any address of a range is listed."""
        bits, table = (32, self._v4) if network.version == 4 else (128, self._v6)
        for shift, rules in table:
            # Of two ranges that share an address the wider one holds the other.
            common = max(shift, bits - network.prefix)
            wanted = network.value >> common
            if any(key << shift >> common == wanted for key in rules):
                return True
        return False

    def find(self, address: Address) -> Rule | None:
        """Return the rule that `address` falls under, or None."""
        version, value = address[0], address[1]
        if version == 4:
            table = self._v4
        elif version == 6:
            table = self._v6
        else:
            return self.unix
        for shift, rules in table:
            rule = rules.get(value >> shift)
            if rule is not None:
                return rule
        return None
