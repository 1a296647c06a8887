"""Heads, alone: what the parser gives, what its caches may hold, and what is refused early."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.errors import HTTPInputError
from edgeserver.http.grammar import TOKEN
from edgeserver.http1 import head as module
from edgeserver.http1.head import check_partial_head, parse_field, parse_head
from tests.http1 import inside


@pytest.fixture(autouse=True)
def clean_caches() -> Iterator[None]:
    """Let no test depend on what another has parsed."""
    inside.forget_heads()
    yield
    inside.forget_heads()


def lines_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the field lines, whichever way the parser gives them."""
    *_, raw, fields = parse_head(head, 20)
    assert (raw is None) == (len(fields) == head.count(b"\r\n"))
    return list(fields.items()) if raw is None else raw


def test_the_parts_of_a_head() -> None:
    """Method, target, version, lines in order, and the last value of each name."""
    head = b"GET /x?y HTTP/1.1\r\nHOST: A\r\nX-A: 1 \r\nx-a:\t2\t \r\nEmpty:"
    method, target, version, raw, fields = parse_head(head, 10)
    assert (method, target, version) == ("GET", "/x?y", "HTTP/1.1")
    assert raw == [(b"host", b"A"), (b"x-a", b"1"), (b"x-a", b"2"), (b"empty", b"")]
    assert fields == {b"host": b"A", b"x-a": b"2", b"empty": b""}


@pytest.mark.parametrize("count", [9, 10, 11])
def test_the_number_of_fields(count: int) -> None:
    """There may be so many lines, and no more."""
    head = b"GET / HTTP/1.1\r\nHost: a" + b"\r\nX: y" * (count - 1)
    if count <= 10:
        assert parse_head(head, 10)[3] == [(b"host", b"a")] + [(b"x", b"y")] * (count - 1)
    else:
        with pytest.raises(HTTPInputError) as caught:
            parse_head(head, 10)
        assert caught.value.status == 431


NAMES = st.text(st.sampled_from(TOKEN.decode()), min_size=1, max_size=12)
VALUES = st.binary(max_size=20).map(
    lambda value: bytes(b for b in value if b == 9 or (b >= 32 and b != 127)).strip(b" \t")
)
SPACE = st.text(" \t", max_size=3)


@given(st.lists(st.tuples(NAMES, SPACE, VALUES, SPACE), max_size=8))
@settings(max_examples=80, deadline=None)
def test_any_valid_fields(lines: list[tuple[str, str, bytes, str]]) -> None:
    """What was rendered is parsed back, the first time and from the caches."""
    lines = [line for line in lines if line[0].lower() != "host"]
    rendered = [
        name.encode() + b":" + before.encode() + value + after.encode()
        for name, before, value, after in lines
    ]
    head = b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *rendered])
    expected = [(b"host", b"a")] + [(name.lower().encode(), value) for name, _, value, _ in lines]
    assert lines_of(head) == expected
    assert lines_of(head) == expected


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_bytes_as_a_field(line: bytes) -> None:
    """Any line is a token, a colon and a clean value, or it is refused; the caches agree."""
    outcomes = []
    for _ in range(2):
        try:
            outcomes.append(parse_field(line))
        except HTTPInputError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
    if outcomes[0] is not None:
        name, value = outcomes[0]
        assert not name.translate(None, TOKEN)
        assert name == line.partition(b":")[0].lower()
        assert value == line.partition(b":")[2].strip(b" \t")
        assert not any((b < 32 and b != 9) or b == 127 for b in value)


# The caches.


@pytest.mark.parametrize(
    "line",
    [b"X-Once : y", b"X-Once", b"X-Once: \x00", b"Accept: \x00", b"Accept : y", b"Host: a b"],
    ids=ascii,
)
def test_what_was_refused_is_refused_again(line: bytes) -> None:
    """A name or line that a cache knows lets nothing else pass."""
    parse_field(b"X-Once: y")
    parse_field(b"Accept: y")
    parse_field(b"Host: a")
    for _ in range(2):
        with pytest.raises(HTTPInputError):
            parse_field(line)


def test_only_short_lines_of_known_names_are_kept() -> None:
    """Cookies, addresses and long lines do not push out what repeats."""
    for line in (
        b"Cookie: a=b",
        b"X-Forwarded-For: 192.0.2.1",
        b"Authorization: secret",
        b"User-Agent: " + b"x" * module.MAX_CACHED_LINE,
        b"Host: " + b"x" * module.MAX_CACHED_LINE,
    ):
        for _ in range(2):
            parse_field(line)
    assert not inside.cached_lines()
    parse_field(b"user-AGENT: x")
    assert inside.cached_lines() == [b"user-AGENT: x"]


def test_caches_are_bounded() -> None:
    """A stranger's ever new lines and names cost a bounded amount of memory."""
    for i in range(module.MAX_CACHED_LINES + 50):
        parse_field(b"User-Agent: %d" % i)
    assert 0 < len(inside.cached_lines()) <= module.MAX_CACHED_LINES
    for i in range(module.MAX_CACHED_NAMES + 50):
        parse_field(b"X-%d: y" % i)
    assert 0 < len(inside.cached_names()) <= module.MAX_CACHED_NAMES
    before = len(inside.cached_names())
    parse_field(b"X" * (module.MAX_CACHED_NAME + 1) + b": y")
    assert len(inside.cached_names()) == before


# Before the end.


def look_bytewise(data: bytes) -> int:
    """Look at every beginning of `data`; return up to where that was."""
    checked = 0
    for end in range(1, len(data) + 1):
        checked = check_partial_head(bytearray(data[:end]), 0, checked)
    return checked


def test_a_good_head_is_good_from_its_first_byte() -> None:
    """No beginning of a good head is refused, however often one looks."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX:\t\xff\r\n\r"
    # The last CR may still be the first half of a line's end.
    assert look_bytewise(head) == len(head) - 1
    for cut in range(1, len(head)):
        checked = check_partial_head(head[:cut], 0, 0)
        assert check_partial_head(head, 0, checked) == len(head) - 1


LINE_END = "RFC 9112 section 2.2"


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        *((bad, LINE_END) for bad in (b"\n", b"\r\r\n", b"\rx", b"\n\r", b"\r\n\n")),
        (b"\x00", "RFC 9110 section 5.5"),
        (b"\x7f", "RFC 9110 section 5.5"),
        (b"\r\nX\x00", "RFC 9112 section 5.1"),
    ],
)
def test_a_bad_head_is_refused_when_it_is_seen(bad: bytes, rule: str) -> None:
    """A control character is refused without waiting for the end, also when it comes alone."""
    start = b"GET / HTTP/1.1\r\nHost: a"
    with pytest.raises(HTTPInputError) as caught:
        check_partial_head(start + bad + b"x", 0, 0)
    assert caught.value.rfc == rule
    with pytest.raises(HTTPInputError) as again:
        look_bytewise(start + bad + b"x")
    assert str(again.value) == str(caught.value)


def test_what_was_looked_at_is_not_looked_at_again() -> None:
    """Looking goes on where it stopped: a slow head costs its length, not its square."""
    buffer = bytearray(b"GET / HTTP/1.1\r\nX: ")
    checked = check_partial_head(buffer, 0, 0)
    assert checked == len(buffer)
    buffer[0] = 0  # nobody looks here any more
    buffer += b"more"
    assert check_partial_head(buffer, 0, checked) == len(buffer)


def test_a_tls_handshake() -> None:
    """Somebody who speaks TLS to a plain port is told so."""
    with pytest.raises(HTTPInputError, match="TLS handshake"):
        check_partial_head(b"\x16\x03\x01\x02\x00", 0, 0)
