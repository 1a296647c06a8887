"""Line numbers of TOML: each key, table and entry is where a reader of the file sees it."""

import random
import tomllib
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from edgeserver.config.toml_lines import Path, locate

DOCUMENTS = [
    ("", {}),
    ("# nothing\n\n", {}),
    ("a = 1\n", {("a",): 1}),
    ("\n\n[t]\n# b\na = 1 # c\nb.c = 2", {("t",): 3, ("t", "a"): 5, ("t", "b"): 6,
                                          ("t", "b", "c"): 6}),
    ('"a b" = "#"\r\n\'c.d\' = 1\r\n', {("a b",): 1, ("c.d",): 2}),
    ('"\\u0061\\n" = 1', {("a\n",): 1}),
    ("[[l]]\na = 1\n[[l]]\na = 2\n[l.m]\nb = 3",
     {("l",): 1, ("l", 0): 1, ("l", 0, "a"): 2, ("l", 1): 3, ("l", 1, "a"): 4,
      ("l", 1, "m"): 5, ("l", 1, "m", "b"): 6}),
    ("[[l]]\n[[l.m]]\n[[l.m]]\n[[l]]\n[[l.m]]\nx = 1",
     {("l",): 1, ("l", 0): 1, ("l", 0, "m"): 2, ("l", 0, "m", 0): 2, ("l", 0, "m", 1): 3,
      ("l", 1): 4, ("l", 1, "m"): 5, ("l", 1, "m", 0): 5, ("l", 1, "m", 0, "x"): 6}),
    ("a = [\n  1, # one\n\n  [2,\n3], \"]\",\n]\nb = 1",
     {("a",): 1, ("a", 0): 2, ("a", 1): 4, ("a", 1, 0): 4, ("a", 1, 1): 5, ("a", 2): 5,
      ("b",): 7}),
    ('a = """\n[x]\n"" \\""""\nb = \'\'\'\n\n"""\'\'\'\nc = 1', {("a",): 1, ("b",): 4, ("c",): 7}),
    ('a = """"x"""""\nb = 2', {("a",): 1, ("b",): 2}),
    ("a = ''''x'''''\nb = 2", {("a",): 1, ("b",): 2}),
    ('a = ""\nb = ""\nc = \'\'\nd = 1', {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4}),
    ("a = { b = 1, c.d = [ {}, { e = '}' } ] }\nf = 1979-05-27 07:32:00Z\ng = true",
     {("a",): 1, ("a", "b"): 1, ("a", "c"): 1, ("a", "c", "d"): 1, ("a", "c", "d", 0): 1,
      ("a", "c", "d", 1): 1, ("a", "c", "d", 1, "e"): 1, ("f",): 2, ("g",): 3}),
    ("[ a . \"b\" ]\nc=1", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 2}),
    ("[a.b]\n[a]\nc=1", {("a",): 1, ("a", "b"): 1, ("a", "c"): 3}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_documents(text: str, lines: dict[Path, int]) -> None:
    """Comments, texts of several lines, dotted keys and nested lists do not move a line."""
    tomllib.loads(text)
    assert locate(text) == lines


KEYS = st.text("ab-_1", min_size=1, max_size=3) | st.text("a .\"'#=[]\n\u00e9", max_size=3)
LEAVES = st.one_of(
    st.integers(-9, 99),
    st.booleans(),
    st.text("ab \"'\\#[]{},=\n\u00e9", max_size=6),
    st.sampled_from([1.5, float("inf")]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)
LISTS = st.dictionaries(
    KEYS, st.lists(st.dictionaries(KEYS, VALUES, max_size=2), min_size=1, max_size=3), max_size=2
)


class Writer:
    """Writes TOML with layouts chosen by chance, and notes where each thing came to stand."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.text = ""
        self.lines: dict[Path, int] = {}

    def note(self, path: Path) -> None:
        line = self.text.count("\n") + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def filler(self) -> None:
        self.text += self._chance.choice(["", "\n", "# [x] = 'y\n", "\r\n", " \t\n"])

    def basic(self, text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    def key(self, key: str) -> str:
        bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        if bare and self._chance.random() < 0.7:
            return key
        literal = "'" not in key and "\n" not in key
        return f"'{key}'" if literal and self._chance.random() < 0.5 else self.basic(key)

    def leaf(self, value: Any) -> str:
        if not isinstance(value, str):
            return str(value).lower()
        if self._chance.random() < 0.3 and "'''" not in value and not value.endswith("'"):
            return f"'''\n{value}'''"
        if self._chance.random() < 0.3:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"""\n{escaped}"""'
        return self.basic(value)

    def value(self, path: Path, value: Any) -> None:
        if isinstance(value, list):
            self.text += "["
            for number, each in enumerate(value):
                self.filler()
                self.note((*path, number))
                self.value((*path, number), each)
                self.filler()
                self.text += ","
            self.filler()
            self.text += "]"
        elif isinstance(value, dict):
            self.text += "{"
            for number, (key, each) in enumerate(value.items()):
                self.text += "," if number else ""
                self.note((*path, key))
                self.text += f" {self.key(key)} = "
                self.value((*path, key), each)
            self.text += "}"
        else:
            self.text += self.leaf(value)

    def pairs(self, path: Path, table: dict[str, Any]) -> None:
        for key, value in table.items():
            self.filler()
            self.note((*path, key))
            self.text += f"{self.key(key)} = "
            self.value((*path, key), value)
            self.text += self._chance.choice(["\n", " # c\n"])


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(TABLES, LISTS, st.randoms(use_true_random=False))
def test_any_layout(
    tables: dict[str, Any], lists: dict[str, list[dict[str, Any]]], chance: random.Random
) -> None:
    """What is written is found on the line where it was written, and nothing else is."""
    lists = {key: value for key, value in lists.items() if key not in tables}
    writer = Writer(chance)
    for key, table in tables.items():
        writer.filler()
        writer.note((key,))
        writer.text += f"[{writer.key(key)}]\n"
        writer.pairs((key,), table)
    for key, entries in lists.items():
        for number, table in enumerate(entries):
            writer.note((key, number))
            writer.text += f"[[{writer.key(key)}]]\n"
            writer.pairs((key, number), table)
    assert tomllib.loads(writer.text) == tables | lists
    assert locate(writer.text) == writer.lines


def test_a_long_document_takes_a_moment() -> None:
    """The time that it takes grows with the length alone, whatever stands in it."""
    for unit in ('a{} = "' + "x" * 99 + '"\n', "a{} = [[], [1, 2], {{b = 1}}]\n", "[t{}]\n"):
        text = "".join(unit.format(number) for number in range(1000))
        assert max(locate(text).values()) == 1000
