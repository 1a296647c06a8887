"""The command `edgeserver audit check`: a policy, chains, ranges and logs, as a file expects them.

Decides how the file's parts are read, how the report is written and which exit code it means. What
counts as found, `edgeserver.audit.check` says.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import click

from edgeserver.audit.baseline import (
    MAX_BASELINE_BYTES,
    Fingerprints,
    parse_baseline,
    render_baseline,
)
from edgeserver.audit.check import (
    CheckSection,
    Item,
    all_rules,
    check_expected,
    check_policy,
    log_items,
    stale_item,
)
from edgeserver.audit.check_file import (
    MAX_CHECK_BYTES,
    ChainPlan,
    CheckPlan,
    LogPlan,
    RangesPlan,
    parse_check_file,
)
from edgeserver.chains.formats import JUnitCase, render_cases, render_commands, render_results
from edgeserver.chains.readers.base import UnreadableFile
from edgeserver.chains.report import make_report
from edgeserver.cli.audit_config import (
    EXIT_CANNOT_TELL,
    check_extra,
    compare_with,
    lan_range,
    only_server,
    reachable_hops,
    read_chain,
    report_width,
)
from edgeserver.cli.audit_report import render_one_page
from edgeserver.cli.failures import reported
from edgeserver.cli.trust import build_policy, with_config
from edgeserver.config.ip_ranges import load_ranges, written_s
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.explanation.render import SEVERITY_LABELS
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = ["audit_check"]

_TOOL = "edgeserver audit check"
_DAY_S = 86400
_FLAGS = re.compile(
    "--(config|listener|trust-file|trust|reachable|lan|server|source|proto-header|max-hops"
    r"|product-version|log-name|log-format)\b"
)


class Found(NamedTuple):
    """One finding with its fingerprint, and whether the baseline has it."""

    item: Item
    fingerprint: str
    known: bool


class CheckOutcome(NamedTuple):
    """Everything that a check says.

    Args:
        file: The file, escaped.
        sections: What was checked.
        found: What was found.
        baseline: Whether there is a baseline.
        gone: How many findings of it are no longer found.
        code: The exit code.
    """

    file: str
    sections: list[CheckSection]
    found: list[Found]
    baseline: bool
    gone: int
    code: int


@click.command("check")
@click.argument("file", default="audit.toml", metavar="[audit.toml]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "junit", "github", "html"]),
    default="text",
    help="How the report is written (default text).",
)
@click.option("--baseline", metavar="FILE", help="Findings that are known, and do not count again.")
@click.option("--update-baseline", is_flag=True, help="Write what is found into --baseline.")
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error", "never"]),
    default="warning",
    help="What exits with 1: warnings and errors (default), errors, or nothing.",
)
def audit_check(
    file: str, *, form: str, baseline: str | None, update_baseline: bool, fail_on: str
) -> None:
    """Check chains, ranges and logs against what a file expects of them.

    The file names the trust policy, the configurations of each chain and the verdicts that are
    expected, files of ranges with a greatest age, and logs. Paths are relative to it.

    Exit codes: 0 as expected, 1 errors or warnings, 2 usage, 3 a file cannot be read, 4 cannot
    tell.
    """
    with reported():
        if update_baseline and baseline is None:
            raise ConfigurationError("--update-baseline without a baseline; add --baseline FILE")
        plan = parse_check_file(_read(file, MAX_CHECK_BYTES), escape(file, 400))
        sections = _Checker(file, plan).run()
        outcome = _judge(file, sections, baseline, update=update_baseline, fail_on=fail_on)
    click.echo(_RENDER[form](outcome), nl=False)
    sys.exit(outcome.code)


def _read(path: str, most: int) -> bytes:
    """Return a file's content.

    Raises:
        UnreadableFile: It cannot be read.
    """
    try:
        return read_file(path, most)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFile(
            f"{escape(path, 400)}: cannot be read: {reason}; check the path and its permissions"
        ) from error


class _Checker:
    """Checks the parts of one file.

    Args:
        file: The file, as it was typed.
        plan: What it asks for.
    """

    def __init__(self, file: str, plan: CheckPlan) -> None:
        self._file = file
        self._base = os.path.dirname(file)
        self._plan = plan
        self._values = {**plan.policy}
        if "trust_file" in self._values:
            self._values["trust_file"] = [self._path(each) for each in self._values["trust_file"]]

    def run(self) -> list[CheckSection]:
        """Return what was checked, in the order of the file.

        Raises:
            ConfigurationError: Something in the file or in what it names is wrong.
            EdgeServerError: A file that it names cannot be read.
        """
        if self._plan.chains:
            check_extra()
        sections = []
        with self._told("[policy]"):
            policy = self._policy()
        if policy is not None:
            sections.append(check_policy(policy, self._file))
        sections += [self._chain(each) for each in self._plan.chains]
        sections += [self._ranges(each) for each in self._plan.ranges]
        sections += [self._log(each, policy) for each in self._plan.logs]
        return sections

    def _policy(self) -> TrustPolicy | None:
        """Return what the application believes, and keep it for the chains.

        Raises:
            ConfigurationError: Something of it is wrong, or it believes every peer.
        """
        if "config" in self._values:
            self._values["config"] = self._path(self._values["config"])
        self._values, spelled = with_config(self._values)
        if self._values.get("xheaders"):
            raise ConfigurationError(
                f"{escape(self._values['config'], 400)}: xheaders believes every peer: a stranger "
                "chooses the client; use trust"
            )
        try:
            return build_policy(self._values)
        except ConfigurationError as error:
            raise ConfigurationError(spelled(str(error))) from error

    def _path(self, path: str) -> str:
        return os.path.join(self._base, path)

    def _told(self, where: str) -> _Told:
        return _Told(f"{escape(self._file, 400)}: {where}")

    def _chain(self, plan: ChainPlan) -> CheckSection:
        """Check a chain."""
        with self._told(f"chain {escape(plan.name, 60)}"):
            hops, policy = read_chain(
                plan.proxies, self._values, version=plan.version, base=self._base
            )
            if plan.server is not None:
                hops = [
                    only_server(hop, plan.server, named=number == 0)
                    for number, hop in enumerate(hops)
                ]
            report = make_report(
                hops,
                policy,
                reachable=reachable_hops(",".join(plan.reachable) or None, hops),
                lan=[lan_range(each) for each in plan.lan],
            )
            if plan.observed is not None:
                compare_with(report, self._path(plan.observed))
        return check_expected(plan, report, self._file)

    def _ranges(self, plan: RangesPlan) -> CheckSection:
        """Check a file of ranges."""
        path = self._path(plan.file)
        count = len(load_ranges(path))
        age_s = time.time() - written_s(path)
        name = escape(plan.file, 200)
        items = []
        if age_s > plan.max_age_s:
            items.append(
                stale_item(f"ranges {name}", path, age_days=age_s / _DAY_S,
                           most_days=plan.max_age_s / _DAY_S)
            )  # fmt: skip
        line = f"{count} ranges, {max(0.0, age_s) / _DAY_S:.0f} days old"
        return CheckSection("ranges", name, (line,), (), tuple(items))

    def _log(self, plan: LogPlan, policy: TrustPolicy | None) -> CheckSection:
        """Check a log."""
        from edgeserver.audit.logfiles import open_log
        from edgeserver.cli.audit_logs import logged_policy, read_log

        name = escape(plan.files[0], 200)
        with (
            self._told(f"log {name}"),
            open_log([self._path(each) for each in plan.files]) as log,
        ):
            used = policy or logged_policy(log.sample())
            result = read_log(log, used, None, name=plan.name, text=plan.form)
            first = log.names[0]
        items = log_items(f"log {name}", first, result.findings, result.untold)
        requests = result.audit.requests
        line = f"{requests} request{'' if requests == 1 else 's'}, {result.form.name}"
        return CheckSection("log", name, (line,), (), tuple(items))


class _Told:
    """Says in which part of the file a complaint arose, in the file's words for flags.

    Args:
        where: The file and the part.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigurationError):
            text = _FLAGS.sub(r"\1", str(error))
            raise ConfigurationError(f"{self._where}: {text}") from error


# -- what counts -----------------------------------------------------------------------------------


def _judge(
    file: str, sections: list[CheckSection], baseline: str | None, *, update: bool, fail_on: str
) -> CheckOutcome:
    """Return what counts of the sections, beside a baseline.

    Raises:
        ConfigurationError: The baseline is none, or cannot be written.
        UnreadableFile: It cannot be read.
    """
    prints = Fingerprints()
    items = sorted(
        (item for section in sections for item in section.items),
        key=lambda each: ("error", "warning", "info").index(each.severity),
    )
    named = [
        (item, prints.of(item.section, item.code, *_relative(item, os.path.dirname(file))))
        for item in items
    ]
    known: set[str] = set()
    if update and baseline is not None:
        _write_baseline(baseline, named)
    if baseline is not None:
        shown = f"--baseline {escape(baseline, 400)}"
        known = parse_baseline(_read(baseline, MAX_BASELINE_BYTES), shown)
    found = [Found(item, each, each in known) for item, each in named]
    gone = len(known - {each.fingerprint for each in found})
    failing = {"warning": ("error", "warning"), "error": ("error",), "never": ()}[fail_on]
    fresh = [each.item for each in found if not each.known]
    code = EXIT_OK
    if any(item.severity in failing for item in fresh):
        code = EXIT_FINDINGS
    elif any(item.code == "cannot-tell" for item in fresh):
        code = EXIT_CANNOT_TELL
    return CheckOutcome(escape(file, 400), sections, found, baseline is not None, gone, code)


def _relative(item: Item, base: str) -> list[str]:
    """Return what tells an item from others, with files as seen from the check's file."""
    return [
        os.path.relpath(each, base or ".") if each and each == item.where.file else escape(each)
        for each in item.subject
    ]


def _write_baseline(path: str, named: list[tuple[Item, str]]) -> None:
    """Write what counts into a baseline.

    Raises:
        ConfigurationError: It cannot be written.
    """
    counted = [
        {"fingerprint": fingerprint, "code": item.code, "section": item.section,
         "detail": item.detail}
        for item, fingerprint in named
        if item.severity != "info" or item.code == "cannot-tell"
    ]  # fmt: skip
    draft = f"{path}.new"
    try:
        with open(draft, "w", encoding="ascii") as file:
            file.write(render_baseline(counted))
        os.replace(draft, path)
    except OSError as error:
        raise ConfigurationError(
            f"--baseline {escape(path, 400)}: {error.strerror or error}; name a file in a "
            "directory that you may write to"
        ) from error


# -- formats ---------------------------------------------------------------------------------------


def _render_text(outcome: CheckOutcome) -> str:
    """Return the report for people: what was checked, then what was found."""
    width = report_width()
    lines: list[str] = []
    for section in outcome.sections:
        lines += _section(section, width)
    for found in outcome.found:
        if not found.known:
            lines += _finding(found.item, width)
    lines.append(_summary(outcome))
    return "\n".join(lines) + "\n"


def _fold(text: str, head: str, width: int) -> list[str]:
    """Return a line, folded under its own beginning; words are never broken."""
    return textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=" " * len(head),
        break_long_words=False, break_on_hyphens=False,
    ) or [head.rstrip()]  # fmt: skip


def _section(section: CheckSection, width: int) -> Iterator[str]:
    """Yield what was checked, and the verdicts."""
    head = f"{section.kind:<8}"
    text = f"{section.name}  {'; '.join(section.lines)}" if section.name else section.lines[0]
    yield from _fold(text, head, width)
    for what in ("client", "scheme"):
        shown = [
            f"{place} {verdict}{f' ({wanted} expected)' if wanted not in ('', verdict) else ''}"
            for place, about, verdict, wanted in section.verdicts
            if about == what
        ]
        if shown:
            yield from _fold(", ".join(shown), f"  {what}  ", width)


def _finding(item: Item, width: int) -> Iterator[str]:
    """Yield the lines of one finding."""
    place = escape(str(item.where), 400)
    name = place if place.startswith("outer:") else place.rsplit("/", 1)[-1]
    at = f" {name}" if name else ""
    head = f"{SEVERITY_LABELS[item.severity]:<5} "
    yield from _fold(f"{item.section}: {item.code}{at}: {item.detail}", head, width)
    if item.proof:
        yield f"  try   {item.proof}"
    if item.severity != "info" or item.code == "cannot-tell":
        yield from _fold(item.fix, "  fix   ", width)


def _summary(outcome: CheckOutcome) -> str:
    """Return the last line."""
    fresh = [each.item for each in outcome.found if not each.known]
    parts = []
    for severity, noun in (("error", "error"), ("warning", "warning")):
        count = sum(item.severity == severity for item in fresh)
        if count:
            parts.append(f"{count} {noun}{'' if count == 1 else 's'}")
    untold = sum(item.code == "cannot-tell" for item in fresh)
    if untold:
        parts.append(f"{untold} that cannot be told")
    text = ", ".join(parts) or "as expected"
    known = sum(each.known for each in outcome.found)
    if outcome.baseline:
        text += f"; {known} known"
        if outcome.gone:
            text += f", {outcome.gone} of the baseline no longer found"
    return text


def _render_json(outcome: CheckOutcome) -> str:
    """Return the report as JSON."""
    return json.dumps(_as_value(outcome), indent=1) + "\n"


def _render_html(outcome: CheckOutcome) -> str:
    """Return the report as a page."""
    return render_one_page(_as_value(outcome))


def _as_value(outcome: CheckOutcome) -> dict[str, Any]:
    """Return the report as JSON values; names are added in later versions, never changed."""
    return {
        "version": 1,
        "kind": "edgeserver-check",
        "exit": outcome.code,
        "file": outcome.file,
        "sections": [
            {
                "kind": each.kind,
                "name": each.name,
                "about": list(each.lines),
                "verdicts": [
                    {"from": place, "about": about, "verdict": verdict, "expected": wanted or None}
                    for place, about, verdict, wanted in each.verdicts
                ],
            }
            for each in outcome.sections
        ],
        "findings": [_as_dict(each) for each in outcome.found],
        "baseline": {"gone": outcome.gone} if outcome.baseline else None,
    }


def _as_dict(found: Found) -> dict[str, Any]:
    item = found.item
    where = None
    if item.where.file:
        where = {"file": escape(item.where.file, 1000), "line": item.where.line or None}
    return {
        "section": item.section,
        "code": item.code,
        "severity": item.severity,
        "detail": item.detail,
        "fix": item.fix,
        "where": where,
        "curl": item.proof or None,
        "fingerprint": found.fingerprint,
        "known": found.known,
    }


def _render_sarif(outcome: CheckOutcome) -> str:
    """Return the findings as SARIF."""
    results = [
        each.item.result(each.fingerprint, known=each.known if outcome.baseline else None)
        for each in outcome.found
    ]
    return render_results(_TOOL, all_rules(), results, exit_code=outcome.code)


def _render_github(outcome: CheckOutcome) -> str:
    """Return what is not known as GitHub's annotations."""
    return render_commands(
        each.item.result(each.fingerprint, known=each.known) for each in outcome.found
    )


def _render_junit(outcome: CheckOutcome) -> str:
    """Return a case for each verdict and each finding."""
    cases = [
        JUnitCase(f"chain {section.name}", f"{place} {about}", "passed", verdict)
        for section in outcome.sections
        for place, about, verdict, wanted in section.verdicts
        if verdict == (wanted or "right")
    ]
    cases += [
        JUnitCase(f"{section.kind} {section.name}".rstrip(), "checked", "passed")
        for section in outcome.sections
        if not section.verdicts and not section.items
    ]
    for found in outcome.found:
        item = found.item
        result = item.result(found.fingerprint, known=found.known)
        name = " ".join(filter(None, (item.code, *map(escape, item.subject))))
        if found.known or item.severity == "info":
            why = "known: in the baseline" if found.known else result.message
            cases.append(JUnitCase(item.section, name, "skipped", item.code, why))
        else:
            place = f"{escape(str(item.where), 1000)}: " if item.where.file else ""
            cases.append(
                JUnitCase(item.section, name, "failed", item.code, f"{place}{result.message}")
            )
    return render_cases(_TOOL, cases)


_RENDER: dict[str, Callable[[CheckOutcome], str]] = {
    "text": _render_text,
    "json": _render_json,
    "sarif": _render_sarif,
    "junit": _render_junit,
    "github": _render_github,
    "html": _render_html,
}
