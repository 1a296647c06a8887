"""Query strings: what is decoded, what is bounded, and what agrees with the standard library."""

import urllib.parse

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tornado.escape import parse_qs_bytes as tornado_parse_qs_bytes

from edgeserver.httputil.urls import parse_qs_bytes, percent_decode, qs_to_qsl, url_concat

# Bytes near the edges of what percent_decode does.
TRICKY = st.lists(st.sampled_from(b"%=\r\n25dD3FfgG0&+_ \xff"), max_size=24).map(bytes)


@given(st.binary(max_size=40) | TRICKY)
@settings(max_examples=500)
@example(b"%3D41")
@example(b"%%3D41")
@example(b"%=%3d%25%\r\n%\n%")
@example(b"%253D%2541")
def test_percent_decode_is_that_of_urllib(data: bytes) -> None:
    """Every string of bytes decodes as the standard library would decode it."""
    assert percent_decode(data) == urllib.parse.unquote_to_bytes(data)


@given(st.binary(max_size=60))
def test_percent_encoding_round_trips(data: bytes) -> None:
    """What is encoded decodes to itself, in either case of the digits."""
    encoded = "".join(f"%{byte:02x}" for byte in data)
    assert percent_decode(encoded.encode()) == data
    assert percent_decode(encoded.upper().encode()) == data


@pytest.mark.parametrize("keep", [False, True], ids=["drop-blank", "keep-blank"])
@given(qs=TRICKY)
def test_parse_qs_bytes_is_that_of_tornado(keep: bool, qs: bytes) -> None:
    """Queries mean what they mean in Tornado."""
    assert parse_qs_bytes(qs, keep_blank_values=keep) == tornado_parse_qs_bytes(
        qs, keep_blank_values=keep
    )


@pytest.mark.parametrize(
    ("qs", "expected"),
    [
        ("", {}),
        ("a=1&b=2&a=3", {"a": [b"1", b"3"], "b": [b"2"]}),
        ("a&b=&=c&&", {"a": [b""], "b": [b""], "": [b"c"]}),
        ("a+b=c%20d+e", {"a b": [b"c d e"]}),
        ("caf%C3%A9=%ff", {"caf\xc3\xa9": [b"\xff"]}),
        ("caf\xe9=\xe9", {"caf\xe9": [b"\xe9"]}),
        (b"a=b=c;d=e", {"a": [b"b=c;d=e"]}),
        ("a%26b=%3D&%=%zz", {"a&b": [b"="], "%": [b"%zz"]}),
    ],
    ids=repr,
)
def test_parse_qs_bytes(qs: str | bytes, expected: dict[str, list[bytes]]) -> None:
    """Names become latin-1 text and values stay bytes, in order."""
    assert parse_qs_bytes(qs, keep_blank_values=True) == expected


def test_blank_values_are_dropped_unless_kept() -> None:
    """Without `keep_blank_values` an argument without a value is none."""
    assert parse_qs_bytes("a&b=&c=d") == {"c": [b"d"]}


def test_number_of_fields_is_bounded() -> None:
    """As many fields as allowed pass, one more does not, empty ones included."""
    assert len(parse_qs_bytes("a=1&b=2&c=3", max_num_fields=3)) == 3
    for qs in ("a=1&b=2&c=3&d=4", "&&&"):
        with pytest.raises(ValueError, match="Max number of fields exceeded"):
            parse_qs_bytes(qs, max_num_fields=3)


def test_text_past_latin_1_is_refused() -> None:
    """A query that could not have come over the wire is a ValueError."""
    with pytest.raises(ValueError, match="latin-1"):
        parse_qs_bytes("a=\u6d4b")


def test_megabytes_of_escapes() -> None:
    """A large body of nothing but escapes, valid or not, decodes in passes."""
    assert percent_decode(b"%41" * 1_000_000) == b"A" * 1_000_000
    assert percent_decode(b"%" * 1_000_001) == b"%" * 1_000_001


@given(st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5), min_size=1), max_size=5))
def test_qs_to_qsl_keeps_every_pair(qs: dict[str, list[str]]) -> None:
    """Every value comes out beside its name, in order."""
    assert list(qs_to_qsl(qs)) == [(name, value) for name in qs for value in qs[name]]


@pytest.mark.parametrize(
    ("url", "args", "expected"),
    [
        ("http://a/b", None, "http://a/b"),
        ("http://a/b?c=d", [], "http://a/b?c=d"),
        ("http://a/b", {"c": "d e"}, "http://a/b?c=d+e"),
        ("http://a/b?", [("c", "/d")], "http://a/b?c=%2Fd"),
        ("http://a/b?x&", (("c", "1"), ("c", "2")), "http://a/b?x=&c=1&c=2"),
        ("http://a/b;p?x=1#tab", [("c", "d")], "http://a/b;p?x=1&c=d#tab"),
        ("/b", [("c", "d")], "/b?c=d"),
    ],
    ids=["none", "empty", "mapping", "bare-question-mark", "blank", "fragment", "relative"],
)
def test_url_concat(url: str, args: object, expected: str) -> None:
    """Arguments are added behind those that are there, and before the fragment."""
    assert url_concat(url, args) == expected  # type: ignore[arg-type]  # a table of several types


def test_url_concat_wants_arguments() -> None:
    """Something that is neither a mapping nor pairs is a TypeError."""
    with pytest.raises(TypeError, match="dict, list or tuple"):
        url_concat("http://a/b", "c=d")  # type: ignore[arg-type]  # the mistake under test
