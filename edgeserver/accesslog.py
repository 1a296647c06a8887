"""The old home of `edgeserver.logs.access`, kept for programs, with a warning."""

import warnings

from edgeserver.logs.access import AccessLog, render_json, render_text
from edgeserver.logs.access import LoggedExchange as Exchange

__all__ = ["AccessLog", "Exchange", "render_json", "render_text"]

warnings.warn(
    "edgeserver.accesslog has moved: import edgeserver.logs.access",
    DeprecationWarning,
    stacklevel=2,
)
