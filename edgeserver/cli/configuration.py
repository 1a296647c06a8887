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
from edgeserver.cli.sources import CONFIG_OPTIONS, Sources, apply_effective, contradictions
from edgeserver.config.effective import Effective, render
from edgeserver.config.origins import MOST_PROBLEMS, Problem, WrongConfiguration
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.runtime.examine import examine
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK, EXIT_USAGE
from edgeserver.runtime.plan import ServePlan
from edgeserver.support.escape import escape

__all__ = ["check", "config"]


@click.command()
@click.argument("file", required=False)
@click.option("--import", "imports", is_flag=True, help="Import the application, too.")
def check(file: str | None, imports: bool) -> None:
    """Say everything that is wrong with a configuration, and with what it names.

    FILE is what `serve --config` would be given; without it, what EDGESERVER_CONFIG names.
    Variables of the environment count as they do for serve. Certificates, lists of proxies and
    the directories of logs are opened; nothing is made or changed.

    Exit codes: 0 fine, 1 findings that a server would start with, 2 errors.
    """
    with reported():
        sources = Sources({}, file, os.environ)
        effective = sources.effective(sources.load())
    problems = find_problems(effective, imports=imports)
    for problem in problems[:MOST_PROBLEMS]:
        click.echo(_render(problem))
    if len(problems) > MOST_PROBLEMS:
        click.echo(f"and {len(problems) - MOST_PROBLEMS} more like these")
    what = "the environment" if sources.path is None else escape(sources.path)
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
        return problems  # what follows from half a configuration would be guesses
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
        return [Problem(plan.spell(str(error)))]
    return []


def _render(problem: Problem) -> str:
    return str(problem) if problem.is_error else f"warning: {problem}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@click.command(cls=GroupedCommand)
@click.argument("target", metavar="MODULE:ATTR", required=False)
def config(target: str | None, **values: Any) -> None:
    """Print what would be in force, as a configuration file, with the origin of each line.

    It takes the flags of `serve`, and reads the same file and environment.
    """
    with reported():
        sources = Sources.from_values(values, target)
        effective = sources.effective(sources.load())
        if effective.errors:
            raise WrongConfiguration(effective.errors)
    for warning in effective.warnings:
        click.echo(f"edgeserver: warning: {warning}", err=True)
    for line in render(effective):
        click.echo(line)


add_flags(config, GROUPS)
config.params.extend(CONFIG_OPTIONS)
