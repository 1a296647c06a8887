"""Tests hold edgeserver to what it does: what is private they reach through a few helpers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
HELPERS = frozenset({"inside.py"})
"""File names of the modules that may read private attributes, one in a room."""

# Begin with an underscore, and belong to an interface that is documented or Tornado's.
PUBLIC = frozenset(
    {
        *("_asdict", "_fields", "_make", "_replace"),  # namedtuple
        "_getframe",  # sys
        "_exit",  # os
        *(
            "_body_future",
            "_finish_time",
            "_parse_body",
            "_start_time",
        ),  # Tornado's HTTPServerRequest
        *("_restore_configuration", "_save_configuration"),  # Tornado's Configurable
        *("_MULTI_PROCESS_TEST_SCRIPT", "_testMethodName"),  # Tornado's suite, and unittest's
    }
)
BY_NAME = frozenset({"delattr", "getattr", "hasattr", "setattr"})


def is_private(name: object) -> bool:
    """Whether a name is private, as far as names say."""
    return (
        isinstance(name, str)
        and name.startswith("_")
        and not name.startswith("__")
        and name not in PUBLIC
    )


def accesses(tree: ast.AST, line: int = 0) -> Iterator[str]:
    """Yield each access to a private attribute of something else, as `line: code`.

    Programs that stand in strings are looked at too; their lines count from the string's.
    """
    for node in ast.walk(tree):
        where = line + getattr(node, "lineno", 0)
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if is_private(node.attr) and not own:
                yield f"{where}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            name = function.id if isinstance(function, ast.Name) else function
            if name in BY_NAME and any(
                isinstance(argument, ast.Constant) and is_private(argument.value)
                for argument in node.args[1:2]
            ):
                yield f"{where}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom):
            if any(is_private(alias.name) for alias in node.names):
                yield f"{where}: {ast.unparse(node)}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _in_program(node.value, where - 1)


def _in_program(text: str, line: int) -> Iterator[str]:
    """Yield the accesses in a string that is a program."""
    if "\n" not in text or "import " not in text:
        return
    try:
        yield from accesses(ast.parse(text), line)
    except SyntaxError:
        return


def test_private_attributes_are_read_by_helpers_alone() -> None:
    """A change inside of edgeserver touches no test but the helpers named for it."""
    found = [
        f"{path.relative_to(TESTS.parent)}:{access}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name not in HELPERS and path != Path(__file__)
        for access in accesses(ast.parse(path.read_text()))
    ]
    assert not found, "test what can be seen from outside, or add to the room's inside.py"


def test_helpers_use_what_they_may() -> None:
    """A helper module that reads nothing private is none, and goes."""
    helpers = [path for path in TESTS.rglob("*.py") if path.name in HELPERS]
    assert helpers
    assert all(any(accesses(ast.parse(path.read_text()))) for path in helpers)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        pytest.param("server.connections", False, id="public"),
        pytest.param("server._endpoint", True, id="private"),
        pytest.param("server.road._tls.handshakes", True, id="in the middle"),
        pytest.param("server._endpoint = 1", True, id="written"),
        pytest.param("self._endpoint", False, id="the test's own"),
        pytest.param("self.server._endpoint", True, id="of what the test has"),
        pytest.param("server.__class__", False, id="special"),
        pytest.param("pair._replace(a=1)", False, id="documented"),
        pytest.param("getattr(server, '_endpoint')", True, id="by its name"),
        pytest.param("getattr(server, 'port', '_none')", False, id="a default"),
        pytest.param("monkeypatch.setattr(server, '_endpoint', 1)", True, id="patched"),
        pytest.param("from edgeserver.a import _b", True, id="imported"),
        pytest.param("run('''\nimport a\na._b\n''')", True, id="in a program"),
        pytest.param("'''\nWe import a._b now.\n'''", False, id="in a text"),
    ],
)
def test_what_counts_as_an_access(code: str, found: bool) -> None:
    """Reading, writing, patching and importing count, what is the test's own does not."""
    assert bool(list(accesses(ast.parse(code)))) is found
