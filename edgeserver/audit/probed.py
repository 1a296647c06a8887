"""What a probe showed: what the chain does to each field, and which forgeries came through.

Decides what answers prove, and what they leave open. It must not know how requests are sent, nor
how a report is written. A proxy between two others that adds nothing leaves no trace: what it does
is counted to the next one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from edgeserver.audit.probe import ProbeAnswer, ProbeOutcome, Target
from edgeserver.chains.codes import CODES
from edgeserver.chains.names import display_name
from edgeserver.chains.observed import does_to
from edgeserver.chains.report import Does
from edgeserver.proxyheaders.addresses import UnusableClaim, parse_address

__all__ = ["PROBE_CODES", "Effect", "FieldSeen", "ProbeFinding", "ProbeReport", "ProxySeen",
           "judge_probe", "probe_as_dict"]  # fmt: skip

EffectKind = Literal["client", "scheme", "hidden", "arrived", "nothing", "refused"]

PROBE_CODES = (
    "client-spoofable",
    "scheme-spoofable",
    "scheme-always-wrong",
    "proxy-not-listed",
    "client-lost",
    "client-names-proxy",
    "client-hidden",
    "scheme-lost",
    "cannot-tell",
    "note",
)
"""The findings of a probe, of those of an audit of configurations."""


class FieldSeen(NamedTuple):
    """What the whole chain does to one field.

    Args:
        name: The lower-case field.
        does: As the model has it; `?` where that cannot be told.
        honest: What arrives where nothing is sent; None for nothing.
        sent: What was sent.
        arrived: What arrived then.
    """

    name: str
    does: Does
    honest: str | None
    sent: str
    arrived: str | None


class ProxySeen(NamedTuple):
    """One proxy that can be seen from outside.

    Args:
        address: As the next one sees it.
        did: What it did to the list that names the client.
    """

    address: str
    did: str


class Effect(NamedTuple):
    """What one forgery did.

    Args:
        outcome: What was sent, and what came back.
        kind: `client` or `scheme` where the application believed it, `hidden` where it took
            somebody else for the client, `arrived` where it saw it and did not believe it,
            `nothing`, or `refused` where no proved answer came.
    """

    outcome: ProbeOutcome
    kind: EffectKind


class ProbeFinding(NamedTuple):
    """One finding.

    Args:
        code: One of `PROBE_CODES`.
        detail: What was seen.
        fix: What to do about it.
        effect: The forgery that shows it.
    """

    code: str
    detail: str
    fix: str
    effect: Effect | None = None

    @property
    def severity(self) -> str:
        """`error`, `warning` or `info`."""
        return CODES[self.code].severity


@dataclass
class ProbeReport:
    """All that a probe showed.

    Args:
        target: What was probed.
        address: Where.
        honest: What arrived of the honest request.
        me: The prober's own address, as the chain names it.
        knows_me: Whether that is known, and not concluded.
        requests: How many requests were sent.
        client: The verdict on the client.
        scheme: The verdict on the scheme.
        proxies: The proxies that were seen, outermost first.
        fields: What became of each field.
        effects: What each forgery did.
        findings: What was found.
    """

    target: Target
    address: str
    honest: ProbeAnswer
    me: str
    knows_me: bool
    requests: int
    client: str = "right"
    scheme: str = "right"
    proxies: list[ProxySeen] = field(default_factory=list)
    fields: list[FieldSeen] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    findings: list[ProbeFinding] = field(default_factory=list)


def judge_probe(
    target: Target, address: str, outcomes: Sequence[ProbeOutcome], *, local: str, me: str | None
) -> ProbeReport:
    """Return what the outcomes of a probe show.

    Args:
        target: What was probed.
        address: Where.
        outcomes: The first is honest and was answered.
        local: The address that the requests were sent from.
        me: The prober's address as the chain sees it, where somebody says it.
    """
    honest = outcomes[0].answer
    assert honest is not None, "a probe without an answer is not judged"
    forged = [each for each in outcomes[1:] if each.forgery.kind != "honest"]
    effects = [Effect(each, _effect(each, honest)) for each in forged]
    entries = _entries(honest, honest.source)
    known = _plain(me or local)
    knows_me = me is not None or _is_seen(local, address, named=known in entries)
    if not knows_me and entries and not _is_passed(effects, honest.source):
        known = entries[0]  # this machine behind NAT, presumably
    report = ProbeReport(target, address, honest, known, knows_me, len(outcomes))
    report.effects = effects
    report.fields = [*_fields(report)]
    report.proxies = _proxies(report, entries)
    _judge_client(report, entries)
    _judge_scheme(report)
    _judge_end(report, outcomes[-1])
    _note_others(report)
    order = [*PROBE_CODES]
    report.findings.sort(key=lambda each: order.index(each.code))
    return report


def _is_seen(local: str, address: str, *, named: bool) -> bool:
    """Return whether a machine is seen by the address that it sends from: no NAT is between.

    A private address that stands in the list is one's own only if the chain is in the same
    network: many networks have the same private addresses.

    Args:
        local: The address that was sent from.
        address: The one that was sent to.
        named: Whether the list holds the former.
    """
    try:
        sender, receiver = ipaddress.ip_address(local), ipaddress.ip_address(address)
    except ValueError:
        return False
    if sender.is_global or (sender.is_loopback and receiver.is_loopback):
        return True
    return named and receiver.is_private


def _is_passed(effects: Sequence[Effect], source: str) -> bool:
    """Return whether a forged list was believed: then it is a proxy that stands right of it."""
    return any(
        each.kind == "client" and each.outcome.forgery[:2] == (source, "forged") for each in effects
    )


def _plain(text: str) -> str:
    """Return an address as answers write it; other texts as they are."""
    try:
        return parse_address(text.encode("latin-1", "replace")).text
    except UnusableClaim:
        return text


def _entries(answer: ProbeAnswer, source: str) -> list[str]:
    """Return the entries of the list that names the client, the leftmost first."""
    value = answer.value(source)
    if not value:
        return []
    parts = [part.strip(" \t") for part in value.split(",")]
    if source == "forwarded":
        named = [
            pair.partition("=")[2].strip(' "')
            for part in parts
            for pair in part.split(";")
            if pair.strip().lower().startswith("for=")
        ]
        return [_plain(text) for text in named]
    return [_plain(part) for part in parts]


def _effect(outcome: ProbeOutcome, honest: ProbeAnswer) -> EffectKind:
    """Return what one request did."""
    answer, forgery = outcome.answer, outcome.forgery
    if answer is None:
        return "refused"
    if answer.client != honest.client:
        return "client" if answer.client in forgery.addresses else "hidden"
    if answer.scheme != honest.scheme:
        return "scheme"
    sent = {(name.lower().replace("_", "-"), value.split(",")[0].strip())
            for name, value in forgery.lines if value}  # fmt: skip
    return "arrived" if sent & (_parts(answer) - _parts(honest)) else "nothing"


def _parts(answer: ProbeAnswer) -> set[tuple[str, str]]:
    """Return every element of every field that has arrived, with the name that CGI gives it."""
    return {
        (name.replace("_", "-"), part.strip())
        for name, value in answer.head
        for part in value.split(",")
    }


def _fields(report: ProbeReport) -> Iterator[FieldSeen]:
    """Yield what became of each field that was forged, those first that the app reads."""
    honest = report.honest
    seen: set[str] = set()
    for kinds in (("forged",), ("together",)):
        for effect in report.effects:
            forgery, answer = effect.outcome.forgery, effect.outcome.answer
            if forgery.kind not in kinds or answer is None:
                continue
            for name, value in forgery.lines:
                lower = name.lower()
                if lower not in seen:
                    seen.add(lower)
                    before, after = honest.value(lower), answer.value(lower)
                    yield FieldSeen(lower, does_to(before, value, after), before, value, after)


def _proxies(report: ProbeReport, entries: list[str]) -> list[ProxySeen]:
    """Return the proxies that the honest list and the peer show, and what they did to it."""
    honest = report.honest
    peer = _plain(honest.peer)
    if not entries and peer == report.me:
        return []  # nobody stands between
    named = bool(entries) and entries[0] == report.me
    addresses = [*(entries[1:] if named else entries), peer]
    does = next((each.does for each in report.fields if each.name == honest.source), "?")
    if honest.source not in ("x-forwarded-for", "forwarded"):
        words = {"overwrite": "sets it anew", "pass": "passes on what is sent"}
        return [ProxySeen(peer, words.get(does, "cannot tell"))]
    did = []
    for number, address in enumerate(addresses):
        if number:
            # who stands behind a proxy that the list names is who named it
            text = "appends the proxy before it"
            if number == 1 and not named and does == "overwrite":
                text = "replaces the list by the proxy before it"
        elif named:
            text = {
                "append": "appends you to what is sent",
                "overwrite": "names you, and drops what is sent",
                "if-absent": "names you, unless something is sent",
            }.get(does, "cannot tell")
        elif entries:
            text = "adds nothing, and passes on what is sent" if does == "append" else "cannot tell"
        else:
            text = {"pass": "adds nothing, and passes on what is sent", "strip": "drops what is "
                    "sent, and names nobody"}.get(does, "cannot tell")  # fmt: skip
        did.append(ProxySeen(address, text))
    return did


# -- verdicts --------------------------------------------------------------------------------------


def _find(report: ProbeReport, code: str, detail: str, effect: Effect | None = None,
          fix: str = "") -> None:  # fmt: skip
    report.findings.append(ProbeFinding(code, detail, fix or CODES[code].fix, effect))


def _judge_client(report: ProbeReport, entries: list[str]) -> None:
    """Add what the answers show of the client."""
    honest, me = report.honest, report.me
    came = next((each for each in report.effects if each.kind == "client"), None)
    hidden = next((each for each in report.effects if each.kind == "hidden"), None)
    client = _plain(honest.client)
    if came is not None:
        assert came.outcome.answer is not None
        report.client = "spoofable"
        detail = f"with {came.outcome.forgery.title} the app takes {came.outcome.answer.client} "
        _find(report, "client-spoofable", f"{detail}for the client", came)
    named = _named_by(client, entries, _plain(honest.peer))
    if named is not None:
        _judged(report, "names-outer-proxy")
        _find(
            report,
            "proxy-not-listed",
            f"{client} is taken for the client, and it is a proxy: it named {named}, and nothing "
            "was sent",
            fix=f"add {client} to --trust",
        )
    elif _plain(honest.peer) == me:
        # nobody stands between, or a proxy on this very machine
        _judged(report, "cannot-tell")
        _find(report, "cannot-tell", "the app's peer has this machine's own address: nothing "
              "stands between, or a proxy on this machine", fix="probe from another machine, or "
              "from another address of this one with --bind")  # fmt: skip
    elif not report.knows_me:
        if came is not None:
            return
        _judged(report, "cannot-tell")
        _find(report, "cannot-tell", f"the app takes {client} for the client, which is not the "
              "address that this machine sent from", fix="say with --from which address your "
              "requests come from")  # fmt: skip
    elif client != me:
        is_proxy = bool(entries) and any(each.address == client for each in report.proxies)
        _judged(report, "names-outer-proxy" if is_proxy else "lost")
        code = "client-names-proxy" if is_proxy else "client-lost"
        detail = f"an honest request from {me} has {client} for its client"
        if entries[:1] == [client]:
            detail += ": it does not say who connects to it"
        who = f"have {client} append its peer to {display_name(honest.source)}, or set it anew"
        _find(report, code, detail, fix=who if is_proxy else "")
    if hidden is not None:
        assert hidden.outcome.answer is not None
        _judged(report, "right-or-lost")
        other = hidden.outcome.answer.client
        _find(report, "client-hidden", f"with {hidden.outcome.forgery.title} the app takes {other} "
              "for the client", hidden)  # fmt: skip


def _named_by(client: str, entries: list[str], peer: str) -> str | None:
    """Return whom the application's client has named itself, if that is so.

    Nothing was sent, so whoever stands in the list was named by the proxy to the right of it.
    """
    chain = [*entries, peer]
    at = chain.index(client) if client in chain else 0
    if not at:
        return None
    try:
        return parse_address(chain[at - 1].encode("latin-1", "replace")).text
    except UnusableClaim:
        return None


def _judged(report: ProbeReport, verdict: str) -> None:
    """Set the verdict on the client, unless a worse one stands."""
    if report.client in ("right", "cannot-tell"):
        report.client = verdict


def _judge_scheme(report: ProbeReport) -> None:
    """Add what the answers show of the scheme."""
    honest, truth = report.honest, report.target.scheme
    came = next(
        (
            each
            for each in report.effects
            if each.outcome.answer is not None and each.outcome.answer.scheme != honest.scheme
        ),
        None,
    )
    if came is not None:
        assert came.outcome.answer is not None
        report.scheme = "spoofable"
        detail = f"with {came.outcome.forgery.title} the app believes {came.outcome.answer.scheme}"
        _find(report, "scheme-spoofable", f"{detail}, and without {honest.scheme}", came)
    elif honest.scheme != truth:
        report.scheme = "lost" if truth == "https" else "wrong-always"
        code = "scheme-lost" if truth == "https" else "scheme-always-wrong"
        _find(report, code, f"the request came by {truth}, and the app believes {honest.scheme}")


def _judge_end(report: ProbeReport, last: ProbeOutcome) -> None:
    """Add what keeps refusals, or answers that changed by themselves, from being held for good."""
    honest, answer = report.honest, last.answer
    if answer is None:
        refused = sum(each.kind == "refused" for each in report.effects)
        detail = (
            f"the last request, an honest one, was not answered ({last.note}), so nothing follows "
            f"from {refused} refusals"
        )
        fix = "wait until nothing limits you any more, and probe again"
    elif (answer.client, answer.scheme) != (honest.client, honest.scheme):
        detail = "two honest requests have different clients or schemes: there are several chains"
        fix = "probe each of them, by its own address"
    else:
        return
    for name in ("client", "scheme"):
        if getattr(report, name) == "right":
            setattr(report, name, "cannot-tell")
    _find(report, "cannot-tell", detail, fix=fix)


def _note_others(report: ProbeReport) -> None:
    """Add what this app does not believe, and another program behind the chain might."""
    read = {report.honest.source, report.honest.proto}
    passed = [each.name for each in report.fields if each.does == "pass" and each.name not in read]
    if passed:
        names = ", ".join(map(display_name, passed[:2]))
        more = f" and {len(passed) - 2} more fields" if len(passed) > 2 else ""
        _find(
            report,
            "note",
            f"passed on as sent, and not read by this app: {names}{more}",
            fix="remove them at the edge if another program behind reads one")  # fmt: skip
    under = next((each for each in report.effects if each.outcome.forgery.kind == "underscores"
                  and each.kind == "arrived"), None)  # fmt: skip
    if under is not None:
        _find(report, "note", "names with underscores come through, which CGI and WSGI take for "
              "those with hyphens; this server does not", under,
              fix="remove them at the edge if another program behind reads them")  # fmt: skip


# -- JSON ------------------------------------------------------------------------------------------


def probe_as_dict(report: ProbeReport, *, exit_code: int) -> dict[str, Any]:
    """Return a report as JSON values; names are added in later versions, never changed.

    Args:
        report: The report; all its texts are printable ASCII.
        exit_code: The code that the command ends with.
    """
    return {
        "version": 1,
        "kind": "edgeserver-probe",
        "exit": exit_code,
        "url": report.target.url,
        "address": report.address,
        "requests": report.requests,
        "from": {"address": report.me, "known": report.knows_me},
        "app": {
            "peer": report.honest.peer,
            "source": report.honest.source,
            "proto": report.honest.proto,
            "policy": report.honest.policy,
            "host": report.honest.host,
            "client": report.honest.client,
            "scheme": report.honest.scheme,
        },
        "client": report.client,
        "scheme": report.scheme,
        "proxies": [each._asdict() for each in report.proxies],
        "fields": [each._asdict() for each in report.fields],
        "findings": [
            {
                "code": each.code,
                "severity": each.severity,
                "detail": each.detail,
                "fix": each.fix,
                "sent": None if each.effect is None else _sent(each.effect),
            }
            for each in report.findings
        ],
        "forgeries": [
            {
                "field": each.outcome.forgery.field or None,
                "kind": each.outcome.forgery.kind,
                "sent": _sent(each),
                "effect": each.kind,
                "status": each.outcome.status or None,
                "note": each.outcome.note or None,
                "arrived": None if (answer := each.outcome.answer) is None else {
                    "head": [list(pair) for pair in answer.head],
                    "client": answer.client,
                    "scheme": answer.scheme,
                },
            }
            for each in report.effects
        ],
    }  # fmt: skip


def _sent(effect: Effect) -> dict[str, Any]:
    forgery = effect.outcome.forgery
    return {
        "lines": [list(line) for line in forgery.lines],
        "connection": forgery.nominated or None,
        "prelude": forgery.prelude.decode("ascii").rstrip() or None,
    }
