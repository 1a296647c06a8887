"""The old home of `edgeserver.runtime.listen`, kept for programs, with a warning."""

import warnings

from edgeserver.runtime.listen import ApplicationServer, listen

__all__ = ["ApplicationServer", "listen"]

warnings.warn(
    "edgeserver.listening has moved: import edgeserver.runtime.listen",
    DeprecationWarning,
    stacklevel=2,
)
