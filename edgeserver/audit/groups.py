"""The rows that an engine has returned: from CSV or JSON lines to heads.

Decides what the columns of `edgeserver.audit.dialects` mean, and what is no such row. It must not
know which engine it was, nor what heads prove.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from edgeserver.audit.aggregate import Head, Reading, log_fields_of, path_of
from edgeserver.audit.dialects import COLUMNS, PATHS
from edgeserver.audit.records import SAMPLE_LINES, LogFormat, cut_port, split_entries
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["MAX_ROWS", "read_groups"]

MAX_ROWS = 5_000_000
"""More are not what a log has of distinct heads, but its lines."""

_NEEDED = frozenset(("peer", "claims", "requests"))
_NOTHING = ("", "-")


def read_groups(
    lines: Iterable[str], form: LogFormat, *, source: str, proto: str | None, reading: Reading,
    name: str,
) -> Iterator[Head]:  # fmt: skip
    """Yield the heads of a file of rows.

    Args:
        lines: The lines of the file: CSV with a header, or JSON objects.
        form: The format of the log.
        source: The header that names the client, in lower case.
        proto: The header that names the scheme, or None.
        reading: Gets the counts.
        name: The file, escaped, for what is said.

    Raises:
        ConfigurationError: A column is missing, or a row is none.
    """
    rows = _rows(lines, name)
    first = list(itertools.islice(rows, SAMPLE_LINES))
    if form.peer_at == "field" and form.holds(f"header:{source}") and _ends_in_peer(first):
        form = replace(form, peer_at="both")
    for number, row in enumerate(itertools.chain(first, rows), start=1):
        if number > MAX_ROWS:
            raise ConfigurationError(
                f"{name}: more than {MAX_ROWS} rows; group the log with the statement of --sql"
            )
        head = _head(row, form, source, proto, f"{name}, row {number}")
        reading.lines += head.requests
        if not head.peer:
            reading.unread += head.requests
            example = row.get("example")
            if example and len(reading.examples) < 3:
                reading.examples.append(escape(str(example), 60))
            continue
        yield head


def _ends_in_peer(rows: list[dict[str, Any]]) -> bool:
    """Return whether every list ends in the peer: that is `$proxy_add_x_forwarded_for`."""
    peers = [(cut_port(str(row.get("peer") or "").strip(), last_colon=False),
              split_entries(_given(row.get("claims")) or "")) for row in rows]  # fmt: skip
    known = [(peer, entries) for peer, entries in peers if peer]
    return bool(known) and all(entries and entries[-1] == peer for peer, entries in known)


def _rows(lines: Iterable[str], name: str) -> Iterator[dict[str, Any]]:
    """Yield rows as columns and values."""
    found = iter(lines)
    first = next(found, "").removeprefix("\ufeff")
    if first.lstrip().startswith("{"):
        yield from _json_rows(first, found, name)
        return
    header = next(csv.reader([first]), [])
    columns = [each.strip().lower() for each in header]
    missing = sorted(_NEEDED - set(columns))
    if missing:
        raise ConfigurationError(
            f"{name}: no column {', '.join(missing)}; write the rows of --sql with a header, as "
            f"CSV or JSON lines: {', '.join(COLUMNS[:4])}, ..."
        )
    try:
        for values in csv.reader(found):
            if values:
                yield dict(zip(columns, values, strict=False))
    except csv.Error as error:
        raise ConfigurationError(f"{name}: not CSV: {escape(str(error), 200)}") from error


def _json_rows(first: str, rest: Iterator[str], name: str) -> Iterator[dict[str, Any]]:
    """Yield rows of JSON lines.

    Raises:
        ConfigurationError: A line is no object.
    """
    line = first
    while line:
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ConfigurationError(
                    f"{name}: '{escape(line.strip(), 60)}' is not a JSON object on one line"
                ) from error
            # engines leave out a column that is null
            if not isinstance(value, dict) or "requests" not in value:
                raise ConfigurationError(
                    f"{name}: '{escape(line.strip(), 60)}' has not the columns of --sql"
                )
            yield value
        line = next(rest, "")


def _head(row: dict[str, Any], form: LogFormat, source: str, proto: str | None, where: str) -> Head:
    """Return the head of one row; its peer is empty where lines were not in the format.

    Raises:
        ConfigurationError: A count is none.
    """
    claims, claimed = _given(row.get("claims")), _given(row.get("claimed"))
    peer = cut_port(str(row.get("peer") or "").strip(), last_colon=False)
    if form.peer_at == "list":
        entries = split_entries(claims or "")
        peer = cut_port(entries[-1], last_colon=False) if entries else ""
        claims = ", ".join(entries[:-1]) or None
    elif form.peer_at == "both" and claims is not None:
        entries = split_entries(claims)
        if entries[-1] == peer:
            claims = ", ".join(entries[:-1]) or None
    if form.is_edgeserver and claimed is not None:
        claimed = _version_1(claimed)
    fields, hidden = log_fields_of(form, claims, claimed, source, proto)
    scheme = str(row.get("conn") or "")
    paths = [str(each) for number in range(PATHS) if (each := row.get(f"path{number + 1}"))]
    requests = _count(row.get("requests"), where)
    return Head(
        peer=peer,
        fields=fields,
        scheme=scheme if scheme in ("http", "https") else "",
        requests=requests,
        settled=_count(row.get("settled", requests), where),
        first=_moment(row.get("first_seen")),
        last=_moment(row.get("last_seen")),
        targets=tuple(dict.fromkeys(map(path_of, paths))),
        hidden=hidden,
    )


def _version_1(text: str) -> str:
    """Return what the hops of a line of version 1 claim, and its findings, as JSON.

    Args:
        text: Its hops and its findings, as JSON. What is none is given back as it is: then nothing
            of it is known.
    """
    try:
        hops, findings = json.loads(text)
        # what the connection itself said comes first, and claims nothing
        own = sum(each["field"] in ("TCP", "PROXY") for each in hops)
        claims = [each["claimed"] for each in hops[own:]]
        return json.dumps([claims, [each["code"] for each in findings]])
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _given(value: object) -> str | None:
    """Return a value, or None where a log writes that there is none."""
    text = "" if value is None else str(value).strip()
    return None if text in _NOTHING or text == "null" else text


def _count(value: object, where: str) -> int:
    """Return a count.

    Raises:
        ConfigurationError: It is none.
    """
    text = str(value).strip().removesuffix(".0")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ConfigurationError(f"{where}: '{escape(text, 40)}' is not a number of requests")
    return int(text)


def _moment(value: object) -> float | None:
    """Return seconds since the epoch of a time in a log; None where it is none."""
    text = str(value or "").strip()
    try:
        return float(text)
    except ValueError:
        pass
    text, _, zone = text.partition(" ")
    text = f"{text}{zone}"
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
