"""Clients that have left: which exceptions of an application come of that.

Decides between a line in the log and an error. It must not know what kind of application it is.
"""

from __future__ import annotations

from typing import Any, Final

from edgeserver.errors import StreamClosedError
from edgeserver.httputil import HTTPConnection
from edgeserver.support.escape import escape

__all__ = ["comes_of_leaving", "describe", "is_gone", "why_cut"]

MOST_CAUSES: Final = 100
"""How many causes of one another are looked at."""


def is_gone(connection: HTTPConnection) -> bool:
    """Tell whether nothing can be written to a client any more."""
    written = connection.write(b"")
    return written.done() and written.exception() is not None


def why_cut(connection: HTTPConnection) -> str:
    """Return why the rest of a request does not come, in words for the log."""
    status = connection.status  # the server's own refusal, of a body that is too long or late
    return f"the server has answered {status}" if status >= 400 else "the connection was closed"


def describe(error: BaseException) -> str:
    """Return an application's exception in one line, safe to log."""
    text = str(error)
    return escape(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def comes_of_leaving(
    error: BaseException,
    *,
    told: bool = False,
    kinds: tuple[type[BaseException], ...] = (StreamClosedError,),
) -> bool:
    """Tell whether an application failed because its client has left, however that was wrapped.

    Args:
        error: What it raised, after its client had left.
        told: Whether a message told it so. What it raises then comes of that where the class is its
            framework's or its own, such as Starlette's `ClientDisconnect`; an error of Python's
            own, such as a `LookupError`, is a mistake that has nothing to do with it.
        kinds: What was raised in the application to tell it so.
    """
    seen: set[int] = set()
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        if isinstance(each, kinds):
            return True
        seen.add(id(each))
        pending += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
    return told and _is_of_its_own(error)


def _is_of_its_own(error: BaseException | None) -> bool:
    """Tell whether `error`, its stated cause, or what it groups is of a class not Python's own."""
    for _ in range(MOST_CAUSES):
        if error is None:
            return False
        if isinstance(error, BaseExceptionGroup):
            return all(_is_of_its_own(each) for each in error.exceptions)
        if type(error).__module__ != "builtins":
            return True
        error = error.__cause__
    return False
