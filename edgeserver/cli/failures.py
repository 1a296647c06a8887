"""Failures of a command: one line on standard error, and an exit code.

Decides how an error is shown. It must not know what any command does.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from edgeserver.errors import EdgeServerError
from edgeserver.runtime.exits import EXIT_USAGE, exit_code_of

__all__ = ["CommandFailure", "reported"]

_ADVICE = re.compile(r"`[^`]*`")  # a command to type, whose variables are meant
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][^}]*\})")


class CommandFailure(click.ClickException):
    """An error that ends the command with its own exit code and one line.

    Args:
        message: What was wrong, where, why, and the fix.
        exit_code: The code that the process ends with.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message + _explain_variable(message, exit_code))
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it once for the class

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message to standard error, each line after the command's name."""
        for line in self.format_message().split("\n"):
            click.echo(f"edgeserver: {line}", file=file or sys.stderr)


def _explain_variable(message: str, exit_code: int) -> str:
    """Return what to know of a variable that nobody has replaced by its value, if one is named."""
    found = _VARIABLE.search(_ADVICE.sub("", message))
    if found is None or exit_code != EXIT_USAGE:
        return ""
    return (
        f" ({found[0]} came as it stands: a shell replaces variables, a Dockerfile's "
        'CMD ["edgeserver", ...] has none; write CMD exec edgeserver serve ...)'
    )


@contextmanager
def reported(*, debug: bool = False, spell: Callable[[str], str] = str) -> Iterator[None]:
    """Turn this package's errors into a `CommandFailure`; anything else is a bug and passes.

    Args:
        debug: Show the traceback before the line.
        spell: Puts a message that names flags into the words in which they were said.
    """
    try:
        yield
    except EdgeServerError as error:
        if debug:
            traceback.print_exc()
        raise CommandFailure(spell(str(error)), exit_code=exit_code_of(error)) from error
