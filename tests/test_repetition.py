"""What stands twice: one rule has one home, so no ten lines of the package repeat ten others."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeserver

PACKAGE = Path(edgeserver.__file__).parent

MOST = 9
"""How many lines may stand twice in a row; imports, comments and empty lines do not count."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that counts."""
    source = path.read_text()
    imports = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    for number, line in enumerate(source.splitlines(), 1):
        text = line.strip()
        if text and not text.startswith("#") and number not in imports:
            yield number, text


def find_repetitions(package: Path, most: int) -> list[list[str]]:
    """Return the places that share more than `most` lines in a row, each as `path:line`."""
    places = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        lines = list(read_lines(path))
        for start in range(len(lines) - most):
            window = tuple(text for _, text in lines[start : start + most + 1])
            places[window].append(f"{path.relative_to(package)}:{lines[start][0]}")
    return [where for where in places.values() if len(where) > 1]


def test_nothing_stands_twice() -> None:
    """No ten lines are the same as ten others."""
    assert not find_repetitions(PACKAGE, MOST), "give what these share one home"


@pytest.mark.parametrize(
    ("second", "found"),
    [
        pytest.param("import a\n\nif a:\n    # b\n    x = 1\n    y = 2", ["b.py:5"], id="indented"),
        pytest.param("x = 1\nz = 3\ny = 2", [], id="not in a row"),
    ],
)
def test_repetitions_are_found(tmp_path: Path, second: str, found: list[str]) -> None:
    """What counts: the same lines in a row, however far they are indented."""
    (tmp_path / "a.py").write_text("x = 1\ny = 2")
    (tmp_path / "b.py").write_text(second)
    assert find_repetitions(tmp_path, 1) == [["a.py:1", place] for place in found]
