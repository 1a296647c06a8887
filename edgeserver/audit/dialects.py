"""The statement that groups a log by head, for engines that many machines run.

Decides how it is written for DuckDB, ClickHouse, Spark and Athena. It cuts the lines of one column
and counts them, and no more: what the values mean, `edgeserver.audit.groups` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgeserver.audit.records import LogFormat
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["COLUMNS", "DIALECTS", "PATHS", "render_statement"]

MAX_CLAIM = 8192
"""How much of a header is kept, from its right end: there the walk begins."""

PATHS = 8
"""How many paths of a group are shown at most."""

COLUMNS = (
    "peer",
    "claims",
    "claimed",
    "conn",
    "example",
    "requests",
    "settled",
    "first_seen",
    "last_seen",
    *(f"path{number}" for number in range(1, PATHS + 1)),
)
"""The columns of the rows, in order."""

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}(?:\.[A-Za-z_][A-Za-z0-9_]{0,127}){0,2}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CLASS = re.compile(r"([\]\[^\\-])")
_SPECIAL = re.compile(r"([.^$*+?()\[\]{}|\\])")
_ESCAPED = r"\\\1"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Dialect(NamedTuple):
    """How one engine writes what the statement needs.

    Args:
        backslashes: Whether a backslash in a literal has to be doubled.
        group: Returns a group of a pattern in a text: expression, pattern literal, number.
        json: Returns a value of a JSON line as text: expression, keys.
        raw: Returns a value of a JSON line as JSON: expression, keys.
        back: How a replacement names a pattern's first group.
        replace: The function that replaces what a pattern matches.
        replace_all: Returns a text with every match replaced: expression, pattern and text literal.
    """

    backslashes: bool
    group: Callable[[str, str, int], str]
    json: Callable[[str, Sequence[str]], str]
    raw: Callable[[str, Sequence[str]], str]
    back: str
    replace: str
    replace_all: Callable[[str, str, str], str]


def _path(keys: Sequence[str]) -> str:
    """Return a path of JSON functions, for keys without quotes."""
    return "$" + "".join(f'["{key}"]' for key in keys)


def _dotted(keys: Sequence[str]) -> str:
    return "$" + "".join(f'."{key}"' for key in keys)


def _spark_path(keys: Sequence[str]) -> str:
    return "$" + "".join(f"[\\'{key}\\']" for key in keys)


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(f"'{key}'" for key in keys)


DIALECTS: dict[str, Dialect] = {
    "duckdb": Dialect(
        backslashes=False,
        group=lambda text, pattern, number: f"regexp_extract({text}, {pattern}, {number})",
        json=lambda text, keys: f"json_extract_string({text}, '{_dotted(keys)}')",
        raw=lambda text, keys: f"CAST(json_extract({text}, '{_dotted(keys)}') AS VARCHAR)",
        back="\\1",
        replace="regexp_replace",
        replace_all=lambda text, pattern, by: f"regexp_replace({text}, {pattern}, {by}, 'g')",
    ),
    "clickhouse": Dialect(
        backslashes=True,
        group=lambda text, pattern, number: f"regexpExtract({text}, {pattern}, {number})",
        # where a value is no text, as a number is, its JSON is the same
        json=lambda text, keys: (
            f"if(JSONType({text}, {_listed(keys)}) = 'String', JSONExtractString({text}, "
            f"{_listed(keys)}), JSONExtractRaw({text}, {_listed(keys)}))"
        ),
        raw=lambda text, keys: f"JSONExtractRaw({text}, {_listed(keys)})",
        back="\\1",
        replace="replaceRegexpOne",
        replace_all=lambda text, pattern, by: f"replaceRegexpAll({text}, {pattern}, {by})",
    ),
    "spark": Dialect(
        backslashes=True,
        group=lambda text, pattern, number: f"regexp_extract({text}, {pattern}, {number})",
        json=lambda text, keys: f"get_json_object({text}, '{_spark_path(keys)}')",
        raw=lambda text, keys: f"get_json_object({text}, '{_spark_path(keys)}')",
        back="$1",
        replace="regexp_replace",
        replace_all=lambda text, pattern, by: f"regexp_replace({text}, {pattern}, {by})",
    ),
    "athena": Dialect(
        backslashes=False,
        group=lambda text, pattern, number: f"regexp_extract({text}, {pattern}, {number})",
        json=lambda text, keys: f"json_extract_scalar({text}, '{_path(keys)}')",
        raw=lambda text, keys: f"json_format(json_extract({text}, '{_path(keys)}'))",
        back="$1",
        replace="regexp_replace",
        replace_all=lambda text, pattern, by: f"regexp_replace({text}, {pattern}, {by})",
    ),
}
"""The engines, by name."""


def render_statement(
    form: LogFormat, *, dialect: str, table: str, column: str, source: str, proto: str | None
) -> str:
    """Return the statement.

    Args:
        form: The format of the lines.
        dialect: A key of `DIALECTS`.
        table: The table; one, two or three names.
        column: Its column of lines.
        source: The header that names the client, in lower case.
        proto: The header that names the scheme, or None.

    Raises:
        ConfigurationError: A name is none, or the format cannot be cut by an engine.
    """
    for flag, pattern, name in (("--table", _TABLE, table), ("--column", _COLUMN, column)):
        if pattern.fullmatch(name) is None:
            raise ConfigurationError(
                f"{flag} {escape(name, 80)}: not a name; write letters, digits and _, with a dot "
                "after a schema"
            )
    writer = _Writer(DIALECTS[dialect], form, source, proto)
    return writer.statement(table, column)


class _Writer:
    """Writes one statement.

    Args:
        dialect: How the engine writes things.
        form: The format of the lines.
        source: The header that names the client.
        proto: The header that names the scheme.
    """

    def __init__(self, dialect: Dialect, form: LogFormat, source: str, proto: str | None) -> None:
        self._dialect = dialect
        self._form = form
        self._source = source
        self._proto = proto

    def statement(self, table: str, column: str) -> str:
        """Return the whole statement."""
        fields = self._fields(column)
        if self._form.pieces:
            # one pattern for each line, and its groups as columns
            inner = f"SELECT {column} AS line FROM {table}"
        else:
            kept = f"substr({column}, 1, 1) = '{{'"
            if self._form.is_edgeserver:
                kept += f""" AND NOT {column} LIKE '{{"v":2,"kind":%'"""
            inner = f"SELECT {column} AS line FROM {table} WHERE {kept}"
        names = ("peer", "claim", "claimed", "conn", "target", "status", "written")
        cut = ", ".join(f"{fields.get(name, self._literal(''))} AS {name}" for name in names)
        return (
            f"WITH lines AS ({inner}),\n"
            f"cut AS (SELECT line, {cut} FROM lines),\n"
            f"named AS (SELECT {self._peer()} AS who, {self._right_end('claim')} AS claims, "
            f"{self._right_end('claimed')} AS schemes, conn, "
            f"CASE WHEN coalesce(peer, '') = '' THEN substr(line, 1, 100) ELSE '' END AS example, "
            f"status, {self._moment()} AS moment, substr(target, 1, 200) AS path FROM cut)\n"
            f"SELECT {self._columns()}\nFROM named\n"
            "GROUP BY who, claims, schemes, conn\n"
            "ORDER BY requests DESC"
        )

    def _columns(self) -> str:
        """Return the columns of the rows."""
        parts = [
            "who AS peer",
            "claims",
            "schemes AS claimed",
            "conn",
            "min(example) AS example",
            "count(*) AS requests",
            "sum(CASE WHEN status LIKE '3%' THEN 0 ELSE 1 END) AS settled",
            "min(CASE WHEN moment <> '' THEN moment END) AS first_seen",
            "max(CASE WHEN moment <> '' THEN moment END) AS last_seen",
        ]
        # some of the paths, in bounded room: the lowest and the highest of four parts of them
        for number in range(PATHS):
            least = "min" if number % 2 else "max"
            part = number // 2
            parts.append(
                f"{least}(CASE WHEN length(path) % 4 = {part} AND path <> '' THEN path END) "
                f"AS path{number + 1}"
            )
        return ",\n  ".join(parts)

    # -- fields --------------------------------------------------------------------------------

    def _fields(self, column: str) -> dict[str, str]:
        """Return the expression of each field.

        Raises:
            ConfigurationError: A version of the format cannot be cut.
        """
        form = self._form
        if form.is_edgeserver:
            second = "line LIKE '{\"v\":2,%'"
            hops = f"coalesce({self._dialect.raw('line', ('hops',))}, '')"
            codes = f"coalesce({self._dialect.raw('line', ('findings',))}, '')"
            # version 1 has no head but what its hops claim; ports would make a group of each line
            hops = self._dialect.replace_all(
                hops, self._literal('"port":[0-9]+'), self._literal('"port":0')
            )
            return {
                "peer": f"CASE WHEN {second} OR substr({hops}, 1, 1) = '[' "
                f"THEN coalesce({self._json('peer')}, '') ELSE '' END",
                "claim": self._dialect.raw("line", ("head",)),
                "claimed": f"CASE WHEN {second} THEN '' "
                f"ELSE concat('[', {hops}, ',', {codes}, ']') END",
                "conn": self._json("conn", "scheme"),
                "target": self._json("target"),
                "written": self._json("time"),
            }
        found = self._cut_text() if form.pieces else self._cut_json()
        target = found.get("target")
        if target is None and "request" in found:
            pattern = self._literal(r"^[^ ]* ([^ ]*)")
            target = self._dialect.group(found["request"], pattern, 1)
        fields = {
            "peer": found.get("peer"),
            "claim": found.get(f"header:{self._source}"),
            "claimed": found.get(f"header:{self._proto}") if self._proto else None,
            "conn": found.get("scheme"),
            "target": target,
            "status": found.get("status"),
            "written": found.get("time"),
        }
        if form.name == "cloudfront":
            fields["written"] = f"concat({found['date']}, 'T', {found['time']})"
        if form.peer_at == "list":
            # the line's own mark of a request: there is no peer beside the list
            fields["peer"] = fields["claim"]
        return {name: f"coalesce({each}, '')" for name, each in fields.items() if each is not None}

    def _cut_text(self) -> dict[str, str]:
        """Return the group of each field in the pattern of the whole line."""
        pattern, names = "^", []
        for name, end in self._form.pieces:
            quoted = end.startswith('"')
            # a quoted field may hold quotes, each behind a backslash
            if not end:
                part = ".*"
            elif quoted:
                part = r"(?:[^\"\\]|\\.)*"
            elif len(end) == 1:
                part = f"[^{_CLASS.sub(_ESCAPED, end)}]*"
            else:
                part = ".*?"
            pattern += f"({part})" if name else f"(?:{part})"
            pattern += _SPECIAL.sub(_ESCAPED, end)
            if name:
                names.append(name)
        literal = self._literal(pattern.replace('\\"', '"'))
        return {
            name: self._dialect.group("line", literal, number)
            for number, name in enumerate(names, start=1)
        }

    def _cut_json(self) -> dict[str, str]:
        """Return the JSON value of each field."""
        paths = dict(self._form.paths)
        found = {name: self._json(*keys) for name, keys in paths.items()}
        if self._form.arrays:
            for name in (self._source, self._proto):
                if name:
                    title = "-".join(part.capitalize() for part in name.split("-"))
                    keys = ("request", "headers", title)
                    found[f"header:{name}"] = self._dialect.raw("line", keys)
        if "tls" in found:
            found["scheme"] = (
                f"CASE WHEN coalesce({found['tls']}, '') = '' THEN 'http' ELSE 'https' END"
            )
        return found

    def _json(self, *keys: str) -> str:
        """Return a value of the line.

        Raises:
            ConfigurationError: A key cannot be written in a path.
        """
        for key in keys:
            if not re.fullmatch(r"[A-Za-z0-9_. @:-]{1,100}", key):
                raise ConfigurationError(
                    f"--log-format: the key {escape(key, 60)!r} cannot stand in a statement; name "
                    "keys with letters, digits, _ and -"
                )
        return self._dialect.json("line", keys)

    # -- expressions ---------------------------------------------------------------------------

    def _literal(self, text: str) -> str:
        """Return a text as a literal."""
        if self._dialect.backslashes:
            text = text.replace("\\", "\\\\").replace("'", "\\'")
        else:
            text = text.replace("'", "''")
        return f"'{text}'"

    def _peer(self) -> str:
        """Return the peer without its port, so that connections of one peer are one group."""
        if self._form.peer_at == "list":
            return "''"  # it is the last entry of the list
        if self._form.last_colon:
            pattern, back = r":[0-9]+$", ""
        else:
            pattern, back = r"^(\[[^\]]*\]|[0-9.]+):[0-9]+$", self._dialect.back
        return (
            f"{self._dialect.replace}(coalesce(peer, ''), {self._literal(pattern)}, "
            f"{self._literal(back)})"
        )

    @staticmethod
    def _right_end(name: str) -> str:
        """Return the right end of a value."""
        return (
            f"CASE WHEN length({name}) > {MAX_CLAIM} THEN substr({name}, length({name}) - "
            f"{MAX_CLAIM - 1}) ELSE {name} END"
        )

    @staticmethod
    def _moment() -> str:
        """Return a time as a text that sorts: that of common logs has the day in front."""
        months = " ".join(
            f"WHEN '{name}' THEN '{number:02}'" for number, name in enumerate(_MONTHS, start=1)
        )
        day, month, year = "substr(written, 1, 2)", "substr(written, 4, 3)", "substr(written, 8, 4)"
        return (
            f"CASE WHEN written LIKE '__/___/____:%' THEN concat({year}, '-', CASE {month} "
            f"{months} ELSE '00' END, '-', {day}, 'T', substr(written, 13)) ELSE written END"
        )
