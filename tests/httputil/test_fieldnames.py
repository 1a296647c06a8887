"""Field names: the three spellings, and the bounds of what is remembered."""

from collections.abc import Iterator

import pytest

from edgeserver.httputil.fieldnames import raw_of, title_of, title_of_raw

MOST = 2048
"""Names that a cache holds at most."""

NAMES = [
    ("coNtent-TYPE", b"content-type", "Content-Type"),
    ("etag", b"etag", "Etag"),
    ("X--Y-", b"x--y-", "X--Y-"),
    ("sec-ch-ua-64", b"sec-ch-ua-64", "Sec-Ch-Ua-64"),
    ("_a.b", b"_a.b", "_a.b"),
]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Leave the caches of the process as they are without these names."""
    yield
    for cache in (title_of, title_of_raw, raw_of):
        cache.clear()


@pytest.mark.parametrize(("name", "raw", "title"), NAMES, ids=[name for name, _, _ in NAMES])
def test_spellings(name: str, raw: bytes, title: str) -> None:
    """Every spelling leads to the others, the first time and the second."""
    for _ in range(2):
        assert title_of[name] == title
        assert title_of[title] == title
        assert raw_of[name] == raw
        assert raw_of[title] == raw
        assert title_of_raw[raw] == title


@pytest.mark.parametrize("name", ["\u6d4b", "\u212aelvin"], ids=ascii)
def test_name_that_cannot_be_sent_is_no_name(name: str) -> None:
    """What is not latin-1 becomes nothing that a parser lets through."""
    assert b"\\" in raw_of[name]


def test_what_is_remembered_is_bounded() -> None:
    """Strangers' names fill the caches no further than their limits."""
    for number in range(3 * MOST):
        assert title_of[f"x-{number}"] == f"X-{number}"
        assert title_of_raw[b"x-%d" % number] == f"X-{number}"
        assert raw_of[f"X-{number}"] == b"x-%d" % number
    long = "l" * 1000
    assert title_of[long] == long.capitalize()
    for cache in (title_of, title_of_raw, raw_of):
        assert 0 < len(cache) <= MOST
    assert long not in title_of
