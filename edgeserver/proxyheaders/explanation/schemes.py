"""The claims of a scheme in one head: what is odd about them.

Decides which of them contradict the one that counts, and whether that one can be tied to the hop
that names the client. It must never change a decision, and runs only when somebody asks for the
proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgeserver.proxyheaders.explanation.codes import SHOWN_BYTES, make_finding, title
from edgeserver.proxyheaders.peer import Peer
from edgeserver.proxyheaders.results import Finding, Resolved
from edgeserver.proxyheaders.rules import Rules
from edgeserver.proxyheaders.walk import FORWARDED, Trace, read_scheme, walk
from edgeserver.support.escape import escape

__all__ = ["find_scheme_findings"]

Head = dict[bytes, list[bytes]]

_CLAIMS = (
    b"x-forwarded-proto",
    b"x-scheme",
    b"x-forwarded-scheme",
    b"x-forwarded-protocol",
    b"x-url-scheme",
    b"cloudfront-forwarded-proto",
    b"x-forwarded-ssl",
    b"front-end-https",
)
"""The fields in which proxies say by which scheme they were asked."""

_SWITCHES = {b"on": "https", b"off": "http", b"ssl": "https"}
"""What some of them say in place of a scheme's name."""


class _Counted(NamedTuple):
    """The claim that decides the scheme.

    Args:
        field: The lower-case name of the field; None where no field does.
        name: What explanations call it.
        value: What it says, or None if it did not come.
    """

    field: bytes | None
    name: str
    value: bytes | None


def find_scheme_findings(
    rules: Rules, peer: Peer, head: Head, trace: Trace, resolved: Resolved
) -> Iterator[Finding]:
    """Yield what is odd about the claims of a scheme in the head of a trusted author.

    Args:
        rules: The rules.
        peer: The connection's other end.
        head: The lines of each lower-case name.
        trace: What the walk looked at.
        resolved: What was decided.
    """
    counted = _counted(rules, peer, head, trace)
    if counted.value is not None and read_scheme(counted.value) is None:
        said = escape(counted.value, SHOWN_BYTES)
        yield make_finding("proto-unusable", f"{counted.name} says '{said}'")
    yield from _contradictions(rules, peer, head, counted, resolved)
    if rules.mode != "policy" or counted.value is None:
        if trace.field == b"forwarded" and rules.proto is not None:
            yield from _nearer_element(trace)
    elif counted.field is not None:
        yield from _attribution(peer, head, trace, counted, resolved)


def _counted(rules: Rules, peer: Peer, head: Head, trace: Trace) -> _Counted:
    """Return what decides the scheme."""
    if rules.mode == "tornado":
        field = b"x-scheme" if b"x-scheme" in head else b"x-forwarded-proto"
    elif rules.proto is None:
        return _Counted(None, "", None)
    elif rules.source == "forwarded":
        value = trace.steps[-1].scheme if trace.steps else None
        return _Counted(None, "Forwarded's proto", value)
    else:
        author = peer.author
        found = None if author is None else rules.proto_of(author)
        if found is None:
            return _Counted(None, "", None)
        field = found
    return _Counted(field, title(field), head.get(field, [None])[-1])


def _meaning(value: bytes) -> str | None:
    """Return the scheme that a field means, whichever way it has to say so."""
    scheme = read_scheme(value)
    if scheme is not None:
        return scheme
    return _SWITCHES.get(value[value.rfind(b",") + 1 :].strip(b" \t").lower())


def _contradictions(
    rules: Rules, peer: Peer, head: Head, counted: _Counted, resolved: Resolved
) -> Iterator[Finding]:
    """Yield the claims of another scheme than the one that was decided."""
    by = counted.name if counted.value is not None else "the connection itself"
    fields = dict.fromkeys(_CLAIMS)
    if rules.proto_raw is not None:
        fields[rules.proto_raw] = None
    for field in fields:
        lines = head.get(field)
        if lines is None or field == counted.field:
            continue
        other = _meaning(lines[-1])
        if other is None or other == resolved.protocol:
            continue
        detail = f"{title(field)} says {other}; {resolved.protocol} counts, by {by}"
        if field == rules.proto_raw:
            author = peer.author
            yield make_finding("proto-undeclared", f"{detail}: {author} does not declare it")
        else:
            yield make_finding("proto-conflict", detail)
    if rules.mode == "policy" and rules.source != "forwarded" and b"forwarded" in head:
        outcome = walk(FORWARDED, head[b"forwarded"], rules.table, max_hops=rules.max_hops)
        other = None if outcome.scheme is None else read_scheme(outcome.scheme)
        if other is not None and other != resolved.protocol:
            yield make_finding(
                "proto-conflict",
                f"Forwarded says proto={other}; {resolved.protocol} counts, by {by}",
            )


def _nearer_element(trace: Trace) -> Iterator[Finding]:
    """Yield the note that a scheme belongs to another element than the client's."""
    if trace.steps and trace.steps[-1].scheme is not None:
        return
    if any(step.scheme is not None for step in trace.steps):
        yield make_finding("proto-unattributed", "only a nearer element of Forwarded has a proto")


def _attribution(
    peer: Peer, head: Head, trace: Trace, counted: _Counted, resolved: Resolved
) -> Iterator[Finding]:
    """Yield how far the scheme header's values cannot be matched with the chain's entries.

    Proxies either append to both fields, or the nearest one sets the scheme: so as many values as
    entries match them one by one, as do as many as there are up to the client (what stands left of
    that is anybody's). The rightmost value counts in any case. A single one in a longer chain may
    be of any of its hops, unless the author declares that it sets the field.
    """
    field = counted.field or b""
    joined = b",".join(head[field])
    values = joined.split(b",")
    lines = head.get(trace.field, ())
    is_list = trace.field == b"x-forwarded-for"
    entries = sum(line.count(b",") + 1 for line in lines) if is_list else min(len(lines), 1)
    hops = min(len(trace.steps), entries)
    author = peer.author
    if len(values) == 1 and author is not None and field in author.sets:
        return
    detail = ""
    if len(values) > max(entries, 1) and (
        {read_scheme(value) for value in set(values)} - {None, resolved.protocol}
    ):
        beside = "one address" if entries == 1 else f"{entries or 'no'} addresses"
        yield make_finding(
            "proto-conflict",
            f"{counted.name} says '{escape(joined, SHOWN_BYTES)}' beside {beside}; "
            f"{resolved.protocol} counts",
        )
    elif entries == 0:
        detail = f"came without {title(trace.field)}: nothing says whose it is"
    elif len(values) in (entries, hops):
        if read_scheme(values[-hops]) != read_scheme(values[-1]):
            detail = (
                f"has several values in a chain of {hops} hops: the rightmost counts, and says how "
                "the nearest proxy was reached"
            )
    elif len(values) == 1:
        detail = f"has one value in a chain of {hops} hops: nothing says which of them set it"
    else:
        detail = f"has {len(values)} values, and {title(trace.field)} has {entries}: none belongs "
        detail += "to a hop for certain"
    if detail:
        yield make_finding("proto-unattributed", f"{counted.name} {detail}")
