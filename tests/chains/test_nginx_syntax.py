"""nginx's words as nginx cuts them, which is not as a shell or a person would."""

from __future__ import annotations

import pytest

from edgeserver.chains.readers.base import ReadingError
from edgeserver.chains.readers.nginx_syntax import Directive, parse_nginx
from tests.chains.sources import Texts


def words(text: str) -> list[tuple[str, ...]]:
    """Return the words of each directive of a file, those in blocks behind their block's."""

    def walk(block: tuple[Directive, ...]) -> list[tuple[str, ...]]:
        found = []
        for each in block:
            found += [(each.name, *each.args), *walk(each.block or ())]
        return found

    return walk(parse_nginx("nginx.conf", Texts(**{"nginx.conf": text})))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b;c d;", [("a", "b"), ("c", "d")]),
        ("a {b;}", [("a",), ("b",)]),
        ("a # b;\n c;", [("a", "c")]),
        ("a b#c;", [("a", "b#c")]),
        ("a ${b}c;", [("a", "${b}c")]),
        ("a }b;", None),
        ("a b}c;", [("a", "b}c")]),
        ("a 'b \"c' \"d 'e\";", [("a", 'b "c', "d 'e")]),
        ('a b"c"d;', [("a", 'b"c"d')]),
        (r'a "b\"c" d\"e;', [("a", 'b"c', 'd"e')]),
        (r"a \. \$ \\ \n;", [("a", r"\.", r"\$", "\\", "\n")]),
        (r"a b\ c\;d;", [("a", r"b\ c\;d")]),
        ('a "";', [("a", "")]),
        ('a ";" "{";', [("a", ";", "{")]),
        ('a "b"c;', None),
        ('if ($a = "b"){c;}', [("if", "($a", "=", "b", ")"), ("c",)]),
        ('a "b;', None),
        ("a b\\", None),
        ("a b", None),
        # what a browser copies with a page is no space for nginx, but a letter of the name
        ("a b\u00a0 c;", [("a", "b\u00a0", "c")]),
        ("a b\u3000c\x0bd\x0ce\x85f\x1cg;", [("a", "b\u3000c\x0bd\x0ce\x85f\x1cg")]),
        (
            'a_by_lua_block { local x = "}" -- }\n if x then y = {[[}]]} end }\nb;',
            [("a_by_lua_block", ' local x = "}" -- }\n if x then y = {[[}]]} end '), ("b",)],
        ),
        (
            "set_by_lua_block $x { return {} } b;",
            [("set_by_lua_block", "$x", " return {} "), ("b",)],
        ),
        ("a_by_lua_block { {", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_words(text: str, expected: list[tuple[str, ...]] | None) -> None:
    """Quotes, backslashes, braces and spaces count where nginx counts them, and there alone."""
    if expected is None:
        with pytest.raises(ReadingError, match=r"nginx\.conf"):
            words(text)
        return
    assert words(text) == expected


def test_lines_are_counted() -> None:
    """Each directive knows its line, behind quotes, comments and Lua that span several."""
    text = 'a "b\nc";\n# d\n\ne_by_lua_block {\n f\n}\ng;\n'
    directives = parse_nginx("nginx.conf", Texts(**{"nginx.conf": text}))
    assert [each.where.line for each in directives] == [1, 5, 8]
