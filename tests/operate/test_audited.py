"""The audit of a running server: what its workers have counted, as a report and as a page."""

from __future__ import annotations

import json
from typing import Any

from edgeserver.audit.page.document import kind_of_report
from edgeserver.operate.admin import Admin
from edgeserver.operate.audited import live_audit
from edgeserver.operate.endpoint import AdminRequest
from edgeserver.operate.report import ServerReport
from edgeserver.support.counters import CounterRow
from tests.audit.page.samples import ParsedPage
from tests.operate.reports import FACTS, HOSTILE, row_of, running, worker

WARNING = {"code": "any-peer-trusted", "severity": "warning", "detail": "d", "fix": "f"}


def _peer(address: str, requests: float, **facts: bool) -> dict[str, Any]:
    return {"address": address, "listed": False, "claims": False, "requests": requests, **facts}


def _counted() -> ServerReport:
    """Return two workers that have counted, one of which has followed another."""
    ended = row_of()
    ended.add("audit_chains", "10.0.0.5", amount=60)
    rows: list[CounterRow] = [ended]
    for number in (1, 2):
        peers = [_peer("10.0.0.5", 20, listed=True), _peer(f"203.0.113.{number}", 5)]
        row = row_of({"peers": peers, "findings": [WARNING], "policy": ["trusts 10.0.0.5"]})
        row.add("requests_total", "200", amount=50)
        row.add("audit_chains", "10.0.0.5", amount=20)
        row.add("audit_chains", "", amount=10)
        row.add("audit_reasons", "first-untrusted", amount=45.4)
        row.add("audit_reasons", "malformed-boundary", amount=4.6)
        row.add("audit_reasons", "what nobody knows", amount=1)
        row.add("audit_findings", "untrusted-peer-claims", amount=3)
        row.add("audit_findings", "what nobody knows", amount=3)
        row.add("audit_shapes", "1 listed proxy, http, verified", amount=40)
        rows.append(row)
    return running(workers=(worker(1, row=rows[1]), worker(2, row=rows[2])), rows=tuple(rows))


def test_what_is_counted() -> None:
    """Chains are those of all workers that there were, peers those of the workers that live."""
    value = live_audit(FACTS, _counted())
    assert kind_of_report(value) == "live"
    assert value["requests"] == 100
    assert value["unverified"] == 9
    assert value["chains"] == [
        {"hops": ["10.0.0.5"], "requests": 100.0},
        {"hops": [], "requests": 20.0},
    ]
    assert value["policy"]["proxies"] == ["10.0.0.5"]
    assert value["peers"][0] == _peer("10.0.0.5", 40, listed=True)
    assert len(value["peers"]) == 3
    assert [each["reason"] for each in value["reasons"]] == [
        "first-untrusted",
        "malformed-boundary",
    ]
    assert [each["code"] for each in value["findings"]] == [
        "any-peer-trusted",
        "untrusted-peer-claims",
    ]
    assert json.loads(json.dumps(value)) == value


def _page(report: ServerReport) -> str:
    admin = Admin(lambda: FACTS, lambda with_memory: report, lambda command: "")
    answer = admin(AdminRequest(method="GET", path="/audit", accept="text/html", is_known=True))
    assert answer.content_type == "text/html; charset=utf-8"
    assert isinstance(answer.body, bytes)
    return answer.body.decode("ascii")


def test_the_page() -> None:
    """A browser is shown the chain, the peers and the findings, and loads them again."""
    page = _page(_counted())
    assert '<meta http-equiv="refresh" content="10"/>' in page
    text = ParsedPage(page).text
    for part in (
        "shop.main:app",
        "83.3%",
        "past the outer proxy",
        "203.0.113.2",
        "any-peer-trusted",
    ):
        assert part in text


def test_nothing_counted() -> None:
    """A server that nobody has asked yet has a page that says so."""
    report = running(workers=(worker(1, row=row_of()), worker(2)), rows=())
    assert "No request has come yet" in _page(report)


def test_what_strangers_write_is_text() -> None:
    """Markup in what a worker tells stays text, wherever it got in."""
    row = row_of(
        {"peers": [_peer(HOSTILE, 1)], "policy": [HOSTILE], "findings": [{"code": HOSTILE}]}
    )
    for family in ("audit_chains", "audit_shapes", "audit_findings", "audit_reasons"):
        row.add(family, HOSTILE[:40])
    page = _page(running(workers=(worker(1, row=row),), rows=(row,)))
    assert "script" not in ParsedPage(page).elements
    assert "<script>" in ParsedPage(page).text
