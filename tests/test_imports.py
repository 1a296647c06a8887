"""Who imports whom: nothing on the road of a request looks back."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import edgeserver

PACKAGE = Path(edgeserver.__file__).parent

# From top to bottom; a room imports its own modules and rooms further down, never beside or above.
# `""` is the package itself, whose __init__ re-exports the public names.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"pytestplugin"},
    {"testing"},
    {"listening"},
    {"", "demo"},
    {"runtime"},
    {"operate"},
    {"httpserver"},
    {"server"},
    {"adapters", "http1", "http2"},
    {"http", "websocket", "tcpserver"},
    {"iostream", "accesslog", "auditlog", "rangefile"},
    {"audit", "logs", "config", "transport"},
    {"chains"},
    {"tls", "proxyheaders", "httputil"},
    {"ioloop", "netutil", "process", "util"},
    {"support"},
    {"errors"},
)

# Rooms that may know less than what lies below them.
ONLY = {
    "adapters": {"httputil", "iostream", "websocket", "support", "errors"},
    "http1": {"http", "httputil", "iostream", "transport", "support", "errors"},
    "http": {"config", "httputil", "iostream", "transport", "support", "errors"},
    "httputil": {"support", "errors"},
    "proxyheaders": {"support", "errors"},
    "tls": {"support", "errors"},
    "chains": {"proxyheaders", "support", "errors"},
    "websocket": {"httputil", "iostream", "support", "errors"},
}

# What a room may not import from outside the package, and why.
FORBIDDEN = {
    # It is pure: data in, data out, time as an argument.
    "proxyheaders": {"asyncio", "socket", "ssl", "os", "time", "logging", "pathlib"},
    "chains": {"asyncio", "socket", "ssl", "os", "time", "logging", "pathlib"},
    # Framing and limits are the server's; the event loop's interfaces are all that it needs.
    "http1": {"socket", "ssl", "os", "threading", "pathlib"},
    "http2": {"socket", "ssl", "os", "threading", "pathlib"},
    "httputil": {"socketserver", "os", "threading", "pathlib"},
}

# Where an optional or costly dependency may be imported at all.
ONLY_IN = {
    "click": {"cli"},
    "rich": {"cli"},
    "cryptography": {"tls"},
    "crossplane": {"chains"},
    "yaml": {"chains"},
    "duckdb": {"audit"},
    "trustme": {"tls"},
    "pytest": {"pytestplugin"},
    "websockets": {"websocket", "adapters"},
    "prometheus_client": {"operate"},
    "tornado": set(),  # found in sys.modules by its adapter, never imported
}


class Import(NamedTuple):
    """One import statement that runs: not one for type checkers only."""

    room: str
    where: str
    target: str


def _room(module: str) -> str:
    """Return the part of the package that a module belongs to."""
    return [*module.split("."), ""][1]


def _imports() -> Iterator[Import]:
    """Yield every import of every module, those inside functions too."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE.parent)
        module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(), str(relative))
        for node in _running(tree):
            where = f"{relative}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(_room(module), where, alias.name)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{where}: write the import in full"
                assert node.module is not None
                yield Import(_room(module), where, node.module)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without what stands under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from _running(other)
            continue
        yield child
        yield from _running(child)


IMPORTS = list(_imports())
ROOMS = sorted({each.room for each in IMPORTS} | {_room(f"edgeserver.{name}") for name in ONLY})


def _height(room: str) -> int:
    """Return how far down a room stands."""
    for number, rooms in enumerate(LAYERS):
        if room in rooms:
            return number
    raise AssertionError(f"the room {room!r} has no place in LAYERS: say where it stands")


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room or "package")
def test_nothing_looks_back(room: str) -> None:
    """A room imports itself and what lies below it."""
    wrong = [
        each
        for each in IMPORTS
        if each.room == room
        and each.target.split(".")[0] == "edgeserver"
        and _room(each.target) != room
        and _height(_room(each.target)) <= _height(room)
    ]
    assert not wrong


@pytest.mark.parametrize("room", sorted(ONLY))
def test_rooms_that_know_little(room: str) -> None:
    """The waist's neighbours do not know each other."""
    known = {
        _room(each.target)
        for each in IMPORTS
        if each.room == room and each.target.split(".")[0] == "edgeserver"
    }
    assert known - {room} <= ONLY[room]


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_rooms_that_touch_little(room: str) -> None:
    """A room that is pure stays so."""
    wrong = [
        each
        for each in IMPORTS
        if each.room == room
        and (each.target in FORBIDDEN[room] or each.target.split(".")[0] in FORBIDDEN[room])
    ]
    assert not wrong


@pytest.mark.parametrize("name", sorted(ONLY_IN))
def test_dependencies_stay_in_their_room(name: str) -> None:
    """A dependency is imported by the room that needs it, and by no other."""
    wrong = [
        each
        for each in IMPORTS
        if each.target.split(".")[0] == name and each.room not in ONLY_IN[name]
    ]
    assert not wrong


def test_only_the_command_prints_and_exits() -> None:
    """A library neither writes to a terminal nor ends the process."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        # fork_processes ends the parent: Tornado's contract.
        if relative.parts[0] in ("cli", "process.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit"):
                wrong.append(f"{relative}:{node.lineno}")
    assert not wrong


def test_every_module_says_what_it_decides() -> None:
    """A module begins with a docstring, and a package module lists what it gives."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert "__all__" in names or path.name in ("__main__.py", "__init__.py"), path


def test_the_table_knows_no_room_twice() -> None:
    """Each room stands at one height."""
    rooms = [room for layer in LAYERS for room in layer]
    assert len(rooms) == len(set(rooms))
