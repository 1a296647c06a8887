"""What `start_response` takes and refuses, by table."""

from typing import Any

import pytest

from edgeserver.adapters.wsgi.head import check_fields, parse_status
from tests.adapters import inside

STATUSES = [
    pytest.param("200 OK", (200, "OK"), id="plain"),
    pytest.param("418 I'm a teapot", (418, "I'm a teapot"), id="words"),
    pytest.param("299 ", (299, ""), id="empty-reason"),
    pytest.param("299", (299, ""), id="no-reason"),
    pytest.param("999 \xe9t\xe9", (999, "\xe9t\xe9"), id="latin-1"),
]


@pytest.mark.parametrize(("status", "expected"), STATUSES)
def test_statuses(status: str, expected: tuple[int, str]) -> None:
    """A status is three digits and a reason; a second look finds the same."""
    for _ in range(2):
        assert parse_status(status)[1:] == expected


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, TypeError),
        (b"200 OK", TypeError),
        (None, TypeError),
        ("", ValueError),
        ("20 OK", ValueError),
        ("2000 OK", ValueError),
        ("OK", ValueError),
        ("200OK", ValueError),
        ("100 Continue", ValueError),
        ("101 Switching Protocols", ValueError),
        ("200 a\r\nSet-Cookie: b", ValueError),
        ("200 \u20ac", ValueError),
        ("\u0662\u0660\u0660 OK", ValueError),
    ],
    ids=repr,
)
def test_no_statuses(status: Any, error: type[Exception]) -> None:
    """Anything else is refused, and shown."""
    with pytest.raises(error) as caught:
        parse_status(status)
    assert repr(status) in str(caught.value)


def test_statuses_are_kept_in_bounds() -> None:
    """An application that makes up reasons does not fill the memory."""
    for number in range(1000):
        parse_status(f"200 {number}")
    assert inside.kept_statuses() <= 256


FIELDS = [
    pytest.param([], None, id="none"),
    pytest.param([("Content-Type", "text/plain")], None, id="plain"),
    pytest.param([("X-A", "")], None, id="empty"),
    pytest.param([("X-A", "a\tb \xe9\x80")], None, id="tab-and-obs-text"),
    pytest.param([("content-length", "12")], 12, id="length"),
    pytest.param([("Content-Length", "0"), ("CONTENT-LENGTH", "0")], 0, id="length-twice"),
    pytest.param([("X-" + "a" * 100, "1")], None, id="long-name"),
]


@pytest.mark.parametrize(("fields", "length"), FIELDS)
def test_fields(fields: list[tuple[str, str]], length: int | None) -> None:
    """Fields are tokens with values in latin-1; the length is returned."""
    for _ in range(2):
        assert check_fields(fields) == length


NO_FIELDS = [
    pytest.param((("A", "b"),), TypeError, "a tuple: give a list", id="tuple"),
    pytest.param([(b"A", "b")], TypeError, "b'A'", id="bytes-name"),
    pytest.param([("A", b"b")], TypeError, "'A' is not a str", id="bytes-value"),
    pytest.param([("A", 1)], TypeError, "not a str but 1", id="number"),
    pytest.param([("", "b")], ValueError, "not a token", id="empty-name"),
    pytest.param([("A B", "b")], ValueError, "not a token", id="space"),
    pytest.param([("A:", "b")], ValueError, "not a token", id="colon"),
    pytest.param([("\xe9", "b")], ValueError, "not a token", id="not-ascii"),
    pytest.param([("A", "b\r\nC: d")], ValueError, "control character", id="crlf"),
    pytest.param([("A", "b\n")], ValueError, "control character", id="newline-at-end"),
    pytest.param([("A", "\x00")], ValueError, "control character", id="nul"),
    pytest.param([("A", "\x7f")], ValueError, "control character", id="del"),
    pytest.param([("A", "\u20ac")], ValueError, "beyond latin-1", id="not-latin-1"),
    pytest.param([("Content-Length", "-1")], ValueError, "not a number", id="negative"),
    pytest.param([("Content-Length", "1 ")], ValueError, "not a number", id="length-space"),
    pytest.param([("Content-Length", "\u0661")], ValueError, "beyond latin-1", id="other-digits"),
    pytest.param([("Content-Length", "9" * 5000)], ValueError, "not a number", id="too-long"),
    pytest.param(
        [("Content-Length", "1"), ("Content-Length", "2")], ValueError, "twice", id="two-lengths"
    ),
]


@pytest.mark.parametrize(("fields", "error", "part"), NO_FIELDS)
def test_no_fields(fields: Any, error: type[Exception], part: str) -> None:
    """What cannot be sent is refused, with the rule."""
    with pytest.raises(error, match=part):
        check_fields(fields)


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "keep-alive",
        "Proxy-Authenticate",
        "proxy-authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ],
)
def test_hop_by_hop(name: str) -> None:
    """What concerns the connection is the server's alone."""
    with pytest.raises(ValueError, match=f"hop-by-hop header '{name}'.*leave it out"):
        check_fields([("Content-Type", "text/plain"), (name, "close")])
