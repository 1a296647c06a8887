"""The report on a chain: what each proxy does, the verdicts, and findings with their proof.

Decides which findings verdicts become, which line is to blame and what is said of it. It must not
know how a report is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from edgeserver.chains.claims import Head
from edgeserver.chains.codes import CODES
from edgeserver.chains.evaluate import Doubt, Oracle, Request, Scope, run_way
from edgeserver.chains.fixes import fix_line, keep_out_line
from edgeserver.chains.judge import Case, Entry, Judge, Trial, Verdict, worst_client, worst_scheme
from edgeserver.chains.model import (
    Connection,
    ProxyHop,
    RealIp,
    Refuse,
    Step,
    Test,
    Way,
    Where,
)
from edgeserver.chains.names import display_name, url_path
from edgeserver.chains.slicing import unknowns_of
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.networks import Network, render_network

__all__ = [
    "DOES_WORDS",
    "ChainReport",
    "Does",
    "EntryReport",
    "FieldUse",
    "Fix",
    "ReportedFinding",
    "WayReport",
    "make_report",
]

Does = Literal["append", "overwrite", "pass", "if-absent", "strip", "?"]
What = Literal["client", "scheme"]

DOES_WORDS: Final[dict[str, str]] = {
    "append": "appended",
    "overwrite": "set anew",
    "pass": "passed through",
    "if-absent": "set if absent",
    "strip": "removed",
    "?": "cannot tell",
}
"""What a proxy does to a field, in words."""

MAX_FINDINGS = 500


class FieldUse(NamedTuple):
    """What a proxy does to a field, on some of its ways.

    Args:
        name: The field.
        does: `append`, `overwrite`, `pass`, `if-absent`, `strip`, or `?` where that is not told.
        where: The line that does it; None where none does.
        ways: The ways on which it is so.
    """

    name: str
    does: Does
    where: Where | None
    ways: tuple[Way, ...]


class Fix(NamedTuple):
    """A line to paste, and where; without a place, words."""

    text: str
    where: Where | None


@dataclass(frozen=True)
class ReportedFinding:
    """One finding.

    Args:
        code: A key of `CODES`.
        what: `client` or `scheme`; empty where neither is meant.
        entry: The name of what the stranger connects to.
        hop: The proxy that is to blame; empty for the chain.
        way: The way in; None for the chain.
        where: The line that is to blame.
        detail: What is wrong, in a sentence; not escaped.
        fix: What to do.
        trial: The request that proves it, as it was replayed; None where there is none.
        doubts: What was not understood.
    """

    code: str
    what: str
    entry: str
    hop: str
    way: Way | None
    where: Where
    detail: str
    fix: Fix
    trial: Trial | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def severity(self) -> str:
        """`error`, `warning` or `info`."""
        return CODES[self.code].severity


@dataclass
class WayReport:
    """The verdicts on one way in."""

    way: Way | None
    tls: bool
    client: Verdict
    scheme: Verdict
    tried: int


@dataclass
class EntryReport:
    """The verdicts on strangers who connect to one place.

    Args:
        name: `edge`, another hop's name, or `app`.
        ways: The ways in.
    """

    name: str
    ways: list[WayReport] = field(default_factory=list)

    @property
    def client(self) -> Verdict:
        """The verdict on the client."""
        return worst_client(each.client for each in self.ways)

    def scheme(self, *, tls: bool | None = None) -> Verdict:
        """The verdict on the scheme: of all, or of those who come by TLS, or without."""
        return worst_scheme(each.scheme for each in self.ways if tls in (None, each.tls))


@dataclass
class ChainReport:
    """All that is said of a chain."""

    hops: tuple[ProxyHop, ...]
    policy: TrustPolicy
    entries: list[EntryReport]
    findings: list[ReportedFinding]
    uses: dict[str, list[FieldUse]]
    assumptions: list[tuple[str, Where]]
    strangers: tuple[str, ...]
    more_findings: int = 0

    @property
    def is_told(self) -> bool:
        """Whether everything could be told."""
        return all(finding.code != "cannot-tell" for finding in self.findings)


def make_report(
    hops: Sequence[ProxyHop],
    policy: TrustPolicy,
    *,
    reachable: Sequence[int],
    lan: Sequence[Network] = (),
) -> ChainReport:
    """Judge a chain, and say what follows.

    Args:
        hops: The proxies, outermost first, with names and addresses.
        policy: What the app believes.
        reachable: Which hops a stranger can connect to; the number of hops is the app.
        lan: Ranges in which strangers are, too.
    """
    judge = Judge(hops, policy, lan=lan)
    maker = _Maker(judge)
    entries = [maker.entry(first) for first in reachable]
    maker.policy_findings()
    kept = sorted(
        maker.findings.values(),
        key=lambda each: ("error", "warning", "info").index(each.severity),
    )
    return ChainReport(
        hops=tuple(hops),
        policy=policy,
        entries=entries,
        findings=kept[:MAX_FINDINGS],
        uses={hop.name: [*maker.uses(hop)] for hop in hops},
        assumptions=[*_assumptions(judge)],
        strangers=tuple(judge.strangers),
        more_findings=max(0, len(kept) - MAX_FINDINGS),
    )


_CLIENT_CODES: dict[str, str] = {
    "spoofable": "client-spoofable",
    "lost": "client-lost",
    "names-outer-proxy": "client-names-proxy",
    "right-or-lost": "client-hidden",
    "cannot-tell": "cannot-tell",
}
_SCHEME_CODES: dict[str, str] = {
    "spoofable": "scheme-spoofable",
    "wrong-always": "scheme-always-wrong",
    "lost": "scheme-lost",
    "cannot-tell": "cannot-tell",
}


class _Maker:
    """Collects findings, each once for its code and place."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._hops = judge.hops
        self._policy = judge.policy
        self._reported: set[tuple[object, ...]] = set()
        self._done: dict[tuple[int, str, str], tuple[Does, Where | None]] = {}
        self.findings: dict[tuple[object, ...], ReportedFinding] = {}

    def entry(self, first: int) -> EntryReport:
        """Return the verdicts on strangers who connect to a hop, or to the app."""
        name = self._hops[first].name if first < len(self._hops) else "app"
        report = EntryReport(name)
        places: dict[tuple[int, bool], WayReport] = {}
        for entry in self._judge.entries(first):
            way = entry.ways[0] if entry.ways else None
            case = entry.case
            key = (id(way), entry.tls)
            known = places.get(key)
            if known is None:
                known = places[key] = WayReport(
                    way, entry.tls, case.client, case.scheme, case.tried
                )
                report.ways.append(known)
            else:
                known.client = worst_client((known.client, case.client))
                known.scheme = worst_scheme((known.scheme, case.scheme))
                known.tried += case.tried
            self._find(name, entry, case)
        reached = any(each.client != "unreachable" for each in report.ways)
        if report.ways and not reached:
            self._unreachable(name, first)
        return report

    def _unreachable(self, name: str, first: int) -> None:
        """Report that nothing gets through at all."""
        hop = self._hops[first] if first < len(self._hops) else None
        where = hop.ways[0].where if hop is not None and hop.ways else Where("")
        self._add(
            "nothing-gets-through",
            "",
            name,
            hop,
            None,
            where,
            CODES["nothing-gets-through"].meaning,
        )

    def _find(self, name: str, entry: Entry, case: Case) -> None:
        """Add the findings of one combination of ways."""
        code = _CLIENT_CODES.get(case.client)
        if code is not None:
            self._judged(code, "client", name, entry, case.client_trial, case.client_doubts)
        code = _SCHEME_CODES.get(case.scheme)
        # where nothing tells who the client is, the rest is said by that finding
        if code is not None:
            self._judged(code, "scheme", name, entry, case.scheme_trial, case.scheme_doubts)

    def _judged(
        self,
        code: str,
        what: What,
        name: str,
        entry: Entry,
        trial: Trial | None,
        doubts: list[Doubt],
    ) -> None:
        """Add one finding, with the line to blame; its proof is replayed first."""
        # one finding for all listeners of a place
        place = (code, what, entry.first, tuple(way.where for way in entry.ways))
        if place in self._reported:
            return
        self._reported.add(place)
        if code == "cannot-tell":
            self._doubtful(what, name, entry, doubts)
            return
        replayed = self._judge.replay(entry, trial, what) if trial is not None else None
        if replayed is None:
            self._doubtful(what, name, entry, [Doubt("a request that did not replay", Where(""))])
            return
        wanted = self._policy.source if what == "client" else self._policy.proto
        if self._policy.source == "forwarded":
            wanted = "forwarded"
        at, way, step = self._blame(entry, replayed, wanted or "", code)
        hop = self._hops[entry.first + at] if entry.ways else None
        where = step.where if step is not None else (way.where if way is not None else Where(""))
        detail, where = _explain(code, what, wanted or "", way, step, where, replayed)
        fix = self._fix(code, wanted or "", hop, way, step, entry.first + at)
        unlisted = self._unlisted(replayed) if way is not None else None
        if code == "client-names-proxy" and way is not None and unlisted is not None:
            does, _ = self._does(way, wanted or "")
            if does == "append":  # the line is right: what it appends to is not walked through
                detail = (
                    f"the app's policy does not list {unlisted.name} ({unlisted.address}), so it "
                    f"looks no further than what {display_name(wanted or '')} says of it"
                )
                fix = Fix(f"--trust {unlisted.address}", None)
        self._add(code, what, name, hop, way, where, detail, fix=fix, trial=replayed)

    def _unlisted(self, trial: Trial) -> ProxyHop | None:
        """Return the proxy that the app takes for the client because no policy names it."""
        return next(
            (
                hop
                for hop in self._hops
                if hop.address == trial.client and not self._policy.trusts(hop.address)
            ),
            None,
        )

    def _doubtful(self, what: What, name: str, entry: Entry, doubts: list[Doubt]) -> None:
        """Add the finding that something was not understood."""
        hop = self._hops[entry.first] if entry.ways else None
        way = entry.ways[0] if entry.ways else None
        doubts = _placed(doubts, entry.ways)
        where = next((each.where for each in doubts if each.where.file), None)
        where = where or (way.where if way is not None else Where(""))
        words = "; ".join(dict.fromkeys(each.text for each in doubts[:3]))
        detail = f"whether a stranger chooses the {what} depends on what is not understood: {words}"
        self._add("cannot-tell", what, name, hop, way, where, detail, doubts=tuple(doubts))

    def _blame(
        self, entry: Entry, trial: Trial, wanted: str, code: str
    ) -> tuple[int, Way | None, Step | None]:
        """Return the hop, way and step to blame: who let a claim in, else who wrote last."""
        if not entry.ways:
            return 0, None, None
        if code.endswith("-spoofable"):
            for at, way in enumerate(entry.ways):
                if self._does(way, wanted)[0] in ("pass", "if-absent"):
                    return at, way, trial.writers[at].get(wanted)
        for at in range(len(entry.ways) - 1, -1, -1):
            step = trial.writers[at].get(wanted)
            if step is not None:
                return at, entry.ways[at], step
        return 0, entry.ways[0], None

    def _fix(
        self,
        code: str,
        wanted: str,
        hop: ProxyHop | None,
        way: Way | None,
        step: Step | None,
        at: int,
    ) -> Fix:
        """Return the line to paste, where the product is known to need one."""
        line = None
        if hop is not None and at and code == "scheme-spoofable":
            outer = self._hops[at - 1].address
            line = keep_out_line(hop.kind, outer)
            if line is None:
                return Fix(f"let none but {outer} connect to {hop.name}", None)
        elif hop is not None:
            line = fix_line(hop.kind, wanted, code, outermost=at == 0)
        if line is None or way is None:
            return Fix(CODES[code].fix, None)
        return Fix(line, step.where if step is not None else way.paste)

    def policy_findings(self) -> None:
        """Add the findings that need no request: unlisted proxies, ranges that hold everybody."""
        for hop in self._hops:
            if hop.ways and not self._policy.trusts(hop.address):
                detail = f"the app's policy does not list {hop.name} ({hop.address})"
                fix = Fix(f"--trust {hop.address}", None)
                self._add(
                    "proxy-not-listed", "", hop.name, hop, None, Where(hop.source), detail, fix=fix
                )
            for way in hop.ways:
                for step in way.steps:
                    if isinstance(step.op, RealIp) and any(
                        not network.prefix for network in step.op.ranges.networks
                    ):
                        name = display_name(step.op.field) if step.op.field else "the PROXY prelude"
                        detail = f"{hop.name} believes {name} of every address"
                        self._add("everyone-believed", "", hop.name, hop, None, step.where, detail)
            for note in hop.skipped:
                if note.field:
                    detail = f"{display_name(note.field)}: {note.text}"
                    self._add("note", "", hop.name, hop, None, note.where, detail)

    def _add(
        self,
        code: str,
        what: str,
        entry: str,
        hop: ProxyHop | None,
        way: Way | None,
        where: Where,
        detail: str,
        *,
        fix: Fix | None = None,
        trial: Trial | None = None,
        doubts: tuple[Doubt, ...] = (),
    ) -> None:
        """Add a finding, unless one of its kind points at the same line."""
        place = way.where if way is not None and code != "cannot-tell" else None
        key = (code, what, hop.name if hop is not None else "", where, place)
        self.findings.setdefault(
            key,
            ReportedFinding(
                code=code,
                what=what,
                entry=entry,
                hop=hop.name if hop is not None else "",
                way=way,
                where=where,
                detail=detail,
                fix=fix or Fix(CODES[code].fix, None),
                trial=trial,
                doubts=doubts,
            ),
        )

    # -- what each proxy does ------------------------------------------------------------------

    def uses(self, hop: ProxyHop) -> Iterator[FieldUse]:
        """Yield what a proxy does to the fields that the app reads."""
        names = [self._policy.source]
        if self._policy.source != "forwarded" and self._policy.proto:
            names.append(self._policy.proto)
        for name in names:
            grouped: dict[tuple[Does, Where | None], list[Way]] = {}
            for way in hop.ways:
                does, where = self._does(way, name)
                grouped.setdefault((does, where), []).append(way)
            for (does, where), ways in grouped.items():
                yield FieldUse(name, does, where, tuple(ways))

    def _does(self, way: Way, name: str) -> tuple[Does, Where | None]:
        """Return what a way does to a field, from memory where it was asked before."""
        cut = self._judge.slice_of(way, name)
        key = (id(cut), name, way.path if self._judge.asks_path(cut) else "")
        known = self._done.get(key)
        if known is None:
            known = self._done[key] = self._try(cut, way.path, name)
        return known

    def _try(self, cut: Way, path: str, name: str) -> tuple[Does, Where | None]:
        """Return what becomes of a field that a stranger sends, and of one that he does not."""
        stranger, forged = self._judge.strangers[0], self._judge.forged
        claim = "http" if cut.tls else "https"
        value = {"forwarded": f"for={forged};proto={claim}"}.get(name, forged)
        if name == self._policy.proto:
            value = claim
        results: list[tuple[str, ...]] = []
        where: Where | None = None
        claims: Head = {name: (value,), "cf-connecting-ip": (value,)}
        for head in ({}, claims):
            lines, step, doubtful = self._probe(cut, path, name, stranger, head)
            if doubtful or lines is None:
                return "?", step.where if step is not None else where
            results.append(lines)
            where = step.where if step is not None else where
        empty, claimed = (",".join(lines) for lines in results)
        if claimed == value:
            return ("pass" if not empty else "if-absent"), where
        if not claimed:
            return "strip", where
        if value in (element.strip() for element in claimed.split(",")):
            return "append", where
        return ("overwrite" if claimed == empty else "?"), where

    def _probe(
        self, way: Way, path: str, name: str, stranger: str, head: Head
    ) -> tuple[tuple[str, ...] | None, Step | None, bool]:
        """Return a field's lines behind a way, who wrote them, and whether that is in doubt."""
        full = {":path": (url_path(path),), ":host": ("app.example",), ":method": ("GET",)}
        rule = way.prelude
        prelude = stranger if rule is not None and rule.ranges.networks else None
        request = Request(stranger, way.tls, {**full, **head}, prelude)
        oracle = Oracle([], Scope(self._judge.forged, (name,), exact=True))
        passed = run_way(way, request, oracle)
        if passed is None and prelude is not None:
            oracle = Oracle([], Scope(self._judge.forged, (name,), exact=True))
            passed = run_way(way, request._replace(prelude=None), oracle)
        if passed is None:
            return None, None, False
        return passed.head.get(name, ()), passed.writers.get(name), bool(oracle.doubts)


def _explain(
    code: str,
    what: What,
    wanted: str,
    way: Way | None,
    step: Step | None,
    where: Where,
    trial: Trial,
) -> tuple[str, Where]:
    """Return the sentence that says why, and the line that it is about."""
    shown = display_name(wanted)
    if way is None:
        return "the app takes what it gets from whoever connects", where
    if step is None:
        note = next((each for each in way.notes if each.field == wanted), None)
        if note is not None:
            return note.text, note.where
        if way.layer4 and not way.sends_prelude:
            return f"bytes are passed on unread, so {shown} is whatever a client sends", where
        if code.endswith("-spoofable"):
            return f"nobody sets {shown} here, so what a client sends is passed on", where
        return f"nobody sets {shown} here", where
    if code.endswith("-spoofable"):
        if trial.prelude is not None and trial.client == trial.prelude and what == "client":
            return f"{shown} is set here from a PROXY prelude that anybody may send", where
        return f"{shown} is set here to what the sender of the request chose", where
    if code == "scheme-always-wrong":
        return f"{shown} is set here to https for a plain connection", where
    if code in ("client-names-proxy", "scheme-lost"):
        return f"{shown} is replaced here, and what the proxy in front said is lost", where
    if code == "client-hidden":
        return f"what a client sends in {shown} can keep it from naming the client", where
    return f"{shown} does not name the client behind this line", where


def _placed(doubts: list[Doubt], ways: Sequence[Way]) -> list[Doubt]:
    """Return doubts with their places on these ways; ways that are alike share what was found."""
    places: dict[str, Where] = {}
    files: set[str] = set()
    for way in ways:
        files.update(step.where.file for step in way.steps)
        for text, where in unknowns_of(way.steps):
            places.setdefault(text, where)
    return [
        doubt._replace(where=places.get(doubt.text) or doubt.where)
        if doubt.text in places or doubt.where.file in files
        else doubt._replace(where=Where(""))
        for doubt in doubts
    ]


def _deciding(judge: Judge, way: Way) -> Iterator[Test]:
    """Yield the tests of who connects that decide what a field which the app reads is set to."""
    names = {judge.policy.source, judge.policy.proto or judge.policy.source}
    for name in sorted(names):
        for step in judge.slice_of(way, name).steps:
            if not isinstance(step.op, Refuse):
                for test in judge.slicer.tests_of(step):
                    if isinstance(test.value, Connection):
                        yield test


def _assumptions(judge: Judge) -> Iterator[tuple[str, Where]]:
    """Yield what is taken for granted: that none but proxies connect from the ranges believed."""
    seen: set[str] = set()
    for hop in judge.hops:
        for way in hop.ways:
            places: list[tuple[Network, Where]] = []
            if way.prelude is not None:
                places += [(each, way.prelude.where) for each in way.prelude.ranges.networks]
            for step in way.steps:
                if isinstance(step.op, RealIp):
                    places += [(each, step.where) for each in step.op.ranges.networks]
            for test in _deciding(judge, way):
                places += [(each, test.where) for each in test.predicate.ranges.networks]
            for network, where in places:
                text = render_network(network)
                if network.prefix and text not in seen and len(seen) < 20:
                    seen.add(text)
                    yield f"none but proxies connect from {text}", where
    sends = [way for hop in judge.hops[-1:] for way in hop.ways if way.sends_prelude]
    if sends:
        yield "the app's listener reads the PROXY prelude", sends[0].where
