"""The Python samples of the documentation, as modules that a type checker can read.

A sample leaves out what its page has said before: names that it neither makes nor imports are
declared above it, and the parameters of its functions get the types that the page gives in words.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from edgeserver import HTTPServer, HTTPServerRequest
from edgeserver.config.model import SETTINGS

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)

_NAMES = {
    "app": "from tests.typing.examples import app",
    "application": "from tests.typing.samples import application",
    "asyncio": "import asyncio",
    "bind_sockets": "from edgeserver.netutil import bind_sockets",
    "edgeserver": "import edgeserver",
    "fork_processes": "from edgeserver.process import fork_processes",
    "HTTPServer": "from edgeserver import HTTPServer",
    "IOLoop": "from edgeserver.ioloop import IOLoop",
    "make_application": "from tests.typing.samples import make_application",
    "my_context": "import ssl\nmy_context: ssl.SSLContext = ssl.create_default_context()",
    "pairs": "pairs: list[tuple[bytes, bytes]] = []",
    "policy": "from edgeserver.proxyheaders import TrustPolicy\npolicy = TrustPolicy([])",
    "proxies": "proxies: list[str] = []",
    "request": "from tests.typing.samples import request",
    "scope": "from typing import Any\nscope: dict[str, Any] = {}",
    "server": "from tests.typing.samples import server",
    "tornado": "import tornado.testing\nimport tornado.web",
    "TrustedProxy": "from edgeserver.proxyheaders import TrustedProxy",
    "TrustPolicy": "from edgeserver.proxyheaders import TrustPolicy",
}
"""What pages leave out of a sample, and what it is."""

_PARAMETERS = {
    "self": None,
    "request": "edgeserver.HTTPServerRequest",
    "edgeserver_serve": "edgeserver.pytestplugin.ServeForTest",
    "scope": "typing.Any",
    "receive": "typing.Any",
    "send": "typing.Any",
    "environ": "typing.Any",
    "start_response": "typing.Any",
}


request = cast(HTTPServerRequest, None)
server = cast(HTTPServer, None)


def application(environ: dict[str, object], start_response: object) -> list[bytes]:
    """Stand for a WSGI application."""
    return [b""] if environ and start_response else []


def make_application() -> object:
    """Stand for what makes a Tornado application."""
    return SETTINGS


def samples() -> Iterator[tuple[str, str]]:
    """Yield where each sample stands, and its text."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = path.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"{path.relative_to(ROOT)}:{line}", found[2]


def as_module(sample: str) -> str:
    """Return a module that a type checker can read."""
    tree = ast.parse(sample)
    before = [_NAMES[name] for name in sorted(_free_names(tree)) if name in _NAMES]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            before += _annotate(node)
    text = ast.unparse(tree)
    if any(isinstance(node, ast.Await) for node in _outside_functions(tree)):
        text = "async def sample() -> None:\n" + "\n".join(f"    {x}" for x in text.split("\n"))
    return "\n".join(["from __future__ import annotations", *before, text, ""])


def _annotate(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Give the parameters and the result of a function their types; return the imports it takes."""
    if function.returns is None:
        returns = any(isinstance(node, ast.Return) for node in ast.walk(function))
        function.returns = ast.Name("typing.Any" if returns else "None")
    imports = ["import typing"]
    for parameter in function.args.args:
        if parameter.annotation is not None:
            continue
        known = _PARAMETERS[parameter.arg]
        if known is not None:
            parameter.annotation = ast.Name(known)
            imports.append(f"import {known.rpartition('.')[0]}")
    return imports


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _outside_functions(child)


def _free_names(tree: ast.AST) -> set[str]:
    """Return the names that a sample reads and does not make."""
    read: set[str] = set()
    made = set(dir(builtins))
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name):
                made.add(name)
            case ast.alias(name=name, asname=asname):
                made.add(asname or name.partition(".")[0])
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                made.add(name)
            case ast.ClassDef(name=name):
                made.add(name)
            case ast.arg(arg=name):
                made.add(name)
    return read - made
