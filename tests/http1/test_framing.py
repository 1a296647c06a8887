"""Framing: one length of a body, or a refusal; and the options of a connection."""

from __future__ import annotations

from contextlib import suppress

import pytest

from edgeserver.errors import HTTPInputError
from edgeserver.http.semantics import parse_expect_continue
from edgeserver.http1.framing import CHUNKED, parse_body_length, parse_connection

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
    lines = [(b"x", b"close"), *((b"connection", value) for value in values)]
    assert parse_connection(lines, dict(lines)) == expected
    if len(values) < 2:
        assert parse_connection(None, dict(lines)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"100-continue", True), (b"100-CONTINUE", True), (b"a, 100-continue", True), (b"100", False)],
)
def test_expect(value: bytes, expected: bool) -> None:
    """100-continue is found in any case."""
    assert parse_expect_continue(value) == expected
