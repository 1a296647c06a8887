"""What is odd about one head: the findings of an explanation.

Decides which findings a request raises. It must never change a decision: it is handed the one that
was taken, and runs only when somebody asks for the proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeserver.proxyheaders.explanation.codes import make_finding
from edgeserver.proxyheaders.results import UNVERIFIED, Finding, Resolved
from edgeserver.proxyheaders.stripping import is_forwarding_name
from edgeserver.proxyheaders.tornado_rules import UNLIMITED
from edgeserver.proxyheaders.walk import (
    FORWARDED,
    PLAIN,
    Outcome,
    Trace,
    read_scheme,
    walk,
    walk_single,
)
from edgeserver.support.escape import escape

if TYPE_CHECKING:
    from edgeserver.proxyheaders.connection import Bound, RawPairs

__all__ = ["find_findings"]

_MAX_NAMED = 4
_SHOWN_BYTES = 60

_SINGLE_FIELDS = (b"x-real-ip", b"cf-connecting-ip", b"true-client-ip")


def find_findings(
    bound: Bound, raw: RawPairs, trace: Trace, resolved: Resolved
) -> Iterator[Finding]:
    """Yield the findings of one request.

    Args:
        bound: The policy on the connection.
        raw: The head's `(lower-case name, value)` pairs.
        trace: What the walk looked at.
        resolved: What was decided.
    """
    policy = bound.policy
    if policy.mode == "off":
        return
    head: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        head.setdefault(name, []).append(value)
    if policy.mode == "policy" and bound.endpoint.author is None:
        yield from _unlisted(bound, head, resolved)
        return
    yield from _any_peer(bound, head, trace, resolved)
    yield from _of_reason(bound, trace, resolved)
    yield from _conflicts(bound, head, trace, resolved)
    yield from _of_elements(trace)
    yield from _schemes(bound, head, trace, resolved)
    yield from _names(bound, head)
    if resolved.declared is not None:
        for field, problem in resolved.declared.unusable:
            yield make_finding("declared-unusable", f"{title(field)}: {problem}")


def title(name: str | bytes) -> str:
    """Return a field name as people write it, escaped."""
    text = name if isinstance(name, str) else escape(name, _SHOWN_BYTES)
    return "-".join(part.capitalize() for part in text.split("-"))


def _shown(values: list[bytes]) -> str:
    """Return the values of a field's lines, escaped and cut."""
    text = ", ".join(escape(value, _SHOWN_BYTES) for value in values[:_MAX_NAMED])
    return text or "nothing"


def _listed(names: list[bytes]) -> str:
    """Return field names for a sentence; beyond a few, a count."""
    text = ", ".join(title(name) for name in names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{text} and {more} more" if more > 0 else text


def _unlisted(
    bound: Bound, head: dict[bytes, list[bytes]], resolved: Resolved
) -> Iterator[Finding]:
    """Yield what is odd where the author of the head is no listed proxy."""
    extra = bound.policy._extra
    claimed = [name for name in head if is_forwarding_name(name.replace(b"_", b"-"), extra)]
    if resolved.reason in UNVERIFIED and bound.endpoint.outcome is not None:
        yield make_finding(resolved.reason, f"the PROXY source: {bound.endpoint.outcome.detail}")
    if claimed:
        hidden = ", and hidden from the application" if bound.strip else ""
        yield make_finding(
            "untrusted-peer-claims",
            f"{resolved.remote_ip} is not a listed proxy and sent {_listed(claimed)}: "
            f"not believed{hidden}",
        )


def _any_peer(
    bound: Bound, head: dict[bytes, list[bytes]], trace: Trace, resolved: Resolved
) -> Iterator[Finding]:
    """Yield the warning where a claim was believed that anybody could have made."""
    believed = bool(trace.steps) or resolved.protocol != bound.endpoint.scheme
    if believed and any(item.code == "any-peer-trusted" for item in bound.policy.warnings):
        yield make_finding(
            "any-peer-trusted",
            f"headers of {bound.endpoint.peer.text} were believed; those of any peer would be",
        )


def _of_reason(bound: Bound, trace: Trace, resolved: Resolved) -> Iterator[Finding]:
    """Yield the finding that the reason itself is."""
    reason = resolved.reason
    field = title(trace.field)
    if reason in UNVERIFIED:
        last = trace.steps[-1]
        value = escape(last.raw.strip(b" \t"), _SHOWN_BYTES)
        yield make_finding(reason, f"{field} says '{value}': {last.detail}")
    elif reason == "all-hops-trusted":
        yield make_finding(reason, f"{resolved.remote_ip} is the leftmost of only listed proxies")
    elif reason == "max-hops":
        yield make_finding(
            reason, f"{len(trace.steps)} entries of {field} examined, all of listed proxies"
        )
    elif reason == "trusted-peer-as-client" and bound.policy.mode == "policy":
        yield make_finding(reason, f"{resolved.remote_ip} is a listed proxy and sent no {field}")


def _conflicts(
    bound: Bound, head: dict[bytes, list[bytes]], trace: Trace, resolved: Resolved
) -> Iterator[Finding]:
    """Yield a finding for each other header that names another client."""
    for name in (b"x-forwarded-for", b"forwarded", *_SINGLE_FIELDS):
        lines = head.get(name)
        if lines is None or name == trace.field:
            continue
        if bound.policy.mode == "tornado" and name not in (b"x-forwarded-for", b"x-real-ip"):
            continue
        outcome = _other_outcome(bound, name, lines)
        address = outcome.address
        if address is not None and address.text == resolved.remote_ip:
            continue
        said = address.text if address is not None else f"'{_shown(lines)}'"
        if bound.policy.mode == "tornado":
            detail = f"{title(name)} says {said}; X-Real-Ip replaces it in Tornado's contract"
        else:
            detail = f"{title(name)} says {said}; it is not the configured source"
        yield make_finding("conflict", detail)


def _other_outcome(bound: Bound, name: bytes, lines: list[bytes]) -> Outcome:
    """Return what a header that is not the source would have answered."""
    table = bound.policy._table
    limit = bound.policy.max_hops or UNLIMITED
    if name == b"x-forwarded-for":
        return walk(PLAIN, lines, table, max_hops=limit)
    if name == b"forwarded":
        return walk(FORWARDED, lines, table, max_hops=limit)
    return walk_single(lines, table)


def _of_elements(trace: Trace) -> Iterator[Finding]:
    """Yield what was tolerated in RFC 7239 elements."""
    notes: list[str] = []
    for step in trace.steps:
        notes.extend(note for note in step.notes if note not in notes)
    if notes:
        yield make_finding("nonconformant-forwarded", f"Forwarded: {'; '.join(notes)}")


def _schemes(
    bound: Bound, head: dict[bytes, list[bytes]], trace: Trace, resolved: Resolved
) -> Iterator[Finding]:
    """Yield what is odd about the claims of a scheme."""
    policy = bound.policy
    counted, value = _counting_scheme(bound, head, trace)
    if value is not None and read_scheme(value) is None:
        yield make_finding("proto-unusable", f"{counted} says '{escape(value, _SHOWN_BYTES)}'")
    for name in (b"x-forwarded-proto", b"x-scheme"):
        lines = head.get(name)
        if lines is None or title(name) == counted:
            continue
        other = read_scheme(lines[-1])
        if other is not None and other != resolved.protocol:
            yield make_finding(
                "proto-conflict",
                f"{title(name)} says {other}; {resolved.protocol} counts, "
                f"by {counted if value is not None else 'the connection itself'}",
            )
    if policy.mode == "policy" and policy.proto is not None:
        yield from _unattributed(trace, counted, value)


def _counting_scheme(
    bound: Bound, head: dict[bytes, list[bytes]], trace: Trace
) -> tuple[str, bytes | None]:
    """Return the name of what decides the scheme, and its value if it came."""
    policy = bound.policy
    if policy.mode == "tornado":
        name = b"x-scheme" if b"x-scheme" in head else b"x-forwarded-proto"
        return title(name), head.get(name, [None])[-1]
    if policy.proto is None:
        return "", None
    if policy.source == "forwarded":
        return "Forwarded's proto", trace.steps[-1].scheme if trace.steps else None
    proto = policy._proto_raw or b""
    return title(proto), head.get(proto, [None])[-1]


def _unattributed(trace: Trace, counted: str, value: bytes | None) -> Iterator[Finding]:
    """Yield the note that a scheme belongs to another hop than the client's, or may."""
    if trace.field == b"forwarded":
        nearer = [step for step in trace.steps[:-1] if step.scheme is not None]
        if value is None and nearer:
            yield make_finding(
                "proto-unattributed", "only a nearer element of Forwarded has a proto"
            )
    elif value is not None and len(trace.steps) > 1 and b"," in value:
        yield make_finding(
            "proto-unattributed",
            f"{counted} has several values in a chain of {len(trace.steps)} hops: the rightmost "
            "counts, and says how the nearest proxy was reached",
        )


def _names(bound: Bound, head: dict[bytes, list[bytes]]) -> Iterator[Finding]:
    """Yield aliases, and nominations in Connection."""
    extra = bound.policy._extra
    aliases = [
        name
        for name in head
        if b"_" in name and is_forwarding_name(name.replace(b"_", b"-"), extra)
    ]
    if aliases:
        yield make_finding(
            "alias-header",
            ", ".join(escape(name, _SHOWN_BYTES) for name in aliases[:_MAX_NAMED])
            + " never counts",
        )
    nominated = {
        option
        for line in head.get(b"connection", ())
        for word in line.split(b",")
        if is_forwarding_name(option := word.strip(b" \t").lower(), extra)
    }
    if nominated:
        yield make_finding("connection-nominates", f"Connection names {_listed(sorted(nominated))}")
