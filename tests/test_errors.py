"""The exception tree, as its page draws it."""

from __future__ import annotations

import re

from edgeserver import errors

BRANCH = re.compile(r"^    ((?:[| ]   )*)\+-- (\w+)(?: \((\w+)\))?", re.MULTILINE)


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """Each class stands below its base, with the built-in one that it is as well."""
    assert errors.__doc__ is not None
    above = {-1: "EdgeServerError"}
    drawn = {"EdgeServerError": ("Exception",)}
    for indent, name, builtin in BRANCH.findall(errors.__doc__):
        depth = len(indent) // 4
        above[depth] = name
        drawn[name] = (above[depth - 1], builtin) if builtin else (above[depth - 1],)
    assert drawn == {
        name: tuple(base.__name__ for base in getattr(errors, name).__bases__)
        for name in errors.__all__
    }


def test_the_tree_has_no_markup() -> None:
    """Sphinx takes what looks like markup behind a colon apart, in a literal block too."""
    assert errors.__doc__ is not None
    tree = errors.__doc__.partition("::\n")[2]
    assert "`" not in tree
