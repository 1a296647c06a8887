"""The chains in a log: forgotten proxies, ranges too wide, who claims what, and whom it deceives.

Decides which findings the heads of a log are. What one request cannot show, many do: a *candidate*
has a score, and its parts are shown. It must not know where heads come from, nor how a report is
written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edgeserver.audit.aggregate import Head
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.addresses import UnusableClaim, parse_address, parse_peer
from edgeserver.proxyheaders.explanation.codes import Code
from edgeserver.proxyheaders.networks import (
    PRESETS,
    NetworkTable,
    Rule,
    expand_preset,
    parse_network,
)
from edgeserver.proxyheaders.results import UNVERIFIED
from edgeserver.support.escape import escape

__all__ = ["CODES", "ChainAudit", "LogFinding"]

MAX_ADDRESSES = 250_000
"""How many addresses are counted one by one; heads with claims come first."""

MAX_KEPT = 1000
"""How many different neighbours of one address are told apart."""

_MAX_TARGETS = 64
_MAX_SHOWN = 4
_MAX_CHAINS = 1000
_CANDIDATE = 0.5
_PRIVATE = NetworkTable(
    (parse_network(text), Rule(text))
    for text in (
        *PRESETS["private"], *PRESETS["loopback"], "100.64.0.0/10", "169.254.0.0/16", "fe80::/10",
    )
)  # fmt: skip
_LOOPBACK = NetworkTable((parse_network(text), Rule(text)) for text in PRESETS["loopback"])

CODES: dict[str, Code] = {
    "forgotten-proxy": Code(
        "error",
        "A candidate for a proxy that is not listed: whoever stands behind it is taken for it.",
        "if it is yours, add its address to --trust; if not, somebody makes up clients",
    ),
    "not-appending": Code(
        "error",
        "A candidate for a listed proxy that passes on what clients claim, and adds nothing.",
        "have it append its peer to the list, or replace what it was sent"
        "; if no proxy connects from there, take it out of --trust",
    ),
    "names-nobody": Code(
        "warning",
        "A listed proxy never names a client.",
        "have it append its peer to the field that the application reads"
        "; if no proxy connects from there, take it out of --trust",
    ),
    "one-client": Code(
        "warning",
        "Nearly all requests behind listed proxies seem to come from one client.",
        "if that is a proxy of yours, add its address to --trust",
    ),
    "bypass": Code(
        "warning",
        "Strangers reach this log without the listed proxies.",
        "let only the proxies connect, if everything is to come through them",
    ),
    "spoofing": Code(
        "warning",
        "Somebody claims to be a client, or to come from a private or listed address.",
        "nothing of it is believed with this policy; look at who it is",
    ),
    "unshown-claims": Code(
        "warning",
        "Peers that are not listed sent forwarding fields whose values the log does not hold.",
        "a proxy that you forgot, or somebody who tries: log with edgeserver's version 2",
    ),
    "range-never-seen": Code(
        "warning",
        "No proxy connected from a listed range.",
        "take it out of --trust, if it is not kept in reserve",
    ),
    "range-too-wide": Code(
        "warning",
        "A listed range holds far more addresses than proxies.",
        "list the proxies' own addresses",
    ),
    "private-client": Code(
        "warning",
        "A client has a private address, among others that have none.",
        "look whether it is a proxy that is not listed, or a client of the own network",
    ),
    "client-is-listed": Code(
        "warning",
        "The client's own address is in a listed range: whatever it claims would be believed.",
        "list the proxies' own addresses, not networks that clients are in",
    ),
    "unusable-entry": Code(
        "warning",
        "The entry that should name the client is no usable address.",
        "have the proxy that wrote it write an address",
    ),
    "scheme-mixed": Code(
        "warning",
        "A few requests over a proxy are said to be plain, and were not redirected.",
        "look whether a way of the proxy takes plain requests, or passes on what clients claim",
    ),
    "scheme-missing": Code(
        "warning",
        "A few requests over a proxy came without the scheme header.",
        "set it on every way: in nginx a location with a proxy_set_header inherits none",
    ),
    "health-check": Code(
        "info",
        "A listed proxy itself asked, as health checks do.",
        "nothing to do",
    ),
}
"""Every finding of a log; their order is the order of the report."""


class LogFinding(NamedTuple):
    """One finding.

    Args:
        code: A key of `CODES`.
        severity: `error`, `warning` or `info`.
        subject: The address, range or peers that it is about.
        detail: What was seen; whatever a stranger wrote is escaped.
        requests: How many requests show it.
        score: How well it is founded, from 0 to 1; None where it was simply seen.
        parts: What the score is made of, each from 0 to 1.
    """

    code: str
    severity: str
    subject: str
    detail: str
    requests: int
    score: float | None = None
    parts: tuple[tuple[str, float], ...] = ()

    @property
    def fix(self) -> str:
        """What to do about it."""
        return CODES[self.code].fix


@dataclass(slots=True)
class _Seen:
    """What is counted of one address in one place of the chain."""

    requests: int = 0
    named: int = 0
    plausible: int = 0
    odd: int = 0
    settled_plain: int = 0
    secure: int = 0
    unsaid: int = 0
    hidden: int = 0
    first: float | None = None
    last: float | None = None
    more: int = 0
    lefts: set[str] = field(default_factory=set)
    targets: set[str] = field(default_factory=set)
    bare_targets: set[str] = field(default_factory=set)
    plain_targets: set[str] = field(default_factory=set)

    def count(self, head: Head) -> None:
        """Count the requests of a head."""
        self.requests += head.requests
        if head.first is not None and (self.first is None or head.first < self.first):
            self.first = head.first
        if head.last is not None and (self.last is None or head.last > self.last):
            self.last = head.last


class _Entry(NamedTuple):
    """One entry of a list, as the policy sees it: its text, its rule, and whether it is odd."""

    text: str
    usable: bool
    rule: Rule | None
    private: bool
    loopback: bool


def _add(target: set[str], values: Iterable[str], most: int) -> None:
    """Add values to a set that stays small."""
    for value in values:
        if len(target) >= most:
            return
        target.add(value)


class ChainAudit:
    """Counts the heads of a log, and says what they show.

    Args:
        policy: Whom the application believes.
        has_claims: Whether the log holds the header that names the client.
        has_scheme: Whether it holds the one that names the scheme.
    """

    def __init__(self, policy: TrustPolicy, *, has_claims: bool, has_scheme: bool) -> None:
        self.requests = 0
        self.first: float | None = None
        self.last: float | None = None
        self.chains: Counter[tuple[str, ...]] = Counter()
        self.uncounted = 0
        self._policy = policy
        self._has_claims = has_claims
        self._has_scheme = has_scheme
        self._networks = [
            (parse_network(text), Rule(entry))
            for entry in policy.proxies
            if entry != "unix:"
            for text in expand_preset(entry)
        ]
        unix = Rule("unix:") if "unix:" in policy.proxies else None
        self._table = NetworkTable(self._networks, unix)
        self._entries: dict[bytes, _Entry] = {}
        # who is a listed proxy, by address; who is the nearest that is not; the peers among those
        self._proxies: dict[str, _Seen] = {}
        self._strangers: dict[str, _Seen] = {}
        self._direct: dict[str, int] = {}
        self._alone: dict[str, int] = {}
        self._rule_of: dict[str, str] = {}
        self._as_client: dict[str, set[str]] = {}
        self._private: dict[tuple[str, str], int] = {}
        self._listed: dict[str, int] = {}
        self._unusable: Counter[str] = Counter()
        self._behind: dict[str, set[str]] = {}
        self._behind_requests: Counter[str] = Counter()
        self._spoofers: dict[str, _Seen] = {}
        self._named_requests = 0
        # listed addresses that stood where a client should: proxies, if they are seen as such
        self._leftmost: dict[str, _Seen] = {}
        # peers that claim nothing, counted together; rows of heads whose client is one of many
        self._crowd_peers = 0
        self._crowd_requests = 0
        self._crowds: list[int] = []

    # -- counting ------------------------------------------------------------------------------

    def add(self, head: Head) -> None:
        """Count one distinct head."""
        self.requests += head.requests
        if head.first is not None and (self.first is None or head.first < self.first):
            self.first = head.first
        if head.last is not None and (self.last is None or head.last > self.last):
            self.last = head.last
        try:
            peer = parse_peer(head.peer)
        except ValueError:
            self._unusable[escape(head.peer, 60)] += head.requests
            return
        rule = self._table.find(peer)
        text = "unix:" if head.peer == "unix:" else peer.text
        entries = self._list(head, text)
        hops = [text] if rule is not None else []
        place = 0
        boundary: _Entry | None = None
        if rule is not None:
            self._rule_of[text] = rule.text
            while place < len(entries):
                entry = entries[place]
                if not entry.usable or entry.rule is None or place + 1 == len(entries):
                    boundary = entry
                    break
                self._rule_of[entry.text] = entry.rule.text
                hops.append(entry.text)
                place += 1
        lefts = entries[place + 1 :] if rule is not None else entries
        chain = tuple(reversed(hops)) if rule is not None or not entries else (text,)
        if len(self.chains) < _MAX_CHAINS or chain in self.chains:
            self.chains[chain] += head.requests
        else:
            self.chains[("...", text)] += head.requests
        if rule is None:
            self._add_stranger(text, head, lefts, direct=True)
            return
        self._add_listed(hops, boundary, lefts, head)

    def _list(self, head: Head, peer: str) -> list[_Entry]:
        """Return the entries of the header that counts, nearest first."""
        source = self._policy.source.encode()
        if source == b"forwarded":
            proof = self._policy.explain(
                peer=head.peer, headers=head.fields, scheme=head.scheme or "http"
            )
            claims = [hop.claimed if hop.address is None else hop.address.encode()
                      for hop in proof.hops if hop.field == "forwarded"]  # fmt: skip
            return [self._entry(claim) for claim in claims]
        lines = [value for name, value in head.fields if name.lower() == source]
        if source != b"x-forwarded-for":
            return [self._entry(lines[0])] if lines else []
        return [
            self._entry(entry) for line in reversed(lines) for entry in reversed(line.split(b","))
        ]

    def _entry(self, raw: bytes) -> _Entry:
        """Return one entry of a list, remembered."""
        entry = self._entries.get(raw)
        if entry is None:
            try:
                address = parse_address(raw.strip(b" \t"))
            except UnusableClaim:
                entry = _Entry(escape(raw.strip(b" \t"), 60), False, None, False, False)
            else:
                private = _PRIVATE.find(address) is not None
                entry = _Entry(
                    address.text,
                    True,
                    self._table.find(address),
                    private,
                    private and _LOOPBACK.find(address) is not None,
                )
            if len(self._entries) >= MAX_ADDRESSES:
                self._entries.clear()
            self._entries[raw] = entry
        return entry

    def _add_stranger(self, address: str, head: Head, lefts: list[_Entry], *, direct: bool) -> None:
        """Count requests whose nearest address that is not listed is this one."""
        alike = head.alike
        if alike is not None and not lefts:
            self._crowds.append(alike.number)
            if direct:
                self._crowd_peers += alike.addresses
                self._crowd_requests += head.requests
            return
        if direct and (address in self._direct or len(self._direct) < MAX_ADDRESSES):
            self._direct[address] = self._direct.get(address, 0) + head.requests
        if not lefts and not head.hidden:  # nearly everybody: a number each, no more
            if address in self._alone or len(self._alone) < MAX_ADDRESSES:
                self._alone[address] = self._alone.get(address, 0) + head.requests
            else:
                self.uncounted += head.requests
            return
        seen = self._strangers.get(address)
        if seen is None:
            if len(self._strangers) >= MAX_ADDRESSES:
                self.uncounted += head.requests
                return
            seen = self._strangers[address] = _Seen()
        seen.count(head)
        if head.hidden:
            seen.hidden += head.requests
            _add(seen.targets, head.targets, _MAX_TARGETS)
        if lefts:
            nearest = lefts[0]
            seen.named += head.requests
            own = self._entry(address.encode())
            if nearest.usable and nearest.rule is None and not nearest.loopback and (
                not nearest.private or own.private
            ):  # fmt: skip
                seen.plausible += head.requests
            _add(seen.lefts, [nearest.text], MAX_KEPT)
            if alike is not None and len(lefts) == 1:
                seen.more = max(seen.more, alike.addresses - 1)
            _add(seen.targets, head.targets, _MAX_TARGETS)
            if any(each.loopback or each.rule is not None for each in lefts):
                seen.odd += head.requests

    def _add_listed(
        self, hops: list[str], boundary: _Entry | None, lefts: list[_Entry], head: Head
    ) -> None:
        """Count requests that came over listed proxies, nearest first."""
        for number, hop in enumerate(hops):
            seen = self._proxies.setdefault(hop, _Seen())
            seen.count(head)
            if number + 1 < len(hops) or boundary is not None:
                seen.named += head.requests
                _add(seen.targets, head.targets, _MAX_TARGETS)
            else:
                _add(seen.bare_targets, head.targets, _MAX_TARGETS)
        nearest = self._proxies[hops[0]]
        if boundary is None:
            return
        self._named_requests += head.requests
        self._add_scheme(nearest, head)
        if not boundary.usable:
            resolved = self._policy.resolve(
                peer=head.peer, headers=list(head.fields), scheme=head.scheme or "http"
            )
            if resolved.reason in UNVERIFIED or not resolved.verified:
                self._unusable[boundary.text or "(empty)"] += head.requests
            return
        if boundary.rule is not None:
            if boundary.text in self._leftmost or len(self._leftmost) < MAX_KEPT:
                leftmost = self._leftmost.setdefault(boundary.text, _Seen())
                leftmost.count(head)
                _add(leftmost.bare_targets, head.targets, _MAX_TARGETS)
            _add(self._as_client.setdefault(boundary.rule.text, set()), [boundary.text], MAX_KEPT)
            if not boundary.private:
                self._listed[boundary.text] = self._listed.get(boundary.text, 0) + head.requests
        if boundary.private:
            key = (boundary.text, hops[0])
            if key in self._private or len(self._private) < MAX_KEPT:
                self._private[key] = self._private.get(key, 0) + head.requests
        # of those that are one of many the busiest counts
        alike = head.alike if not lefts else None
        self._behind_requests[boundary.text] += head.requests if alike is None else alike.most
        if len(self._behind_requests) > MAX_ADDRESSES:
            self._behind_requests = Counter(dict(self._behind_requests.most_common(1000)))
        if boundary.rule is None:
            self._add_stranger(boundary.text, head, lefts, direct=False)
            if any(each.loopback or each.rule is not None for each in lefts):
                spoofer = self._spoofers.setdefault(hops[0], _Seen())
                spoofer.requests += head.requests
                _add(spoofer.lefts, (e.text for e in lefts if e.loopback or e.rule), MAX_KEPT)
                _add(spoofer.targets, [boundary.text], MAX_KEPT)

    def _add_scheme(self, seen: _Seen, head: Head) -> None:
        """Count what a proxy says of the scheme."""
        if not self._has_scheme or self._policy.proto is None:
            return
        proto = self._policy.proto.encode()
        said = [value.lower() for name, value in head.fields if name.lower() == proto]
        if not said:
            seen.unsaid += head.requests
        elif said[-1].rpartition(b",")[2].strip() == b"https":
            seen.secure += head.requests
        else:
            seen.settled_plain += head.settled
            _add(seen.plain_targets, head.targets, _MAX_TARGETS)

    def count_alone(
        self, counted: Callable[[Sequence[str], Sequence[int]], Mapping[str, int]]
    ) -> None:
        """Count the requests of those who may be proxies among heads that are alike.

        Args:
            counted: Returns the requests of addresses in rows of such heads.
        """
        if self._crowds:
            candidates = [each for each, seen in self._strangers.items() if _names_many(seen)]
            for address, requests in counted(candidates, self._crowds).items():
                self._alone[address] = self._alone.get(address, 0) + requests

    # -- findings ------------------------------------------------------------------------------

    def findings(self) -> list[LogFinding]:
        """Return what was found, the worst first."""
        candidates = {}
        for address, seen in self._strangers.items():
            candidate = self._forgotten(address, seen)
            if candidate is not None:
                candidates[address] = candidate
        found = [
            *candidates.values(),
            *self._of_proxies(),
            *self._one_client(candidates),
            *self._of_strangers(candidates),
            *self._of_ranges(),
            *self._of_clients(),
        ]
        order = list(CODES)
        ranks = {"error": 0, "warning": 1, "info": 2}
        return sorted(found, key=lambda each: (ranks[each.severity], order.index(each.code),
                                               -each.requests, each.subject))  # fmt: skip

    @property
    def span_s(self) -> float:
        """How many seconds lie between the first and the last request."""
        return self.last - self.first if self.first is not None and self.last is not None else 0.0

    def _steady(self, seen: _Seen) -> float:
        """Return over which share of the log's time an address was seen."""
        if self.span_s < 60 or seen.first is None or seen.last is None:
            return 1.0
        return min(1.0, (seen.last - seen.first) / self.span_s)

    def _forgotten(self, address: str, seen: _Seen) -> LogFinding | None:
        """Return the finding that an address is a proxy which is not listed, if it may be one."""
        if not _names_many(seen):
            return None
        clients = len(seen.lefts) + seen.more
        parts = (
            ("enough requests", 1 - 0.5 ** (seen.named + 1)),
            ("never alone", seen.named / (seen.requests + self._alone.get(address, 0))),
            ("clients that can be", seen.plausible / seen.named),
            ("different clients", min(1.0, clients / min(seen.named, 10))),
            ("steady", 0.5 + 0.5 * self._steady(seen)),
        )
        score = _product(parts)
        if score < _CANDIDATE:
            return None
        many = "at least " if seen.more or clients >= MAX_KEPT else ""
        kind = "private" if self._entry(address.encode()).private else "public"
        steady = "steady" if self._steady(seen) >= 0.5 else "for a while"
        bare = seen.requests - seen.named + self._alone.get(address, 0)
        alone = f"{bare} bare" if bare else "never alone"
        return LogFinding(
            "forgotten-proxy", "error", address,
            f"{_requests(seen.named)} name {many}{clients} {kind} clients, {steady}, {alone}",
            seen.named, score, parts,
        )  # fmt: skip

    def _of_proxies(self) -> Iterator[LogFinding]:
        """Yield what listed proxies do."""
        for address, seen in self._proxies.items():
            bare = seen.requests - seen.named
            targets = seen.bare_targets
            leftmost = self._leftmost.get(address)
            if leftmost is not None:  # the next proxy appended it, and it named nobody itself
                bare += leftmost.requests
                targets = targets | leftmost.bare_targets
            if self._has_claims and bare:
                yield from self._bare(address, seen, bare, targets)
            said = seen.secure + seen.settled_plain + seen.unsaid
            if seen.secure and 0 < seen.settled_plain * 10 < said:
                yield LogFinding(
                    "scheme-mixed", "warning", address,
                    f"{_requests(seen.settled_plain)} of {said} said http"
                    f"{_at(seen.plain_targets)}", seen.settled_plain,
                )  # fmt: skip
            if seen.secure and 0 < seen.unsaid * 2 < said:
                yield LogFinding(
                    "scheme-missing", "warning", address,
                    f"{_requests(seen.unsaid)} of {said} came without the scheme", seen.unsaid,
                )  # fmt: skip

    def _bare(
        self, address: str, seen: _Seen, bare: int, targets: set[str]
    ) -> Iterator[LogFinding]:
        """Yield what requests are that a listed proxy passed on without a claim."""
        every = seen.named + bare
        if not seen.named and bare >= 3 and len(targets) > 2:
            yield LogFinding(
                "names-nobody", "warning", address,
                f"{_requests(bare)} to {len(targets)} paths, none names a client", bare,
            )  # fmt: skip
            return
        # health checks ask for the same one or two paths, and those alone
        same = bool(seen.targets) and len(seen.targets) <= 2 and seen.targets <= targets
        parts = (
            ("enough requests", 1 - 0.5 ** min(bare, seen.named)),
            ("many paths", 1.0 if same or len(targets) > 3 else 0.4 if len(targets) > 2 else 0.0),
            ("often bare", min(1.0, bare / every * 5)),
        )
        score = _product(parts)
        if score >= _CANDIDATE:
            yield LogFinding(
                "not-appending", "error", address,
                f"{_requests(bare)} of {every} name nobody, {seen.named} name somebody, on the "
                "same ways: what a client claims is passed on",
                every, score, parts,
            )  # fmt: skip
            return
        yield LogFinding(
            "health-check", "info", address,
            f"{_requests(bare)} without a claim{_at(targets)}", bare,
        )  # fmt: skip

    def _one_client(self, candidates: dict[str, LogFinding]) -> Iterator[LogFinding]:
        """Yield the client that nearly everybody seems to be."""
        for address, requests in self._behind_requests.most_common(1):
            share = requests / self._named_requests
            if share >= 0.8 and requests >= 100 and address not in candidates:
                yield LogFinding(
                    "one-client", "warning", address,
                    f"{share:.0%} of {self._named_requests} requests behind proxies", requests,
                )  # fmt: skip

    def _of_strangers(self, candidates: dict[str, LogFinding]) -> Iterator[LogFinding]:
        """Yield what peers did that are not listed."""
        direct = {each: count for each, count in self._direct.items() if each not in candidates}
        claimed = {each: self._strangers[each] for each in direct if each in self._strangers}
        hidden = {each for each, seen in claimed.items() if seen.hidden}
        peers = len(direct) + self._crowd_peers
        if self._proxies and peers:
            count = sum(direct.values()) + self._crowd_requests
            yield LogFinding(
                "bypass", "warning", _some(direct, more=self._crowd_peers),
                f"{_requests(count)} of {_count(peers, 'peer')} past the listed proxies",
                count,
            )  # fmt: skip
        claiming = {each: seen for each, seen in claimed.items() if seen.named}
        if claiming:
            claims = [claim for seen in claiming.values() for claim in sorted(seen.lefts)]
            targets = {target for seen in claiming.values() for target in seen.targets}
            count = sum(seen.named for seen in claiming.values())
            yield LogFinding(
                "spoofing", "warning", _some(claiming),
                f"{_requests(count)} claim {_some(dict.fromkeys(claims))}{_at(targets)}", count,
            )  # fmt: skip
        for proxy, seen in self._spoofers.items():
            yield LogFinding(
                "spoofing", "warning", _some(seen.targets),
                f"{_requests(seen.requests)} over {proxy} claim {_some(seen.lefts)} left of the "
                "client: not believed", seen.requests,
            )  # fmt: skip
        if hidden:
            count = sum(self._strangers[each].hidden for each in hidden)
            targets = {target for each in hidden for target in self._strangers[each].targets}
            yield LogFinding(
                "unshown-claims", "warning", _some(hidden),
                f"{_requests(count)} with fields that are not in this log{_at(targets)}", count,
            )  # fmt: skip

    def _of_ranges(self) -> Iterator[LogFinding]:
        """Yield what is odd about the entries of the policy."""
        if not self._has_claims:
            return  # who stands behind the peer is not in this log
        used: dict[str, set[str]] = {}
        for address in self._proxies:
            used.setdefault(self._rule_of[address], set()).add(address)
        entries = {rule.text: network for network, rule in reversed(self._networks)}
        for text, network in reversed(entries.items()):
            seen = used.get(text, set())
            bits = (32 if network.version == 4 else 128) - network.prefix
            if not seen:
                clients = self._as_client.get(text)
                also = f" (seen as a client: {_some(clients)})" if clients else ""
                if self.requests:
                    yield LogFinding(
                        "range-never-seen", "warning", text, f"never as a proxy{also}", 0
                    )
            elif bits >= 8 and len(seen) * 64 <= 1 << bits:
                size = str(1 << bits) if bits < 24 else f"2^{bits}"
                yield LogFinding(
                    "range-too-wide", "warning", text,
                    f"{len(seen)} of {size} addresses seen: {_some(seen)}", 0,
                )  # fmt: skip

    def _of_clients(self) -> Iterator[LogFinding]:
        """Yield what is odd about the clients that were found."""
        proxies = self._proxies
        private = {key: count for key, count in self._private.items() if key[0] not in proxies}
        if private:
            count = sum(private.values())
            usual = count * 2 > self._named_requests
            yield LogFinding(
                "private-client", "info" if usual else "warning",
                _some({address for address, _ in private}),
                f"{_requests(count)} behind {_some({proxy for _, proxy in private})}", count,
            )  # fmt: skip
        listed = {each: count for each, count in self._listed.items() if each not in proxies}
        if listed:
            count = sum(listed.values())
            yield LogFinding(
                "client-is-listed", "warning", _some(listed),
                f"{_requests(count)}: the leftmost of listed addresses only", count,
            )  # fmt: skip
        if self._unusable:
            count = sum(self._unusable.values())
            yield LogFinding(
                "unusable-entry", "warning", _some(self._unusable),
                f"{_requests(count)} where the client should stand", count,
            )  # fmt: skip

    def suggestions(self) -> list[tuple[str, str]]:
        """Return entries for `--trust`, each with its evidence."""
        found = [
            (address, f"{_requests(seen.requests)}, listed and seen")
            for address, seen in sorted(self._proxies.items())
            if seen.named
        ]
        for finding in self.findings():
            if finding.code == "forgotten-proxy":
                found.append((finding.subject, f"candidate: {finding.detail}"))
        return found


def _product(parts: Iterable[tuple[str, float]]) -> float:
    """Return the score that parts make: each of them has to hold."""
    score = 1.0
    for _, value in parts:
        score *= value
    return score


def _requests(count: int) -> str:
    return _count(count, "request")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _some(values: Iterable[str], *, more: int = 0) -> str:
    """Return some of the values, and how many others there are, beside `more` not given here."""
    listed = sorted(values)
    shown = ", ".join(listed[:_MAX_SHOWN])
    more += max(0, len(listed) - _MAX_SHOWN)
    if not shown:
        return f"{more} peers"
    return f"{shown} and {more} more" if more > 0 else shown


def _names_many(seen: _Seen) -> bool:
    """Return whether an address names clients often enough to be a proxy."""
    return seen.named >= 3 and len(seen.lefts) + seen.more >= 3


def _at(targets: Iterable[str]) -> str:
    shown = _some(targets)
    return f" at {shown}" if shown else ""
