"""The command `edgeserver audit ranges`: files for `--trust-file` from what providers publish.

Decides what the command takes and writes. How a provider's file is read,
`edgeserver.config.published_ranges` says.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import click

from edgeserver.cli.failures import reported
from edgeserver.config.ip_ranges import load_ranges
from edgeserver.config.published_ranges import load_published, merge_ranges
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.exits import EXIT_FINDINGS
from edgeserver.support.escape import escape

__all__ = ["audit_ranges"]


@click.command("ranges")
@click.argument("sources", nargs=-1, required=True, metavar="PROVIDER:FILE[?KEY=VALUE] ...")
@click.option(
    "-o", "--output", metavar="FILE", help="Where to write; standard output if not given."
)
@click.option("--diff", is_flag=True, help="Say what changes in --output, and write nothing.")
def audit_ranges(sources: tuple[str, ...], *, output: str | None, diff: bool) -> None:
    """Make a file for --trust-file of the ranges that clouds and CDNs publish.

    The files are local: fetch them as their provider says. They are checked, sorted and dated.
    With --diff the exit code is 1 if something changes.
    """
    with reported():
        published = [load_published(source) for source in sources]
        ranges = merge_ranges(text for each in published for text in each.ranges)
        if diff:
            _show_changes(ranges, output)
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


def _show_changes(ranges: list[str], output: str | None) -> None:
    """Print what is new and what is gone; exit with 1 if anything is.

    Raises:
        ConfigurationError: There is no file to compare with.
    """
    if output is None:
        raise ConfigurationError("--diff compares with a file; name it with -o FILE")
    old = set(merge_ranges(load_ranges(output)))
    changes = [f"- {text}" for text in sorted(old - set(ranges))]
    changes += [f"+ {text}" for text in sorted(set(ranges) - old)]
    click.echo("\n".join(changes) or "no change")
    if changes:
        sys.exit(EXIT_FINDINGS)


def _write(path: str, text: str) -> None:
    """Write a file whole, so that a server that reads it again never meets half of it.

    Raises:
        ConfigurationError: It cannot be written.
    """
    draft = f"{path}.new"
    try:
        with open(draft, "w", encoding="ascii") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError as error:
        raise ConfigurationError(
            f"{escape(path)}: cannot be written: {error.strerror or error}; name a file in a "
            "directory that you may write to"
        ) from error
