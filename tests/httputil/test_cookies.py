"""Cookies: read as browsers write them, in linear time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import parse_cookie as tornado_parse_cookie

from edgeserver.httputil.cookies import load_cookies, parse_cookie


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a=b; c=d", {"a": "b", "c": "d"}),
        ("a=b;c=d;a=e", {"a": "e", "c": "d"}),
        ("a=b=c", {"a": "b=c"}),
        ("unnamed", {"": "unnamed"}),
        (" ; =; a = b ", {"a": "b"}),
        ('a="b;c"', {"a": '"b', "": 'c"'}),
        ('a="b c"', {"a": "b c"}),
        (r'a="b\"c\\d\054\400\8"', {"a": 'b"c\\d,4008'}),
        ('a="', {"a": '"'}),
        ('a=""', {"a": ""}),
        ("caf\xe9=\xe9", {"caf\xe9": "\xe9"}),
    ],
    ids=repr,
)
def test_parse_cookie(text: str, expected: dict[str, str]) -> None:
    """Semicolons separate, the last of a name counts, quotes are undone."""
    assert parse_cookie(text) == expected


@given(st.text(st.sampled_from('ab=;" \\01234\t\x00\xe9'), max_size=30))
def test_parse_cookie_is_that_of_tornado(text: str) -> None:
    """Cookies mean what they mean in Tornado."""
    assert parse_cookie(text) == tornado_parse_cookie(text)


@pytest.mark.parametrize("escape", [r"\\", r"\134"])
def test_many_escapes(escape: str) -> None:
    """A hundred thousand escapes are undone in one pass (CVE-2024-7592)."""
    assert parse_cookie('a="' + escape * 100_000 + '"') == {"a": "\\" * 100_000}


def test_load_cookies_drops_what_morsels_cannot_hold() -> None:
    """A reserved or malformed name goes, and the others stay."""
    cookies = load_cookies('a=b; path=/; c d=e; "f"=g; h="i j"; stray')
    assert {name: morsel.value for name, morsel in cookies.items()} == {"a": "b", "h": "i j"}


def test_load_cookies_of_nothing() -> None:
    """Without a field there are no cookies."""
    assert not load_cookies("")
