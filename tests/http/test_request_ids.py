"""Request ids: whose word counts, what is an id, and what the application then sees."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import ConfigurationError
from edgeserver.http.request_ids import RequestIds
from edgeserver.httputil.context import ConnectionInfo
from tests.http.inside import new_exchange

MADE = re.compile(r"[0-9a-f]{32}")


class Bound:
    """A policy on a connection of a listed proxy, or of somebody else."""

    def __init__(self, listed: bool) -> None:
        self._listed = listed

    def vouches(self) -> bool:
        return self._listed


def _given(value: bytes | None, *, listed: bool = True, fields: Any = None) -> Any:
    """Return a request that was given its id, after it came with `value`."""
    info = ConnectionInfo(("10.0.0.1", 1), scheme="http")
    head = dict(fields or {b"host": b"a"})
    if value is not None:
        head[b"x-request-id"] = value
    exchange = new_exchange(None, info, "/", "HTTP/1.1", head)
    exchange.client, exchange.bound = None, Bound(listed)
    RequestIds("X-Request-ID").give(exchange)
    return exchange


@pytest.mark.parametrize(
    "value",
    [
        b"7b1c0e52-8f6a-4f0e-9d0c-0f3a5b2f9a11",
        b"01ARZ3NDEKTSV4RRFFQ69G5FAV",
        b"Root=1-67891233-abcdef012345678912345678",
        b"a" * 128,
    ],
    ids=["uuid", "ulid", "aws", "longest"],
)
def test_a_listed_proxy_is_believed(value: bytes) -> None:
    """What a proxy calls a request is its id, as it is written."""
    assert _given(value).request_id == value.decode()


@pytest.mark.parametrize(
    ("value", "listed"),
    [
        (None, True),
        (b"chosen-by-a-stranger", False),
        (b"", True),
        (b"a b", True),
        (b'a"', True),
        (b"a\x1b[2J", True),
        (b"caf\xe9", True),
        (b"a" * 129, True),
        (b"a,b", True),
    ],
    ids=["none", "stranger", "empty", "space", "quote", "escape", "latin-1", "long", "two"],
)
def test_all_others_get_a_new_one(value: bytes | None, listed: bool) -> None:
    """Neither a stranger nor anything that would need escaping chooses an id."""
    first, second = _given(value, listed=listed), _given(value, listed=listed)
    assert MADE.fullmatch(first.request_id)
    assert first.request_id != second.request_id


@given(st.binary(max_size=200))
def test_an_id_is_always_safe(value: bytes) -> None:
    """Whatever comes, an id is short, and needs no escaping anywhere."""
    assert re.fullmatch(r"[!-~]{1,128}", _given(value).request_id)


def test_the_application_sees_the_id_that_counts() -> None:
    """The field holds what the server says, and the head still what was sent."""
    exchange = _given(b"chosen-by-a-stranger", listed=False)
    assert exchange.headers["X-Request-Id"] == exchange.request_id
    assert [value for name, value in exchange.raw if name == b"x-request-id"] == [
        exchange.request_id.encode()
    ]
    assert exchange.fields[b"host"] == b"a"
    assert exchange.head_value(b"x-request-id") == b"chosen-by-a-stranger"


@pytest.mark.parametrize(
    "header",
    ["", "X Request", "Host", "cookie", "X-Forwarded-For", "x" * 65, "X_Id", "X-\n", None],
)
def test_headers_that_cannot_hold_ids(header: Any) -> None:
    """A name that means something else, or is none, is refused with an example."""
    with pytest.raises(ConfigurationError, match="name one such as X-Request-ID"):
        RequestIds(header)


def test_the_line_of_an_answer() -> None:
    """It is spelled as it was configured."""
    assert RequestIds("X-Request-ID").line("a1") == b"X-Request-ID: a1\r\n"
