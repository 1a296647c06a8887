"""The command `edgeserver audit logs`: what a log shows of the chain in front of it.

Decides how a log is named on the command line and how the report is written. What the heads of a
log prove, `edgeserver.audit.chains` says.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn, TypeVar

import click

from edgeserver.audit.aggregate import MAX_EXACT, DistinctHeads, Head, Reading
from edgeserver.audit.chains import ChainAudit, LogFinding
from edgeserver.audit.dialects import render_statement
from edgeserver.audit.groups import read_groups
from edgeserver.audit.logfiles import ReadLog, UnreadableLog, open_log
from edgeserver.audit.records import FORMATS, LogFormat, compile_format, format_named, guess_format
from edgeserver.cli.audit_report import render_one_page
from edgeserver.cli.failures import reported
from edgeserver.cli.terminal import ProgressLine, is_terminal
from edgeserver.cli.trust import TRUST_OPTIONS, build_policy, split_list, with_config
from edgeserver.errors import ConfigurationError, TrustConfigurationError
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from edgeserver.proxyheaders.addresses import UnusableClaim, parse_address
from edgeserver.proxyheaders.explanation.render import SEVERITY_LABELS
from edgeserver.proxyheaders.networks import PRESETS, Network, parse_network
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK
from edgeserver.support.escape import escape

__all__ = ["audit_logs", "log_format_of", "logged_policy", "read_log"]

EXIT_CANNOT_TELL = 4
_MAX_CHAINS_SHOWN = 12
_MAX_CHANGES = 1000
_Counted = TypeVar("_Counted", bound=tuple[str, ...])


class Result(NamedTuple):
    """What one log shows.

    Args:
        files: The files, escaped.
        form: Its format.
        guessed: How many of the first lines have it, or None where it was named.
        reading: The counts of lines.
        audit: What was counted.
        findings: What was found.
        untold: What the log cannot tell, and the line to add.
        changes: What another policy would change: client before and after, requests.
    """

    files: tuple[str, ...]
    form: LogFormat
    guessed: tuple[int, int] | None
    reading: Reading
    audit: ChainAudit
    findings: list[LogFinding]
    untold: list[tuple[str, str]]
    changes: Counter[tuple[str, str]] | None


@click.command("logs")
@click.argument("files", nargs=-1, metavar="FILE ...")
@click.option("--log-name", metavar="NAME", help=f"The format by name: {', '.join(FORMATS)}.")
@click.option(
    "--log-format",
    metavar="'...'",
    help="The format as the product is told it: nginx's log_format, httpd's LogFormat, "
    "HAProxy's, Envoy's or gunicorn's.",
)
@click.option(
    "--against", multiple=True, metavar="CIDR[,...]", help="Also: what this --trust would change."
)
@click.option("--suggest", is_flag=True, help="Print a --trust for this log, with its evidence.")
@click.option("--memory", default="1GB", metavar="SIZE", help="For the engine (default 1GB).")
@click.option("--tmp", metavar="DIR", help="Where to put what does not fit into memory.")
@click.option(
    "--sql",
    "dialect",
    type=click.Choice(["duckdb", "clickhouse", "spark", "athena"]),
    help="Print the statement that groups a log, for an engine on many machines.",
)
@click.option("--table", metavar="T", help="With --sql: the table of the log's lines.")
@click.option(
    "--column", default="line", show_default=True, metavar="NAME", help="With --sql: its column."
)
@click.option(
    "--groups", metavar="FILE", help="The rows that the statement gave, in place of a log."
)
@click.option("--format", "form", type=click.Choice(["text", "json", "html"]), default="text")
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error", "never"]),
    default="warning",
    help="What exits with 1: warnings and errors (default), errors, or nothing.",
)
def audit_logs(
    files: tuple[str, ...],
    *,
    log_name: str | None,
    log_format: str | None,
    against: tuple[str, ...],
    suggest: bool,
    memory: str,
    tmp: str | None,
    dialect: str | None,
    table: str | None,
    column: str,
    groups: str | None,
    form: str,
    fail_on: str,
    **values: Any,
) -> None:
    """Find forgotten proxies, proxies that do not append, and liars in access logs.

    FILE may be a glob, `-`, or end in .gz, .zst or .parquet. The format is guessed from 1,000 lines
    unless it is named; beside --sql and --groups a FILE is a sample for that. Without --trust
    the policy is taken from edgeserver's own log; in others everybody who names clients is a
    candidate.

    Exit codes: 0 nothing found, 1 findings, 2 usage, 3 a file cannot be read, 4 the log cannot
    tell.
    """
    with reported():
        values, spelled = with_config(values)
    with reported(spell=spelled):
        policy = build_policy(values)
        _check_sources(files, dialect=dialect, table=table, groups=groups)
        if dialect is not None:
            named = _named_format(files, log_name, log_format)
            used = policy or TrustPolicy([])
            click.echo(
                render_statement(
                    named, dialect=dialect, table=table or "", column=column, source=used.source,
                    proto=used.proto,
                )
            )  # fmt: skip
            return
        if groups is not None:
            policy = policy or TrustPolicy([])
            named = _named_format(files, log_name, log_format)
            result = _read_groups(groups, named, policy, _other(policy, against))
            _report(result, policy, form=form, fail_on=fail_on, suggest=suggest)
        progress = ProgressLine(sys.stderr, "reading")
        on_progress = progress.show if progress.is_shown else None
        try:
            with open_log(files, memory=memory, spill=tmp, on_progress=on_progress) as log:
                if policy is None:
                    policy = logged_policy(log.sample())
                other = _other(policy, against)
                result = read_log(log, policy, other, name=log_name, text=log_format)
        finally:
            progress.clear()
    _report(result, policy, form=form, fail_on=fail_on, suggest=suggest)


audit_logs.params.extend(TRUST_OPTIONS)


def _report(
    result: Result, policy: TrustPolicy, *, form: str, fail_on: str, suggest: bool
) -> NoReturn:
    """Print a report, and end with its exit code."""
    code = _exit_code(result, fail_on)
    if form == "json":
        click.echo(json.dumps(_as_dict(result, policy, code, suggest=suggest), indent=1))
    elif form == "html":
        value = _as_dict(result, policy, code, suggest=suggest)
        click.echo(render_one_page(value, result.files[0] if result.files else ""), nl=False)
    else:
        width = min(80, shutil.get_terminal_size().columns) if is_terminal(sys.stdout) else 80
        lines = [*_render(result, policy, width), *(_suggest(result, width) if suggest else ())]
        click.echo("\n".join(lines))
    sys.exit(code)


def _check_sources(
    files: tuple[str, ...], *, dialect: str | None, table: str | None, groups: str | None
) -> None:
    """Refuse flags that contradict each other.

    Raises:
        ConfigurationError: Nothing is to be read, or several things are.
    """
    if dialect is None and table is not None:
        raise ConfigurationError("--table without --sql; say for which engine with --sql")
    if dialect is not None and table is None:
        raise ConfigurationError("--sql without --table; name the table of the log's lines")
    if dialect is not None and groups is not None:
        raise ConfigurationError("--sql prints a statement, --groups reads its rows; give one")
    if not files and dialect is None and groups is None:
        raise ConfigurationError(
            "give log files, --sql ENGINE --table T for a statement, or --groups FILE for its rows"
        )


def _named_format(files: tuple[str, ...], name: str | None, text: str | None) -> LogFormat:
    """Return the format that flags name, or that of a sample: a few lines of the log in a file.

    Raises:
        ConfigurationError: There is none.
    """
    if files:
        with open_log(files) as log:
            return log_format_of(log, name, text)[0]
    if text is not None:
        return compile_format(text)
    form = format_named(name) if name is not None else None
    if form is None:
        given = f"--log-name {escape(name, 60)}" if name is not None else "no format"
        raise ConfigurationError(
            f"{given}: write --log-name with one of {', '.join(FORMATS)}, or --log-format '...', "
            "or name a file with some lines of the log"
        )
    return form


def _read_groups(
    path: str, form: LogFormat, policy: TrustPolicy, other: TrustPolicy | None
) -> Result:
    """Return what the rows of an engine show.

    Raises:
        ConfigurationError: The file has no such rows.
        UnreadableLog: It cannot be read.
    """
    shown = escape(path, 200)
    reading = Reading()
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            heads = read_groups(file, form, source=policy.source, proto=policy.proto,
                                reading=reading, name=shown)  # fmt: skip
            return _count_heads(heads, (path,), form, None, reading, policy, other)
    except OSError as error:
        raise UnreadableLog(
            f"{shown}: the rows cannot be read: {error.strerror or error}; check the path"
        ) from error


def logged_policy(lines: list[str]) -> TrustPolicy:
    """Return the policy that edgeserver's own log says was in force, or one that lists nobody.

    Raises:
        ConfigurationError: The log names one that is none.
    """
    for line in lines:
        if not line.startswith('{"v":2,"kind":"policy"'):
            continue
        try:
            found = json.loads(line)["policy"]
            if found["mode"] != "policy":
                continue
            declared = found.get("sets") or [()] * len(found["proxies"])
            return TrustPolicy(
                [
                    TrustedProxy(address, sets=sets)
                    for address, sets in zip(found["proxies"], declared, strict=True)
                ],
                source=found["source"],
                proto=found["proto"],
                max_hops=found["max_hops"],
                unlisted=found["unlisted"],
                undeclared=found["undeclared"],
                allow_all=found["allow_all"],
            )
        except (ValueError, KeyError, TypeError):
            continue
    return TrustPolicy([])


def _other(policy: TrustPolicy, against: tuple[str, ...]) -> TrustPolicy | None:
    """Return the policy to compare with.

    Raises:
        ConfigurationError: An entry is none.
    """
    entries = split_list(against)
    if not entries:
        return None
    try:
        return TrustPolicy(
            entries, source=policy.source, proto=policy.proto, max_hops=policy.max_hops
        )
    except TrustConfigurationError as error:
        raise ConfigurationError(f"--against: {error}") from error


def read_log(
    log: ReadLog,
    policy: TrustPolicy,
    other: TrustPolicy | None,
    *,
    name: str | None,
    text: str | None,
    exact: int = MAX_EXACT,
) -> Result:
    """Read a log and say what it shows.

    Args:
        log: The log.
        policy: Whom the application believes.
        other: A policy to compare with, or None.
        name: The name of the format, or None.
        text: The product's own words for it, or None.
        exact: Up to how many distinct heads each is told apart.

    Raises:
        ConfigurationError: The format is not known, or fits no line.
    """
    form, guessed = log_format_of(log, name, text)
    reading = Reading()
    networks = [*_networks(policy), *(_networks(other) if other is not None else ())]
    heads = DistinctHeads(
        log, form, source=policy.source, proto=policy.proto, networks=networks, exact=exact
    )
    result = _count_heads(
        heads.read(reading), log.names, form, guessed, reading, policy, other, heads.count_alone
    )
    if log.skips_errors:
        note = "lines that are not UTF-8 were left out, and are not counted"
        result = result._replace(form=replace(form, notes=(*form.notes, note)))
    return result


def _count_heads(
    heads: Iterable[Head],
    names: tuple[str, ...],
    form: LogFormat,
    guessed: tuple[int, int] | None,
    reading: Reading,
    policy: TrustPolicy,
    other: TrustPolicy | None,
    count_alone: Callable[[Sequence[str], Sequence[int]], Mapping[str, int]] | None = None,
) -> Result:
    """Count the heads of a log, and say what they show.

    Raises:
        ConfigurationError: There is no request among them.
    """
    has_claims = form.holds(f"header:{policy.source}")
    has_scheme = policy.proto is not None and form.holds(f"header:{policy.proto}")
    audit = ChainAudit(policy, has_claims=has_claims, has_scheme=has_scheme)
    changes: Counter[tuple[str, str]] | None = Counter() if other is not None else None
    for head in heads:
        audit.add(head)
        if other is not None and changes is not None:
            _compare(policy, other, head, changes)
    if not audit.requests:
        raise ConfigurationError(
            f"{', '.join(escape(each, 200) for each in names[:3])}: none of {reading.lines} "
            f"lines is a request in the format {form.name}; name another with --log-name, or give "
            "--log-format"
        )
    if count_alone is not None:
        audit.count_alone(count_alone)
    findings = audit.findings()
    untold = []
    if not has_claims:
        untold.append((f"{policy.source} is not in this log", form.hint))
    elif any(each.code == "unshown-claims" for each in findings):
        untold.append(
            (
                "what unlisted peers claimed is not in version 1 of the audit log",
                "log with this version of edgeserver: its lines hold the claims",
            )
        )
    return Result(
        tuple(escape(each, 200) for each in names),
        form,
        guessed,
        reading,
        audit,
        findings,
        untold,
        changes,
    )


def log_format_of(
    log: ReadLog, name: str | None, text: str | None
) -> tuple[LogFormat, tuple[int, int] | None]:
    """Return a log's format, and of how many lines it was guessed.

    Raises:
        ConfigurationError: There is none.
    """
    if text is not None:
        return compile_format(text), None
    form = format_named(name) if name is not None else None
    if name is not None and form is None:
        raise ConfigurationError(
            f"--log-name {escape(name, 60)}: write one of {', '.join(FORMATS)}, or give "
            "--log-format '...'"
        )
    lines = log.sample()
    kept = sum(bool(line.strip()) and not line.startswith("#") for line in lines)
    if not kept:
        raise ConfigurationError(f"{escape(log.names[0], 200)}: the log is empty")
    if form is not None:
        return form, None
    found = guess_format(lines)
    if found is None:
        raise ConfigurationError(
            f"{escape(log.names[0], 200)}: cannot guess the format of '{escape(lines[0], 60)}'; "
            "name it with --log-name, or give the product's own words with --log-format '...'"
        )
    return found[0], (found[1], kept)


def _networks(policy: TrustPolicy) -> Iterator[Network]:
    """Yield the ranges that a policy lists."""
    for entry in policy.proxies:
        if entry != "unix:":
            yield from map(parse_network, PRESETS.get(entry, (entry,)))


def _compare(
    policy: TrustPolicy, other: TrustPolicy, head: Head, changes: Counter[tuple[str, str]]
) -> None:
    """Count requests whose client another policy would find elsewhere."""
    try:
        clients = [
            each.resolve(
                peer=head.peer, headers=list(head.fields), scheme=head.scheme or "http"
            ).remote_ip
            for each in (policy, other)
        ]
    except ValueError:
        return
    if clients[0] != clients[1]:
        if head.alike is not None:
            one = _outermost(head, policy)
            many = f"{head.alike.addresses} clients"
            clients = [many if each == one else each for each in clients]
        key = (clients[0], clients[1])
        if key not in changes and len(changes) >= _MAX_CHANGES:
            key = ("others", "others")
        changes[key] += head.requests


def _busiest(counts: Counter[_Counted]) -> list[tuple[_Counted, int]]:
    """Return what was counted with the most first; an engine gives rows of a kind in any order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _outermost(head: Head, policy: TrustPolicy) -> str:
    """Return the address that stands for all those of heads that are alike."""
    source = policy.source.encode()
    listed = next((value for name, value in head.fields if name == source), head.peer.encode())
    try:
        return parse_address(listed.split(b",")[0].strip()).text
    except UnusableClaim:
        return head.peer


def _exit_code(result: Result, fail_on: str) -> int:
    failing = {"warning": ("error", "warning"), "error": ("error",), "never": ()}[fail_on]
    if any(each.severity in failing for each in result.findings):
        return EXIT_FINDINGS
    return EXIT_CANNOT_TELL if result.untold else EXIT_OK


# -- text ----------------------------------------------------------------------------------------


def _fold(text: str, head: str, width: int, indent: int | None = None) -> list[str]:
    """Return a line folded at `width`, its other lines indented."""
    return textwrap.wrap(
        text, width, initial_indent=head,
        subsequent_indent=" " * (len(head) if indent is None else indent),
        break_on_hyphens=False,
    ) or [head.rstrip()]  # fmt: skip


def _render(result: Result, policy: TrustPolicy, width: int) -> Iterator[str]:
    """Yield the report: what was read, the chains, the findings, and what cannot be told."""
    yield from _fold(_summary(result, policy), "", width)
    yield from _chains(result, policy, width)
    pad = max((len(each.code) for each in result.findings), default=0)
    for each in result.findings:
        score = f" (score {each.score:.2f})" if each.score is not None else ""
        head = f"{SEVERITY_LABELS[each.severity]:<5}  {each.code:<{pad}}  "
        yield from _fold(f"{each.subject}  {each.detail}{score}", head, width, 9)
        if each.parts:
            parts = ", ".join(f"{name} {value:.2f}" for name, value in each.parts)
            yield from _fold(parts, "         score: ", width)
        if each.severity != "info":
            yield from _fold(each.fix, "         fix: ", width)
    for what, hint in result.untold:
        yield from _fold(what, "cannot tell: ", width)
        if hint:
            yield f"  add: {hint}"
    for note in result.form.notes:
        yield from _fold(note, "note: ", width)
    if result.reading.unread:
        examples = "; ".join(result.reading.examples)
        yield from _fold(
            f"{result.reading.unread} of {result.reading.lines} lines have another form, such as "
            f"{examples}", "note: ", width,
        )  # fmt: skip
    if result.audit.uncounted:
        yield from _fold(
            f"{result.audit.uncounted} requests of further addresses were not counted one by one",
            "note: ", width,
        )  # fmt: skip
    yield from _changes(result, width)
    if not result.findings and not result.untold:
        yield "nothing found"


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"


def _summary(result: Result, policy: TrustPolicy) -> str:
    """Return the first line: how much was read, from when, and in which format."""
    parts = [_requests(result.audit.requests)]
    if result.audit.first is not None and result.audit.last is not None:
        parts.append(f"{_time(result.audit.first)} to {_time(result.audit.last)}")
    if result.guessed is not None:
        fitting, looked_at = result.guessed
        parts.append(f"{result.form.name} (guessed, {fitting} of {looked_at} lines)")
    else:
        parts.append(result.form.name)
    if policy.proto is not None and not result.form.holds(f"header:{policy.proto}"):
        parts.append("scheme claim not in this log")
    return ", ".join(parts)


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"


def _chains(result: Result, policy: TrustPolicy, width: int) -> Iterator[str]:
    """Yield the picture: who reached the log over which proxies."""
    total = result.audit.requests
    listed = {each.subject for each in result.findings if each.code == "forgotten-proxy"}
    groups: Counter[tuple[str, ...]] = Counter()
    for chain, count in result.audit.chains.items():
        unlisted = len(chain) == 1 and not policy.trusts(chain[0]) and chain[0] not in listed
        groups[() if unlisted else chain] += count
    rows = _busiest(groups)
    for chain, count in rows[:_MAX_CHAINS_SHOWN]:
        path = " --> ".join([f"internet --{count / total:>5.1%}", *chain, "this log"])
        note = ""
        if not chain and any(groups):
            note = ": past the listed proxies" if policy.proxies else ""
        elif chain and not policy.trusts(chain[-1]):
            note = ", not in --trust"
        yield from _fold(f"{path}  {_requests(count)}{note}", " ", width, 4)
    if len(rows) > _MAX_CHAINS_SHOWN:
        rest = sum(count for _, count in rows[_MAX_CHAINS_SHOWN:])
        yield f" {len(rows) - _MAX_CHAINS_SHOWN} more chains: {_requests(rest)}"


def _changes(result: Result, width: int) -> Iterator[str]:
    """Yield what the other policy would change."""
    if result.changes is None:
        return
    count, total = sum(result.changes.values()), result.audit.requests
    yield from _fold(f"--against changes the client of {count:,} of {total:,} requests", "", width)
    for (before, after), requests in _busiest(result.changes)[:10]:
        yield from _fold(f"{before} becomes {after}  {_requests(requests)}", "  ", width)


def _suggest(result: Result, width: int) -> Iterator[str]:
    """Yield the `--trust` that the log suggests."""
    found = result.audit.suggestions()
    if not found:
        yield "suggested: no --trust: nobody names clients as a proxy does"
        return
    yield from _fold(f"--trust {','.join(entry for entry, _ in found)}", "suggested: ", width)
    for entry, evidence in found:
        yield from _fold(f"{entry}  {evidence}", "  ", width, 4)


# -- JSON ----------------------------------------------------------------------------------------


def _as_dict(result: Result, policy: TrustPolicy, code: int, *, suggest: bool) -> dict[str, object]:
    """Return the report as JSON values; names are added, never changed."""
    value: dict[str, object] = {
        "version": 1,
        "exit": code,
        "policy": {
            "source": policy.source,
            "proto": policy.proto,
            "proxies": [escape(each) for each in policy.proxies],
        },
        "log": {
            "files": list(result.files),
            "format": result.form.name,
            "guessed": list(result.guessed) if result.guessed is not None else None,
            "lines": result.reading.lines,
            "unread": result.reading.unread,
            "requests": result.audit.requests,
            "first": result.audit.first,
            "last": result.audit.last,
            "notes": list(result.form.notes),
        },
        "chains": [
            {"hops": list(chain), "requests": count}
            for chain, count in _busiest(result.audit.chains)
        ],
        "findings": [
            {
                "code": each.code,
                "severity": each.severity,
                "subject": each.subject,
                "detail": each.detail,
                "requests": each.requests,
                "score": None if each.score is None else round(each.score, 4),
                "parts": {name: round(part, 4) for name, part in each.parts},
                "fix": each.fix,
            }
            for each in result.findings
        ],
        "cannot_tell": [{"what": what, "add": hint} for what, hint in result.untold],
    }
    if result.changes is not None:
        value["against"] = [
            {"before": before, "after": after, "requests": count}
            for (before, after), count in _busiest(result.changes)
        ]
    if suggest:
        value["suggested"] = [
            {"entry": entry, "evidence": evidence} for entry, evidence in result.audit.suggestions()
        ]
    return value
