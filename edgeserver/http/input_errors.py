"""Input errors: what breaks a rule of HTTP, whoever has found it.

Decides which exceptions are such, and how they are shown. It must not know how one is answered.
"""

from __future__ import annotations

from edgeserver.errors import HTTPInputError
from edgeserver.support.escape import escape

__all__ = ["as_input_error", "is_input_error", "render_rfc"]


def render_rfc(error: HTTPInputError) -> str:
    """Return where the rule stands that was broken, for the end of a log line."""
    return f" ({error.rfc})" if error.rfc else ""


def is_input_error(error: BaseException) -> bool:
    """Tell whether `error` is an `HTTPInputError`, ours or another package's of that name."""
    return any(cls.__name__ == "HTTPInputError" for cls in type(error).__mro__)


def as_input_error(error: BaseException) -> HTTPInputError:
    """Return the same error as ours, with a text that can be shown."""
    text = str(error)
    if isinstance(error, HTTPInputError) and text.isascii() and text.isprintable():
        return error
    return HTTPInputError(escape(text), status=getattr(error, "status", 400))
