"""The command `edgeserver audit report`: one page from what the other audits have found, as JSON.

Decides where reports come from, where the page goes, and which exit code it means. What the page
shows, `edgeserver.audit.page` says.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from edgeserver.audit.page.document import (
    NoReport,
    PageSource,
    kind_of_report,
    render_audit_page,
)
from edgeserver.audit.page.values import flag_of, objects_of, text_of
from edgeserver.chains.readers.base import UnreadableFile
from edgeserver.cli.failures import reported
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file, replace_file

__all__ = ["audit_report", "render_one_page"]

EXIT_CANNOT_TELL = 4
MOST_REPORTS = 50
MOST_REPORT_BYTES = 64 * 1024 * 1024

_EXAMPLES = """\b
Examples:
  edgeserver audit config nginx:nginx.conf --trust 192.0.2.10 \\
      --format json > config.json
  edgeserver audit logs access.log --format json > logs.json
  edgeserver audit report -o audit.html config.json logs.json
  edgeserver audit report --redact -o audit.html logs.json
"""


@click.command("report", epilog=_EXAMPLES)
@click.argument("files", nargs=-1, required=True, metavar="JSON ...")
@click.option(
    "-o", "--output", metavar="FILE", help="Where to write; standard output if not given."
)
@click.option(
    "--redact", is_flag=True, help="Show clients as networks, /24 and /48, wherever they stand."
)
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error", "never"]),
    default="warning",
    help="What exits with 1: warnings and errors (default), errors, or nothing.",
)
def audit_report(files: tuple[str, ...], *, output: str | None, redact: bool, fail_on: str) -> None:
    """Make a page for people of what audits have found: one file, without a script.

    JSON is what audit config, logs, check and probe print with --format json, audit explain with
    --json, or /audit of the admin listener; `-` is standard input. The page holds all of them, in
    this order, and loads nothing.

    Exit codes: 0 nothing found in any, 1 errors or warnings, 2 usage, 3 a file cannot be read, 4
    cannot tell.
    """
    with reported():
        if len(files) > MOST_REPORTS:
            raise ConfigurationError(
                f"{len(files)} reports; a page has at most {MOST_REPORTS}, so make several"
            )
        sources = [_load(path) for path in files]
        page = _page(sources, hides_clients=redact)
        if output is not None:
            _write_page(output, page)
    if output is None:
        click.echo(page, nl=False)
    sys.exit(_exit_code(sources, fail_on))


def render_one_page(value: dict[str, Any], name: str = "") -> str:
    """Return the page of one report, for a command's own `--format html`.

    Args:
        value: The report as its JSON has it.
        name: What it is called on the page.
    """
    return _page([PageSource(value, escape(name, 400))], hides_clients=False)


def _page(sources: list[PageSource], *, hides_clients: bool) -> str:
    from importlib.metadata import version

    page = render_audit_page(
        sources, made_s=time.time(), version=version("edgeserver"), hides_clients=hides_clients
    )
    return page.decode("ascii")


def _load(path: str) -> PageSource:
    """Return a report out of a file, or out of standard input.

    Raises:
        ConfigurationError: It is none.
        UnreadableFile: It cannot be read.
    """
    shown = "standard input" if path == "-" else escape(path, 400)
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MOST_REPORT_BYTES + 1)
        else:
            content = read_file(path, MOST_REPORT_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFile(
            f"{shown}: the report cannot be read: {reason}; check the path and its permissions"
        ) from error
    if len(content) > MOST_REPORT_BYTES:
        raise ConfigurationError(f"{shown}: more than {MOST_REPORT_BYTES} bytes: no report")
    try:
        value = json.loads(content)
        kind_of_report(value)
    except (NoReport, ValueError, RecursionError) as error:
        why = error if isinstance(error, NoReport) else "this is not JSON"
        raise ConfigurationError(
            f"{shown}: {why}; give what one of them prints with --format json (explain: --json)"
        ) from error
    return PageSource(value, shown)


def _write_page(path: str, page: str) -> None:
    """Write the page whole.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        replace_file(path, page)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"-o {escape(path, 400)}: {getattr(error, 'strerror', None) or error}; name a file in a"
            " directory that you may write to"
        ) from error


def _exit_code(sources: list[PageSource], fail_on: str) -> int:
    """Return the exit code that the findings of all reports mean."""
    failing = {"warning": ("error", "warning"), "error": ("error",), "never": ()}[fail_on]
    found = [
        each
        for source in sources
        for each in objects_of(source.value, "findings")
        if not flag_of(each, "known")
    ]
    if any(text_of(each, "severity") in failing for each in found):
        return EXIT_FINDINGS
    untold = any(text_of(each, "code") == "cannot-tell" for each in found)
    if untold or any(objects_of(source.value, "cannot_tell") for source in sources):
        return EXIT_CANNOT_TELL
    return EXIT_OK
