"""The commands `edgeserver check` and `edgeserver config`: is it right, and what is in force.

Decides what is printed and the exit code. What is wrong is found where it is read (`config`) and
where it is used (`runtime/examine.py`).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from edgeserver.cli.failures import reported
from edgeserver.cli.flags import GROUPS, GroupedCommand, add_flags
from edgeserver.cli.options import complete_files
from edgeserver.cli.sources import CONFIG_OPTIONS, SettingSources, apply_effective, contradictions
from edgeserver.config.effective import Effective, render
from edgeserver.config.origins import MOST_PROBLEMS, Problem, WrongConfiguration
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.runtime.examine import examine, examine_said
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK, EXIT_USAGE
from edgeserver.runtime.plan import ServePlan
from edgeserver.support.escape import escape

__all__ = ["check", "config", "differences"]


@click.command()
@click.argument("file", required=False, shell_complete=complete_files)
@click.option("--import", "imports", is_flag=True, help="Import the application, too.")
def check(file: str | None, imports: bool) -> None:
    """Say everything that is wrong with a configuration, and with what it names.

    FILE is what `serve --config` would be given; without it, what EDGESERVER_CONFIG names.
    Variables of the environment count as they do for serve. Certificates, lists of proxies and
    the directories of logs are opened; nothing is made or changed.

    Exit codes: 0 fine, 1 findings that a server would start with, 2 errors.
    """
    with reported():
        sources = SettingSources({}, file, os.environ)
        effective = sources.effective(sources.load())
        if sources.path is None and not effective.errors and not effective.values["app"]:
            raise ConfigurationError(
                "no FILE is named, and no variable names one or an application: write edgeserver"
                " check edge.toml, or set EDGESERVER_CONFIG or EDGESERVER_APP"
            )
    problems = find_problems(effective, imports=imports)
    for problem in problems[:MOST_PROBLEMS]:
        click.echo(_render(problem))
    if len(problems) > MOST_PROBLEMS:
        click.echo(f"and {len(problems) - MOST_PROBLEMS} more like these")
    what = "the environment, as no FILE was named" if sources.path is None else escape(sources.path)
    errors = sum(each.is_error for each in problems)
    if errors:
        click.echo(f"{what}: {_count(errors, 'error')}", err=True)
        sys.exit(EXIT_USAGE)
    if problems:
        click.echo(f"{what}: {_count(len(problems), 'warning')}", err=True)
        sys.exit(EXIT_FINDINGS)
    click.echo(f"{what}: nothing is wrong")
    sys.exit(EXIT_OK)


def find_problems(effective: Effective, *, imports: bool) -> list[Problem]:
    """Return all that is wrong or odd with what is in force, and with what it names.

    Args:
        effective: What is in force.
        imports: Whether to import the application, too.
    """
    problems = list(effective.problems)
    if effective.errors:
        # What follows from half a configuration would be guesses, but for what is not there.
        return problems + examine_said(effective)
    found = contradictions(effective)
    if found:
        return problems + found
    try:
        plan = apply_effective(effective)
    except ConfigurationError as error:
        return [*problems, Problem(str(error))]
    problems += examine(plan)
    if imports and not any(each.is_error for each in problems):
        problems += _import_application(plan)
    return problems


def _import_application(plan: ServePlan) -> list[Problem]:
    """Import the application as a worker does, and return what is wrong with it."""
    from edgeserver.runtime.application import prepare_application

    try:
        prepare_application(plan)
    except EdgeServerError as error:
        # Nobody types it as a flag, but that is how it is spelled where a place is looked for.
        return [Problem(plan.spell(f"--app: {error}"))]
    return []


def _render(problem: Problem) -> str:
    return str(problem) if problem.is_error else f"warning: {problem}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@click.command(cls=GroupedCommand)
@click.argument("target", metavar="MODULE:ATTR", required=False)
@click.option(
    "--running",
    is_flag=True,
    help="Print what is in force in the server that runs, asked over its --admin unix:PATH, and"
    " what differs from that now.",
)
def config(target: str | None, running: bool, **values: Any) -> None:
    """Print what would be in force, as a configuration file, with the origin of each line.

    It takes the flags of `serve`, and reads the same file and environment.
    """
    with reported():
        sources = SettingSources.from_values(values, target)
        effective = sources.effective(sources.load())
        if effective.errors:
            raise WrongConfiguration(effective.errors)
    for warning in effective.warnings:
        click.echo(f"edgeserver: warning: {warning}", err=True)
    for line in _running(effective) if running else render(effective):
        click.echo(line)


def _running(effective: Effective) -> list[str]:
    """Return what the server that runs has in force, and what differs from `effective`."""
    from edgeserver.cli.ctl import AdminClient
    from edgeserver.config.admin import parse_admin

    with reported():
        local = [text for text in effective.values["admin"] if text.startswith("unix:")]
        if not local:
            raise ConfigurationError(
                "--running asks the server over its admin socket, and no setting names one; add"
                " --admin unix:PATH as serve has it"
            )
        _, found = AdminClient(parse_admin(local[0], has_token=True), None).ask("GET", "/config")
    lines = [escape(str(line), 4000).replace("\\\\", "\\") for line in found.get("lines", ())]
    return [*lines, *differences(lines, list(render(effective)))]


def differences(running: list[str], now: list[str]) -> list[str]:
    """Return comments about the lines of two files that say something else."""
    before, after = _by_key(running), _by_key(now)
    found = []
    for key in dict.fromkeys((*before, *after)):
        was, comes = before.get(key), after.get(key)
        if (was or "").split("  # ")[0] != (comes or "").split("  # ")[0]:
            found.append(f"#   {key[0]} now: {comes or 'nothing'}")
            found.append(f"#   {' ' * len(key[0])} running: {was or 'nothing'}")
    return ["# what differs now:", *found] if found else ["# nothing differs now"]


def _by_key(lines: list[str]) -> dict[tuple[str, str], str]:
    """Return the lines of a file by their table and key; each listener is a table of its own."""
    table, number = "", 0
    found = {}
    for line in lines:
        if line.startswith("["):
            table = line.split("  # ")[0]
            if table.startswith("[["):
                number += 1
                table = f"{table} {number}"
        elif " = " in line:
            found[table, line.partition(" = ")[0]] = line
    return found


add_flags(config, GROUPS)
config.params.extend(CONFIG_OPTIONS)
