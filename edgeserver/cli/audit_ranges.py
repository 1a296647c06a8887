"""The command `edgeserver audit ranges`: files for `--trust-file` from what providers publish.

Decides what the command takes and writes. How a provider's file is read,
`edgeserver.config.published_ranges` says.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import NamedTuple

import click

from edgeserver.cli.failures import reported
from edgeserver.cli.trust import split_list
from edgeserver.config.ip_ranges import load_ranges
from edgeserver.config.published_ranges import load_published, merge_ranges
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.runtime.exits import EXIT_FINDINGS
from edgeserver.support.escape import escape
from edgeserver.support.files import replace_file

__all__ = ["audit_ranges"]

_RECENT_S = 30 * 86400
_MAX_SHOWN = 20


@click.command("ranges")
@click.argument("sources", nargs=-1, required=True, metavar="PROVIDER:FILE[?KEY=VALUE] ...")
@click.option(
    "-o", "--output", metavar="FILE", help="Where to write; standard output if not given."
)
@click.option("--diff", is_flag=True, help="Say what changes in --output, and write nothing.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="FILE",
    help="A log that shows whether a removed range is still in use; repeatable, or a glob.",
)
@click.option("--log-name", metavar="NAME", help="Its format, as with audit logs.")
@click.option("--log-format", metavar="'...'", help="Its format in the product's own words.")
@click.option(
    "--trust", multiple=True, metavar="CIDR[,...]", help="With --log: further proxies, your own."
)
def audit_ranges(
    sources: tuple[str, ...],
    *,
    output: str | None,
    diff: bool,
    logs: tuple[str, ...],
    log_name: str | None,
    log_format: str | None,
    trust: tuple[str, ...],
) -> None:
    """Make a file for --trust-file of the ranges that clouds and CDNs publish.

    The files are local: fetch them as their provider says. They are checked, sorted and dated.
    With --diff the exit code is 1 if something changes. With --log it is 1 if a proxy of a range
    that is removed was seen within 30 days, and then nothing is written.
    """
    with reported():
        published = [load_published(source) for source in sources]
        ranges = merge_ranges(text for each in published for text in each.ranges)
        if logs:
            _refuse_used(ranges, output, _Log(logs, log_name, log_format, split_list(trust)))
        if diff:
            _show_changes(ranges, output, fails=not logs)
            return
        today = datetime.now(UTC).date().isoformat()
        lines = [f"# made by edgeserver audit ranges on {today}"]
        for each in published:
            dated = f", dated {each.dated}" if each.dated else ""
            lines.append(f"# {each.source}: {len(each.ranges)} ranges{dated}")
        text = "\n".join([*lines, *ranges]) + "\n"
        if output is None:
            click.echo(text, nl=False)
        else:
            _write(output, text)


class _Log(NamedTuple):
    """The log that shows what is in use."""

    files: tuple[str, ...]
    name: str | None
    form: str | None
    trust: list[str]


def _refuse_used(ranges: list[str], output: str | None, log: _Log) -> None:
    """Exit with 1 if a log shows proxies of ranges that are to go.

    Raises:
        ConfigurationError: There is no file to compare with, or the log has no list.
        UnreadableLog: The log cannot be read.
    """
    from edgeserver.audit.aggregate import Reading, read_heads
    from edgeserver.audit.logfiles import open_log
    from edgeserver.audit.removed import still_seen
    from edgeserver.cli.audit_logs import log_format_of

    if output is None:
        raise ConfigurationError("--log compares with a file; name it with -o FILE")
    policy = TrustPolicy(log.trust)
    with open_log(log.files) as opened:
        form, _ = log_format_of(opened, log.name, log.form)
        if log.trust and not form.holds(f"header:{policy.source}"):
            raise ConfigurationError(
                f"{escape(log.files[0], 200)}: {policy.source} is not in this log, so who stands "
                "behind --trust is not either; log it, or name the log of that proxy"
            )
        reading = Reading()
        heads = read_heads(opened, form, source=policy.source, proto=policy.proto, reading=reading)
        still = still_seen(
            heads,
            old=load_ranges(output),
            new=ranges,
            others=log.trust,
            since_s=time.time() - _RECENT_S,
        )
    if reading.unread == reading.lines:
        raise ConfigurationError(
            f"{escape(log.files[0], 200)}: none of {reading.lines} lines is a request in the "
            f"format {form.name}; name another with --log-name, or give --log-format"
        )
    for each in still[:_MAX_SHOWN]:
        day = "" if each.last is None else f", last on {_day(each.last)}"
        requests = f"{each.requests} request{'' if each.requests == 1 else 's'}"
        click.echo(f"in use  {each.address} of {each.range}: {requests}{day}")
    if len(still) > _MAX_SHOWN:
        click.echo(f"... and {len(still) - _MAX_SHOWN} more")
    if still:
        click.echo("nothing was written: proxies of ranges that are gone would be clients")
        sys.exit(EXIT_FINDINGS)


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return "?"


def _show_changes(ranges: list[str], output: str | None, *, fails: bool) -> None:
    """Print what is new and what is gone; exit with 1 if anything is, and that counts.

    Raises:
        ConfigurationError: There is no file to compare with.
    """
    if output is None:
        raise ConfigurationError("--diff compares with a file; name it with -o FILE")
    old = set(merge_ranges(load_ranges(output)))
    changes = [f"- {text}" for text in sorted(old - set(ranges))]
    changes += [f"+ {text}" for text in sorted(set(ranges) - old)]
    click.echo("\n".join(changes) or "no change")
    if changes and fails:
        sys.exit(EXIT_FINDINGS)


def _write(path: str, text: str) -> None:
    """Write a file whole, so that a server that reads it again never meets half of it.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise ConfigurationError(
            f"{escape(path)}: cannot be written: {error.strerror or error}; name a file in a "
            "directory that you may write to"
        ) from error
