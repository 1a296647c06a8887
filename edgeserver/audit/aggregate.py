"""Aggregation of a log with DuckDB: millions of lines become one row for each distinct head.

Decides how lines are read, cut and grouped in one statement, in bounded memory. It must not know
what the rows prove. Importing it needs no DuckDB; reading a log does.
"""

from __future__ import annotations

import glob
import gzip
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from edgeserver.audit.records import FORMATS, SAMPLE_LINES, LogFormat, Piece
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.support.escape import escape

__all__ = [
    "Head",
    "ReadLog",
    "Reading",
    "UnreadableLog",
    "log_fields_of",
    "open_log",
    "path_of",
    "read_heads",
]

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is counted, and not read."""

_MAX_CLEAN = 2 * 1024 * 1024
_ASCII = bytes(range(128)) + b"?" * 128

MAX_CLAIM = 8192
"""How much of a header is kept, from its right end: there the walk begins."""

_BATCH = 2048
_NULL = "CAST(NULL AS VARCHAR)"
_BACKSLASH, _QUOTE = r"\x5c", r"\x22"
_MAX_FILES = 10_000
# What no line holds: the reader must not cut one into columns.
_DELIMITER = "chr(1)||chr(2)||chr(1)||chr(3)"


class UnreadableLog(EdgeServerError):
    """A log that is not there or cannot be read."""


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


class ReadLog:
    """A log that is open for reading.

    Args:
        names: The files, as they were typed or found.
        connection: DuckDB's connection.
        links: The files under plain names, in a directory of this log's own.
    """

    def __init__(self, names: Sequence[str], connection: Any, links: list[str]) -> None:
        self.names = tuple(names)
        self.skips_errors = False
        self._connection = connection
        self._links = links
        self._is_clean = False

    def sample(self) -> list[str]:
        """Return the first lines.

        Raises:
            UnreadableLog: They cannot be read.
        """
        rows = self.ask(lambda table: f"SELECT left(line, 16384) FROM {table} LIMIT {SAMPLE_LINES}")
        return [row[0] for batch in rows for row in batch if row[0] is not None]

    def ask(self, statement: Callable[[str], str]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a statement, in batches.

        Args:
            statement: Gives the statement for the table function that has the lines.

        Raises:
            UnreadableLog: The files cannot be read, or there is not enough memory or disk.
        """
        import duckdb

        try:
            try:
                batch = self._begin(statement)
            except duckdb.InvalidInputException:
                if self._is_clean:
                    raise
                # bytes that are no UTF-8, or an endless line: DuckDB takes neither
                self._clean()
                batch = self._begin(statement)
            while batch:
                yield batch
                batch = self._connection.fetchmany(_BATCH)
        except duckdb.Error as error:
            names = ", ".join(escape(name, 200) for name in self.names[:3])
            reason = escape(str(error).partition("\n")[0], 300)
            for name, link in zip(self.names, self._links, strict=True):
                reason = reason.replace(escape(link, 300), escape(name, 200))
            if isinstance(error, duckdb.OutOfMemoryException):
                reason += "; raise --memory, or give --tmp a directory with more room"
            raise UnreadableLog(f"{names}: the log cannot be read: {reason}") from error

    def _begin(self, statement: Callable[[str], str]) -> list[tuple[Any, ...]]:
        """Return the first rows of a statement."""
        table = _table(self._links, skips_errors=self.skips_errors)
        self._connection.execute(statement(table))
        rows: list[tuple[Any, ...]] = self._connection.fetchmany(_BATCH)
        return rows

    def _clean(self) -> None:
        """Copy the files with each byte that is not ASCII as `?`, and endless lines cut."""
        self._is_clean = True
        for number, link in enumerate(self._links):
            if link.endswith(".zst"):
                self.skips_errors = True  # Python cannot unpack it before 3.14
                continue
            copy = f"{link.removesuffix('.gz')}.clean"
            opened = gzip.open(link) if link.endswith(".gz") else open(link, "rb")  # noqa: SIM115
            with opened as source, open(copy, "wb") as target:
                while line := source.readline(_MAX_CLEAN):
                    target.write(line.translate(_ASCII))
                    if not line.endswith(b"\n"):
                        while line and not line.endswith(b"\n"):
                            line = source.readline(_MAX_CLEAN)
                        target.write(b"\n")
            os.unlink(link)
            self._links[number] = copy


@contextmanager
def open_log(
    patterns: Sequence[str], *, memory: str = "1GB", spill: str | None = None, threads: int = 0
) -> Iterator[ReadLog]:
    """Open the files of one log: plain, gzip or zstd, by what their names end in.

    Args:
        patterns: Paths and globs; `-` is standard input.
        memory: How much DuckDB may take, such as `1GB`.
        spill: The directory for what does not fit; the system's if None.
        threads: How many threads; as many as there are processors if 0.

    Raises:
        ConfigurationError: DuckDB is not installed, a setting is wrong, or a pattern has no file.
        UnreadableLog: A file cannot be read.
    """
    if importlib.util.find_spec("duckdb") is None:
        raise ConfigurationError(
            "reading logs needs duckdb, which is not installed; run: pip install "
            "'edgeserver[audit]'"
        )
    names = _find(patterns)
    if re.fullmatch(r"[1-9][0-9]{0,5}(?:MB|GB)", memory) is None:
        raise ConfigurationError(f"--memory {escape(memory, 40)}: write such as 512MB or 1GB")
    with tempfile.TemporaryDirectory(prefix="edgeserver-audit-", dir=spill) as scratch:
        connection = _connect(memory, scratch, threads)
        try:
            # links with plain names: DuckDB would take the `*` in a name for a pattern
            links = [_link(name, scratch, number) for number, name in enumerate(names)]
            yield ReadLog(names, connection, links)
        finally:
            connection.close()


def _connect(memory: str, scratch: str, threads: int) -> Any:
    import duckdb

    # nothing is fetched and nothing but these files is read, whatever a log holds
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    connection.execute(f"SET memory_limit = '{memory}'")
    connection.execute(f"SET temp_directory = {_quote(os.path.join(scratch, 'spill'))}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    if threads:
        connection.execute(f"SET threads = {int(threads)}")
    return connection


def _find(patterns: Sequence[str]) -> list[str]:
    """Return the files that patterns name, each once.

    Raises:
        ConfigurationError: One has none.
        UnreadableLog: A file cannot be read.
    """
    names: dict[str, None] = {}
    for pattern in patterns:
        if pattern == "-" or os.path.exists(pattern):
            found = [pattern]
        else:
            found = sorted(glob.glob(pattern))
        if not found:
            raise UnreadableLog(f"{escape(pattern, 400)}: there is no such log; check the path")
        names.update(dict.fromkeys(found))
    for name in names:
        if name == "-":
            continue
        if os.path.isdir(name):
            raise UnreadableLog(
                f"{escape(name, 400)}: this is a directory; name its files, such as "
                f"{escape(name, 400)}/*.log"
            )
        if not os.access(name, os.R_OK):
            raise UnreadableLog(f"{escape(name, 400)}: the log cannot be read; check permissions")
    if len(names) > _MAX_FILES:
        raise ConfigurationError(f"{len(names)} files; at most {_MAX_FILES} at a time")
    return list(names)


def _link(name: str, scratch: str, number: int) -> str:
    """Return a plain name of a file; what comes from a pipe is written down first."""
    ending = next((end for end in (".gz", ".zst") if name.endswith(end)), "")
    link = os.path.join(scratch, f"{number}{ending}")
    if name == "-" or not os.path.isfile(name):
        stream = sys.stdin.buffer if name == "-" else open(name, "rb")  # noqa: SIM115
        with open(link, "wb") as copy:
            while block := stream.read(1 << 20):
                copy.write(block)
    else:
        os.symlink(os.path.abspath(name), link)
    return link


def _quote(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _table(links: list[str], *, skips_errors: bool) -> str:
    """Return the table function that gives the lines, one column `line`."""
    files = ", ".join(map(_quote, links))
    return (
        f"read_csv([{files}], columns={{'line': 'VARCHAR'}}, auto_detect=false, header=false, "
        f"delim={_DELIMITER}, quote='', escape='', strict_mode=false, "
        f"max_line_size={MAX_LINE_BYTES}, ignore_errors={str(skips_errors).lower()})"
    )


# -- the statement -------------------------------------------------------------------------------


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
    rows = log.ask(lambda table: statement(form, table, source=source, proto=proto))
    for batch in rows:
        for row in batch:
            peer, claims, claimed, scheme, requests, settled, first, last, paths = row
            reading.lines += requests
            if peer is None:
                _note_unread(reading, scheme, requests, next(filter(None, paths), ""), claims)
                continue
            fields, hidden = log_fields_of(form, claims, claimed, source, proto)
            targets = [path_of(each) for each in paths if each]
            yield Head(
                peer, fields, scheme if scheme in ("http", "https") else "",
                requests, settled, first, last, tuple(dict.fromkeys(targets)), hidden,
            )  # fmt: skip


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


def statement(form: LogFormat, table: str, *, source: str, proto: str | None) -> str:
    """Return the statement that groups a log by head.

    Args:
        form: The format.
        table: The table function that gives the lines.
        source: The header that names the client.
        proto: The header that names the scheme, or None.
    """
    if form.is_edgeserver:
        cut = _edgeserver_cut(table)
    elif form.pieces:
        cut = _text_cut(form, table, source, proto)
    else:
        cut = _json_cut(form, table, source, proto)
    comments = "starts_with(line, '#') OR " if form.name == "cloudfront" else ""
    # some of the paths, in bounded room: the lowest and the highest of each of four parts of them
    paths = ", ".join(
        f"{each}(path) FILTER (part = {part})" for each in ("min", "max") for part in range(4)
    )
    return f"""
WITH cut AS ({cut}), named AS (
  SELECT CASE WHEN ok THEN peer END AS who,
    CASE WHEN ok THEN right(claim, {MAX_CLAIM}) ELSE policy END AS claims,
    CASE WHEN ok THEN right(claimed, {MAX_CLAIM}) END AS schemes,
    CASE WHEN ok THEN conn WHEN policy IS NOT NULL THEN 'policy'
      WHEN {comments} line IS NULL OR trim(line) = '' THEN 'empty' ELSE 'unread' END AS kind,
    CASE WHEN ok THEN left(split_part(target, '?', 1), 200) ELSE left(line, 100) END AS path,
    hash(path) % 4 AS part, status, moment
  FROM cut
)
SELECT who, claims, schemes, kind, count(*),
  count(*) FILTER (status IS NULL OR NOT starts_with(status, '3')),
  min(moment), max(moment), [{paths}]
FROM named GROUP BY who, claims, schemes, kind
ORDER BY (claims IS NULL), 5 DESC"""


def _moment(expression: str) -> str:
    """Return a time in seconds since the epoch."""
    return (
        f"CASE WHEN contains({expression}, '/') THEN coalesce("
        f"epoch(try_strptime({expression}, '%d/%b/%Y:%H:%M:%S %z')), "
        f"epoch(try_strptime({expression}, '%d/%b/%Y:%H:%M:%S.%g'))) "
        f"WHEN contains({expression}, '-') THEN epoch(try_cast({expression} AS TIMESTAMPTZ)) "
        f"ELSE try_cast({expression} AS DOUBLE) END"
    )


def _port_cut(form: LogFormat, text: str) -> str:
    """Return an address without its port, as `records.cut_port` does."""
    if form.last_colon:
        other = f"left({text}, length({text}) - strpos(reverse({text}), ':'))"
    else:
        other = (
            f"CASE WHEN strpos({text}, '.') BETWEEN 1 AND strpos({text}, ':') "
            f"THEN split_part({text}, ':', 1) ELSE {text} END"
        )
    return (
        f"CASE WHEN starts_with({text}, '[') THEN split_part(substr({text}, 2), ']', 1) "
        f"WHEN contains({text}, ':') THEN {other} ELSE {text} END"
    )


def _shared(
    form: LogFormat, query: str, names: dict[str, str], source: str, proto: str | None
) -> str:
    """Return the statement that gives every format's columns, from the expressions of its fields.

    Args:
        form: The format.
        query: What gives `line`, `fits` and what the expressions name.
        names: The expression of each field that the format has.
        source: The header that names the client.
        proto: The header that names the scheme, or None.
    """
    given = names.get(f"header:{proto}", _NULL) if proto else _NULL
    target = names.get("target") or (
        f"split_part({names['request']}, ' ', 2)" if "request" in names else _NULL
    )
    moment = names.get("time", _NULL)
    if "date" in names:
        moment = f"({names['date']} || ' ' || {moment} || '+00')"
    listed = names.get("claim") or _given(names.get(f"header:{source}", _NULL))
    query = (
        f"SELECT line, fits, {listed} AS listed, trim({names.get('peer', _NULL)}) AS whole, "
        f"{names.get('claimed') or _given(given)} AS claimed, "
        f"{names.get('scheme', _NULL)} AS conn, {target} AS target, "
        f"{names.get('status', _NULL)} AS status, {moment} AS written, "
        f"{names.get('policy', _NULL)} AS policy FROM ({query})"
    )
    claim = "listed"
    if form.peer_at == "list":
        cut = "trim(left(listed, length(listed) - strpos(reverse(listed), ',')))"
        query = (
            "SELECT * EXCLUDE (whole, listed), trim(list_last(string_split(listed, ','))) AS whole,"
            f" CASE WHEN contains(listed, ',') THEN {cut} END AS listed FROM ({query})"
        )
    query = f"SELECT *, {_port_cut(form, 'whole')} AS peer FROM ({query})"
    if form.peer_at == "both":
        claim = (
            "CASE WHEN listed = peer THEN NULL WHEN ends_with(listed, ',' || peer) "
            "THEN left(listed, length(listed) - length(peer) - 1) "
            "WHEN ends_with(listed, ', ' || peer) "
            "THEN left(listed, length(listed) - length(peer) - 2) ELSE listed END"
        )
    return (
        f"SELECT line, peer, {claim} AS claim, claimed, conn, target, status, policy, "
        f"{_moment('written')} AS moment, coalesce(fits AND regexp_full_match(peer, "
        "'[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9._~-]{1,15})?|unix:'), false) AS ok "
        f"FROM ({query})"
    )


def _given(expression: str) -> str:
    """Return a value, or null where a log writes that there is none."""
    return f"nullif(nullif(trim({expression}), '-'), '')"


def _segments(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return what stands between the double quotes of a format, each part as pieces of its own.

    A segment's last piece has no end where it reaches up to the quote.
    """
    segments: list[list[Piece]] = [[]]
    for name, end in pieces:
        before, *others = end.split('"')
        segments[-1].append((name, before))
        for literal in others:
            segments.append([("", literal)] if literal else [])
    return segments


def _text_cut(form: LogFormat, table: str, source: str, proto: str | None) -> str:
    """Return the cut of a text format: each field ends where its delimiter first stands."""
    # cutting at quotes once, and then short texts, takes a quarter of cutting the line ten times
    segments = _segments(form.pieces)
    query = (
        rf"""SELECT line, string_split(replace(replace(line, '\\', '{_BACKSLASH}'), """
        rf"""'\"', '{_QUOTE}'), '"') AS s FROM {table}"""
    )
    query = f"SELECT line, s, len(s) >= {len(segments)} AS fits FROM ({query})"
    found: dict[str, str] = {}
    for number, segment in enumerate(segments, start=1):
        while segment and not segment[-1][0]:
            segment.pop()  # nobody asks for what follows
        if len(segment) == 1 and not segment[0][1]:
            column = f"f{len(found)}"
            found[segment[0][0]] = column
            query = f"SELECT *, s[{number}] AS {column} FROM ({query})"
        elif segment:
            query = _cut_segment(segment, number, query, found)
    return _shared(form, query, found, source, proto)


def _cut_segment(segment: list[Piece], number: int, query: str, found: dict[str, str]) -> str:
    """Return the statement that cuts one segment, and note the columns of its fields."""
    # one subquery for each field: an alias in the same list would be written out each time
    query = f"SELECT *, s[{number}] AS rest FROM ({query})"
    for name, end in segment:
        column = f"f{len(found)}" if name else "skipped"
        if name:
            found[name] = column
        if not end:
            query = f"SELECT *, rest AS {column} FROM ({query})"
            break
        query = f"SELECT *, split_part(rest, {_quote(end)}, 1) AS {column} FROM ({query})"
        # a delimiter that is missing leaves nothing, in which no later one is found
        dropped = "" if name else ", skipped"
        query = (
            f"SELECT * EXCLUDE (rest, fits{dropped}), "
            f"fits AND length({column}) < length(rest) AS fits, "
            f"substr(rest, length({column}) + {len(end) + 1}) AS rest FROM ({query})"
        )
    return f"SELECT * EXCLUDE (rest) FROM ({query})"


def _json_path(keys: Sequence[str]) -> str:
    """Return a path of DuckDB's JSON functions."""
    return "$" + "".join('."' + key.replace('"', '\\"') + '"' for key in keys)


def _json_cut(form: LogFormat, table: str, source: str, proto: str | None) -> str:
    """Return the cut of a JSON format; every line is parsed once."""
    paths = dict(form.paths)
    if form.arrays:
        for name in (source, proto):
            if name:
                title = "-".join(part.capitalize() for part in name.split("-"))
                paths[f"header:{name}"] = ("request", "headers", title)
    listed = ", ".join(_quote(_json_path(keys)) for keys in paths.values())
    found = {name: f"j[{number + 1}]" for number, name in enumerate(paths)}
    if "tls" in found:
        found["scheme"] = f"CASE WHEN {found['tls']} IS NULL THEN 'http' ELSE 'https' END"
    if form.name == "google":
        found["target"] = f"regexp_replace({found['target']}, '^[a-z]+://[^/]*', '')"
    return _shared(form, _parsed(listed, table), found, source, proto)


def _parsed(paths: str, table: str) -> str:
    """Return the statement that gives what stands at some paths of each line, as a list `j`."""
    return (
        f"SELECT line, j IS NOT NULL AS fits, j FROM (SELECT line, CASE WHEN json_valid(line) "
        f"THEN json_extract_string(line, [{paths}]) END AS j FROM {table})"
    )


def _edgeserver_cut(table: str) -> str:
    """Return the cut of edgeserver's audit log, of version 2 and 1."""
    keys = ("peer", "target", "time", "head", "v", "kind", "policy", "conn.scheme")
    listed = ", ".join(_quote(f"$.{key}") for key in keys)
    # version 1 has no head: what the hops claim, but for what the connection itself said
    hops = (
        "to_json([json_extract_string(line, '$.hops[*].claimed')"
        "[len(list_filter(json_extract_string(line, '$.hops[*].field'), "
        "lambda x: x IN ('TCP', 'PROXY'))) + 1 :], "
        "json_extract_string(line, '$.findings[*].code')])::VARCHAR"
    )
    names = {
        "peer": "j[1]",
        "target": "j[2]",
        "time": "j[3]",
        "claim": "j[4]",
        "scheme": "j[8]",
        "claimed": f"CASE WHEN fits AND j[5] IS NULL THEN {hops} END",
        "policy": "CASE WHEN j[6] = 'policy' THEN j[7] END",
    }
    return _shared(FORMATS["edgeserver"], _parsed(listed, table), names, "", None)
