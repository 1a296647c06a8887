"""The command `edgeserver`: which subcommands there are, and how each is found.

Decides only the list below. A subcommand's module is imported when it is used, so that
`edgeserver --help` costs no server, no TLS and no table drawing; what a subcommand does is its own.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import click

from edgeserver.cli.failures import CommandFailure
from edgeserver.config.foreign import explain_flag
from edgeserver.config.slips import find_slip
from edgeserver.runtime.exits import EXIT_START, EXIT_USAGE
from edgeserver.support.escape import escape

__all__ = ["main"]


class _Subcommand(NamedTuple):
    """Where a subcommand lives, and what `edgeserver --help` says of it."""

    module: str
    attribute: str
    summary: str


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_SUBCOMMANDS = {
    "serve": _Subcommand("edgeserver.cli.serve", "serve", "Run an application."),
    "check": _Subcommand(
        "edgeserver.cli.configuration", "check", "Say what is wrong with a configuration."
    ),
    "config": _Subcommand(
        "edgeserver.cli.configuration", "config", "Print what is in force, and who says it."
    ),
    "ctl": _Subcommand("edgeserver.cli.ctl", "ctl", "Tell a running server, and ask it."),
    "audit": _Subcommand("edgeserver.cli.audit", "audit", "Say who the client is, with the proof."),
    "tls": _Subcommand("edgeserver.cli.tls", "tls", "Check certificates, keys and TLS endpoints."),
    "certs": _Subcommand("edgeserver.cli.certs", "certs", "Make certificates for development."),
}

_WITHIN = {
    "help": "--help",
    "run": "serve",
    "start": "serve",
    "version": "--version",
    **{name: f"audit {name}" for name in ("explain", "probe", "echo", "logs", "ranges")},
    **{name: f"ctl {name}" for name in ("reload", "status", "stop")},
}
"""What people type for a command whose name is another, or stands in a group."""


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Turn click's usage errors, of three lines and more, into one line as all errors have."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        # what a user typed may hold anything; click shows it as it is
        said = error.format_message()
        if isinstance(error, click.NoSuchOption):
            said = f"no such option {error.option_name}{_hint(error.option_name, error.ctx)}"
        words = " ".join(said.split()).removesuffix(".")
        message = "".join(each if each.isprintable() else escape(each) for each in words)
        command = error.ctx.command_path if error.ctx is not None else "edgeserver"
        raise CommandFailure(
            f"{message[:1].lower()}{message[1:]} (see {command} --help)", exit_code=EXIT_USAGE
        ) from error


def _hint(flag: str, ctx: click.Context | None) -> str:
    """Return what is said of a flag that a command does not have."""
    if ctx is None:
        return ""
    if flag.lower() == "-v" and ctx.parent is None:
        return "; did you mean --version?"
    meant = explain_flag(flag) if ctx.info_name == "serve" else ""
    if meant:
        return f"; here it is {meant}"
    # Without click's guesses: a flag that is spelled alike need not mean alike.
    options = (each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option))
    near = find_slip(
        flag, (name for each in options for name in (*each.opts, *each.secondary_opts))
    )
    return f"; did you mean {near}?" if near else ""


class LazyGroup(click.Group):
    """A click group whose subcommands are imported when they are first needed."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the arguments before the subcommand's name."""
        with _in_one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Find the subcommand, parse its arguments and run it."""
        with _in_one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands that this installation has, in the order of the list."""
        return [
            name
            for name, where in _SUBCOMMANDS.items()
            if importlib.util.find_spec(where.module) is not None
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the subcommand `cmd_name`, or None if there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            if ":" in cmd_name:  # an application, as other servers take it
                ctx.fail(f"{cmd_name} is not a command; write edgeserver serve {cmd_name}")
            near = difflib.get_close_matches(cmd_name, _SUBCOMMANDS, n=1, cutoff=0.7)
            meant = _WITHIN.get(cmd_name) or (near[0] if near else None)
            if meant is not None and not ctx.resilient_parsing:
                ctx.fail(f"no such command {cmd_name!r}; did you mean edgeserver {meant}?")
            return None
        where = _SUBCOMMANDS[cmd_name]
        command = getattr(importlib.import_module(where.module), where.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands from their summaries, importing none of them."""
        rows = [(name, _SUBCOMMANDS[name].summary) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Print the installed version and exit, where `--version` was given."""
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    from edgeserver.support import escape

    # a small module that `make wheel` compiles; the whole package would be slow to look at
    built = " (compiled)" if not escape.__file__.endswith(".py") else ""
    click.echo(f"edgeserver {version('edgeserver')}{built}")
    ctx.exit()


_EXAMPLES = """\b
Examples:
  edgeserver serve main:app
  edgeserver serve main:app --workers 4 --trust 10.0.0.5
  edgeserver serve edgeserver.demo:app
  edgeserver audit explain --trust 10.0.0.5 --peer 10.0.0.5 \\
    -H 'X-Forwarded-For: 6.6.6.6, 203.0.113.9'
  edgeserver certs dev

\b
Completion, for bash (zsh and fish alike):
  eval "$(_EDGESERVER_COMPLETE=bash_source edgeserver)"
"""


@click.group(
    "edgeserver",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
    invoke_without_command=True,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """The Python HTTP server for the edge.

    Exit codes: 0 fine, 1 findings, 2 usage or configuration, 3 could not start.
    """
    if ctx.invoked_subcommand is None:
        from edgeserver.cli.nextsteps import advise

        click.echo(advise("."))
        ctx.exit(EXIT_USAGE)


def _fill_standard_descriptors() -> None:
    """Open the null device for each standard descriptor that was closed at start.

    Else the first socket or event queue would get its number, and what is meant for standard
    output or error would be written there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command `edgeserver` and exit.

    Args:
        argv: The arguments after the command's name; the process's own if None.
    """
    _fill_standard_descriptors()
    try:
        cli.main(args=list(argv) if argv is not None else None, prog_name="edgeserver")
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        # click ends quietly where a reader has gone, and leaves a full disk to us
        click.echo(
            f"edgeserver: standard output cannot be written: {error.strerror}; make room there, or"
            " send it elsewhere",
            err=True,
        )
        os._exit(EXIT_START)  # the interpreter's own flush would fail once more, with a traceback
    raise AssertionError("click ends the process itself")  # pragma: no cover
