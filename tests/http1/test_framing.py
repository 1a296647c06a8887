"""Framing, targets, character classes and answers' heads, each by its own function."""

from __future__ import annotations

import http
from contextlib import suppress
from typing import Any

import pytest

from edgeserver.errors import HTTPInputError
from edgeserver.http1 import abnf, response
from edgeserver.http1.framing import (
    CHUNKED,
    parse_body_length,
    parse_connection,
    parse_expect_continue,
)
from edgeserver.http1.targets import authority_of, check_target

LENGTH, CODING = b"content-length", b"transfer-encoding"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], 0),
        ([(b"x", b"5")], 0),
        ([(LENGTH, b"0")], 0),
        ([(LENGTH, b"5")], 5),
        ([(LENGTH, b"5"), (b"x", b"y"), (LENGTH, b"5")], 5),
        ([(LENGTH, b"5, 5"), (LENGTH, b"5")], 5),
        ([(LENGTH, b"9" * 18)], 10**18 - 1),
        ([(CODING, b"chunked")], CHUNKED),
        ([(CODING, b"Chunked")], CHUNKED),
        ([(LENGTH, b"9" * 19)], 400),
        ([(LENGTH, b"5"), (LENGTH, b"05")], 400),
        ([(LENGTH, b"5"), (LENGTH, b"")], 400),
        ([(LENGTH, b"5,,5")], 400),
        ([(LENGTH, b"5;5")], 400),
        ([(LENGTH, b"\xd9\xa5")], 400),
        ([(LENGTH, b"0"), (CODING, b"chunked")], 400),
        ([(CODING, b"")], 400),
        ([(CODING, b"chunked"), (CODING, b"")], 400),
        ([(CODING, b"chunked,")], 400),
        ([(CODING, b"gzip"), (CODING, b"chunked")], 501),
        ([(CODING, b"chunked"), (CODING, b"gzip")], 400),
        ([(CODING, b"gzip;q=1, chunked")], 400),
        ([(CODING, b"identity, chunked")], 501),
    ],
    ids=str,
)
def test_body_length(lines: list[tuple[bytes, bytes]], expected: int) -> None:
    """A body has one length, or the request is refused."""
    if expected in (400, 501):
        with pytest.raises(HTTPInputError) as caught:
            parse_body_length(lines)
        assert caught.value.status == expected
        assert caught.value.rfc
    else:
        assert parse_body_length(lines) == expected


@pytest.mark.parametrize("spaces", [b" ", b"\t", b" \t" * 2000], ids=["space", "tab", "many"])
def test_white_space_in_lists_costs_no_backtracking(spaces: bytes) -> None:
    """A list of nothing but white space is decided in one pass: this test ends."""
    for value in (b"5" + spaces + b",5", b"5" + spaces + b"5", spaces.join([b"5"] * 3)):
        with suppress(HTTPInputError):
            assert parse_body_length([(LENGTH, value)]) == 5


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (False, False)),
        ([b"close"], (True, False)),
        ([b"Keep-Alive"], (False, True)),
        ([b" x ,CLOSE", b"keep-alive"], (True, True)),
        ([b"closed, keep"], (False, False)),
    ],
)
def test_connection_options(values: list[bytes], expected: tuple[bool, bool]) -> None:
    """Options are tokens in any case, in one list over all lines."""
    lines = [(b"connection", value) for value in values]
    assert parse_connection([(b"x", b"close"), *lines]) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"100-continue", True), (b"100-CONTINUE", True), (b"a, 100-continue", True), (b"100", False)],
)
def test_expect(value: bytes, expected: bool) -> None:
    """100-continue is found in any case."""
    assert parse_expect_continue(value) == expected


TARGETS = [
    ("GET", "http://a", "a"),
    ("GET", "http://a/", "a"),
    ("GET", "http://a:80?x", "a:80"),
    ("GET", "HTTPS://[::1]:443/x?y", "[::1]:443"),
    ("CONNECT", "a:443", "a:443"),
    ("CONNECT", "[::1]:443", "[::1]:443"),
    ("OPTIONS", "*", ""),
    ("OPTIONS", "http://a", "a"),
    ("GET", "*", None),
    ("GET", "a:80", None),
    ("GET", "a", None),
    ("GET", "http:/a", None),
    ("GET", "http://", None),
    ("GET", "http://:80/", None),
    ("GET", "http://a:b/", None),
    ("GET", "http://a#x", None),
    ("GET", "http://a/#x", None),
    ("GET", "http://a@b/", None),
    ("GET", "gopher://a/", None),
    ("CONNECT", "a", None),
    ("CONNECT", "a:", None),
    ("CONNECT", ":443", None),
    ("CONNECT", "a:123456", None),
    ("CONNECT", "/", None),
    ("CONNECT", "*", None),
    ("CONNECT", "http://a:80/", None),
]


@pytest.mark.parametrize(("method", "target", "authority"), TARGETS)
def test_targets(method: str, target: str, authority: str | None) -> None:
    """Each form is allowed where RFC 9112 section 3.2 has it, and names its authority."""
    if authority is None:
        with pytest.raises(HTTPInputError, match="is not allowed for") as caught:
            check_target(method, target.encode())
        assert caught.value.status == 400
        return
    check_target(method, target.encode())
    assert authority_of(target) == authority


@pytest.mark.parametrize("target", ["/", "/x", "//a/b", "/http://a"])
def test_a_path_names_no_authority(target: str) -> None:
    """What starts with a slash is a path, whatever follows."""
    assert authority_of(target) == ""


# Character classes: the whole of 256 bytes each.


def test_character_classes() -> None:
    """Each class holds exactly what its rule says, and the marks tell all others."""
    every = [bytes([byte]) for byte in range(256)]
    token = {b for b in every if b.isalnum() or (b in b"!#$%&'*+-.^_`|~" and b)}
    assert {b for b in every if abnf.is_token(b)} == token
    visible = {bytes([b]) for b in range(0x21, 0x7F)}
    assert {b for b in every if b.translate(abnf.TARGET_MARKS) == b} == visible
    value = visible | {b" ", b"\t"} | {bytes([b]) for b in range(0x80, 0x100)}
    assert {b for b in every if b.translate(abnf.FIELD_VALUE_MARKS) == b} == value
    control = {b for b in every if abnf.CONTROL.search(b.decode("latin-1"))}
    assert control == set(every) - value
    assert not abnf.is_token(b"")


# Heads of answers.


def test_status_lines() -> None:
    """A line is made once, from any kind of number, with what latin-1 can say of its reason."""
    assert response.status_line(200, "OK") == b"HTTP/1.1 200 OK\r\n"
    assert response.status_line(http.HTTPStatus.NOT_FOUND, "x") == b"HTTP/1.1 404 x\r\n"
    assert response.status_line(299, "") == b"HTTP/1.1 299 \r\n"
    assert response.status_line(299, "caf\u00e9 \u2603") == b"HTTP/1.1 299 caf\xe9 ?\r\n"
    assert response.status_line(299, b"raw") == b"HTTP/1.1 299 raw\r\n"  # type: ignore[arg-type]
    assert response.cached_status((299, "")) == b"HTTP/1.1 299 \r\n"


def test_the_caches_of_answers_are_bounded() -> None:
    """An application's ever new values cost a bounded amount of memory, and long ones none."""
    for i in range(3000):
        response.encode_field("X-Test", str(i))
        response.encode_length(str(i))
        response.status_line(200, str(i))
    assert len(response._fields) <= response.MAX_CACHED_FIELDS
    assert len(response._lengths) <= response.MAX_CACHED_LENGTHS
    assert len(response._status_lines) <= response.MAX_CACHED_STATUSES
    long = "x" * (response.MAX_CACHED_FIELD + 1)
    response.encode_field("X-Test", long)
    response.status_line(200, long)
    assert response.cached_field(("X-Test", long)) is None
    assert response.cached_status((200, long)) is None


@pytest.mark.parametrize(
    ("value", "close", "others"),
    [("close", True, ""), (b"X, close", True, "X"), ("Keep-Alive,x , y", False, "x, y")],
)
def test_split_connection(value: Any, close: bool, others: str) -> None:
    """Close and keep-alive are the server's; what remains is the application's."""
    assert response.split_connection(value) == (close, others)


def test_trailers() -> None:
    """Trailers are written as fields; what decides before the body may not be one."""
    assert response.encode_trailers([(b"x", b"y")]) == b"x: y\r\n"
    for name in (b"Content-Length", b"transfer-encoding", b"HOST", b"set-cookie"):
        with pytest.raises(ValueError, match="trailer section"):
            response.encode_trailers([(name, b"5")])
    with pytest.raises(ValueError, match="Illegal"):
        response.encode_trailers([(b"x", b"y\r\nz")])


def test_a_plain_answer() -> None:
    """What the server says itself is short, dated, plain text, and closes."""
    answer = response.plain_answer(400, "no \u2603")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"no ?\n"
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nDate: ")
    assert b"\r\nContent-Length: 5\r\nConnection: close" in head
    assert response.plain_answer(499, "x").startswith(b"HTTP/1.1 499 Error\r\n")
