"""The files of a log in the engine: Parquet, the bounds of memory and disk, and how far it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from edgeserver.audit.logfiles import UnreadableLog, open_log

LINE = '192.0.2.5 - - [28/Nov/2026:07:00:00 +0000] "GET / HTTP/1.1" 200 2 "-" "curl/8" "8.8.8.8"'


def parquet(path: Path, rows: str) -> Path:
    """Write the rows of a statement."""
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    return path


def lines_of(*paths: Path) -> list[str]:
    """Return the lines of files."""
    with open_log([str(path) for path in paths], threads=1) as log:
        return sorted(log.sample())


@pytest.mark.parametrize("name", ["line", "message", "Log"])
def test_a_column_of_lines(tmp_path: Path, name: str) -> None:
    """A Parquet file with a column of lines is a log of these lines."""
    rows = f"""SELECT 1 AS shard, $${LINE}$$ AS "{name}" UNION ALL SELECT 2, NULL"""
    assert lines_of(parquet(tmp_path / "a.parquet", rows)) == [LINE]


def test_columns_become_json(tmp_path: Path) -> None:
    """The rows of other Parquet files are objects of their columns."""
    rows = "SELECT '192.0.2.5' AS remote_addr, '8.8.8.8' AS http_x_forwarded_for, 200 AS status"
    assert lines_of(parquet(tmp_path / "a.parquet", rows)) == [
        '{"remote_addr":"192.0.2.5","http_x_forwarded_for":"8.8.8.8","status":200}'
    ]


def test_parquet_beside_text(tmp_path: Path) -> None:
    """Files of several kinds are one log, a byte that is no UTF-8 in one of them or not."""
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(b"second\n"))
    (tmp_path / "c.log").write_bytes(b"thi\xffrd\n")
    first = parquet(tmp_path / "a.parquet", "SELECT 'first' AS line")
    found = lines_of(first, tmp_path / "b.log.gz", tmp_path / "c.log")
    assert found == ["first", "second", "thi?rd"]


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    """What only has the name is said with that name."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(UnreadableLog, match=str(path)):
        lines_of(path)


def test_the_bounds_reach_the_engine(tmp_path: Path) -> None:
    """Memory and the place for what does not fit are the engine's own settings."""
    (tmp_path / "a.log").write_text(LINE)
    asked = "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
    with open_log([str(tmp_path / "a.log")], memory="300MB", spill=str(tmp_path)) as log:
        (((memory, spill),),) = log.ask(lambda table: asked)
        assert memory == "286.1 MiB"
        assert Path(spill).is_relative_to(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.log"]


def test_too_little_memory_is_said_with_its_flag(tmp_path: Path) -> None:
    """A statement that fits neither memory nor disk names the flags that give it more."""
    (tmp_path / "a.log").write_text(LINE)
    wanted = "SELECT list(range) FROM range(20000000)"
    with (
        open_log([str(tmp_path / "a.log")], memory="20MB", threads=1) as log,
        pytest.raises(UnreadableLog, match="raise --memory, or give --tmp"),
    ):
        list(log.ask(lambda table: wanted))


def test_how_far_it_is(tmp_path: Path) -> None:
    """Whoever wants to know is told shares of what is to be read, and in the end all of it."""
    (tmp_path / "a.log").write_text(LINE)
    told: list[float] = []
    with open_log([str(tmp_path / "a.log")], on_progress=told.append) as log:
        log.sample()
    assert told[-1] == 1.0
    assert all(0 <= each <= 1 for each in told)
