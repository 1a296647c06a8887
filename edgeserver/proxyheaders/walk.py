"""The walk: from the nearest entry of one header to the first address that nobody vouches for.

Decides which entry names the client and which scheme counts. It must not know the peer, nor what
is done with the answer; nothing left of the boundary is ever parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgeserver.proxyheaders.addresses import Address, UnusableClaim, parse_address
from edgeserver.proxyheaders.forwarded import Claim, parse_element, split_rightmost
from edgeserver.proxyheaders.networks import NetworkTable, Rule

__all__ = [
    "FORWARDED",
    "PLAIN",
    "SCHEMES",
    "Memo",
    "Outcome",
    "Source",
    "Trace",
    "WalkStep",
    "find_last_comma",
    "new_tuple",
    "read_scheme",
    "remember",
    "walk",
    "walk_single",
]


class Source(NamedTuple):
    """How the entries of one header family are found and read.

    Args:
        split: Gives where the comma before the last entry of `line[:end]` is, or -1.
        read: Parses one entry, or raises `UnusableClaim`.
    """

    split: Callable[[bytes, int], int]
    read: Callable[[bytes], Claim]


class Outcome(NamedTuple):
    """What a walk decided.

    Args:
        reason: A key of `results.REASONS`.
        address: The client's address, or None where the answer is the socket peer.
        scheme: The scheme that the deciding entry itself names, raw.
        detail: Why the entry is unusable.
    """

    reason: str
    address: Address | None
    scheme: bytes | None = None
    detail: str = ""


new_tuple = tuple.__new__
"""What a named tuple's own constructor calls, at half the cost."""

Memo = dict[bytes, tuple[Claim, Rule]]
"""Entries of listed proxies, which repeat whoever the client is; never an entry of a client."""

_MAX_MEMO = 512
_MAX_MEMO_BYTES = 96


def remember(memo: Memo, entry: bytes, claim: Claim, rule: Rule) -> None:
    """Remember an entry of a listed proxy, in bounds.

    Emptied when full: whoever can name ever new proxies costs the others one more look at each of
    theirs per 512 of his entries, never more.
    """
    if len(entry) <= _MAX_MEMO_BYTES:
        if len(memo) >= _MAX_MEMO:
            memo.clear()
        memo[entry] = claim, rule


class WalkStep(NamedTuple):
    """One entry that a walk looked at.

    Args:
        raw: Its bytes.
        line: Which line of the field.
        position: Which entry of that line, from the right.
        address: What it names, or None if it is unusable.
        rule: What it falls under, or None.
        scheme: The scheme that it names, raw.
        notes: What was tolerated in it.
        detail: Why it is unusable.
    """

    raw: bytes
    line: int
    position: int
    address: Address | None
    rule: Rule | None
    scheme: bytes | None
    notes: tuple[str, ...]
    detail: str


class Trace:
    """What a walk looked at, kept only for an explanation.

    Args:
        field: The field that was walked.
    """

    __slots__ = ("end", "field", "index", "line", "steps")

    def __init__(self, field: bytes) -> None:
        self.field = field
        self.steps: list[WalkStep] = []
        # Where the bytes begin that were never looked at: lines before `line`, and of that
        # line what is left of `end`.
        self.line = 0
        self.end = -1
        self.index = 0

    def add(self, raw: bytes, line: int, end: int, *, claim: Claim, rule: Rule | None) -> None:
        """Keep one usable entry; `end` is where the comma before it is."""
        self._advance(line, end)
        address, scheme, notes = claim
        self.steps.append(WalkStep(raw, line, self.index - 1, address, rule, scheme, notes, ""))

    def add_unusable(
        self, raw: bytes, line: int, end: int, *, detail: str, scheme: bytes | None = None
    ) -> None:
        """Keep one entry that names nobody."""
        self._advance(line, end)
        self.steps.append(WalkStep(raw, line, self.index - 1, None, None, scheme, (), detail))

    def _advance(self, line: int, end: int) -> None:
        self.index = self.index + 1 if self.steps and self.line == line else 1
        self.line = line
        self.end = end


def find_last_comma(line: bytes, end: int) -> int:
    """Return where the comma before the last entry of `line[:end]` is, or -1."""
    return line.rfind(b",", 0, end)


def _read_plain(entry: bytes) -> Claim:
    return parse_address(entry), None, ()


def _split_nothing(line: bytes, end: int) -> int:
    return -1


PLAIN = Source(find_last_comma, _read_plain)
FORWARDED = Source(split_rightmost, parse_element)
_SINGLE = Source(_split_nothing, _read_plain)


def walk(
    source: Source,
    lines: Sequence[bytes],
    table: NetworkTable,
    *,
    max_hops: int,
    trace: Trace | None = None,
    memo: Memo | None = None,
) -> Outcome:
    """Walk from the right to the first untrusted address.

    Args:
        source: How entries are found and read.
        lines: The values of the field's lines, in the order received; at least one.
        table: Whom the policy trusts.
        max_hops: How many entries are examined at most.
        trace: Keeps every step, if given.
        memo: Remembers the entries of proxies, if given; for this source and table only.
    """
    split, read = source
    if memo is None:
        memo = {}
    find = table.find
    examined = 0
    claim: Claim | None = None
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        end = len(line)
        while end >= 0:
            comma = split(line, end)
            entry = line[comma + 1 : end]
            known = memo.get(entry)
            rule: Rule | None
            if known is not None:
                claim, rule = known
            else:
                try:
                    claim = read(entry)
                except UnusableClaim as error:
                    if trace is not None:
                        trace.add_unusable(
                            entry, number, comma, detail=error.detail, scheme=error.scheme
                        )
                    return Outcome(error.code, None, error.scheme, error.detail)
                rule = find(claim[0])
                if rule is not None:
                    remember(memo, entry, claim, rule)
            examined += 1
            if trace is not None:
                trace.add(entry, number, comma, claim=claim, rule=rule)
            if rule is None:
                return new_tuple(Outcome, ("first-untrusted", claim[0], claim[1], ""))
            if examined >= max_hops:
                return new_tuple(Outcome, ("max-hops", claim[0], claim[1], ""))
            end = comma
    assert claim is not None, "a walk has at least one line, and a line at least one entry"
    return new_tuple(Outcome, ("all-hops-trusted", claim[0], claim[1], ""))


def walk_single(
    lines: Sequence[bytes], table: NetworkTable, *, trace: Trace | None = None
) -> Outcome:
    """Read a field that holds one address; equal lines are one, different ones name nobody."""
    value = lines[0].strip(b" \t")
    detail = ""
    if any(line.strip(b" \t") != value for line in lines):
        detail = "the field holds one address, and came in different lines"
    elif b"," in value:
        detail = "the field holds one address, and came as a list"
    if detail:
        if trace is not None:
            for number in range(len(lines) - 1, -1, -1):
                trace.add_unusable(lines[number], number, -1, detail=detail)
        return Outcome("repeated-singleton", None, None, detail)
    outcome = walk(_SINGLE, lines[-1:], table, max_hops=2, trace=trace)
    if trace is not None:
        trace.line = 0
    return outcome


SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}


def read_scheme(value: bytes) -> str | None:
    """Return what the rightmost element of a scheme header means, or None if it is unusable.

    Names are case-insensitive; `ws` and `wss` are what proxies send for WebSocket upgrades.
    """
    known = SCHEMES.get(value)
    if known is not None:
        return known
    element = value[value.rfind(b",") + 1 :].strip(b" \t")
    return SCHEMES.get(element.lower()) if len(element) <= 5 else None
