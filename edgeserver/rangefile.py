"""The old home of `edgeserver.config.ip_ranges`, kept for programs, with a warning."""

import warnings

from edgeserver.config.ip_ranges import MAX_FILE_BYTES, load_ranges

__all__ = ["MAX_FILE_BYTES", "load_ranges"]

warnings.warn(
    "edgeserver.rangefile has moved: import edgeserver.config.ip_ranges",
    DeprecationWarning,
    stacklevel=2,
)
