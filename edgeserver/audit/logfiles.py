"""The files of a log, open in DuckDB: plain, packed or Parquet, as one table of lines.

Decides which files there are, how their lines come into the engine, and within which bounds of
memory and disk. It must not know what a line holds. Importing it needs no DuckDB; reading does.
"""

from __future__ import annotations

import errno
import glob
import gzip
import importlib.util
import os
import re
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgeserver.audit.cutting import sql_text
from edgeserver.audit.records import SAMPLE_LINES
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.support.escape import escape

__all__ = ["ReadLog", "UnreadableLog", "open_log"]

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is counted, and not read."""

_MAX_CLEAN = 2 * 1024 * 1024
_ASCII = bytes(range(128)) + b"?" * 128

_BATCH = 2048
_PROGRESS_S = 0.2
_PARQUET = ".parquet"
_ENDINGS = (".gz", ".zst", _PARQUET)
# what a column of whole lines is called, where there is one
_LINE_COLUMNS = ("line", "message", "log")
_MAX_FILES = 10_000
# What no line holds: the reader must not cut one into columns.
_DELIMITER = "chr(1)||chr(2)||chr(1)||chr(3)"


class UnreadableLog(EdgeServerError):
    """A log that is not there or cannot be read."""


class ReadLog:
    """A log that is open for reading.

    Args:
        names: The files, as they were typed or found.
        connection: DuckDB's connection.
        links: The files under plain names, in a directory of this log's own.
        on_progress: Called in a thread of its own while the log is read, with what share of it
            was, from 0 to 1; or None.
    """

    def __init__(
        self,
        names: Sequence[str],
        connection: Any,
        links: list[str],
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.names = tuple(names)
        self.skips_errors = False
        self._connection = connection
        self._links = links
        self._on_progress = on_progress
        self._is_clean = False
        self._rows_of = ""  # the table function of the Parquet files

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
                with _written(self.names):
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

    def insert(self, table: str, texts: Sequence[str]) -> None:
        """Put texts into a table of one column."""
        self._connection.execute(f"INSERT INTO {table} SELECT unnest(?::VARCHAR[])", [[*texts]])

    def _begin(self, statement: Callable[[str], str]) -> list[tuple[Any, ...]]:
        """Return the first rows of a statement."""
        with _watched(self._connection, self._on_progress):
            self._connection.execute(statement(self._table()))
        rows: list[tuple[Any, ...]] = self._connection.fetchmany(_BATCH)
        return rows

    def _table(self) -> str:
        """Return the table that gives the lines, one column `line`."""
        packed = [link for link in self._links if link.endswith(_PARQUET)]
        texts = [link for link in self._links if not link.endswith(_PARQUET)]
        if packed and not self._rows_of:
            self._rows_of = _parquet_rows(self._connection, packed)
        lines = _text_lines(texts, skips_errors=self.skips_errors) if texts else ""
        if lines and self._rows_of:
            return f"(SELECT line FROM {lines} UNION ALL {self._rows_of})"
        return lines or f"({self._rows_of})"

    def _clean(self) -> None:
        """Copy the files with each byte that is not ASCII as `?`, and endless lines cut."""
        self._is_clean = True
        for number, link in enumerate(self._links):
            if link.endswith(_PARQUET):
                continue
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
    patterns: Sequence[str],
    *,
    memory: str = "1GB",
    spill: str | None = None,
    threads: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[ReadLog]:
    """Open the files of one log: plain, gzip, zstd or Parquet, by what their names end in.

    Args:
        patterns: Paths and globs; `-` is standard input.
        memory: How much DuckDB may take, such as `1GB`.
        spill: The directory for what does not fit; the system's if None.
        threads: How many threads; as many as there are processors if 0.
        on_progress: As for `ReadLog`.

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
    with _scratch(spill) as scratch:
        connection = _connect(memory, scratch, threads)
        try:
            # links with plain names: DuckDB would take the `*` in a name for a pattern
            with _written(names):
                links = [_link(name, scratch, number) for number, name in enumerate(names)]
            yield ReadLog(names, connection, links, on_progress)
        finally:
            connection.close()


def _scratch(spill: str | None) -> tempfile.TemporaryDirectory[str]:
    """Return a directory for what does not fit into memory.

    Raises:
        ConfigurationError: None can be made there.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="edgeserver-audit-", dir=spill)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"--tmp {escape(spill or tempfile.gettempdir(), 200)}: nothing can be written there: "
            f"{reason}; name a directory of your own with room"
        ) from error


@contextmanager
def _written(names: Sequence[str]) -> Iterator[None]:
    """Say which log it was that could not be read, or written down."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        shown = ", ".join(escape(name, 200) for name in names[:3])
        hint = "; give --tmp a directory with more room" if _is_full(error) else ""
        raise UnreadableLog(f"{shown}: the log cannot be read: {reason}{hint}") from error


def _is_full(error: Exception) -> bool:
    """Return whether there is no room left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _connect(memory: str, scratch: str, threads: int) -> Any:
    import duckdb

    # nothing is fetched and nothing but these files is read, whatever a log holds
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    connection.execute(f"SET memory_limit = '{memory}'")
    connection.execute(f"SET temp_directory = {sql_text(os.path.join(scratch, 'spill'))}")
    connection.execute("SET preserve_insertion_order = false")
    # counted, and printed by nobody but who asks
    connection.execute("SET enable_progress_bar = true")
    connection.execute("SET enable_progress_bar_print = false")
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
    ending = next((end for end in _ENDINGS if name.endswith(end)), "")
    link = os.path.join(scratch, f"{number}{ending}")
    if name == "-" or not os.path.isfile(name):
        stream = sys.stdin.buffer if name == "-" else open(name, "rb")  # noqa: SIM115
        with open(link, "wb") as copy:
            while block := stream.read(1 << 20):
                copy.write(block)
    else:
        os.symlink(os.path.abspath(name), link)
    return link


def _text_lines(links: list[str], *, skips_errors: bool) -> str:
    """Return the table function that gives the lines of text files."""
    files = ", ".join(map(sql_text, links))
    return (
        f"read_csv([{files}], columns={{'line': 'VARCHAR'}}, auto_detect=false, header=false, "
        f"delim={_DELIMITER}, quote='', escape='', strict_mode=false, "
        f"max_line_size={MAX_LINE_BYTES}, ignore_errors={str(skips_errors).lower()})"
    )


def _parquet_rows(connection: Any, links: list[str]) -> str:
    """Return the statement that gives the rows of Parquet files as lines.

    A column of lines is taken as it is; other rows become JSON objects of their columns.
    """
    rows = f"read_parquet([{', '.join(map(sql_text, links))}], union_by_name=true)"
    connection.execute(f"DESCRIBE SELECT * FROM {rows}")
    texts = {row[0].lower(): row[0] for row in connection.fetchall() if row[1] == "VARCHAR"}
    name = next((texts[each] for each in _LINE_COLUMNS if each in texts), None)
    if name is not None:
        return f"""SELECT "{name}" AS line FROM {rows}"""
    return f"SELECT to_json(row)::VARCHAR AS line FROM {rows} AS row"


@contextmanager
def _watched(connection: Any, on_progress: Callable[[float], None] | None) -> Iterator[None]:
    """Say again and again how far the engine is, while a statement runs."""
    if on_progress is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_PROGRESS_S):
            on_progress(max(0.0, connection.query_progress()) / 100)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    on_progress(1.0)
