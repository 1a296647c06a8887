"""The judgement: for each way through a chain, whether a stranger can choose client or scheme.

Decides which requests go through which ways, and what the answers add up to. The app's own answer
is always `TrustPolicy.resolve`'s. "Right" is said only where every request that was tried, along
every path of what is not understood, names the stranger.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from edgeserver.chains.claims import Head, first_address, make_claims
from edgeserver.chains.evaluate import (
    Doubt,
    Oracle,
    Passed,
    Request,
    Scope,
    paths,
    read_address,
    run_way,
)
from edgeserver.chains.model import HOST, METHOD, PATH, ProxyHop, RealIp, Step, Way, Where
from edgeserver.chains.names import url_path
from edgeserver.chains.slicing import Slicer
from edgeserver.proxyheaders import Resolved, TrustPolicy
from edgeserver.proxyheaders.addresses import parse_peer
from edgeserver.proxyheaders.networks import Network, expand_preset, parse_network
from edgeserver.proxyheaders.proxyprotocol.model import Prelude

__all__ = [
    "Case",
    "Entry",
    "Judge",
    "Trial",
    "Verdict",
    "worst_client",
    "worst_scheme",
]

Verdict = Literal[
    "right",
    "right-or-lost",
    "names-outer-proxy",
    "lost",
    "mixed",
    "wrong-always",
    "cannot-tell",
    "spoofable",
    "unreachable",
]

MAX_COMBINATIONS = 2000
MAX_REMEMBERED = 4096
MAX_RESOLVED = 65536
MAX_KNOWN = 6
_STRANGERS = ("203.0.113.66", "198.51.100.66", "192.0.2.66", "192.88.99.66", "9.9.9.66")
_FORGED = ("203.0.113.250", "198.51.100.250", "192.0.2.250", "192.88.99.250", "9.9.9.250")
_WIDE_V4, _WIDE_V6 = 7, 16
_PRIVATE = [parse_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


@dataclass(frozen=True, slots=True)
class Trial:
    """One request that was tried, and what became of it.

    Args:
        peer: Who connected.
        tls: Whether by TLS.
        head: What was claimed; lines for each lower-case name.
        prelude: The source that a prelude claimed, or None.
        app_head: What the app receives.
        app_peer: Whom the app sees as its peer.
        app_scheme: The scheme of the app's own connection.
        app_prelude: The source of the prelude that the app receives.
        client: Whom the app takes for the client.
        scheme: The scheme that the app believes.
        verified: Whether the answer rests on a usable claim.
        writers: The last step that wrote each field, for each hop.
    """

    peer: str
    tls: bool
    head: Head
    prelude: str | None
    app_head: Head
    app_peer: str
    app_scheme: str
    app_prelude: str | None
    client: str
    scheme: str
    verified: bool
    writers: tuple[dict[str, Step], ...] = ()


@dataclass(slots=True)
class Case:
    """What holds for one kind of way through the hops from one entry on.

    Args:
        client: The verdict on the client.
        scheme: The verdict on the scheme.
        tried: How many requests were tried.
        honest: The request without claims, or None where none gets through.
        client_trial: The request that shows the client's verdict, if it is not right.
        scheme_trial: The same of the scheme.
        client_doubts: What keeps the client's verdict from being told.
        scheme_doubts: The same of the scheme.
    """

    client: Verdict = "unreachable"
    scheme: Verdict = "unreachable"
    tried: int = 0
    honest: Trial | None = None
    client_trial: Trial | None = None
    scheme_trial: Trial | None = None
    client_doubts: list[Doubt] = field(default_factory=list)
    scheme_doubts: list[Doubt] = field(default_factory=list)


class Entry(NamedTuple):
    """One combination of ways, from the proxy that a stranger connects to, to the app.

    Args:
        first: Which hop the stranger connects to.
        ways: The way taken through each hop.
        tls: Whether the stranger comes by TLS.
        case: What holds for it.
    """

    first: int
    ways: tuple[Way, ...]
    tls: bool
    case: Case


_CLIENT_ORDER: tuple[Verdict, ...] = (
    "unreachable",
    "right",
    "right-or-lost",
    "names-outer-proxy",
    "lost",
    "cannot-tell",
    "spoofable",
)
_SCHEME_ORDER: tuple[Verdict, ...] = (
    "unreachable",
    "right",
    "lost",
    "wrong-always",
    "cannot-tell",
    "spoofable",
)


def worst_client(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what verdicts on the client of several ways add up to."""
    return max(verdicts, key=_CLIENT_ORDER.index, default="unreachable")


def worst_scheme(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what verdicts on the scheme of several ways add up to."""
    found = set(verdicts) - {"unreachable"}
    if "mixed" in found:  # of ways that were added up before
        found = found - {"mixed"} | {"right", "lost"}
    if found == {"right", "lost"}:
        return "mixed"
    return max(found, key=_SCHEME_ORDER.index, default="unreachable")


class Judge:
    """Judges ways through a chain, and remembers those that are alike.

    Args:
        hops: The proxies, outermost first, each with its address.
        policy: What the app believes.
        lan: Ranges in which strangers are, too.
    """

    def __init__(
        self, hops: Sequence[ProxyHop], policy: TrustPolicy, *, lan: Sequence[Network] = ()
    ) -> None:
        self.hops = tuple(hops)
        self.policy = policy
        self.slicer = Slicer()
        self._path_asked: dict[int, bool] = {}  # of ways of the slicer, which stay
        self._judged: dict[tuple[object, ...], Case] = {}
        self._resolved: dict[tuple[object, ...], Resolved] = {}
        listed = [*_networks_of(self.hops, self.slicer), *_peer_networks(policy.proxies)]
        narrow = [each for each in listed if not _is_wide(each)]
        self.wide = [each for each in listed if _is_wide(each)]
        stranger = _outside(_STRANGERS, narrow)
        self.forged = _outside(_FORGED, narrow)
        self.strangers = [stranger, *(first_address(each) for each in lan)]
        for each in self.wide:
            if each.prefix and each.version == 4:
                address = _inside(each, narrow)
                if address is not None:
                    self.strangers.append(address)
        if any(each.version == 6 for each in self.wide):
            self.strangers.append("2001:db8:66::66")
        self._proxies = [hop.address for hop in self.hops]
        ranges = [first_address(each) for each in narrow if each.version == 4]
        known = [each for each in (*self._proxies, *ranges, "10.11.12.13") if each != "unix:"]
        self._known = tuple(dict.fromkeys(known))[:MAX_KNOWN]
        self._setting = (
            (policy.mode, policy.source, policy.proto, policy.max_hops, policy.proxies),
            (*self._proxies, self.forged, *self.strangers),
            self._known,
        )

    def entries(self, first: int, *, ways: Sequence[Way] | None = None) -> Iterator[Entry]:
        """Yield what holds for a stranger who connects to a hop, for each combination of ways.

        Args:
            first: The hop's index; the number of hops is the app itself.
            ways: Those of the first hop to take, or all.
        """
        hops = self.hops[first:]
        choices: list[list[Way]] = [[*hop.ways] for hop in hops]
        if choices and ways is not None:
            choices[0] = [*ways]
        # of the hops behind, ways that are alike count once
        for at in range(1, len(choices)):
            choices[at] = [*_unlike(choices[at])]
        combinations = itertools.product(*choices)
        for number, picked in enumerate(combinations):
            if number >= MAX_COMBINATIONS:
                doubt = Doubt(f"more than {MAX_COMBINATIONS} combinations of ways", Where(""))
                case = Case("cannot-tell", "cannot-tell")
                case.client_doubts.append(doubt)
                case.scheme_doubts.append(doubt)
                yield Entry(first, picked, tls=False, case=case)
                return
            for tls in self._schemes(picked):
                yield Entry(first, picked, tls=tls, case=self._judge(first, picked, tls=tls))

    @staticmethod
    def _schemes(ways: tuple[Way, ...]) -> list[bool]:
        """Return the schemes by which a stranger may come in."""
        if not ways or (ways[0].layer4 and not ways[0].tls and len(ways) > 1):
            return [False, True]
        return [ways[0].tls]

    def _judge(self, first: int, ways: tuple[Way, ...], *, tls: bool) -> Case:
        """Return what holds for one combination: on the client, and apart from it on the scheme.

        No step for one field is done for the other, so ways that differ in one of them alone are
        alike for the other, and are tried once.
        """
        policy = self.policy
        proto = policy.source if policy.source == "forwarded" else policy.proto
        client = self._judge_field(first, ways, policy.source, tls=tls)
        scheme = self._judge_field(first, ways, proto, tls=tls)
        return replace(
            client,
            scheme=scheme.scheme,
            scheme_trial=scheme.scheme_trial,
            scheme_doubts=scheme.scheme_doubts,
            tried=client.tried + (scheme.tried if scheme is not client else 0),
        )

    def _judge_field(
        self, first: int, ways: tuple[Way, ...], name: str | None, *, tls: bool
    ) -> Case:
        """Return what holds for one field, from memory where ways like these were judged."""
        wanted = frozenset(() if name is None else (name,))
        sliced: list[Way] = []
        for at in range(len(ways) - 1, -1, -1):
            cut, wanted = self.slicer.slice(ways[at], wanted, is_first=at == 0)
            sliced.insert(0, cut)
        paths_in = tuple(way.path for way in ways) if any(map(self.asks_path, sliced)) else ()
        # most ways are cut to the very same one: no need to compare what it does
        key: tuple[object, ...] = (first, *map(id, sliced), wanted, tls, paths_in)
        case = self._judged.get(key)
        if case is None:
            case = self._judged[key] = self._case(first, sliced, ways, wanted, paths_in, tls=tls)
        return case

    def _case(
        self,
        first: int,
        sliced: list[Way],
        ways: tuple[Way, ...],
        wanted: frozenset[str],
        paths_in: tuple[str, ...],
        *,
        tls: bool,
    ) -> Case:
        """Return what holds for ways, from memory where some that do the same were judged."""
        key = (self._setting, first, tuple(sliced), wanted, tls, paths_in)
        case = _CASES.get(key)
        if case is None:
            if len(_CASES) >= MAX_REMEMBERED:
                _CASES.clear()
            case = _CASES[key] = self._try_all(first, sliced, ways, wanted, tls=tls)
        return case

    def slice_of(self, way: Way, name: str) -> Way:
        """Return a way with the steps alone that can change a field."""
        return self.slicer.slice(way, frozenset((name,)), is_first=True)[0]

    def asks_path(self, way: Way) -> bool:
        """Return whether a way that was sliced asks for the request's path, from memory."""
        known = self._path_asked.get(id(way))
        if known is None:
            known = self._path_asked[id(way)] = any(
                getattr(test.value, "name", "") == PATH
                for step in way.steps
                for test in self.slicer.tests_of(step)
            )
        return known

    def _try_all(
        self,
        first: int,
        ways: list[Way],
        whole: tuple[Way, ...],
        fields: frozenset[str],
        *,
        tls: bool,
    ) -> Case:
        """Try every claim through a combination of ways, and add up the answers."""
        steps = [step for way in ways for step in way.steps]
        claims = make_claims(steps, fields, forged=self.forged, known=self._known)
        scope = Scope(self.forged, tuple(sorted(fields)), claims.exact)
        tally = _Tally(set(self._proxies), tls=tls)
        base = _base(whole[0].path if whole else "")
        for stranger in self.strangers:
            for prelude in self._preludes(ways, stranger):
                bare = Request(stranger, tls, base, prelude)
                if self._is_refused(first, ways, bare, scope):
                    tally.tried += len(claims.heads)
                    continue
                for head in claims.heads:
                    request = Request(stranger, tls, {**base, **head}, prelude)
                    tally.tried += 1
                    for trial, doubts in paths(
                        lambda oracle, r=request, h=head: self._through(  # type: ignore[misc]
                            first, ways, r, oracle, h
                        ),
                        scope,
                    ):
                        tally.add(trial, doubts, stranger, claimed=head, prelude=prelude)
        return tally.case()

    def _is_refused(self, first: int, ways: Sequence[Way], request: Request, scope: Scope) -> bool:
        """Return whether a request does not get through, and nothing of its head was looked at.

        Then no other head of the same sender gets through either.
        """
        oracle = Oracle([], scope)
        passed = self._through(first, ways, request, oracle, {})
        return passed is None and not oracle.taken and not oracle.has_read

    def replay(self, entry: Entry, trial: Trial, what: Literal["client", "scheme"]) -> Trial | None:
        """Send a request through whole ways once more; None where the answer is another.

        The steps that were left out as irrelevant are done too, and the app's answer is resolved
        anew, so nothing is printed that does not follow from the configuration as read.
        """
        base = _base(entry.ways[0].path if entry.ways else "")
        request = Request(trial.peer, trial.tls, {**base, **trial.head}, trial.prelude)
        scope = Scope(self.forged, tuple(trial.head), exact=True)
        shown = {PATH: request.head[PATH], **trial.head}
        again = self._through(entry.first, entry.ways, request, Oracle([], scope), shown)
        if again is None or getattr(again, what) != getattr(trial, what):
            return None
        return again

    def _preludes(self, ways: Sequence[Way], stranger: str) -> list[str | None]:
        """Return what a stranger may write before the first request."""
        for way in ways:
            rule = way.prelude
            if rule is not None and rule.ranges.hold(parse_peer(stranger)):
                some: list[str | None] = [stranger, self.forged, *self._known[:2]]
                return some if rule.required else [None, *some]
            if not way.layer4:
                return [None]
            if way.sends_prelude:
                return [None]
        return [None]

    def _through(
        self,
        first: int,
        ways: Sequence[Way],
        request: Request,
        oracle: Oracle,
        claimed: Head,
    ) -> Trial | None:
        """Send one request through ways to the app."""
        at = request
        writers: list[dict[str, Step]] = []
        for number, way in enumerate(ways):
            if way.tls != at.tls and number and not way.layer4:
                return None
            passed = run_way(way, at, oracle)
            if passed is None:
                return None
            writers.append(passed.writers)
            following = ways[number + 1].tls if number + 1 < len(ways) else False
            at = self._next(passed, self.hops[first + number].address, following=following)
        return self._resolve(request, at, tuple(writers), claimed)

    @staticmethod
    def _next(passed: Passed, address: str, *, following: bool) -> Request:
        """Return what the next hop receives."""
        tls = following if passed.tls is None else passed.tls
        return Request(passed.peer or address, tls, passed.head, passed.prelude)

    def _resolve(
        self,
        request: Request,
        at: Request,
        writers: tuple[dict[str, Step], ...],
        claimed: Head,
    ) -> Trial:
        """Return what the app makes of what it receives."""
        pairs = [
            (name.encode("latin-1", "replace"), line.encode("latin-1", "replace"))
            for name, lines in at.head.items()
            if name[0] not in ":?"
            for line in lines
        ]
        scheme = "https" if at.tls else "http"
        key = (at.peer, scheme, at.prelude, *pairs)
        resolved = self._resolved.get(key)
        if resolved is None:
            prelude = Prelude(2, "PROXY", at.prelude) if at.prelude is not None else None
            if prelude is not None and not self.policy.trusts(at.peer):
                prelude = None
            if len(self._resolved) >= MAX_RESOLVED:
                self._resolved.clear()
            resolved = self._resolved[key] = self.policy.resolve(
                peer=at.peer, headers=pairs, scheme=scheme, prelude=prelude
            )
        return Trial(
            peer=request.peer,
            tls=request.tls,
            head=claimed,
            prelude=request.prelude,
            app_head={name: lines for name, lines in at.head.items() if name[0] not in ":?"},
            app_peer=at.peer,
            app_scheme=scheme,
            app_prelude=at.prelude,
            client=resolved.remote_ip,
            scheme=resolved.protocol,
            verified=resolved.verified,
            writers=writers,
        )


def _base(path: str) -> Head:
    """Return what every request has: a path, a host and a method."""
    return {PATH: (url_path(path),), HOST: ("app.example",), METHOD: ("GET",)}


class _Tally:
    """Adds up what requests showed.

    Args:
        proxies: The addresses of the chain's own hops.
        tls: Whether the stranger came by TLS.
    """

    def __init__(self, proxies: set[str], *, tls: bool) -> None:
        self.tried = 0
        self._proxies = proxies
        self._truth = "https" if tls else "http"
        self._honest: Trial | None = None
        self._clients: dict[str, Trial] = {}
        self._lost_to: set[str] = set()
        self._schemes: dict[bool, Trial] = {}
        self._honest_schemes: set[bool] = set()
        self._client_doubts: list[Doubt] = []
        self._scheme_doubts: list[Doubt] = []
        self._doubts: list[Doubt] = []  # of paths on which the app was reached, and all was right

    def add(
        self,
        trial: Trial | None,
        doubts: list[Doubt],
        stranger: str,
        *,
        claimed: Head,
        prelude: str | None,
    ) -> None:
        """Add what one request along one path showed."""
        if trial is None:
            if doubts and doubts[-1].text.startswith("more than"):
                _extend(self._client_doubts, doubts)
                _extend(self._scheme_doubts, doubts)
            return
        kind = self._kind(trial, stranger, claimed, prelude)
        true_scheme = trial.scheme == self._truth
        if doubts:
            if kind != "right":
                _extend(self._client_doubts, doubts)
            if not true_scheme:
                _extend(self._scheme_doubts, doubts)
            _extend(self._doubts, doubts)
            return
        honest = not claimed and prelude in (None, stranger)
        if honest:
            self._honest = self._honest or trial
            self._honest_schemes.add(true_scheme)
        self._clients.setdefault(kind, trial)
        if kind == "lost":
            self._lost_to.add(trial.client)
        self._schemes.setdefault(true_scheme, trial)

    def _kind(self, trial: Trial, stranger: str, claimed: Head, prelude: str | None) -> str:
        """Return whether a request names the stranger, whom he chose, or nobody."""
        if trial.client == read_text(stranger):
            return "right"
        if trial.client in self._proxies:
            return "lost"
        if prelude is not None and trial.client == prelude:
            return "chosen"
        words = {
            word
            for lines in claimed.values()
            for line in lines
            for word in line.replace('"', " ").replace(",", " ").replace("=", " ").split()
        }
        for word in words:
            address = read_address(word.split(";")[0])
            if address is not None and address.text == trial.client:
                return "chosen"
        return "lost"

    def case(self) -> Case:
        """Return the verdicts."""
        if not self._clients:  # nothing is certain, not even that the app is not reached
            _extend(self._client_doubts, self._doubts)
            _extend(self._scheme_doubts, self._doubts)
        case = Case(tried=self.tried, honest=self._honest)
        case.client, case.client_trial = self._client()
        if case.client == "cannot-tell":
            case.client_doubts = self._client_doubts
        case.scheme, case.scheme_trial = self._scheme()
        if case.scheme == "cannot-tell":
            case.scheme_doubts = self._scheme_doubts
        return case

    def _client(self) -> tuple[Verdict, Trial | None]:
        if "chosen" in self._clients:
            return "spoofable", self._clients["chosen"]
        if self._client_doubts:
            return "cannot-tell", None
        if not self._clients:
            return "unreachable", None
        if "lost" not in self._clients:
            return "right", None
        if "right" in self._clients:
            return "right-or-lost", self._clients["lost"]
        outer = len(self._proxies) > 1 and self._lost_to <= self._proxies
        named = outer and self._clients["lost"].client != self._clients["lost"].app_peer
        return ("names-outer-proxy" if named else "lost"), self._clients["lost"]

    def _scheme(self) -> tuple[Verdict, Trial | None]:
        wrong = self._schemes.get(False)
        if wrong is not None and True in self._schemes:
            return "spoofable", wrong
        if self._scheme_doubts:
            return "cannot-tell", None
        if not self._schemes:
            return "unreachable", None
        if wrong is None:
            return "right", None
        return ("lost" if self._truth == "https" else "wrong-always"), wrong


# what was judged before: many configurations hold the same few kinds of ways
_CASES: dict[tuple[object, ...], Case] = {}


def read_text(text: str) -> str:
    """Return an address as answers write it."""
    address = read_address(text)
    return text if address is None else address.text


def _extend(known: list[Doubt], more: list[Doubt]) -> None:
    """Add doubts that are not known yet; a few of them are enough for people."""
    known.extend(doubt for doubt in more if doubt not in known and len(known) < 16)


def _unlike(ways: list[Way]) -> Iterator[Way]:
    """Yield ways of which no two do the same."""
    seen: set[tuple[object, ...]] = set()
    for way in ways:
        key = (way.steps, way.tls, way.prelude, way.sends_prelude, way.tls_out, way.layer4)
        if key not in seen:
            seen.add(key)
            yield way


def _networks_of(hops: Iterable[ProxyHop], slicer: Slicer) -> Iterator[Network]:
    """Yield every range that the hops compare addresses with, and their own addresses."""
    for hop in hops:
        yield from _peer_networks([hop.address])
        seen: set[int] = set()
        for way in hop.ways:
            if way.prelude is not None:
                yield from way.prelude.ranges.networks
            if id(way.steps) in seen:
                continue  # another listener of the same place
            seen.add(id(way.steps))
            for step in way.steps:
                if isinstance(step.op, RealIp):
                    yield from step.op.ranges.networks
            for step in way.steps:
                for test in slicer.tests_of(step):
                    if test.predicate.kind == "ranges":
                        yield from test.predicate.ranges.networks


def _peer_networks(entries: Iterable[str]) -> Iterator[Network]:
    """Yield the ranges of a policy's entries; a Unix socket has none."""
    for entry in entries:
        if not entry.startswith("unix:"):
            yield from map(parse_network, expand_preset(entry))


def _is_wide(network: Network) -> bool:
    """Return whether a range is so wide that strangers are in it."""
    if network.version == 4:
        return network.prefix <= _WIDE_V4
    # fc00::/7 is private by definition
    return network.prefix <= _WIDE_V6 and network.value >> 121 != 0x7E


def _holds(networks: Iterable[Network], text: str) -> bool:
    """Return whether an address is in one of the ranges."""
    address = parse_peer(text)
    for each in networks:
        bits = 32 if each.version == 4 else 128
        if (
            each.version == address.version
            and (address.value ^ each.value) >> (bits - each.prefix) == 0
        ):
            return True
    return False


def _outside(candidates: tuple[str, ...], networks: list[Network]) -> str:
    """Return the first address that is in none of the ranges."""
    for text in candidates:
        if not _holds(networks, text):
            return text
    for first in range(11, 223):
        text = f"{first}.77.55.{33 if candidates is _STRANGERS else 44}"
        if first != 127 and not _holds([*networks, *_PRIVATE], text):
            return text
    return candidates[0]


def _inside(network: Network, narrow: list[Network]) -> str | None:
    """Return an address in a wide range that is in no narrow one, and is not private."""
    low = network.value >> 24
    for first in range(max(low, 1), low + (1 << (8 - network.prefix))):
        text = f"{first}.66.55.44"
        if first not in (10, 127) and not _holds([*narrow, *_PRIVATE], text):
            return text
    return None
