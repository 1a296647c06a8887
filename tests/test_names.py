"""The names of things: no two of one name, so that a word in a docstring means one of them."""

import ast
from collections import defaultdict
from pathlib import Path

import edgeserver

PACKAGE = Path(edgeserver.__file__).parent


def test_no_two_things_of_one_name() -> None:
    """Each public class and function of a module has a name that no other module gives.

    A command is named as it is typed.
    """
    places = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not any("click.command" in ast.unparse(each) for each in node.decorator_list):
                places[node.name].append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    shared = {
        name: where for name, where in places.items() if len(where) > 1 and not name.startswith("_")
    }
    assert not shared, "say which is which in their names"
