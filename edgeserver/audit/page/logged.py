"""The section of `audit logs`: who reached the log over which proxies, and what was found.

Decides what of that report is shown, and which chains come past the outer proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from edgeserver.audit.page.blocks import (
    Cell,
    Fact,
    Mood,
    ShownFinding,
    closed_block,
    counted,
    figure_block,
    findings_block,
    table_block,
)
from edgeserver.audit.page.graph import Graph, Place, Route, share_words
from edgeserver.audit.page.markup import Markup, element
from edgeserver.audit.page.section import PageSection, count_severities
from edgeserver.audit.page.values import mapping_of, number_of, objects_of, text_of, texts_of

__all__ = ["LogPolicy", "chain_graph", "show_log"]

Chains = list[tuple[tuple[str, ...], float]]
"""Chains, outermost proxy first, and how many requests came over each."""

CAPTION: Final = (
    "Requests travel from the internet inwards; an edge is as wide as the logarithm of its share. "
    "Dashed red: past the outer proxy. A dashed box: an address that is not listed."
)

_SEVERAL: Final = ("...", "other")
"""What stands in a chain for proxies that were not counted one by one."""

_HEADLINES: Final = (
    ("forgotten-proxy", "A proxy may be missing from the trust list"),
    ("not-appending", "A proxy may pass on what clients claim"),
    ("one-client", "Nearly everybody seems to be one client"),
    ("bypass", "Strangers come past the proxies"),
    ("names-nobody", "A proxy never names a client"),
    ("spoofing", "Somebody claims to be somebody else"),
)


class LogPolicy:
    """Whom a policy lists, as its JSON names them.

    Args:
        proxies: Addresses, ranges and `unix:`.
    """

    def __init__(self, proxies: Iterable[str]) -> None:
        self._plain = frozenset(proxies)
        self._ranges = [*_ranges(self._plain)]

    def lists(self, address: str) -> bool:
        """Return whether an address is listed."""
        if address in self._plain:
            return True
        try:
            found = ipaddress.ip_network(address, strict=False)  # redacted, it is a network
        except ValueError:
            return False
        return any(found.version == each.version and found.overlaps(each) for each in self._ranges)


def _ranges(
    proxies: Iterable[str],
) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for text in proxies:
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue


def show_log(value: dict[str, Any], name: str) -> PageSection:
    """Return the section of a report of logs."""
    findings = [_finding(each) for each in objects_of(value, "findings")]
    untold = objects_of(value, "cannot_tell")
    requests = number_of(value, "log", "requests") or 0
    headline, mood = _headline(findings, untold, requests)
    chains: Chains = [
        (tuple(texts_of(each, "hops")), number_of(each, "requests") or 0.0)
        for each in objects_of(value, "chains")
    ]
    candidates = {
        text_of(each, "subject")
        for each in objects_of(value, "findings")
        if text_of(each, "code") == "forgotten-proxy"
    }
    policy = LogPolicy(texts_of(value, "policy", "proxies"))
    app = Place("this log", text_of(value, "log", "format"), kind="app")
    graph = chain_graph(chains, policy, candidates, app, "Who reached this log over which proxies")
    return PageSection(
        kind="Logs",
        name=", ".join(texts_of(value, "log", "files")[:3]) or name,
        headline=headline,
        mood=mood,
        lead=_lead(value),
        facts=(
            *count_severities(findings),
            Fact(f"{requests:,.0f}", "request" if requests == 1 else "requests"),
            *_past(chains, policy, candidates),
        ),
        parts=(
            figure_block(graph, CAPTION) if requests else Markup(""),
            findings_block(findings),
            _untold(untold),
            _suggested(value),
            _changes(value, requests),
            _chains(chains, requests),
            closed_block("Notes", table_block("", (), [[each] for each in _notes(value)])),
        ),
    )


def _headline(
    findings: list[ShownFinding], untold: list[dict[str, Any]], requests: float
) -> tuple[str, Mood]:
    if not requests:
        return "The log holds no request", "warn"
    serious = {each.code for each in findings if each.severity in ("error", "warning")}
    errors = any(each.severity == "error" for each in findings)
    for code, sentence in _HEADLINES:
        if code in serious:
            return sentence, "bad" if errors else "warn"
    if serious:
        return (
            f"{counted(len(serious), 'kind')} of oddities in this log",
            "bad" if errors else "warn",
        )
    return ("This log cannot tell everything", "warn") if untold else ("Nothing is odd", "good")


def _lead(value: dict[str, Any]) -> str:
    first, last = (_moment(number_of(value, "log", key)) for key in ("first", "last"))
    trusted = texts_of(value, "policy", "proxies")
    parts = [f"{first} to {last}" if first and last else "",
             f"format {form}" if (form := text_of(value, "log", "format")) else "",
             f"judged by a policy that trusts {', '.join(trusted[:6]) or 'nobody'}"
             f"{f' and {len(trusted) - 6} more' if len(trusted) > 6 else ''}"]  # fmt: skip
    return f"{'; '.join(filter(None, parts))}."


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return ""


# -- the graph -------------------------------------------------------------------------------------


def _is_direct(chain: tuple[str, ...], policy: LogPolicy, candidates: set[str]) -> bool:
    """Return whether a chain is a stranger alone, who is no candidate for a proxy."""
    return not chain or (
        len(chain) == 1
        and chain[0] not in candidates
        and chain[0] not in _SEVERAL
        and not policy.lists(chain[0])
    )


def _past(chains: Chains, policy: LogPolicy, candidates: set[str]) -> Iterator[Fact]:
    """Yield how many requests came past every proxy, where others came over one."""
    total = sum(count for _, count in chains)
    direct = sum(count for chain, count in chains if _is_direct(chain, policy, candidates))
    if total and 0 < direct < total:
        yield Fact(share_words(direct / total), "past the proxies", "warn")


def chain_graph(
    chains: Chains, policy: LogPolicy, candidates: set[str], app: Place, title: str
) -> Graph:
    """Return the graph of chains that were counted.

    Args:
        chains: The chains.
        policy: Who is listed.
        candidates: Addresses that are not, and may be proxies.
        app: The inner end.
        title: What is shown.
    """
    total = sum(count for _, count in chains) or 1.0
    counts: dict[tuple[str, ...], float] = {}
    for chain, count in chains:
        key = () if _is_direct(chain, policy, candidates) else chain
        counts[key] = counts.get(key, 0.0) + count
    behind: dict[str, float] = {}  # how many come to a proxy over another one
    seen: dict[str, float] = {}
    for chain, count in counts.items():
        for hop in dict.fromkeys(chain):
            seen[hop] = seen.get(hop, 0.0) + count
        for hop in dict.fromkeys(chain[1:]):
            behind[hop] = behind.get(hop, 0.0) + count
    routes = []
    for chain, count in counts.items():
        # an inner proxy that most come to over an outer one is not there for strangers
        is_past = behind.get(chain[0], 0.0) > seen[chain[0]] / 2 if chain else any(counts)
        routes.append(
            Route(
                chain,
                count / total,
                "past" if is_past else "plain",
                "past the outer proxy" if is_past else "",
            )
        )
    places = {
        hop: Place(
            hop,
            kind="proxy" if policy.lists(hop) else "others" if hop in _SEVERAL else "unlisted",
        )
        for hop in seen
    }
    stranger = Place("internet", "whoever connects", kind="stranger")
    if not routes:
        routes = [Route(())]
    return Graph(
        title=title, app=app, places=places, routes=routes, stranger=stranger, requests=total
    )


# -- tables ----------------------------------------------------------------------------------------


def _finding(each: dict[str, Any]) -> ShownFinding:
    score = number_of(each, "score")
    parts = ", ".join(
        f"{name} {part:.2f}"
        for name, part in mapping_of(each, "parts").items()
        if isinstance(part, int | float) and not isinstance(part, bool)
    )
    rows: list[tuple[str, object]] = [
        ("fix", text_of(each, "fix")),
        ("requests", f"{number_of(each, 'requests') or 0:,.0f}"),
    ]
    if score is not None:
        rows.append(("score", f"{score:.2f}{f': {parts}' if parts else ''}"))
    detail = f"{text_of(each, 'subject')}: {text_of(each, 'detail')}"
    return ShownFinding(text_of(each, "code"), text_of(each, "severity"), detail, tuple(rows))


def _untold(untold: list[dict[str, Any]]) -> Markup:
    rows: list[list[Cell | str]] = [
        [
            text_of(each, "what"),
            Cell(element("code", text_of(each, "add")) if each.get("add") else ""),
        ]
        for each in untold
    ]
    return table_block("What this log cannot tell", ("what", "add to its format"), rows)


def _suggested(value: dict[str, Any]) -> Markup:
    rows: list[list[Cell | str]] = [
        [Cell(text_of(each, "entry"), "mono"), text_of(each, "evidence")]
        for each in objects_of(value, "suggested")
    ]
    return table_block("What --trust could name", ("entry", "evidence"), rows)


def _changes(value: dict[str, Any], requests: float) -> Markup:
    found = objects_of(value, "against")
    rows: list[list[Cell | str]] = [
        [Cell(text_of(each, "before"), "mono"), Cell(text_of(each, "after"), "mono"),
         Cell(f"{number_of(each, 'requests') or 0:,.0f}", "number")]
        for each in found
    ]  # fmt: skip
    count = sum(number_of(each, "requests") or 0 for each in found)
    title = f"--against changes the client of {count:,.0f} of {requests:,.0f} requests"
    return table_block(title, ("client now", "client then", "requests"), rows)


def _chains(chains: Chains, requests: float) -> Markup:
    rows: list[list[Cell | str]] = [
        [Cell(" \u2192 ".join(("internet", *chain)), "mono"), Cell(f"{count:,.0f}", "number"),
         Cell(f"{count / (requests or 1):.2%}", "number")]
        for chain, count in chains
    ]  # fmt: skip
    return closed_block(
        f"Chains as counted ({len(rows):,})",
        table_block("", ("chain", "requests", "share"), rows),
    )


def _notes(value: dict[str, Any]) -> list[str]:
    notes = texts_of(value, "log", "notes")
    unread = number_of(value, "log", "unread") or 0
    if unread:
        lines = number_of(value, "log", "lines") or 0
        notes.append(f"{unread:,.0f} of {lines:,.0f} lines have another form")
    return notes
