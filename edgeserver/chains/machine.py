"""A report for programs: JSON, SARIF 2.1.0, JUnit's XML and GitHub's annotations.

Decides the formats. JSON is documented and stable: names are added, never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edgeserver.chains.codes import CODES
from edgeserver.chains.curl import curl_line
from edgeserver.chains.formats import (
    FindingResult,
    JUnitCase,
    ResultRule,
    render_cases,
    render_commands,
    render_results,
)
from edgeserver.chains.judge import Trial
from edgeserver.chains.model import Way, Where
from edgeserver.chains.report import ChainReport, EntryReport, ReportedFinding
from edgeserver.support.escape import escape

__all__ = [
    "render_github",
    "render_json_report",
    "render_junit",
    "render_sarif",
    "report_as_dict",
    "result_of",
]

_TOOL = "edgeserver audit config"


def _text(value: str) -> str:
    return escape(value, 1000)


def _where(where: Where | None) -> dict[str, Any] | None:
    if where is None or not where.file:
        return None
    return {"file": _text(where.file), "line": where.line or None}


def report_as_dict(report: ChainReport, *, exit_code: int) -> dict[str, Any]:
    """Return a report as JSON values.

    Args:
        report: The report.
        exit_code: The code that the command ends with.
    """
    policy = report.policy
    return {
        "version": 1,
        "exit": exit_code,
        "policy": {
            "source": policy.source,
            "proto": policy.proto,
            "proxies": [_text(each) for each in policy.proxies],
        },
        "hops": [
            {
                "name": hop.name,
                "kind": hop.kind,
                "file": _text(hop.source),
                "address": hop.address,
                "ways": len(hop.ways),
                "fields": [
                    {
                        "name": use.name,
                        "does": use.does,
                        "where": _where(use.where),
                        "on": [_way(way) for way in use.ways[:50]],
                        "ways": len(use.ways),
                    }
                    for use in report.uses[hop.name]
                ],
            }
            for hop in report.hops
        ],
        "entries": [_entry(entry) for entry in report.entries],
        "findings": [_finding(finding) for finding in report.findings],
        "more_findings": report.more_findings,
        "assumptions": [
            {"text": _text(text), "where": _where(where)} for text, where in report.assumptions
        ],
    }


def _entry(entry: EntryReport) -> dict[str, Any]:
    return {
        "from": entry.name,
        "client": entry.client,
        "scheme": {
            name: entry.scheme(tls=tls)
            for name, tls in (("http", False), ("https", True))
            if any(way.tls == tls for way in entry.ways)
        },
        "ways": [
            {
                **_way(each.way),
                "tls": each.tls,
                "client": each.client,
                "scheme": each.scheme,
                "tried": each.tried,
            }
            for each in entry.ways
        ],
    }


def _way(way: Way | None) -> dict[str, Any]:
    if way is None:
        return {"server": "", "path": "", "listen": "", "where": None}
    return {
        "server": _text(way.label),
        "path": _text(way.path),
        "listen": _text(way.listen),
        "where": _where(way.where),
    }


def _finding(finding: ReportedFinding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "about": finding.what or None,
        "from": finding.entry,
        "hop": finding.hop or None,
        "way": _way(finding.way) if finding.way is not None else None,
        "where": _where(finding.where),
        "detail": _text(finding.detail),
        "fix": {"text": finding.fix.text, "where": _where(finding.fix.where)},
        "not_understood": [
            {"text": _text(doubt.text), "where": _where(doubt.where)} for doubt in finding.doubts
        ],
        "counterexample": _trial(finding.trial, finding) if finding.trial is not None else None,
    }


def _trial(trial: Trial, finding: ReportedFinding) -> dict[str, Any]:
    return {
        "from": trial.peer,
        "tls": trial.tls,
        "prelude": trial.prelude,
        "send": _fields(trial.head),
        "curl": curl_line(trial, finding.way if finding.entry != "app" else None),
        "app": {
            "peer": trial.app_peer,
            "scheme": trial.app_scheme,
            "prelude": trial.app_prelude,
            "head": _fields(trial.app_head),
        },
        "client": trial.client,
        "scheme": trial.scheme,
        "verified": trial.verified,
    }


def _fields(head: dict[str, tuple[str, ...]]) -> list[list[str]]:
    return [[_text(name), _text(line)] for name, lines in head.items() for line in lines]


def render_json_report(report: ChainReport, *, exit_code: int) -> str:
    """Return a report as JSON."""
    return json.dumps(report_as_dict(report, exit_code=exit_code), indent=1) + "\n"


def render_sarif(report: ChainReport, *, exit_code: int) -> str:
    """Return the findings as SARIF 2.1.0."""
    rules = [ResultRule(code, *entry) for code, entry in CODES.items()]
    results = [result_of(finding) for finding in report.findings]
    return render_results(_TOOL, rules, results, exit_code=exit_code)


def result_of(finding: ReportedFinding) -> FindingResult:
    """Return a finding as other formats have it."""
    return FindingResult(finding.code, finding.severity, _message(finding), finding.where)


def _message(finding: ReportedFinding) -> str:
    """Return a finding in one paragraph."""
    text = f"{_text(finding.detail)}."
    if finding.trial is not None and finding.code.endswith("-spoofable"):
        text += f" Try: {curl_line(finding.trial, finding.way if finding.entry != 'app' else None)}"
    return f"{text} Fix: {_text(finding.fix.text)}"


def render_junit(report: ChainReport, *, exit_code: int) -> str:
    """Return the verdicts as JUnit's XML: two cases for each way in."""
    cases: list[JUnitCase] = []
    for entry in report.entries:
        for each in entry.ways:
            way = _way(each.way)
            name = " ".join(filter(None, (way["listen"], way["server"], way["path"]))) or "app"
            for what, verdict in (("client", each.client), ("scheme", each.scheme)):
                group = f"{entry.name}.{what}"
                if verdict in ("right", "unreachable"):
                    cases.append(JUnitCase(group, name, "passed"))
                elif verdict == "cannot-tell":
                    cases.append(JUnitCase(group, name, "skipped", message="cannot tell"))
                else:
                    message = "; ".join(_blamed(report, what, each.way)) or verdict
                    cases.append(JUnitCase(group, name, "failed", verdict, message))
    return render_cases(_TOOL, cases)


def _blamed(report: ChainReport, what: str, way: Way | None) -> Iterator[str]:
    """Yield what findings say of a way."""
    for finding in report.findings:
        if finding.what == what and finding.way is way:
            yield f"{_text(str(finding.where))}: {_message(finding)}"


def render_github(report: ChainReport, *, exit_code: int) -> str:
    """Return the findings as GitHub's workflow commands."""
    return render_commands(result_of(finding) for finding in report.findings)
