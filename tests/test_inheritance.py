"""Who inherits from whom: parts are composed, and no class takes on the state of another."""

import ast
from pathlib import Path

import pytest

import edgeserver

PACKAGE = Path(edgeserver.__file__).parent

TORNADO_ASKS = {
    # Tornado's HTTPServer is a TCPServer: programs call `listen`, `bind` and `start` on it.
    "HTTPServer": "TCPServer",
    # `listen` returns an HTTPServer, as Tornado's Application.listen does.
    "ApplicationServer": "HTTPServer",
    # Tornado's HTTPConnection is one object: the request's head, and where its answer goes.
    "HTTP1Exchange": "Exchange",
    "HTTP2Exchange": "Exchange",
}
"""Subclass by class, where an interface of Tornado's is one object and cannot be two parts."""

Classes = dict[str, ast.ClassDef]


def read_classes(package: Path) -> Classes:
    """Return every class that stands in `package`, by its name."""
    return {
        node.name: node
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }


def has_state(node: ast.ClassDef) -> bool:
    """Tell whether instances of a class have attributes: slots, or what a method sets on `self`."""
    for inner in ast.walk(node):
        match inner:
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=ast.Tuple(elts=names)):
                if names:
                    return True
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                return True
    return False


def inherited_state(classes: Classes) -> dict[str, str]:
    """Return, by class, the one of `classes` that it inherits state from; errors are left out."""
    return {
        name: base.id
        for name, node in classes.items()
        for base in node.bases
        if isinstance(base, ast.Name)
        and base.id in classes
        and has_state(classes[base.id])
        and not base.id.endswith("Error")
    }


def test_no_state_is_inherited() -> None:
    """A class owns its parts; it is not one of them, but where Tornado's interfaces ask for it."""
    unasked = dict(inherited_state(read_classes(PACKAGE)).items() - TORNADO_ASKS.items())
    assert not unasked, "compose these: have the one own the other, or hand it what it needs"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param(
            "class A:\n def __init__(self):\n  self.x = 1\nclass B(A): pass", {"B": "A"}, id="set"
        ),
        pytest.param("class A:\n __slots__ = ('x',)\nclass B(A): pass", {"B": "A"}, id="slots"),
        pytest.param(
            "class A:\n __slots__ = ()\n def f(self): ...\nclass B(A): x = 1", {}, id="no"
        ),
        pytest.param("class B(Protocol):\n def f(self): self.x = 1", {}, id="another's"),
    ],
)
def test_inherited_state_is_found(tmp_path: Path, source: str, found: dict[str, str]) -> None:
    """What counts as state: slots with names, and attributes that methods set."""
    (tmp_path / "a.py").write_text(source)
    assert inherited_state(read_classes(tmp_path)) == found
