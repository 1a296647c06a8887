"""What a probe saw of a chain, beside what its configurations say.

Decides where the two differ. It must not know how a probe works: it is handed the JSON that
`edgeserver audit probe --save` has written.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from edgeserver.chains.claims import Head
from edgeserver.chains.evaluate import Oracle, Request, Scope, run_way
from edgeserver.chains.model import HOST, METHOD, PATH, ProxyHop, Way, Where
from edgeserver.chains.names import display_name
from edgeserver.chains.report import DOES_WORDS, ChainReport, Does, Fix, ReportedFinding

__all__ = ["Observed", "ObservedError", "compare_chain", "does_to", "parse_observed"]

MAX_OBSERVED_BYTES = 4 * 1024 * 1024
MAX_COMBINATIONS = 500

_SEEN: dict[str, Does] = {
    "append": "append",
    "overwrite": "overwrite",
    "pass": "pass",
    "if-absent": "if-absent",
    "strip": "strip",
}


class ObservedError(Exception):
    """A text that no probe has written."""


class Seen(NamedTuple):
    """What a chain does to a field.

    Args:
        does: What becomes of one that a client sends.
        elements: How many elements it has where the client sends none.
    """

    does: Does
    elements: int


class Observed(NamedTuple):
    """What a probe saw.

    Args:
        scheme: By which scheme it came.
        host: The host that it asked for.
        path: The path.
        fields: What was sent in each field, and what the whole chain does to it.
    """

    scheme: str
    host: str
    path: str
    fields: dict[str, tuple[str, Seen]]


def does_to(honest: str | None, sent: str, arrived: str | None) -> Does:
    """Return what a chain does to a field.

    Args:
        honest: What arrives where nothing is sent; None for nothing.
        sent: What is sent then.
        arrived: What arrives of it.
    """
    if arrived is None:
        return "strip"
    if arrived == sent:
        return "pass" if honest is None else "if-absent"
    if arrived == honest:
        return "overwrite"
    if sent in (part.strip(" \t") for part in arrived.split(",")):
        return "append"
    return "?"


def parse_observed(text: bytes) -> Observed:
    """Parse what `audit probe --save` has written.

    Raises:
        ObservedError: It is something else.
    """
    if len(text) > MAX_OBSERVED_BYTES:
        raise ObservedError("more than a probe writes")
    try:
        value: Any = json.loads(text)
        if value["kind"] != "edgeserver-probe" or value["version"] != 1:
            raise ObservedError("of another version, or not a probe's")
        parts = urlsplit(str(value["url"]))
        fields = {
            str(each["name"]).lower(): (
                str(each["sent"]),
                Seen(_SEEN[each["does"]], _count(each["honest"])),
            )
            for each in value["fields"][:200]
            if each["does"] in _SEEN
        }
        return Observed(parts.scheme, parts.hostname or "", parts.path or "/", fields)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ObservedError("not what edgeserver audit probe --save writes") from error


def _count(value: str | None) -> int:
    """Return how many elements a field has."""
    return 0 if value is None else str(value).count(",") + 1


def compare_chain(
    report: ChainReport, observed: Observed, *, source: str
) -> Iterator[ReportedFinding]:
    """Yield a finding for each field with which the chain does something else than is configured.

    Args:
        report: The report on the configurations.
        observed: What a probe saw of the chain that runs.
        source: The file of the probe.
    """
    for name in (report.policy.source, report.policy.proto):
        found = observed.fields.get(name or "")
        if name is None or found is None:
            continue
        sent, seen = found
        said = _simulate(report, observed, name, sent)
        if said is None or not said or seen in said:
            continue
        if any(each.does == seen.does for each in said):
            configured = " or ".join(f"{each.elements}" for each in sorted(said))
            differs = (
                f"{display_name(name)} has {configured} elements where a client sends none, and "
                f"in the chain that runs {seen.elements}"
            )
        else:
            words = " or ".join(sorted({DOES_WORDS[each.does] for each in said}))
            differs = (
                f"{display_name(name)} is {words}, and in the chain that runs it is "
                f"{DOES_WORDS[seen.does]}"
            )
        uses = [use for hop in report.hops for use in report.uses[hop.name]]
        where = next((use.where for use in uses if use.name == name and use.where), None)
        yield ReportedFinding(
            code="chain-differs",
            what="client" if name == report.policy.source else "scheme",
            entry=report.hops[0].name,
            hop="",
            way=None,
            where=where or Where(report.hops[0].source),
            detail=(
                f"by the configurations {differs} (seen at {observed.host}{observed.path}, "
                f"{source})"
            ),
            fix=Fix(
                "look whether these files are what runs, whether they were loaded, and whether "
                "another proxy stands in front",
                None,
            ),
        )


def _ways_of(hop: ProxyHop, observed: Observed, *, first: bool) -> list[Way]:
    """Return the ways that the probe may have taken; all of them where that cannot be told."""
    ways = list(hop.ways)
    if first:
        ways = [way for way in ways if way.tls == (observed.scheme == "https")] or ways
        ways = [way for way in ways if observed.host in way.label.split()] or ways
    plain = {way.path for way in ways if _is_prefix(way.path)}
    best = max((path for path in plain if observed.path.startswith(path)), key=len, default=None)
    return [way for way in ways if not _is_prefix(way.path) or way.path == best]


def _is_prefix(path: str) -> bool:
    """Return whether a path is a plain prefix, whatever the product."""
    return path.startswith("/") and not set(path) & set("*?[]{}()^$|~\\ ")


def _simulate(report: ChainReport, observed: Observed, name: str, sent: str) -> set[Seen] | None:
    """Return what the configurations may do to a field; None where that cannot be told."""
    ways = [_ways_of(hop, observed, first=number == 0) for number, hop in enumerate(report.hops)]
    said: set[Seen] = set()
    for number, combination in enumerate(itertools.product(*ways)):
        if number == MAX_COMBINATIONS:
            return None
        values = []
        heads: tuple[Head, Head] = ({}, {name: (sent,)})
        for head in heads:
            oracle = Oracle([], Scope(report.strangers[0], (name,), exact=True))
            left = _pass(report, combination, observed, head, oracle)
            if oracle.doubts:
                return None
            if left is None:
                break
            values.append(left.get(name))
        if len(values) == 2:
            honest, arrived = (None if each is None else ", ".join(each) for each in values)
            said.add(Seen(does_to(honest, sent, arrived), _count(honest)))
    return None if any(each.does == "?" for each in said) else said


def _pass(
    report: ChainReport, ways: Sequence[Way], observed: Observed, head: Head, oracle: Oracle
) -> Head | None:
    """Return what the application gets of a stranger's head; None where it gets nothing."""
    full = {PATH: (observed.path,), HOST: (observed.host,), METHOD: ("GET",), **head}
    at = Request(report.strangers[0], observed.scheme == "https", full)
    for number, (hop, way) in enumerate(zip(report.hops, ways, strict=True)):
        if number and way.tls != at.tls and not way.layer4:
            return None
        passed = run_way(way, at, oracle)
        if passed is None:
            return None
        following = ways[number + 1].tls if number + 1 < len(ways) else False
        tls = following if passed.tls is None else passed.tls
        at = Request(passed.peer or hop.address, tls, passed.head, passed.prelude)
    return dict(at.head)
