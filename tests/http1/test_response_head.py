"""Heads of answers, alone: what is written of them, and what is kept."""

from __future__ import annotations

import http
from typing import Any

import pytest

from edgeserver.http1 import response_head
from tests.http1 import inside


def test_status_lines() -> None:
    """A line is made once, from any kind of number, with what latin-1 can say of its reason."""
    assert response_head.status_line(200, "OK") == b"HTTP/1.1 200 OK\r\n"
    assert response_head.status_line(http.HTTPStatus.NOT_FOUND, "x") == b"HTTP/1.1 404 x\r\n"
    assert response_head.status_line(299, "") == b"HTTP/1.1 299 \r\n"
    assert response_head.status_line(299, "caf\u00e9 \u2603") == b"HTTP/1.1 299 caf\xe9 ?\r\n"
    assert response_head.status_line(299, b"raw") == b"HTTP/1.1 299 raw\r\n"
    assert response_head.cached_status((299, "")) == b"HTTP/1.1 299 \r\n"


def test_the_caches_of_answers_are_bounded() -> None:
    """An application's ever new values cost a bounded amount of memory, and long ones none."""
    for i in range(3000):
        response_head.encode_field("X-Test", str(i))
        response_head.encode_length(str(i))
        response_head.status_line(200, str(i))
    fields, lengths, statuses = inside.cached_answers()
    assert fields <= response_head.MAX_CACHED_FIELDS
    assert lengths <= response_head.MAX_CACHED_LENGTHS
    assert statuses <= response_head.MAX_CACHED_STATUSES
    long = "x" * (response_head.MAX_CACHED_FIELD + 1)
    response_head.encode_field("X-Test", long)
    response_head.status_line(200, long)
    assert response_head.cached_field(("X-Test", long)) is None
    assert response_head.cached_status((200, long)) is None


@pytest.mark.parametrize(
    ("value", "close", "others"),
    [("close", True, ""), (b"X, close", True, "X"), ("Keep-Alive,x , y", False, "x, y")],
)
def test_split_connection(value: Any, close: bool, others: str) -> None:
    """Close and keep-alive are the server's; what remains is the application's."""
    assert response_head.split_connection(value) == (close, others)


def test_trailers() -> None:
    """Trailers are written as fields; what decides before the body may not be one."""
    assert response_head.encode_trailers([(b"x", b"y")]) == b"x: y\r\n"
    for name in (b"Content-Length", b"transfer-encoding", b"HOST", b"set-cookie"):
        with pytest.raises(ValueError, match="trailer section"):
            response_head.encode_trailers([(name, b"5")])
    with pytest.raises(ValueError, match="Illegal"):
        response_head.encode_trailers([(b"x", b"y\r\nz")])


def test_a_plain_answer() -> None:
    """What the server says itself is short, dated, plain text, and closes."""
    answer = response_head.plain_answer(400, "no \u2603")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"no ?\n"
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nDate: ")
    assert b"\r\nContent-Length: 5\r\nConnection: close" in head
    assert response_head.plain_answer(499, "x").startswith(b"HTTP/1.1 499 Error\r\n")
