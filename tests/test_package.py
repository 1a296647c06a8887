"""The package itself: its names are there when asked for, and cost nothing before that."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import edgeserver

ROOT = Path(__file__).parent.parent
HEAVY = ("asyncio", "cryptography", "rich", "ssl", "uvloop", "websockets", "click", "email")


def run(code: str, *arguments: str) -> str:
    """Return what a fresh interpreter prints, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import edgeserver", ()),
        ("import edgeserver.errors", ()),
        ("import edgeserver.proxyheaders", ()),
        ("import edgeserver.config.ip_ranges", ()),
        ("import edgeserver.cli", ("click",)),
    ],
    ids=["package", "errors", "proxyheaders", "rangefile", "command"],
)
def test_what_costs_much_is_not_imported(statement: str, allowed: tuple[str, ...]) -> None:
    """Without a server there is no event loop, no TLS and no WebSocket library."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    names = {name.partition(".")[0] for name in run(code).split()}
    assert not names & set(HEAVY) - set(allowed)


def test_what_is_compiled_can_be() -> None:
    """The modules that `make wheel` compiles exist, and hold no coroutine: see pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    package = Path(edgeserver.__file__).parent.parent
    for name in hook["include"]:
        tree = ast.parse((package / name.lstrip("/")).read_text())
        assert not any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree)), name


def test_the_version_says_what_runs() -> None:
    """`--version` tells the compiled wheel from the source: a report of a fault needs it."""
    compiled = importlib.util.find_spec("edgeserver.http1.head").origin.endswith(".so")
    said = run("from edgeserver.cli import main\nmain(['--version'])").strip()
    assert said == f"edgeserver {version('edgeserver')}" + compiled * " (compiled)"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["serve", "--help"], ["--nonsense"], ["audit", "explain", "-h"]],
    ids=" ".join,
)
def test_help_costs_no_server(arguments: list[str]) -> None:
    """The command's help, version and usage errors need neither asyncio nor TLS."""
    code = (
        "import sys\n"
        "from edgeserver.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    modules = run(code, *arguments).rpartition("MODULES")[2].split()
    names = {name.partition(".")[0] for name in modules}
    assert not names & {"asyncio", "cryptography", "ssl", "uvloop", "websockets"}


@pytest.mark.parametrize(
    "code",
    [
        "from edgeserver import HTTPServer; HTTPServer",
        "import edgeserver; edgeserver.HTTPServer",
        "import edgeserver; edgeserver.httpserver.HTTPServer",
        "import edgeserver; edgeserver.tcpserver.TCPServer",
        "import edgeserver.httputil; edgeserver.httputil.HTTPHeaders",
        "from edgeserver import httputil; httputil.HTTPHeaders",
        "from edgeserver import *; HTTPServer, listen",
        "import edgeserver.httpserver; assert edgeserver.HTTPServer is edgeserver.HTTPServer",
        "import edgeserver.runtime.listen; assert callable(edgeserver.listen)",
    ],
)
def test_each_way_to_a_name(code: str) -> None:
    """Every spelling by which programs reach a name works in a fresh interpreter."""
    run(code)


def test_what_there_is_not() -> None:
    """A name that does not exist is an ordinary error, of the attribute and of the import."""
    with pytest.raises(AttributeError, match="'edgeserver' has no attribute 'HTTPSever'"):
        edgeserver.HTTPSever  # noqa: B018  # the access is what is tested
    with pytest.raises(ImportError, match="HTTPSever"):
        exec("from edgeserver import HTTPSever")


def test_dir_names_what_may_be_asked_for() -> None:
    """Completion offers the public names and modules, and each of them can be had."""
    offered = {name for name in dir(edgeserver) if not name.startswith("_")}
    assert offered >= {*edgeserver.__all__, "httpserver", "httputil", "tls"}
    for name in offered:
        assert getattr(edgeserver, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    """What is imported for type checkers is what is found, and where."""
    tree = ast.parse(Path(edgeserver.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name, home in seen.items():
        assert getattr(importlib.import_module(home), name) is getattr(edgeserver, name), name
    assert sorted(seen) == edgeserver.__all__


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("accesslog", "AccessLog"),
        ("auditlog", "AuditLog"),
        ("rangefile", "load_ranges"),
        ("listening", "listen"),
    ],
)
def test_modules_that_moved(old: str, name: str) -> None:
    """The old name of a documented module still works, and says the new one."""
    code = (
        "import sys, warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        f"    from edgeserver.{old} import {name}\n"
        "print(*(each.message for each in caught))"
    )
    assert f"edgeserver.{old} has moved: import edgeserver." in run(code)
