"""What is odd about one head: the findings of an explanation.

Decides which findings a request raises. It must never change a decision: it is handed the one that
was taken, and runs only when somebody asks for the proof.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgeserver.proxyheaders.addresses import Address
from edgeserver.proxyheaders.explanation.codes import SHOWN_BYTES, make_finding, title
from edgeserver.proxyheaders.explanation.schemes import find_scheme_findings
from edgeserver.proxyheaders.peer import Peer
from edgeserver.proxyheaders.results import UNVERIFIED, Finding, Resolved
from edgeserver.proxyheaders.rules import Rules
from edgeserver.proxyheaders.stripping import is_forwarding_name
from edgeserver.proxyheaders.tornado_rules import UNLIMITED
from edgeserver.proxyheaders.walk import (
    FORWARDED,
    PLAIN,
    Outcome,
    Trace,
    walk,
    walk_single,
)
from edgeserver.support.addresses import client_name
from edgeserver.support.escape import escape

__all__ = ["find_findings"]

_MAX_NAMED = 4

_SINGLE_FIELDS = (b"x-real-ip", b"cf-connecting-ip", b"true-client-ip")


def find_findings(
    rules: Rules, peer: Peer, raw: Collection[tuple[bytes, bytes]], trace: Trace, resolved: Resolved
) -> Iterator[Finding]:
    """Yield the findings of one request.

    Args:
        rules: The policy.
        peer: The connection's other end.
        raw: The head's `(lower-case name, value)` pairs.
        trace: What the walk looked at.
        resolved: What was decided.
    """
    if rules.mode == "off":
        return
    head: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        head.setdefault(name, []).append(value)
    if rules.mode == "policy" and peer.author is None:
        yield from _unlisted(rules, peer, head, resolved)
        return
    yield from _any_peer(rules, peer, trace, resolved)
    yield from _of_reason(rules, trace, resolved)
    yield from _own_names(peer, trace, resolved)
    yield from _conflicts(rules, head, trace, resolved)
    yield from _of_elements(trace)
    yield from find_scheme_findings(rules, peer, head, trace, resolved)
    yield from _names(rules, head)
    if resolved.declared is not None:
        for field, problem in resolved.declared.unusable:
            yield make_finding("declared-unusable", f"{title(field.encode('ascii'))}: {problem}")


def _shown(values: list[bytes]) -> str:
    """Return the values of a field's lines, escaped and cut."""
    text = ", ".join(escape(value, SHOWN_BYTES) for value in values[:_MAX_NAMED])
    return text or "nothing"


def _listed(names: list[bytes]) -> str:
    """Return field names for a sentence; beyond a few, a count."""
    text = ", ".join(title(name) for name in names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{text} and {more} more" if more > 0 else text


def _unlisted(
    rules: Rules, peer: Peer, head: dict[bytes, list[bytes]], resolved: Resolved
) -> Iterator[Finding]:
    """Yield what is odd where the author of the head is not a listed proxy."""
    extra = rules.extra
    claimed = [name for name in head if is_forwarding_name(name.replace(b"_", b"-"), extra)]
    if resolved.reason in UNVERIFIED and peer.outcome is not None:
        yield make_finding(resolved.reason, f"the PROXY prelude: {peer.outcome.detail}")
    client = client_name(resolved.remote_ip)
    if claimed:
        hidden = ", and hidden from the application" if rules.strip_unlisted else ""
        author = (
            f"{client} is not a listed proxy and"
            if resolved.verified
            else f"somebody behind {client} whom the PROXY prelude does not name"
        )
        yield make_finding(
            "untrusted-peer-claims",
            f"{author} sent {_listed(claimed)}: not believed{hidden}",
        )


def _any_peer(rules: Rules, peer: Peer, trace: Trace, resolved: Resolved) -> Iterator[Finding]:
    """Yield the warning where a claim was believed that anybody could have made."""
    believed = bool(trace.steps) or resolved.protocol != peer.scheme
    if believed and rules.trusts_all:
        name = client_name(peer.address.text)
        yield make_finding(
            "any-peer-trusted", f"headers of {name} were believed; those of any peer would be"
        )


def _of_reason(rules: Rules, trace: Trace, resolved: Resolved) -> Iterator[Finding]:
    """Yield the finding that the reason itself is."""
    reason = resolved.reason
    field = title(trace.field)
    client = client_name(resolved.remote_ip)
    if reason in UNVERIFIED:
        last = trace.steps[-1]
        value = escape(last.raw.strip(b" \t"), SHOWN_BYTES)
        yield make_finding(reason, f"{field} says '{value}': {last.detail}")
    elif reason == "all-hops-trusted":
        yield make_finding(reason, f"{client} is the leftmost of only listed proxies")
    elif reason == "max-hops":
        yield make_finding(
            reason, f"{len(trace.steps)} entries of {field} examined, all of listed proxies"
        )
    elif reason == "trusted-peer-as-client" and rules.mode == "policy":
        yield make_finding(reason, f"{client} is a listed proxy and sent no {field}")


def _own_names(peer: Peer, trace: Trace, resolved: Resolved) -> Iterator[Finding]:
    """Yield the finding that a proxy names itself, or its own machine, as if that were a proxy.

    A client beside the proxy looks the same, and what stands left of it that client has written.
    """
    if resolved.reason != "first-untrusted":
        return
    author: Address | None = peer.source or peer.address
    for step in trace.steps[:-1]:
        address = step.address
        if address is None or author is None:
            return
        if address.text == author.text or (_is_loopback(address) and _is_loopback(author)):
            itself = "itself" if address.text == author.text else address.text
            yield make_finding(
                "proxy-named-as-client",
                f"{author.text} names {itself}, and that names {resolved.remote_ip}",
            )
            return
        author = address


def _is_loopback(address: Address) -> bool:
    """Return whether an address is this machine's own (RFC 1122 section 3.2.1.3, RFC 4291)."""
    if address.version == 4:
        return address.value >> 24 == 127
    return address.version == 6 and address.value == 1


def _conflicts(
    rules: Rules, head: dict[bytes, list[bytes]], trace: Trace, resolved: Resolved
) -> Iterator[Finding]:
    """Yield a finding for each other header that names another client."""
    for name in (b"x-forwarded-for", b"forwarded", *_SINGLE_FIELDS):
        lines = head.get(name)
        if lines is None or name == trace.field:
            continue
        if rules.mode == "tornado" and name not in (b"x-forwarded-for", b"x-real-ip"):
            continue
        outcome = _other_outcome(rules, name, lines)
        address = outcome.address
        if address is not None and address.text == resolved.remote_ip:
            continue
        said = address.text if address is not None else f"'{_shown(lines)}'"
        if rules.mode == "tornado":
            detail = f"{title(name)} says {said}; X-Real-Ip replaces it by Tornado's rules"
        else:
            detail = f"{title(name)} says {said}; it is not the configured source"
        yield make_finding("conflict", detail)


def _other_outcome(rules: Rules, name: bytes, lines: list[bytes]) -> Outcome:
    """Return what a header that is not the source would have answered."""
    table = rules.table
    limit = rules.max_hops or UNLIMITED
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


def _names(rules: Rules, head: dict[bytes, list[bytes]]) -> Iterator[Finding]:
    """Yield aliases, and nominations in Connection."""
    extra = rules.extra
    aliases = [
        name
        for name in head
        if b"_" in name and is_forwarding_name(name.replace(b"_", b"-"), extra)
    ]
    if aliases:
        yield make_finding(
            "alias-header",
            ", ".join(escape(name, SHOWN_BYTES) for name in aliases[:_MAX_NAMED]) + " never counts",
        )
    nominated = {
        option
        for line in head.get(b"connection", ())
        for word in line.split(b",")
        if is_forwarding_name(option := word.strip(b" \t").lower(), extra)
    }
    if nominated:
        yield make_finding("connection-nominates", f"Connection names {_listed(sorted(nominated))}")
