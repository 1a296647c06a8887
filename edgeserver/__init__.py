"""edgeserver: the Python HTTP server for the edge.

The public names of the package, and nothing else. Each is imported when it is first asked for, so
that the command line and the pure rooms cost neither an event loop nor TLS.

Source: PEP 562 (a module's own `__getattr__` and `__dir__`).
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeserver.cli.run import run
    from edgeserver.errors import EdgeServerError, HTTPInputError, HTTPOutputError
    from edgeserver.httpserver import HTTPServer
    from edgeserver.httputil import HTTPHeaders, HTTPServerRequest
    from edgeserver.runtime.listen import listen

__all__ = [
    "EdgeServerError",
    "HTTPHeaders",
    "HTTPInputError",
    "HTTPOutputError",
    "HTTPServer",
    "HTTPServerRequest",
    "listen",
    "run",
]

_HOMES = {
    "EdgeServerError": "errors",
    "HTTPHeaders": "httputil",
    "HTTPInputError": "errors",
    "HTTPOutputError": "errors",
    "HTTPServer": "httpserver",
    "HTTPServerRequest": "httputil",
    "listen": "runtime.listen",
    "run": "cli.run",
}
"""The module of each name; as for type checkers above."""

_MODULES = frozenset(
    {
        "errors",
        "httpserver",
        "httputil",
        "ioloop",
        "iostream",
        "netutil",
        "process",
        "proxyheaders",
        "tcpserver",
        "tls",
        "util",
    }
)
"""Modules that are there after `import edgeserver` alone, as Tornado's are."""

_MOVED = frozenset({"accesslog", "auditlog", "rangefile"})
"""Modules that were there too, and still are, with a warning."""


if not TYPE_CHECKING:  # else any misspelt name would pass the type checker

    def __getattr__(name: str) -> object:
        """Return a public name or module, and keep it."""
        if name in _HOMES:
            value = getattr(importlib.import_module(f"edgeserver.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
        if name in _MODULES or name in _MOVED:  # importing one makes it an attribute
            return importlib.import_module(f"edgeserver.{name}")
        raise AttributeError(f"module 'edgeserver' has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    """Return the names that are there and those that would be imported."""
    return sorted({*globals(), *__all__, *_MODULES})
