"""Aggregation of a log: millions of lines become one row for each distinct head, or for many alike.

Decides what a row of the engine is as a head, and when heads that are alike count as one. It must
not know how lines are read and cut, nor what heads prove.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from edgeserver.audit.alike import (
    PATH_COLUMNS,
    alike_statement,
    alone_statement,
    exact_statement,
    tagged_view,
)
from edgeserver.audit.cutting import statement
from edgeserver.audit.logfiles import ReadLog
from edgeserver.audit.records import LogFormat
from edgeserver.proxyheaders.networks import Network
from edgeserver.support.escape import escape

__all__ = [
    "MAX_EXACT",
    "Alike",
    "DistinctHeads",
    "Head",
    "Reading",
    "log_fields_of",
    "path_of",
    "read_heads",
]

MAX_EXACT = 50_000
"""How many distinct heads are told apart; of more, those that are alike count as one."""


class Alike(NamedTuple):
    """What heads are that differ in one plain address alone, and are counted as one.

    Args:
        number: The number of the row that stands for them.
        addresses: How many addresses there are; the head shows the busiest.
        most: How many requests that one has.
    """

    number: int
    addresses: int
    most: int


class Head(NamedTuple):
    """What a number of requests have in common.

    Args:
        peer: The peer as the log has it, without port.
        fields: The forwarding fields: lower-case names and values, in order.
        scheme: The scheme of the connection; empty where the log has none.
        requests: How many requests these are.
        settled: How many of them were not answered with a redirect.
        first: The time of the first, in seconds since the epoch, or None.
        last: The time of the last.
        targets: Up to eight of their paths, escaped.
        hidden: The peer sent forwarding fields that the log does not hold.
        alike: The outermost address, the leftmost entry or the peer that claims nothing, is one of
            many; None where it is the only one.
    """

    peer: str
    fields: tuple[tuple[bytes, bytes], ...]
    scheme: str
    requests: int
    settled: int
    first: float | None
    last: float | None
    targets: tuple[str, ...]
    hidden: bool = False
    alike: Alike | None = None


@dataclass
class Reading:
    """What was met on the way through a log.

    Args:
        lines: How many lines there were.
        unread: How many of them have not the format.
        examples: Up to three of those that were not read, escaped.
        policies: The policies that edgeserver's own log says were in force.
    """

    lines: int = 0
    unread: int = 0
    examples: list[str] = field(default_factory=list)
    policies: list[dict[str, Any]] = field(default_factory=list)


# -- heads ---------------------------------------------------------------------------------------


def read_heads(
    log: ReadLog, form: LogFormat, *, source: str, proto: str | None, reading: Reading
) -> Iterator[Head]:
    """Yield the distinct heads of a log, those with claims first.

    Args:
        log: The log.
        form: Its format.
        source: The header that names the client, in lower case.
        proto: The header that names the scheme, or None.
        reading: Gets the counts.

    Raises:
        UnreadableLog: The files cannot be read.
    """
    rows = log.ask(
        lambda table: (
            f"SELECT {_COLUMNS} FROM ({statement(form, table, source=source, proto=proto)}) "
            "ORDER BY (claims IS NULL), requests DESC"
        )
    )
    yield from _heads(rows, form, source, proto, reading)


_COLUMNS = (
    f"who, claims, schemes, kind, requests, settled, first, last, [{', '.join(PATH_COLUMNS)}]"
)


def _heads(
    rows: Iterable[list[tuple[Any, ...]]],
    form: LogFormat,
    source: str,
    proto: str | None,
    reading: Reading,
) -> Iterator[Head]:
    """Yield the heads of rows."""
    for batch in rows:
        for peer, claims, claimed, scheme, requests, settled, first, last, paths, *many in batch:
            reading.lines += requests
            if peer is None:
                _note_unread(reading, scheme, requests, next(filter(None, paths), ""), claims)
                continue
            fields, hidden = log_fields_of(form, claims, claimed, source, proto)
            targets = [path_of(each) for each in paths if each]
            yield Head(
                peer, fields, scheme if scheme in ("http", "https") else "",
                requests, settled, first, last, tuple(dict.fromkeys(targets)), hidden,
                Alike(*many) if many else None,
            )  # fmt: skip


class DistinctHeads:
    """The distinct heads of a log; where they are many, those that are alike count as one.

    Args:
        log: The log.
        form: Its format.
        source: The header that names the client, in lower case.
        proto: The header that names the scheme, or None.
        networks: The ranges of the policies in question.
        exact: Up to how many heads each is told apart.
    """

    def __init__(
        self,
        log: ReadLog,
        form: LogFormat,
        *,
        source: str,
        proto: str | None,
        networks: Iterable[Network],
        exact: int = MAX_EXACT,
    ) -> None:
        self._log = log
        self._form = form
        self._source = source
        self._proto = proto
        self._networks = [*networks]
        self._exact = exact

    def read(self, reading: Reading) -> Iterator[Head]:
        """Yield the heads, those with claims first.

        Args:
            reading: Gets the counts.

        Raises:
            UnreadableLog: The files cannot be read.
        """
        form, source, proto = self._form, self._source, self._proto
        self._do(
            lambda table: (
                "CREATE OR REPLACE TEMP TABLE heads AS "
                f"{statement(form, table, source=source, proto=proto)}"
            )
        )
        ((count,),) = self._rows("SELECT count(*) FROM heads")
        if count <= self._exact:
            order = "ORDER BY (claims IS NULL), requests DESC"
            parts = [f"SELECT {_COLUMNS} FROM heads {order}"]
        else:
            view = tagged_view(
                networks=self._networks, source=source, is_edgeserver=form.is_edgeserver
            )
            for each in (view, alike_statement()):
                self._do(lambda table, text=each: text)  # type: ignore[misc]
            columns = f"{_COLUMNS}, number, addresses, most"
            parts = [exact_statement(_COLUMNS), f"SELECT {columns} FROM alike"]
        for part in parts:
            rows = self._log.ask(lambda table, text=part: text)  # type: ignore[misc]
            yield from _heads(rows, form, source, proto, reading)

    def count_alone(self, addresses: Sequence[str], numbers: Sequence[int]) -> dict[str, int]:
        """Return how many requests of some rows of heads that are alike are of these addresses.

        Args:
            addresses: The addresses, as answers write them.
            numbers: The numbers of the rows.
        """
        if not addresses or not numbers:
            return {}
        self._do(lambda table: "CREATE OR REPLACE TEMP TABLE asked (address VARCHAR)")
        self._log.insert("asked", addresses)
        return dict(self._rows(alone_statement(numbers)))

    def _do(self, statement_of: Callable[[str], str]) -> None:
        for _ in self._log.ask(statement_of):
            pass

    def _rows(self, text: str) -> list[tuple[Any, ...]]:
        return [row for batch in self._log.ask(lambda table: text) for row in batch]


def _note_unread(
    reading: Reading, kind: str | None, requests: int, example: str | None, policy: str | None
) -> None:
    """Count lines that are no requests."""
    if kind == "policy":
        reading.lines -= requests
        if policy:
            try:
                value = json.loads(policy)
            except ValueError:
                return
            if isinstance(value, dict) and value not in reading.policies:
                reading.policies.append(value)
    elif kind == "empty":
        reading.lines -= requests
    else:
        reading.unread += requests
        if example and len(reading.examples) < 3:
            reading.examples.append(escape(example, 60))


@lru_cache(maxsize=8192)
def path_of(target: str) -> str:
    """Return a target without its query, escaped."""
    if "://" in target:
        target = "/" + target.partition("://")[2].partition("/")[2]
    return escape(target.partition("?")[0], 60)


def log_fields_of(
    form: LogFormat, claims: str | None, claimed: str | None, source: str, proto: str | None
) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """Return the fields of a group of requests, and whether there are some that are not shown."""
    if form.is_edgeserver:
        return _edgeserver_fields(claims, claimed, source)
    fields = []
    for name, value in ((source, claims), (proto, claimed)):
        if not name or value is None:
            continue
        if form.coded:
            value = unquote(value, "latin-1")
        values = [value]
        if form.arrays:
            try:
                parsed = json.loads(value)
            except ValueError:
                parsed = value
            values = [str(each) for each in parsed] if isinstance(parsed, list) else [value]
        fields += [(name.encode(), each.encode("utf-8", "replace")) for each in values]
    return tuple(fields), False


_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|\\)")


def _unescaped(text: str) -> bytes:
    """Return the bytes that `escape` showed."""
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", text)
    return plain.encode("latin-1", "replace")


def _edgeserver_fields(
    claims: str | None, hops: str | None, source: str
) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """Return the fields of a line of edgeserver's audit log, of version 2 or 1."""
    try:
        head = json.loads(claims) if claims else None
        entries = json.loads(hops) if hops else []
    except ValueError:
        return (), True
    if isinstance(head, list):
        pairs = [pair for pair in head if isinstance(pair, list) and len(pair) == 2]
        return tuple(
            (_unescaped(str(name)), _unescaped(str(value))) for name, value in pairs
        ), False
    claimed, codes = entries if isinstance(entries, list) and len(entries) == 2 else ([], [])
    if not claimed:
        return (), "untrusted-peer-claims" in codes
    joined = b", ".join(_unescaped(str(each)) for each in reversed(claimed))
    return ((source.encode(), joined),), False
