"""The statement that cuts and groups the lines of a log, for DuckDB.

Decides how each format's fields are cut out of a line, and what of them makes a head: one row for
each distinct one. It must not know where the lines come from, nor what the rows prove.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeserver.audit.alike import PATH_COLUMNS, path_function
from edgeserver.audit.records import FORMATS, LogFormat, Piece

__all__ = ["MAX_CLAIM", "sql_text", "statement"]

MAX_CLAIM = 8192
"""How much of a header is kept, from its right end: there the walk begins."""

_NULL = "CAST(NULL AS VARCHAR)"
_BACKSLASH, _QUOTE = r"\x5c", r"\x22"


def sql_text(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


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
    paths = ", ".join(
        f"{path_function(each)}(path) FILTER (part = {each[-1]}) AS {each}" for each in PATH_COLUMNS
    )
    return f"""
WITH cut AS ({cut}), named AS (
  SELECT CASE WHEN ok THEN peer END AS who,
    CASE WHEN ok THEN {_right_end("claim")} ELSE policy END AS claims,
    CASE WHEN ok THEN {_right_end("claimed")} END AS schemes,
    CASE WHEN ok THEN conn WHEN policy IS NOT NULL THEN 'policy'
      WHEN {comments} line IS NULL OR trim(line) = '' THEN 'empty' ELSE 'unread' END AS kind,
    CASE WHEN NOT ok THEN left(line, 100) WHEN contains(target, '?') OR strlen(target) > 200
      THEN left(split_part(target, '?', 1), 200) ELSE target END AS path,
    hash(path) % 4 AS part, status, moment
  FROM cut
)
SELECT who, claims, schemes, kind, count(*) AS requests,
  count(*) FILTER (status IS NULL OR NOT starts_with(status, '3')) AS settled,
  min(moment) AS first, max(moment) AS last, {paths}
FROM named GROUP BY who, claims, schemes, kind"""


def _right_end(name: str) -> str:
    """Return the right end of a value; counting letters takes longer than measuring bytes."""
    return f"CASE WHEN strlen({name}) > {MAX_CLAIM} THEN right({name}, {MAX_CLAIM}) ELSE {name} END"


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
        rf"""SELECT line, string_split(CASE WHEN contains(line, '\') THEN replace(replace(line, """
        rf"""'\\', '{_BACKSLASH}'), '\"', '{_QUOTE}') ELSE line END, '"') AS s FROM {table}"""
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
    for at, (name, end) in enumerate(segment):
        column = f"f{len(found)}"
        if name:
            found[name] = column
        if not end:
            query = f"SELECT *, rest AS {column} FROM ({query})"
            break
        # slices take half the time of split_part and substr; where a delimiter is missing nothing
        # of the line is asked for, and what they give does not matter
        query = f"SELECT *, strpos(rest, {sql_text(end)}) AS here FROM ({query})"
        cut = f", rest[:here - 1] AS {column}" if name else ""
        last = at + 1 == len(segment)
        following = "" if last else f", rest[here + {len(end)}:] AS rest"
        query = (
            f"SELECT * EXCLUDE (rest, here, fits), fits AND here > 0 AS fits{cut}{following} "
            f"FROM ({query})"
        )
        if last:
            return query
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
    listed = ", ".join(sql_text(_json_path(keys)) for keys in paths.values())
    found = {name: f"j[{number + 1}]" for number, name in enumerate(paths)}
    if form.arrays:
        # a header of one line, as nearly all are, is that line
        for name in found:
            if name.startswith("header:"):
                found[name] = (
                    f"""CASE WHEN regexp_full_match({found[name]}, '\\["[^"\\[\\\\]*"\\]') """
                    f"THEN substr({found[name]}, 3, length({found[name]}) - 4) "
                    f"ELSE {found[name]} END"
                )
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
    listed = ", ".join(sql_text(f"$.{key}") for key in keys)
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
        "claim": "nullif(j[4], '[]')",
        "scheme": "j[8]",
        "claimed": f"CASE WHEN fits AND j[5] IS NULL THEN {hops} END",
        "policy": "CASE WHEN j[6] = 'policy' THEN j[7] END",
    }
    return _shared(FORMATS["edgeserver"], _parsed(listed, table), names, "", None)
