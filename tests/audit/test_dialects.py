"""The statement for other engines, and the rows that they give back."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from edgeserver.audit.aggregate import Head, Reading
from edgeserver.audit.dialects import COLUMNS, DIALECTS, render_statement
from edgeserver.audit.groups import read_groups
from edgeserver.audit.line import render_audit_line
from edgeserver.audit.records import FORMATS, compile_format
from edgeserver.cli.audit import audit
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import TrustPolicy

LOGS = Path(__file__).parent / "logs"
TRUST = "192.0.2.5,198.51.100.0/24,10.0.0.0/8"


def run(*words: str | Path) -> Result:
    """Return what `audit logs` says."""
    return CliRunner().invoke(audit, ["logs", *map(str, words), "--trust", TRUST])


def rows_of(engine: str, statement: str, path: Path) -> list[tuple[Any, ...]]:
    """Return the rows that an engine gives for a log."""
    lines = [line for line in path.read_text().split("\n") if line and not line.startswith("#")]
    return {"duckdb": of_duckdb, "clickhouse": of_clickhouse, "spark": of_spark}[engine](
        statement, lines
    )


def of_duckdb(statement: str, lines: list[str]) -> list[tuple[Any, ...]]:
    """Return the rows of DuckDB."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE logs(line VARCHAR)")
        connection.execute("INSERT INTO logs SELECT unnest(?)", [lines])
        return connection.execute(statement).fetchall()


def of_clickhouse(statement: str, lines: list[str]) -> list[tuple[Any, ...]]:
    """Return the rows of ClickHouse, embedded."""
    session = importlib.import_module("chdb.session").Session()
    session.query("CREATE DATABASE test")
    session.query("CREATE TABLE test.logs(line String) ENGINE = Memory")
    values = ", ".join(
        "('" + line.replace("\\", "\\\\").replace("'", "\\'") + "')" for line in lines
    )
    session.query(f"INSERT INTO test.logs VALUES {values}")
    text = str(session.query(statement.replace("FROM logs", "FROM test.logs"), "JSONEachRow"))
    return [tuple(json.loads(line).values()) for line in text.splitlines()]


def of_spark(statement: str, lines: list[str]) -> list[tuple[Any, ...]]:
    """Return the rows of Spark, in one process."""
    builder = importlib.import_module("pyspark.sql").SparkSession.builder.master("local[1]")
    for name, value in (
        ("spark.ui.enabled", "false"), ("spark.sql.shuffle.partitions", "1"),
        ("spark.driver.bindAddress", "127.0.0.1"), ("spark.driver.host", "127.0.0.1"),
    ):  # fmt: skip
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.createDataFrame([(line,) for line in lines], ["line"]).createOrReplaceTempView("logs")
    return [tuple(row) for row in spark.sql(statement).collect()]


WANTED = ("--format", "json", "--suggest", "--against", "192.0.2.5,192.0.2.6,10.0.0.0/8")
NEEDED = {"duckdb": "duckdb", "clickhouse": "chdb", "spark": "pyspark"}


def summary(result: Result) -> tuple[Any, ...]:
    """Return what was found, and over which chains requests came."""
    report = json.loads(result.stdout)
    found = [(each["code"], each["subject"], each["requests"], each["score"])
             for each in report["findings"]]  # fmt: skip
    chains = sorted((each["hops"], each["requests"]) for each in report["chains"])
    told = [report[each] for each in ("suggested", "against")]
    return found, chains, report["log"]["requests"], report["log"]["unread"], told


@pytest.mark.filterwarnings("default")  # engines have warnings of their own
@pytest.mark.parametrize("engine", NEEDED)
@pytest.mark.parametrize("name", sorted(path.name for path in LOGS.iterdir()))
def test_rows_show_what_the_log_shows(engine: str, name: str, tmp_path: Path) -> None:
    """What an engine has grouped shows, suggests and would change as when it is read here."""
    if importlib.util.find_spec(NEEDED[engine]) is None:
        pytest.skip(f"{NEEDED[engine]} is not installed: pip install {NEEDED[engine]}")
    log = LOGS / name
    statement = run(log, "--sql", engine, "--table", "logs")
    assert statement.exit_code == 0, statement.output
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows_of(engine, statement.stdout, log))
    grouped = run(log, "--groups", path, *WANTED)
    assert summary(grouped) == summary(run(log, *WANTED))


def line_of(policy: TrustPolicy, peer: str, *pairs: tuple[bytes, bytes]) -> str:
    """Return a line of edgeserver's audit log."""
    bound = policy.bind(peer=peer)
    return render_audit_line(bound.explain(pairs), method="GET", target="/", now=1e9, pairs=pairs,
                             bound=bound, policy=policy)  # fmt: skip


def test_the_audit_log_of_edgeserver(tmp_path: Path) -> None:
    """Version 2 is grouped by its head, version 1 by its hops; policies are no requests."""
    policy = TrustPolicy(["192.0.2.5"])
    known = (b"x-forwarded-for", b"203.0.113.9\xff")
    log = tmp_path / "audit.jsonl"
    lines = [line_of(policy, "192.0.2.5", known)] * 3 + [line_of(policy, "192.0.2.6")]
    hop = {"field": "TCP", "claimed": "198.51.100.1", "port": 1}
    told = {"field": "X-Forwarded-For", "claimed": '203.0.113.8\\\\ "port":77', "port": None}
    old = [
        json.dumps({"peer": "198.51.100.1", "hops": [{**hop, "port": port}, told], "findings": []})
        for port in (4001, 4002)
    ]
    strange = ['{"v":3,"peer":"198.51.100.2"}', '{"peer":"198.51.100.2","hops":"["}']
    log.write_text("\n".join([*lines, '{"v":2,"kind":"policy","policy":{}}', *old, *strange]))
    statement = render_statement(FORMATS["edgeserver"], dialect="duckdb", table="logs",
                                 column="line", source="x-forwarded-for", proto=None)  # fmt: skip
    rows = rows_of("duckdb", statement, log)
    reading = Reading()
    text = [json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows]
    heads = list(read_groups(text, FORMATS["edgeserver"], source="x-forwarded-for", proto=None,
                             reading=reading, name="rows"))  # fmt: skip
    assert (reading.lines, reading.unread) == (8, 2)
    assert {head.peer: (head.requests, head.fields, head.scheme) for head in heads} == {
        "192.0.2.5": (3, (known,), "http"),
        "192.0.2.6": (1, (), "http"),
        "198.51.100.1": (2, ((b"x-forwarded-for", b'203.0.113.8\\ "port":77'),), ""),
    }


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_a_statement(dialect: str, form: str) -> None:
    """Whatever the format and the engine, the columns are the same, on balanced brackets."""
    text = render_statement(FORMATS[form], dialect=dialect, table="a.b.logs", column="message",
                            source="x-forwarded-for", proto="x-forwarded-proto")  # fmt: skip
    for column in COLUMNS[4:]:
        assert f"AS {column}" in text
    assert text.count("SELECT message AS line FROM a.b.logs") == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_ends_a_literal(dialect: str) -> None:
    """A format's own text, quotes and backslashes in it, stays within its literal."""
    form = compile_format("$remote_addr '; DROP TABLE x; -- \\\\' [$time_local] \"$request\" z")
    text = render_statement(form, dialect=dialect, table="logs", column="line",
                            source="x-forwarded-for", proto=None)  # fmt: skip
    quoted = "\\'" if DIALECTS[dialect].backslashes else "''"
    assert f"{quoted}; DROP" in text
    if dialect == "duckdb":
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE logs(line VARCHAR)")
            assert connection.execute(text).fetchall() == []


@pytest.mark.parametrize(
    ("table", "column"),
    [("", "line"), ("logs; DROP TABLE x", "line"), ("a.b.c.d", "line"), ("logs", "a b"),
     ("logs--", "line"), ("(SELECT 1)", "line"), ("logs", "")],
)  # fmt: skip
def test_names_are_names(table: str, column: str) -> None:
    """What stands for a table or a column is nothing else."""
    with pytest.raises(ConfigurationError, match="not a name"):
        render_statement(FORMATS["nginx"], dialect="duckdb", table=table, column=column,
                         source="x-forwarded-for", proto=None)  # fmt: skip


def test_keys_are_keys() -> None:
    """A key of a JSON format that could end a path is refused."""
    form = compile_format('{"a\'b": "$remote_addr"}')
    with pytest.raises(ConfigurationError, match="cannot stand in a statement"):
        render_statement(form, dialect="spark", table="logs", column="line",
                         source="x-forwarded-for", proto=None)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give log files"),
        (["--sql", "duckdb"], "--sql without --table"),
        (["--table", "t"], "--table without --sql"),
        (["--sql", "duckdb", "--table", "t"], "no format: write --log-name"),
        (["--sql", "duckdb", "--table", "t", "--log-name", "moon"], "--log-name moon: write"),
        (["--sql", "duckdb", "--table", "t", "--groups", "x"], "give one"),
        (["--sql", "duckdb", "--table", "t t", "--log-name", "nginx"], "--table t t: not a name"),
    ],
)
def test_what_is_refused(words: list[str], message: str) -> None:
    """Flags that do not go together end with 2 and what to give."""
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column claims, peer, requests"),
        ("a,b\n1,2\n", "no column claims, peer, requests"),
        ("peer,claims,requests\n192.0.2.1,,many\n", "row 1: 'many' is not a number"),
        ("peer,claims,requests\n192.0.2.1,,-1\n", "is not a number"),
        ('{"peer": "192.0.2.1"}\n', "has not the columns"),
        ('{"peer": \n', "is not a JSON object"),
        ("{" * 100_000, "is not a JSON object"),
        ('peer,claims,requests\n192.0.2.1,"' + "x" * 200_000, "not CSV"),
        ("peer,claims,requests\n\x1b[31m,,1\n", "none of 1 lines is a request"),
    ],
    ids=["empty", "columns", "count", "negative", "json-columns", "torn", "deep", "field", "peer"],
)  # fmt: skip
def test_what_is_no_row(text: str, words: str, tmp_path: Path) -> None:
    """Files that no engine has written are told with the row, and nothing of them is trusted."""
    path = tmp_path / "rows"
    path.write_text(text)
    result = run("--groups", path, "--log-name", "nginx+xff")
    assert result.exit_code in (0, 1, 2), result.output
    if "none of" not in words:
        assert result.exit_code == 2
        assert words in result.stderr
    assert result.output.replace("\n", "").isprintable()


def test_rows_that_cannot_be_read() -> None:
    """A file that is not there ends with 3."""
    result = run("--groups", "/nowhere", "--log-name", "nginx+xff")
    assert result.exit_code == 3
    assert "the rows cannot be read" in result.stderr


@pytest.mark.parametrize(
    ("row", "head"),
    [
        ({"peer": "[2001:db8::1]:443", "claims": "-"}, ("2001:db8::1", (), None)),
        ({"first_seen": "2026-11-28T07:13:03 +0000"}, ("192.0.2.1", (), 1795849983.0)),
        ({"first_seen": "1795849983.5"}, ("192.0.2.1", (), 1795849983.5)),
        ({"claims": None}, ("192.0.2.1", (), None)),
        ({"first_seen": "28/Nov"}, ("192.0.2.1", (), None)),
        ({"claims": "203.0.113.9"},
         ("192.0.2.1", ((b"x-forwarded-for", b"203.0.113.9"),), None)),
    ],
)  # fmt: skip
def test_values(row: dict[str, str], head: tuple[Any, ...]) -> None:
    """Ports, dashes and times are what they are in a log that is read here."""
    whole = {"peer": "192.0.2.1", "claims": "", "requests": "2"} | row
    (found,) = read_groups([json.dumps(whole)], FORMATS["nginx+xff"], source="x-forwarded-for",
                           proto=None, reading=Reading(), name="rows")  # fmt: skip
    assert isinstance(found, Head)
    assert (found.peer, found.fields, found.first) == head
    assert (found.requests, found.settled) == (2, 2)
