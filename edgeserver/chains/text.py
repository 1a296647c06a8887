"""A report as text: the picture first, then findings with their proof and their fix.

Decides how a report is written for people, folded at a width. Everything that a configuration says
is escaped here.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator

from edgeserver.chains.curl import curl_line
from edgeserver.chains.model import ProxyHop, Way, Where
from edgeserver.chains.names import display_name
from edgeserver.chains.report import (
    DOES_WORDS,
    ChainReport,
    EntryReport,
    FieldUse,
    ReportedFinding,
)
from edgeserver.proxyheaders.explanation.render import SEVERITY_LABELS
from edgeserver.support.escape import escape

__all__ = ["render_text_report"]

MAX_SERVERS = 8
MAX_SHOWN = 40

_HEADINGS = {
    "client-spoofable": "SPOOFABLE  client",
    "scheme-spoofable": "SPOOFABLE  scheme",
    "scheme-always-wrong": "WRONG  scheme",
    "client-lost": "LOST  client",
    "client-names-proxy": "LOST  client",
    "client-hidden": "HIDDEN  client",
    "scheme-lost": "LOST  scheme",
    "cannot-tell": "CANNOT TELL",
}


def render_text_report(report: ChainReport, *, width: int = 80) -> str:
    """Return a report for people.

    Args:
        report: The report.
        width: The columns to fold at.
    """
    lines: list[str] = []
    for hop in report.hops:
        lines += _hop(hop, report.uses[hop.name], width)
    lines += _fold(_chain(report), "chain   ", width)
    for finding in report.findings[:MAX_SHOWN]:
        lines += _finding(finding, report, width)
    hidden = len(report.findings) - MAX_SHOWN + report.more_findings
    if hidden > 0:
        lines.append(f"... and {hidden} more findings: --format json shows them all")
    lines += _verdicts(report, width)
    for text, where in report.assumptions:
        place = f" ({_place(where)})" if where.file else ""
        lines += _fold(f"{text}{place}", "assumes ", width)
    lines.append(_summary(report))
    return "\n".join(lines) + "\n"


# what textwrap leaves as it is
_ONE_LINE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def _fold(text: str, head: str, width: int) -> list[str]:
    """Return a line, folded under its own beginning; words are never broken."""
    if len(head) + len(text) <= width and _ONE_LINE.fullmatch(text) is not None:
        return [head + text]
    return textwrap.wrap(
        text,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def _place(where: Where) -> str:
    """Return file and line, escaped, with the last part of the path alone."""
    shown = escape(where.file, 300)
    name = shown if shown.startswith("outer:") else shown.rsplit("/", 1)[-1]
    return f"{name}:{where.line}" if where.line else name


def _hop(hop: ProxyHop, uses: list[FieldUse], width: int) -> Iterator[str]:
    """Yield what a proxy is, and what it does to the fields that the app reads."""
    seen: dict[tuple[str, str], Way] = {}
    for way in hop.ways:
        seen.setdefault((way.label, way.listen), way)
    for number, ((label, listen), way) in enumerate(seen.items()):
        if number == MAX_SERVERS:
            yield f"        ... and {len(seen) - MAX_SERVERS} more servers"
            break
        where = (
            f"{escape(way.where.file, 300)}:{way.where.line}"
            if way.where.line
            else escape(hop.source, 300)
        )
        parts = [where]
        if listen:
            tls = " tls" if way.tls else ""
            parts.append(f"listen {escape(listen, 60)}{tls}")
        if label:
            parts.append(escape(label, 120))
        if number == 0:
            yield from _fold("  ".join([hop.kind, *parts]), f"{hop.name:<8}", width)
        else:
            yield from _fold("  ".join(parts), "        ", width)
    if not seen:
        yield f"{hop.name:<8}{hop.kind}  {escape(hop.source, 300)}  no way in passes anything on"
    counts = Counter(use.name for use in uses)
    for use in uses:
        yield from _use(use, width, alone=counts[use.name] == 1)


def _use(use: FieldUse, width: int, *, alone: bool) -> list[str]:
    """Return the line of one field; `alone` where it is the same on all ways."""
    place = _place(use.where) if use.where is not None else "nobody sets it"
    if not alone:
        paths = [*dict.fromkeys(each.path or each.label or each.listen for each in use.ways)]
        shown = ", ".join(escape(path, 60) for path in paths[:3])
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        place += f" on {shown}{more}"
    head = f"  {display_name(use.name):<18} {DOES_WORDS[use.does]:<16}"
    return _fold(place, head, width)


def _chain(report: ChainReport) -> str:
    """Return the chain on one line."""
    policy = report.policy
    trusts = ", ".join(escape(each, 60) for each in policy.proxies[:4])
    if len(policy.proxies) > 4:
        trusts += f" and {len(policy.proxies) - 4} more"
    names = " -> ".join(["stranger", *(hop.name for hop in report.hops), "app"])
    source = "" if policy.source == "x-forwarded-for" else f", reads {display_name(policy.source)}"
    return f"{names} (trusts {trusts or 'nobody'}{source})"


def _finding(finding: ReportedFinding, report: ChainReport, width: int) -> Iterator[str]:
    """Yield the lines of one finding."""
    way = finding.way
    heading = _HEADINGS.get(finding.code)
    if heading is not None:
        if finding.code == "cannot-tell":
            heading += f"  {finding.what}"
        on = []
        if way is not None and way.label:
            on.append(escape(way.label, 120))
        if way is not None and way.path:
            on.append(f"on {escape(way.path, 120)}")
        if len(report.hops) > 1 or not report.hops:
            on.append(f"for who connects to {finding.entry}")
        yield from _fold(" ".join([heading, "", *on]).rstrip(), "", width)
    place = _place(finding.where)
    text = (
        f"{finding.code} {place}: {_escaped(finding.detail)}"
        if place
        else (f"{finding.code}: {_escaped(finding.detail)}")
    )
    yield from _fold(text, f"  {SEVERITY_LABELS[finding.severity]:<5} ", width)
    trial = finding.trial
    if (
        trial is not None
        and (trial.head or trial.prelude is not None)
        and "-spoofable" in finding.code
    ):
        yield f"  try   {curl_line(trial, way if finding.entry != 'app' else None)}"
        yield from _fold(
            f"the app then takes {trial.client} for the client and believes {trial.scheme}",
            "        ",
            width,
        )
    elif trial is not None:
        yield from _fold(
            f"a client at {trial.peer} is {trial.client} for the app, by {trial.scheme}",
            "  shows ",
            width,
        )
    if finding.severity != "info":
        where = finding.fix.where
        if where is not None and where.file:
            yield f"  fix   at {_place(where)}   {finding.fix.text}"
        else:
            yield from _fold(finding.fix.text, "  fix   ", width)


def _escaped(text: str) -> str:
    """Return a sentence with what a configuration says in it."""
    return escape(text, 600)


def _verdicts(report: ChainReport, width: int) -> Iterator[str]:
    """Yield what was proved, for each place that a stranger can connect to."""
    for what in ("client", "scheme"):
        grouped: dict[str, list[EntryReport]] = {}
        for entry in report.entries:
            if entry.name == "app" and entry.client == "right" and len(report.entries) > 1:
                continue  # who is not a listed proxy is the client: nothing to say
            found = entry.client if what == "client" else entry.scheme()
            grouped.setdefault(found, []).append(entry)
        for verdict, entries in grouped.items():
            several = len(grouped) > 1 or len(report.hops) > 1
            at = f" at {', '.join(entry.name for entry in entries)}" if several else ""
            yield from _fold(_verdict(what, verdict, entries, at), f"{what}  ", width)


def _verdict(what: str, verdict: str, entries: list[EntryReport], at: str) -> str:
    """Return the sentence for entries with the same verdict."""
    found = [each for entry in entries for each in entry.ways]
    tried = sum(each.tried for each in found)
    ways = f"{len(found)} way{'s' if len(found) != 1 else ''} in, {tried} claims"
    if verdict == "right":
        right = (
            "the app names the stranger" if what == "client" else "the app believes the true scheme"
        )
        return f"proved{at}: in {ways}, {right}"
    if verdict == "cannot-tell":
        return f"cannot tell{at}: something that is not understood decides"
    if verdict == "unreachable":
        return f"nothing gets through{at}"
    wrong = sum(
        (each.client if what == "client" else each.scheme) not in ("right", "unreachable")
        for each in found
    )
    return f"{verdict}{at}: on {wrong} of {ways}"


def _summary(report: ChainReport) -> str:
    """Return the last line: how many servers have errors."""
    servers = {(hop.name, way.label, way.listen) for hop in report.hops for way in hop.ways}
    wrong = {
        (finding.hop, finding.way.label, finding.way.listen)
        for finding in report.findings
        if finding.way is not None and finding.severity == "error"
    }
    noun = "server has" if len(servers) == 1 else "servers have"
    errors = f"{len(wrong)} of {len(servers)} {noun} errors"
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    if warnings:
        errors += f", {warnings} warning{'s' if warnings != 1 else ''}"
    if not report.is_told:
        errors += "; not everything could be told"
    return errors
