"""The formats of findings for other programs: SARIF 2.1.0, JUnit's XML, GitHub's annotations.

Decides the formats alone: what is found comes in as neutral values. Texts are escaped by whoever
makes them; what each format forbids besides, here.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from edgeserver.chains.model import Where
from edgeserver.support.escape import escape

__all__ = [
    "FindingResult",
    "JUnitCase",
    "ResultRule",
    "render_cases",
    "render_commands",
    "render_results",
]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_KINDS = {"error": "error", "warning": "warning", "info": "notice"}


class ResultRule(NamedTuple):
    """A finding code: its severity, what it means, and what to do."""

    code: str
    severity: str
    meaning: str
    fix: str


class FindingResult(NamedTuple):
    """One finding.

    Args:
        code: The code of a rule.
        severity: `error`, `warning` or `info`.
        message: What is wrong, and the fix: printable ASCII.
        where: The line to blame, or None.
        fingerprint: What tells it from others when lines move; empty for nothing.
        known: Whether a baseline has it; None where there is no baseline.
    """

    code: str
    severity: str
    message: str
    where: Where | None
    fingerprint: str = ""
    known: bool | None = None


class JUnitCase(NamedTuple):
    """One test of JUnit: what was judged, and how it ended.

    Args:
        group: What is judged.
        name: Which part of it.
        outcome: How it ended.
        kind: The verdict, where it is not passed.
        message: Why.
    """

    group: str
    name: str
    outcome: Literal["passed", "failed", "skipped"]
    kind: str = ""
    message: str = ""


def render_results(
    tool: str, rules: Iterable[ResultRule], results: Iterable[FindingResult], *, exit_code: int
) -> str:
    """Return findings as SARIF 2.1.0.

    Args:
        tool: The command.
        rules: All codes that there are.
        results: The findings.
        exit_code: What the command ends with.

    Source: OASIS, Static Analysis Results Interchange Format Version 2.1.0.
    """
    listed = [*rules]
    index = {rule.code: number for number, rule in enumerate(listed)}
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": tool, "rules": [_rule(rule) for rule in listed]}},
                "invocations": [{"executionSuccessful": True, "exitCode": exit_code}],
                "results": [_result(each, index) for each in results],
            }
        ],
    }
    return json.dumps(log, indent=1) + "\n"


def _rule(rule: ResultRule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.meaning},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(found: FindingResult, index: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": found.code,
        "ruleIndex": index[found.code],
        "level": _LEVELS[found.severity],
        "message": {"text": found.message},
    }
    if found.where is not None and found.where.file:
        location: dict[str, Any] = {"artifactLocation": {"uri": _uri(found.where.file)}}
        if found.where.line:
            location["region"] = {"startLine": found.where.line}
        result["locations"] = [{"physicalLocation": location}]
    if found.fingerprint:
        result["partialFingerprints"] = {"edgeserver/v1": found.fingerprint}
    if found.known is not None:
        result["baselineState"] = "unchanged" if found.known else "new"
        if found.known:
            result["suppressions"] = [{"kind": "external", "justification": "in the baseline"}]
    return result


def _uri(path: str) -> str:
    """Return a path as a relative or absolute reference (RFC 3986 section 4.2)."""
    kept = "/._-~!$&'()*+,;=@:"
    data = path.encode("utf-8", "surrogateescape")
    text = "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or chr(byte) in kept else f"%{byte:02X}"
        for byte in data
    )
    # what stands before a colon would be a scheme, and after two slashes a host
    if ":" in text.split("/", 1)[0]:
        return f"./{text}"
    return f"/.{text}" if text.startswith("//") else text


def render_cases(suite: str, cases: Sequence[JUnitCase]) -> str:
    """Return verdicts as JUnit's XML.

    Args:
        suite: The command.
        cases: The verdicts.
    """
    lines = []
    for case in cases:
        head = f"  <testcase classname={_attribute(case.group)} name={_attribute(case.name)}"
        message = f"message={_attribute(case.message or case.kind)}"
        if case.outcome == "passed":
            lines.append(f"{head}/>")
        elif case.outcome == "skipped":
            lines.append(f"{head}><skipped {message}/></testcase>")
        else:
            kind = _attribute(case.kind)
            lines.append(f"{head}><failure type={kind} {message}/></testcase>")
    failures = sum(case.outcome == "failed" for case in cases)
    skipped = sum(case.outcome == "skipped" for case in cases)
    head = (
        f'<testsuite name={_attribute(suite)} tests="{len(cases)}" failures="{failures}"'
        f' skipped="{skipped}" errors="0">'
    )
    start = '<?xml version="1.0" encoding="UTF-8"?>'
    return "\n".join([start, head, *lines, "</testsuite>"]) + "\n"


def render_commands(results: Iterable[FindingResult]) -> str:
    """Return findings as GitHub's workflow commands; those of a baseline are left out."""
    lines = []
    for found in results:
        if found.known:
            continue
        title = f"title={_property(found.code)}"
        place = f" {title}"
        if found.where is not None and found.where.file:
            place = f" file={_property(escape(found.where.file, 1000))}"
            if found.where.line:
                place += f",line={found.where.line}"
            place += f",{title}"
        message = found.message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        lines.append(f"::{_KINDS[found.severity]}{place}::{message}")
    return "\n".join(lines) + ("\n" if lines else "")


def _property(text: str) -> str:
    """Return a property of a workflow command, escaped."""
    for plain, coded in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(plain, coded)
    return text


def _attribute(text: str) -> str:
    """Return `text` as the value of an XML attribute, with its quotes.

    Not `xml.sax.saxutils`, which imports a whole HTTP client; line ends would become blanks.
    """
    escaped = html.escape(text).replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
    return f'"{escaped}"'
