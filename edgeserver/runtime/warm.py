"""What the parent imports for its workers: modules of others that each of them needs.

Decides only which. A worker that is replaced starts in half the time, and what was imported before
the fork is in memory once. None of them makes an event loop or a thread, and none is the
application's: the parent imports neither.
"""

from __future__ import annotations

import importlib
from typing import Final

__all__ = ["warm"]

_MODULES: Final = (
    "concurrent.futures",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.x509",
    "email.parser",
    "http.client",
    "http.cookies",
    "importlib.metadata",
    "ssl",
    "secrets",
    "subprocess",
    "urllib.parse",
    "websockets.extensions.permessage_deflate",
    "websockets.server",
    "zlib",
)


def warm() -> None:
    """Import them, before the first worker is forked."""
    for name in _MODULES:
        importlib.import_module(name)
