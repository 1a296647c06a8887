"""The `traceparent` field: what is one, and what is taken for none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.logs.trace import parse_traceparent

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"


@pytest.mark.parametrize(
    "value",
    [
        b"00-%b-%b-01" % (TRACE, SPAN),
        b" 00-%b-%b-00\t" % (TRACE, SPAN),
        b"cc-%b-%b-01-what-comes-later" % (TRACE, SPAN),
    ],
    ids=["version-0", "spaces", "a-later-version"],
)
def test_what_is_one(value: bytes) -> None:
    """Both ids are taken from a valid value."""
    assert parse_traceparent(value) == (TRACE.decode(), SPAN.decode())


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"00-%b-%b" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-01\n" % (TRACE, SPAN),
        b"cc-%b-%b-01-%b" % (TRACE, SPAN, b"x" * 200),
    ],
    ids=[
        "none", "empty", "no-flags", "version-0-with-more", "version-ff", "upper-case",
        "no-trace", "no-span", "line-feed", "long",
    ],
)  # fmt: skip
def test_what_is_none(value: bytes | None) -> None:
    """A value that breaks a rule says nothing."""
    assert parse_traceparent(value) is None


@given(st.binary(max_size=100))
def test_whatever_comes(value: bytes) -> None:
    """Whatever a stranger sends, it is two ids of hex digits or nothing."""
    trace = parse_traceparent(value)
    assert trace is None or (len(trace.trace_id), len(trace.span_id)) == (32, 16)
