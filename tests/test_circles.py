"""Which modules can only be read together: imports for type checkers count like all others."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeserver

PACKAGE = Path(edgeserver.__file__).parent

Graph = dict[str, set[str]]


def _at_module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without the bodies of functions, which may import when they are called."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _at_module_level(child)


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield what a node may import: the names in a `from` too, which may be modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read_graph(package: Path) -> Graph:
    """Return, for each module of `package`, the other ones that it names in its imports.

    `from edgeserver.tls import names` is an import of the module of that name; where there is
    none, of `edgeserver.tls`. A package's `__init__` is not an import of everyone in the package.
    """
    paths = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        paths[".".join(parts).removesuffix(".__init__")] = path
    graph: Graph = {}
    for module, path in paths.items():
        names = {
            name if name in paths else name.rpartition(".")[0]
            for node in _at_module_level(ast.parse(path.read_text()))
            for name in _imported(node)
        }
        graph[module] = (names & paths.keys()) - {module}
    return graph


def find_circles(graph: Graph) -> set[frozenset[str]]:
    """Return the groups of modules that all reach each other (strongly connected components)."""
    reached = {}
    for start in graph:
        seen: set[str] = set()
        todo = set(graph[start])
        while todo:
            module = todo.pop()
            seen.add(module)
            todo |= graph[module] - seen
        reached[start] = seen
    return {
        frozenset(other for other in reached[start] if start in reached[other])
        for start in graph
        if start in reached[start]
    }


CIRCLES = find_circles(read_graph(PACKAGE))


def test_no_circle() -> None:
    """Every module can be read without one that needs it."""
    circles = [sorted(circle) for circle in CIRCLES]
    assert not circles, "these modules import each other: move what they share further down"


@pytest.mark.parametrize(
    ("files", "circles"),
    [
        pytest.param({"a": "import p.b", "b": "import p.c", "c": ""}, [], id="none"),
        pytest.param({"a": "import p.b", "b": "from p import a"}, [{"p.a", "p.b"}], id="two"),
        pytest.param(
            {
                "a": "from p.b import x",
                "b": "if TYPE_CHECKING:\n    from p.c import X",
                "c": "from p.a import y\nfrom p.d import z",
                "d": "",
            },
            [{"p.a", "p.b", "p.c"}],
            id="for type checkers",
        ),
        pytest.param(
            {"a": "import p.b", "b": "def late():\n    import p.a"}, [], id="when it is called"
        ),
        pytest.param(
            {"__init__": "from p.a import x", "a": "from p.b import y", "b": ""},
            [],
            id="a package that re-exports",
        ),
        pytest.param(
            {"__init__": "from p.a import x", "a": "from p import x"},
            [{"p", "p.a"}],
            id="through the package",
        ),
    ],
)
def test_circles_are_found(tmp_path: Path, files: dict[str, str], circles: list[set[str]]) -> None:
    """What counts as a circle: whatever stands at a module's level, whoever reads it."""
    package = tmp_path / "p"
    package.mkdir()
    for name, text in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(text)
    assert find_circles(read_graph(package)) == {frozenset(circle) for circle in circles}
