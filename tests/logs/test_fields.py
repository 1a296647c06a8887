"""The table of log fields: the reference shows it, and lines hold what it says."""

import json
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeserver.logs.access import render_json
from edgeserver.logs.fields import ACCESS_FIELDS, ERROR_FIELDS, LogField
from edgeserver.logs.format import JSONFormatter

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "log-fields.md"

_ROW = re.compile(r"^\| `(\w+)` \| `([\w.]+)` \| (.*) \|$", re.MULTILINE)


@pytest.mark.parametrize(
    ("heading", "fields"),
    [("## The access log", ACCESS_FIELDS), ("## Standard error", ERROR_FIELDS)],
    ids=["access", "error"],
)
def test_the_reference(heading: str, fields: tuple[LogField, ...]) -> None:
    """The page has a row for each key, in order, in the same words."""
    section = PAGE.read_text().partition(heading)[2].partition("\n## ")[0]
    assert [LogField(*row) for row in _ROW.findall(section)] == list(fields)


def test_lines_of_the_access_log() -> None:
    """A line that has everything has the keys of the table, in its order."""
    head = {
        b"host": b"a",
        b"user-agent": b"b",
        b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    exchange = SimpleNamespace(
        info=SimpleNamespace(peer="10.0.0.1", tls=SimpleNamespace(version="TLSv1.3")),
        client=SimpleNamespace(verified=True, reason="first-untrusted"),
        remote_ip="203.0.113.9",
        protocol="https",
        method="GET",
        target="/",
        version="HTTP/1.1",
        status=200,
        bytes_sent=1,
        duration_s=0.1,
        request_id="r",
        head_value=head.get,
    )
    line = json.loads(render_json(exchange, 0, worker=1, sample=0.1))  # type: ignore[arg-type]
    assert [*line, "dropped"] == [each.key for each in ACCESS_FIELDS]


def test_lines_of_standard_error() -> None:
    """A record with a traceback has the keys of the table, in its order."""
    try:
        raise LookupError
    except LookupError:
        record = logging.LogRecord("edgeserver", 40, "", 1, "failed", (), sys.exc_info())
    line = json.loads(JSONFormatter(worker=1).format(record))
    assert list(line) == [each.key for each in ERROR_FIELDS]
