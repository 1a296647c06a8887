"""What the parent imports for its workers: the server itself, the event loop's module, and others.

Decides only which, and that workers share the memory. A worker that is replaced imports nothing but
the application then, and is of the same version as all others, whatever was installed meanwhile.
No event loop and no thread is made, and nothing of the application is imported.
"""

from __future__ import annotations

import gc
import importlib
from contextlib import suppress
from typing import Final

__all__ = ["warm", "warm_adapter"]

_MODULES: Final = (
    "concurrent.futures",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.x509",
    "edgeserver.runtime.worker",
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

_ADAPTERS: Final = ("asgi", "wsgi")
"""Kinds of applications whose adapters are imported only where there is such an application."""


def warm(loop: str) -> None:
    """Import what each worker needs, before the first one is forked.

    Args:
        loop: Which event loop is asked for: `"auto"`, `"uvloop"` or `"asyncio"`.
    """
    for name in _MODULES:
        importlib.import_module(name)
    if loop != "asyncio":
        with suppress(ImportError):  # who asks for it by name was told already
            importlib.import_module("uvloop")
    _share()


def warm_adapter(kind: str) -> None:
    """Import the adapter of a kind of application, once a worker has said which kind it is."""
    if kind in _ADAPTERS:
        importlib.import_module(f"edgeserver.adapters.{kind}")
        _share()


def _share() -> None:
    """Have the collector look no more at what there is by now.

    It writes to each object that it looks at, and each page that a worker writes to is copied: 50
    ms and 5 MiB for each worker, which looks once before it serves.
    """
    gc.collect()
    gc.freeze()
