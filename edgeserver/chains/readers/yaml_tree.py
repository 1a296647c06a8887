"""YAML as a tree that knows its lines: every scalar stays the text that was written.

Decides the bounds of a document. The only module that knows PyYAML, whose safe composer it uses; no
tag makes an object, and aliases count each time that they are followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edgeserver.chains.model import Where
from edgeserver.chains.readers.base import refuse

__all__ = ["Node", "parse_yaml"]

MAX_NODES = 500_000
MAX_DEPTH = 100


@dataclass
class Node:
    """One value of a document.

    Args:
        where: Where it stands.
        text: The text of a scalar; None for mappings and lists.
        items: The values of a mapping, by key as written.
        entries: The values of a list.
        is_null: Whether there is nothing.
    """

    where: Where
    text: str | None = None
    items: dict[str, Node] = field(default_factory=dict)
    entries: list[Node] = field(default_factory=list)
    is_null: bool = False

    def get(self, *names: str) -> Node:
        """Return what stands under keys, one in another; an empty node where there is nothing."""
        at = self
        for name in names:
            found = at.items.get(name)
            if found is None:
                lower = name.lower()
                found = next((v for k, v in at.items.items() if k.lower() == lower), None)
            if found is None:
                return Node(at.where, is_null=True)
            at = found
        return at

    def __bool__(self) -> bool:
        """Return whether there is anything."""
        return not self.is_null

    def is_true(self, *, default: bool = False) -> bool:
        """Return whether a scalar says yes."""
        return default if self.text is None else self.text.lower() in ("true", "yes", "on", "1")

    def texts(self) -> list[str]:
        """Return the scalars of a list, or the elements of one scalar with commas."""
        if self.text is not None:
            return [each.strip() for each in self.text.split(",") if each.strip()]
        return [each.text for each in self.entries if each.text is not None]

    def walk(self) -> Iterator[Node]:
        """Yield this node and everything in it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.items.values())
            waiting.extend(node.entries)


def parse_yaml(text: str, path: str) -> list[Node]:
    """Return the documents of a file.

    Raises:
        ReadingError: It is no YAML, or a bound is passed; with file and line.
    """
    import yaml  # type: ignore[import-untyped]

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        composed = [*yaml.compose_all(text, Loader=loader)]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        problem = str(getattr(error, "problem", None) or "it cannot be read")
        refuse(Where(path, line), f"this is no YAML: {problem}")
    except RecursionError:
        refuse(Where(path), "this is nested too deep")
    except (ValueError, OverflowError):
        refuse(Where(path), "this is no YAML")
    builder = _Builder(path)
    for node in composed:
        if node is not None:
            builder.measure(node)
    return [builder.build(node, 0) for node in composed if node is not None]


class _Builder:
    """Counts while it copies a composed document."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        self._sizes: dict[int, int] = {}  # of composed nodes, by identity; they live as long

    def measure(self, node: Any, depth: int = 0) -> int:
        """Return how many values a composed node is once its aliases are followed, or too many.

        Each node is looked at once, so a document that would grow without end is refused at once.
        """
        known = self._sizes.get(id(node))
        if known is not None or depth > MAX_DEPTH:
            return known or 0
        self._sizes[id(node)] = MAX_NODES + 1  # while it is looked at: an alias may lead back here
        parts = node.value if type(node).__name__ != "ScalarNode" else ()
        size = 1
        for part in parts:
            for each in part if isinstance(part, tuple) else (part,):
                size += self.measure(each, depth + 1)
            if size > MAX_NODES:
                where = Where(self._path, node.start_mark.line + 1)
                refuse(where, f"more than {MAX_NODES} values")
        self._sizes[id(node)] = size
        return size

    def build(self, node: Any, depth: int) -> Node:
        """Return a composed node as ours."""
        where = Where(self._path, node.start_mark.line + 1)
        self._count += 1
        if self._count > MAX_NODES:
            refuse(where, f"more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            refuse(where, f"values are nested more than {MAX_DEPTH} deep")
        kind = type(node).__name__
        if kind == "ScalarNode":
            return Node(where, str(node.value), is_null=node.tag.endswith(":null"))
        made = Node(where)
        if kind == "SequenceNode":
            made.entries = [self.build(each, depth + 1) for each in node.value]
            return made
        for key, value in node.value:
            built = self.build(value, depth + 1)
            name = str(key.value) if isinstance(key.value, str) else "(key)"
            if name == "<<":
                for other, each in built.items.items():
                    made.items.setdefault(other, each)
            else:
                made.items[name] = built
        return made
