"""Reports for tests: what a parent would know of a server that has done a few things."""

from __future__ import annotations

import json
from typing import Any

from edgeserver.operate.report import Facts, Roll, ServerReport, WorkerReport
from edgeserver.support.counters import ROW_BYTES, CounterRow

HOSTILE = '"><script>alert(1)</script>\\"\n\x1b[31m'
"""What somebody would write who wants to be more than a text."""

FACTS = Facts(
    version="1.2.3",
    python="3.11.7",
    application="shop.main:app",
    listeners=("https://0.0.0.0:443", "http://0.0.0.0:80 (redirects to https)"),
    policy=("client address: the peer's; no header is read",),
)


def row_of(said: dict[str, Any] | None = None, **counts: float) -> CounterRow:
    """Return a row that holds numbers without labels, and what a worker tells of itself."""
    row = CounterRow(bytearray(ROW_BYTES))
    for family, value in counts.items():
        row.set(family, value=value)
    if said is not None:
        row.write_text(json.dumps(said).encode())
    return row


def worker(place: int = 1, state: str = "serving", **facts: Any) -> WorkerReport:
    """Return a worker."""
    return WorkerReport(place=place, pid=1000 + place, state=state, age_s=65.0, **facts)


def running(**facts: Any) -> ServerReport:
    """Return a server of two workers, one of which follows another that has ended."""
    ended = row_of()
    ended.add("requests_total", "200", amount=100)
    ended.set("connections", value=50)
    first = row_of(
        {
            "policy": ["client address: X-Forwarded-For of trusted proxies 10.0.0.0/8"],
            "certificates": [
                {
                    "host": "",
                    "names": ["shop.example", "*.shop.example"],
                    "days_left": 12.5,
                    "versions": "TLS 1.2 and 1.3",
                    "warnings": [],
                    "problem": "the key does not fit",
                }
            ],
            "findings": [
                {"severity": "warning", "code": "any-peer-trusted", "detail": "d", "fix": "f"}
            ],
            "waiting": ["GET /sse 40 s", f"GET /{HOSTILE}"],
        },
        connections=3,
        requests_in_flight=2,
        connections_total=7,
        loop_lag=0.25,
        request_duration_seconds_sum=1.5,
    )
    first.add("requests_total", "200", amount=5)
    first.add("requests_total", "404", amount=2)
    first.add("request_duration_seconds", "0.005", amount=6)
    first.add("request_duration_seconds", "+Inf", amount=1)
    first.add("refused_total", "RFC 9112 section 3.2", amount=4)
    first.add("tls_handshakes_total", "full", "TLSv1.3", amount=9)
    first.set("certificate_not_after_seconds", "", value=2e9)
    first.set("certificate_not_after_seconds", "shop.example", value=1.9e9)
    second = row_of({}, connections=1, connections_total=1)
    second.add("requests_total", "200", amount=1)
    second.set("certificate_not_after_seconds", "", value=1.8e9)
    found: dict[str, Any] = {
        "workers": (
            worker(1, row=first, memory=64 * 2**20),
            worker(2, row=second, silent_s=8.5),
        ),
        "wanted": 2,
        "has_started": True,
        "ends": {"killed": 1, "stuck": 2},
        "roll": Roll(number=1, state="done", said="all workers were replaced"),
        "uptime_s": 90061.0,
        "said": ("2026-01-01T00:00:00Z SIGUSR2: all workers were replaced",),
        "rows": (ended, first, second),
    }
    return ServerReport(**{**found, **facts})
