"""What a check finds: verdicts beside what is expected of them, as findings of one form.

Decides which findings count where something is expected, and their codes. Where a verdict is not
right and nobody said so, there is a finding. It must not know how files are read, nor how a report
is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgeserver.audit.chains import CODES as LOG_CODES
from edgeserver.audit.chains import LogFinding
from edgeserver.audit.check_file import ChainPlan, Expectation
from edgeserver.chains.codes import CODES as CHAIN_CODES
from edgeserver.chains.curl import curl_line
from edgeserver.chains.formats import FindingResult, ResultRule
from edgeserver.chains.model import NOWHERE, Where
from edgeserver.chains.report import ChainReport, EntryReport, ReportedFinding
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import CODES as POLICY_CODES
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.support.escape import escape

__all__ = [
    "CHECK_CODES",
    "CheckSection",
    "Item",
    "all_rules",
    "check_expected",
    "check_policy",
    "log_items",
    "stale_item",
]  # fmt: skip

CHECK_CODES: dict[str, ResultRule] = {
    each.code: each
    for each in (
        ResultRule(
            "expectation-failed",
            "error",
            "A chain's verdict is not the one that is expected.",
            "mend what the findings beside it name, or expect what is so",
        ),
        ResultRule(
            "ranges-stale",
            "warning",
            "A file of ranges is older than it may be.",
            "fetch the provider's list again, and run audit ranges",
        ),
    )
}
"""The findings that only a check has."""

_VERDICT_CODES = {
    "client": {
        "spoofable": "client-spoofable",
        "lost": "client-lost",
        "names-outer-proxy": "client-names-proxy",
        "right-or-lost": "client-hidden",
        "cannot-tell": "cannot-tell",
    },
    "scheme": {
        "spoofable": "scheme-spoofable",
        "wrong-always": "scheme-always-wrong",
        "lost": "scheme-lost",
        "mixed": "scheme-lost",
        "cannot-tell": "cannot-tell",
    },
}


@dataclass(frozen=True)
class Item:
    """One finding of a check.

    Args:
        section: What it is about, such as `chain shop`; escaped.
        code: One of `all_rules`.
        severity: `error`, `warning` or `info`.
        detail: What is wrong; escaped.
        fix: What to do; escaped.
        where: The line to blame.
        subject: What tells it from others of its code, beside the section.
        proof: A request that shows it, as a line for a shell.
    """

    section: str
    code: str
    severity: str
    detail: str
    fix: str
    where: Where = NOWHERE
    subject: tuple[str, ...] = ()
    proof: str = ""

    def result(self, fingerprint: str, *, known: bool | None) -> FindingResult:
        """Return it as the formats have it."""
        proof = f" Try: {self.proof}" if self.proof else ""
        message = f"{self.section}: {self.detail}.{proof} Fix: {self.fix}"
        return FindingResult(self.code, self.severity, message, self.where, fingerprint, known)


class CheckSection(NamedTuple):
    """One thing that was checked.

    Args:
        kind: `policy`, `chain`, `ranges` or `log`.
        name: Its name; escaped.
        lines: What is said of it whatever was found; escaped.
        verdicts: For a chain, what follows for each place to connect to: place, what, verdict,
            and what is expected, empty for nothing.
        items: What was found.
    """

    kind: str
    name: str
    lines: tuple[str, ...]
    verdicts: tuple[tuple[str, str, str, str], ...]
    items: tuple[Item, ...]


def all_rules() -> list[ResultRule]:
    """Return every code that a check may find."""
    rules = [*CHECK_CODES.values()]
    rules += [ResultRule(code, *entry) for code, entry in CHAIN_CODES.items()]
    rules += [ResultRule(code, *entry) for code, entry in LOG_CODES.items()]
    rules += [ResultRule(code, *entry) for code, entry in POLICY_CODES.items()]
    return rules


def check_policy(policy: TrustPolicy, file: str) -> CheckSection:
    """Return what is odd about the policy itself.

    Args:
        policy: The policy.
        file: The file of the check.
    """
    items = [
        Item("policy", each.code, each.severity, escape(each.detail, 300), each.fix, Where(file),
             (escape(each.detail, 300),))
        for each in policy.warnings
    ]  # fmt: skip
    count = len(policy.proxies)
    shown = ", ".join(escape(each, 60) for each in policy.proxies[:6])
    more = f" and {count - 6} more" if count > 6 else ""
    return CheckSection("policy", "", (f"trusts {shown or 'nobody'}{more}",), (), tuple(items))


def stale_item(section: str, file: str, *, age_days: float, most_days: float) -> Item:
    """Return the finding that a file of ranges is too old."""
    rule = CHECK_CODES["ranges-stale"]
    detail = f"{escape(file, 400)} is {age_days:.0f} days old, and may be {most_days:g}"
    return Item(section, rule.code, rule.severity, detail, rule.fix, Where(file), (file,))


def log_items(
    section: str, file: str, findings: Sequence[LogFinding], untold: Sequence[tuple[str, str]]
) -> Iterator[Item]:
    """Yield what a log shows, and what it cannot tell.

    Args:
        section: The section's name.
        file: The log's first file.
        findings: What was found.
        untold: What the log cannot tell, and the line to add.
    """
    for each in findings:
        score = f" (score {each.score:.2f})" if each.score is not None else ""
        yield Item(section, each.code, each.severity, f"{each.subject}: {each.detail}{score}",
                   each.fix, Where(file), (each.subject,))  # fmt: skip
    for what, hint in untold:
        fix = f"add {hint}" if hint else CHAIN_CODES["cannot-tell"].fix
        yield Item(section, "cannot-tell", "info", what, fix, Where(file), (what,))


# -- chains ----------------------------------------------------------------------------------------


def check_expected(plan: ChainPlan, report: ChainReport, file: str) -> CheckSection:
    """Return what a chain's report means beside what is expected.

    Args:
        plan: The chain, with its expectations.
        report: What follows from its configurations.
        file: The file of the check.

    Raises:
        ConfigurationError: Something is expected of a place that the chain does not have.
    """
    section = f"chain {escape(plan.name, 60)}"
    expected, wrong = _compare(plan, report, section, file)
    items = [*wrong]
    seen: set[tuple[str, str, str]] = set()
    for finding in report.findings:
        verdict = expected.get((finding.entry, finding.what))
        accepted = verdict not in (None, "", "right")
        items.append(_item(section, finding, accepted=accepted))
        if not accepted:
            seen.add((finding.entry, finding.what, finding.code))
    items += _unsaid(report, section, expected, seen)
    wanted = _all_wanted(plan, report)
    verdicts = [
        (entry.name, what, verdict, wanted.get((entry.name, what), ""))
        for entry in report.entries
        for what, verdict in (("client", entry.client), ("scheme", entry.scheme()))
    ]
    lines = tuple(f"{hop.name} {hop.kind} {escape(hop.source, 300)}" for hop in report.hops)
    return CheckSection("chain", escape(plan.name, 60), lines, tuple(verdicts), tuple(items))


def _compare(
    plan: ChainPlan, report: ChainReport, section: str, file: str
) -> tuple[dict[tuple[str, str], str], list[Item]]:
    """Return which verdicts are as expected, by place and what, and a finding for each other."""
    entries = {entry.name: entry for entry in report.entries}
    met: dict[tuple[str, str], str] = {}
    wrong: list[Item] = []
    for expectation in plan.expectations:
        for name in expectation.entries or entries:
            entry = entries.get(name)
            if entry is None:
                raise ConfigurationError(
                    f"{escape(file, 400)}: {section}: from {escape(name, 60)!r}: strangers reach "
                    f"{', '.join(entries)}; see reachable"
                )
            for what, wanted, verdict in _wanted(expectation, entry):
                if verdict != wanted:
                    wrong.append(_failed(section, file, expectation, name, what, wanted, verdict))
            if expectation.client is not None:
                met[name, "client"] = expectation.client
            if _covers(expectation.scheme, entry):
                met[name, "scheme"] = entry.scheme()
    for each in wrong:
        met.pop((each.subject[0], each.subject[1].partition(" ")[0]), None)
    return met, wrong


def _all_wanted(plan: ChainPlan, report: ChainReport) -> dict[tuple[str, str], str]:
    """Return what is expected of each place, as one verdict, whether it is so or not."""
    wanted: dict[tuple[str, str], str] = {}
    for expectation in plan.expectations:
        for name in expectation.entries or [entry.name for entry in report.entries]:
            if expectation.client is not None:
                wanted[name, "client"] = expectation.client
            if isinstance(expectation.scheme, str):
                wanted[name, "scheme"] = expectation.scheme
    return wanted


def _covers(scheme: Mapping[str, str] | str | None, entry: EntryReport) -> bool:
    """Return whether something is expected of each way to come."""
    if isinstance(scheme, str) or scheme is None:
        return scheme is not None
    return all(("https" if way.tls else "http") in scheme for way in entry.ways)


def _wanted(expectation: Expectation, entry: EntryReport) -> Iterator[tuple[str, str, str]]:
    """Yield what is expected of a place: of what, which verdict, and which one there is."""
    if expectation.client is not None:
        yield "client", expectation.client, entry.client
    scheme = expectation.scheme
    if isinstance(scheme, str):
        yield "scheme", scheme, entry.scheme()
    elif scheme is not None:
        for name, wanted in scheme.items():
            yield f"scheme by {name}", wanted, entry.scheme(tls=name == "https")


def _failed(section: str, file: str, expectation: Expectation, entry: str, what: str,
            wanted: str, verdict: str) -> Item:  # fmt: skip
    """Return the finding for a verdict that is not the expected one."""
    where = Where(file, expectation.line)
    subject = (entry, what, wanted)
    if verdict == "cannot-tell":
        detail = f"whether the {what} is {wanted} for who connects to {entry} cannot be told"
        fix = CHAIN_CODES["cannot-tell"].fix
        return Item(section, "cannot-tell", "info", detail, fix, where, subject)
    rule = CHECK_CODES["expectation-failed"]
    detail = f"the {what} is {verdict} for who connects to {entry}, and {wanted} is expected"
    return Item(section, rule.code, rule.severity, detail, rule.fix, where, subject)


def _item(section: str, finding: ReportedFinding, *, accepted: bool) -> Item:
    """Return a finding of a chain; one whose verdict is expected is a note."""
    way, severity, detail = finding.way, finding.severity, escape(finding.detail, 1000)
    if accepted and finding.code != "cannot-tell":
        severity, detail = "info", f"{detail} (as expected)"
    proof = ""
    if finding.trial is not None and finding.code.endswith("-spoofable"):
        proof = curl_line(finding.trial, way if finding.entry != "app" else None)
    fix = finding.fix.text
    if finding.fix.where is not None and finding.fix.where.file:
        fix = f"at {finding.fix.where}: {fix}"
    place = (way.label, way.path, way.listen) if way is not None else ("", "", "")
    doubts = sorted({doubt.text for doubt in finding.doubts})
    return Item(
        section=section,
        code=finding.code,
        severity=severity,
        detail=detail,
        fix=escape(fix, 1000),
        where=finding.where,
        subject=(finding.what, finding.entry, finding.hop, *place, finding.where.file, *doubts),
        proof=proof,
    )


def _unsaid(
    report: ChainReport,
    section: str,
    expected: dict[tuple[str, str], str],
    seen: set[tuple[str, str, str]],
) -> Iterator[Item]:
    """Yield a finding for each verdict that is not right and that no other finding tells of.

    Findings of several places at one line are one; where that one is expected, the others are not.
    """
    for entry in report.entries:
        for what, verdict in (("client", entry.client), ("scheme", entry.scheme())):
            code = _VERDICT_CODES[what].get(verdict)
            if code is None or expected.get((entry.name, what)) == verdict:
                continue
            if (entry.name, what, code) in seen:
                continue
            severity = CHAIN_CODES[code].severity
            where = Where(report.hops[0].source) if report.hops else NOWHERE
            yield Item(section, code, severity,
                       f"the {what} is {verdict} for who connects to {entry.name}",
                       CHAIN_CODES[code].fix, where, (what, entry.name, "verdict"))  # fmt: skip
