"""The metrics: their names, and that the formats are what they say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from edgeserver.operate.metrics import FAMILIES, NotInstalledError, render_metrics
from edgeserver.operate.report import ServerReport
from tests.operate.reports import FACTS, running

OPEN = "application/openmetrics-text; version=1.0.0"
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def _samples(report: ServerReport, accept: str = "text/plain") -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels in order."""
    body, content_type = render_metrics(accept, FACTS, report)
    assert content_type.startswith(accept.partition(";")[0])
    parse: Any = parse_open if accept == OPEN else parse_text
    return {
        (sample.name.removeprefix("edgeserver_"), *sample.labels.values()): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("accept", ["text/plain", OPEN], ids=["prometheus", "openmetrics"])
def test_numbers(accept: str) -> None:
    """Counters hold what ended processes have counted, gauges only what lives."""
    found = _samples(running(), accept)
    expected = {
        ("connections",): 4,
        ("connections_total",): 8,
        ("requests_total", "200"): 106,
        ("requests_total", "404"): 2,
        ("requests_in_flight",): 2,
        ("request_duration_seconds_bucket", "0.005"): 6,
        ("request_duration_seconds_bucket", "30.0"): 6,
        ("request_duration_seconds_bucket", "+Inf"): 7,
        ("request_duration_seconds_count",): 7,
        ("request_duration_seconds_sum",): 1.5,
        ("refused_total", "RFC 9112 section 3.2"): 4,
        ("tls_handshakes_total", "full", "TLSv1.3"): 9,
        ("certificate_not_after_seconds", ""): 1.8e9,
        ("certificate_not_after_seconds", "shop.example"): 1.9e9,
        ("loop_lag_seconds", "1"): 0.25,
        ("loop_lag_seconds", "2"): 7.5,
        ("workers", "serving"): 2,
        ("workers", "starting"): 0,
        ("worker_ends_total", "stuck"): 2,
        ("worker_memory_bytes", "1"): 64 * 2**20,
        ("build_info", "false", "3.11.7", "1.2.3"): 1,
    }
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize("accept", ["text/plain", OPEN], ids=["prometheus", "openmetrics"])
def test_a_server_that_has_done_nothing(accept: str) -> None:
    """All families are there from the first scrape on."""
    body = render_metrics(accept, FACTS, ServerReport())[0].decode()
    for family in FAMILIES:
        assert f"edgeserver_{family.name}" in body or f"edgeserver_{family.name[:-6]} " in body


def test_families_are_told_apart() -> None:
    """No family is there twice, in OpenMetrics neither, where a counter has its name shortened."""
    body = render_metrics(OPEN, FACTS, running())[0].decode()
    types = re.findall(r"^# TYPE (\S+)", body, re.MULTILINE)
    assert len(types) == len(set(types)) == len(FAMILIES)


def test_numbers_of_nobody_else() -> None:
    """What a worker has in its row besides is not shown."""
    report = running()
    report.rows[0].add("something_else", "x")
    report.rows[0].add("loop_lag")
    assert not [key for key in _samples(report) if "else" in key[0] or key[0] == "loop_lag"]


def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not installed it is told what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(NotInstalledError, match=re.escape("pip install 'edgeserver[metrics]'")):
        render_metrics("", FACTS, running())


def test_the_reference_is_true() -> None:
    """The reference has each metric with its type, its labels and its help, and no others."""
    rows = re.findall(
        r"^\| `edgeserver_(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", REFERENCE.read_text(), re.M
    )
    found = {name: (kind, labels, text) for name, kind, labels, text in rows}
    assert found == {
        each.name: (each.kind, ", ".join(f"`{label}`" for label in each.labels), each.help)
        for each in FAMILIES
    }
