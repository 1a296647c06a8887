"""Exit codes, and the error of what could not start.

Decides which error means which exit code. It must not know what any command does.
"""

from __future__ import annotations

from edgeserver.errors import ConfigurationError, EdgeServerError

__all__ = [
    "EXIT_FINDINGS",
    "EXIT_OK",
    "EXIT_START",
    "EXIT_USAGE",
    "StartError",
    "exit_code_of",
]

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_START = 3


class StartError(EdgeServerError):
    """What was asked for is well-formed but could not be started: a taken port, a failing app."""


def exit_code_of(error: EdgeServerError) -> int:
    """Return the exit code that `error` means."""
    return EXIT_USAGE if isinstance(error, ConfigurationError) else EXIT_START
