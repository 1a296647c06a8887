"""HTTPHeaders: one multi-map, two faces, and everything Tornado's class promises."""

import pickle
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders as TornadoHeaders

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.headers import HTTPHeaders, RawHeaders
from tests.httputil.lines import PLAIN, RAW

TCHARS = "!#$%&'*+-.^_`|~09azAZ"
VALUE = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20).map(
    lambda text: text.strip(" \t")
)
PAIRS = st.lists(st.tuples(st.text(TCHARS, min_size=1, max_size=6), VALUE), max_size=12)


def raw_of(pairs: list[tuple[str, str]]) -> RawHeaders:
    """Return `pairs` as a parser would give them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]


# The raw face


def test_from_raw_keeps_the_very_list() -> None:
    """Reading does not replace the parser's list."""
    headers = HTTPHeaders.from_raw(RAW)
    assert headers.raw is RAW
    assert headers["Host"] == "a.example"
    assert list(headers) == ["Host", "X-One", "Set-Cookie", "X-Latin"]
    assert headers.raw is RAW


@pytest.mark.parametrize("raw", [RAW, PLAIN], ids=["repeated", "plain"])
@pytest.mark.parametrize("decoded", [False, True], ids=["lazy", "decoded"])
@pytest.mark.parametrize("name", ["Host", "host", "hOsT"])
def test_lookup_ignores_case(raw: RawHeaders, decoded: bool, name: str) -> None:
    """A name is found in any case, before and after everything is decoded."""
    headers = HTTPHeaders.from_raw(list(raw))
    if decoded:
        assert len(headers) == len(dict(raw))
    assert headers[name] == "a.example"
    assert headers.get(name) == "a.example"
    assert headers.get_list(name) == ["a.example"]
    assert name in headers
    assert headers["x-LATIN"] == "caf\xe9"


@pytest.mark.parametrize("raw", [RAW, PLAIN, []], ids=["repeated", "plain", "empty"])
@pytest.mark.parametrize("name", ["Absent", "absent", "H\xf6st", "\u6d4b", "", "H\u212aost"])
def test_absent_name(raw: RawHeaders, name: str) -> None:
    """A name that is not there is absent in every way of asking."""
    headers = HTTPHeaders.from_raw(list(raw))
    for _ in range(2):
        assert headers.get(name) is None
        assert headers.get(name, default="x") == "x"
        assert headers.get_list(name) == []
        assert name not in headers
        with pytest.raises(KeyError):
            headers[name]
        with pytest.raises(KeyError):
            del headers[name]


def test_empty_value_is_present() -> None:
    """A field with an empty value is there."""
    headers = HTTPHeaders.from_raw(list(PLAIN))
    assert "Empty" in headers
    assert headers["Empty"] == ""
    assert headers.get("Empty", "x") == ""
    assert headers.get_list("Empty") == [""]


def test_index_of_the_parser_is_used() -> None:
    """Where the parser has a dict of the fields, nothing is copied, and nothing is changed."""
    fields = {b"a": b"1", b"b-c": b"2"}
    headers = HTTPHeaders.from_fields(fields)
    assert headers["B-C"] == "2"
    assert headers.raw == [(b"a", b"1"), (b"b-c", b"2")]
    assert headers.raw is headers.raw
    assert pickle.loads(pickle.dumps(HTTPHeaders.from_fields(fields))) == headers
    headers["A"] = "3"
    assert headers.raw == [(b"a", b"3"), (b"b-c", b"2")]
    assert fields == {b"a": b"1", b"b-c": b"2"}


def test_repeated_lines_join_in_order() -> None:
    """Repeated lines are joined with a comma and kept apart for those who ask."""
    headers = HTTPHeaders.from_raw(list(RAW))
    assert headers["Set-Cookie"] == "a=b,c=d"
    assert headers.get("set-cookie") == "a=b,c=d"
    assert headers.get_list("SET-COOKIE") == ["a=b", "c=d"]
    assert list(headers.get_all())[2:] == [
        ("Set-Cookie", "a=b"),
        ("Set-Cookie", "c=d"),
        ("X-Latin", "caf\xe9"),
    ]


def test_change_leaves_the_parsers_list_alone() -> None:
    """A change shows in `raw`, and not in the list that was handed in."""
    given_list = list(RAW)
    headers = HTTPHeaders.from_raw(given_list)
    headers["X-One"] = "2"
    headers.add("X-New", b"caf\xe9")
    del headers["Host"]
    assert given_list == RAW
    assert headers.raw == [
        (b"x-one", b"2"),
        (b"set-cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"x-latin", b"caf\xe9"),
        (b"x-new", b"caf\xe9"),
    ]


def test_raw_of_text_past_latin_1_is_refused() -> None:
    """What cannot be sent has no raw face."""
    with pytest.raises(UnicodeEncodeError):
        HTTPHeaders({"X": "\u6d4b"}).raw  # noqa: B018  # the property is what raises


@given(PAIRS)
def test_both_faces_agree_with_tornado(pairs: list[tuple[str, str]]) -> None:
    """From raw, by `add`, and in Tornado, the same lines mean the same mapping."""
    ours, model = HTTPHeaders(), TornadoHeaders()
    for name, value in pairs:
        ours.add(name, value)
        model.add(name, value)
    lazy = HTTPHeaders.from_raw(raw_of(pairs))
    for name, _ in pairs:
        assert lazy[name] == ours[name] == model[name]
        assert lazy.get_list(name) == ours.get_list(name) == model.get_list(name)
    expected = list(model.get_all())
    assert list(lazy.get_all()) == list(ours.get_all()) == expected
    assert dict(lazy) == dict(ours) == dict(model)
    assert lazy == ours
    assert list(HTTPHeaders.from_raw(ours.raw).get_all()) == expected
    assert HTTPHeaders.parse(str(lazy)) == lazy


# Construction


@pytest.mark.parametrize(
    "headers",
    [
        HTTPHeaders({"content-type": "a", "CONTENT-length": "1"}),
        HTTPHeaders([("content-type", "a"), ("CONTENT-length", "1")]),
        HTTPHeaders({"content-type": "a"}, CONTENT_length="1"),
        HTTPHeaders(content_type="a", CONTENT_length="1"),
        HTTPHeaders(HTTPHeaders({"content-type": "a"}), CONTENT_length="1"),
        HTTPHeaders(TornadoHeaders({"content-type": "a", "CONTENT-length": "1"})),
    ],
    ids=["dict", "pairs", "both", "keywords", "ours-and-keywords", "tornado"],
)
def test_construction(headers: HTTPHeaders) -> None:
    """Mappings, pairs and keywords all give Http-Header-Case names."""
    fields = {name.replace("_", "-").title(): value for name, value in headers.items()}
    assert fields == {"Content-Type": "a", "Content-Length": "1"}


def test_list_means_lines() -> None:
    """A list is one line for each item, in the constructor and when set; none is no field."""
    lines = ["a=b", "c=d"]
    headers = HTTPHeaders({"Set-Cookie": lines, "None": [], "X": "y"})
    headers["other"] = lines
    lines.append("e=f")
    assert headers.get_list("set-cookie") == ["a=b", "c=d"]
    assert headers["Other"] == "a=b,c=d"
    assert "None" not in headers
    headers["Other"] = []
    assert list(headers) == ["Set-Cookie", "X"]


def test_single_lines_are_iterated_without_a_generator() -> None:
    """What serialises a plain response iterates the dict itself."""
    headers = HTTPHeaders({"Content-Type": "a"})
    assert type(headers.get_all()) is type({}.items())


def test_wrong_arguments_are_type_errors() -> None:
    """What is neither a mapping nor pairs is refused."""
    with pytest.raises(TypeError):
        HTTPHeaders(None)
    with pytest.raises(TypeError):
        HTTPHeaders({}, {})  # type: ignore[call-arg]  # the mistake under test


# add and parse


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a\tb", "a\nb", "a\x00b", "a ", " a", "\xe9", "a:", "\u212a", "a\n"],
    ids=repr,
)
def test_invalid_name_is_refused(name: str) -> None:
    """A name that is no token is refused, and the message is safe to log."""
    with pytest.raises(HTTPInputError, match=r"Invalid header name '[ -~]*'"):
        HTTPHeaders().add(name, "x")


@pytest.mark.parametrize(
    "value",
    [" a", "a ", "\ta", "a\t", "a\nb", "a\r", "a\x00", "a\x7f", "a\x1f", "\u0100", b"a\n", b" a"],
    ids=repr,
)
def test_invalid_value_is_refused(value: str) -> None:
    """Controls, outer white space and characters past latin-1 are refused."""
    headers = HTTPHeaders()
    with pytest.raises(HTTPInputError, match=r"Invalid header value '[ -~]*'"):
        headers.add("X", value)
    assert len(headers) == 0


@pytest.mark.parametrize("value", ["", "a", "a\tb c", "\xa0", "\x85", b"caf\xe9"], ids=repr)
def test_valid_value_is_kept(value: str) -> None:
    """A valid value is kept as it is, bytes too."""
    headers = HTTPHeaders()
    headers.add("X", value)
    assert headers["X"] == value
    assert list(headers.get_all()) == [("X", value)]


def test_message_is_bounded() -> None:
    """A long invalid value is not repeated whole."""
    with pytest.raises(HTTPInputError) as caught:
        HTTPHeaders().add("X", "\n" * 100_000)
    assert len(str(caught.value)) < 1000


def test_unicode_values_are_for_parts_of_forms() -> None:
    """With `unicode`, characters past latin-1 pass and controls still do not."""
    headers = HTTPHeaders.parse("X: \u6d4b", unicode=True)
    assert headers["X"] == "\u6d4b"
    with pytest.raises(HTTPInputError):
        headers.add("X", "\u6d4b\r", unicode=True)


def test_bytes_and_text_lines_join() -> None:
    """Joined and shown, bytes are latin-1."""
    headers = HTTPHeaders()
    headers.add("X", b"\xe9")
    headers.add("X", "b")
    assert headers["X"] == "\xe9,b"
    assert str(headers) == "X: \xe9\nX: b\n"
    assert headers.raw == [(b"x", b"\xe9"), (b"x", b"b")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\r\n", []),
        ("A: b\r\nC: d\r\n\r\n", [("A", "b"), ("C", "d")]),
        ("a:b\nC:  d \t\n", [("A", "b"), ("C", "d")]),
        ("A: b", [("A", "b")]),
        ("A: b:c", [("A", "b:c")]),
        ("A: \xa0b\x85", [("A", "\xa0b\x85")]),
        ("A:", [("A", "")]),
        ("A: 1\nB: 2\nA: 3", [("A", "1"), ("A", "3"), ("B", "2")]),
    ],
    ids=repr,
)
def test_parse(text: str, expected: list[tuple[str, str]]) -> None:
    """Lines end in CRLF or LF, and only space and tab are stripped."""
    assert list(HTTPHeaders.parse(text).get_all()) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: b\r\n\tc", "folding not supported"),
        (" A: b", "folding not supported"),
        ("A b", "no colon"),
        ("A : b", "Invalid header name"),
        (": b", "Invalid header name"),
        ("A: b\rC: d\r\n", "Invalid header value"),
        ("A: b\r\r\n", "Invalid header value"),
        ("A: b\r", "Invalid header value"),
    ],
    ids=repr,
)
def test_parse_refuses(text: str, message: str) -> None:
    """Folding, lines without a colon and bare CR are refused."""
    with pytest.raises(HTTPInputError, match=message):
        HTTPHeaders.parse(text)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["none", "lf", "crlf"])
def test_parse_line(end: str) -> None:
    """One line is added, with or without its end."""
    headers = HTTPHeaders({"A": "1"})
    headers.parse_line("a: 2" + end)
    headers.parse_line(end)
    assert headers.get_list("A") == ["1", "2"]


# The rest of the mapping


def test_setting_replaces_all_lines() -> None:
    """Setting an item replaces every line of that name."""
    headers = HTTPHeaders.from_raw(list(RAW))
    headers["set-cookie"] = "x=y"
    assert headers.get_list("Set-Cookie") == ["x=y"]
    assert headers.setdefault("Set-Cookie", "z") == "x=y"
    assert headers.setdefault("New", "z") == "z"
    assert headers.pop("New") == "z"
    headers.update({"Set-Cookie": "u=v"})
    assert headers["Set-Cookie"] == "u=v"


def test_membership_of_other_things() -> None:
    """Something that is no str is never in it."""
    assert 1 not in HTTPHeaders({"A": "b"})


def test_get_list_is_a_new_list() -> None:
    """Changing what `get_list` gave changes nothing else."""
    headers = HTTPHeaders.from_raw(list(RAW))
    headers.get_list("Set-Cookie").append("e=f")
    assert headers["Set-Cookie"] == "a=b,c=d"


def test_repr_keeps_secrets() -> None:
    """A repr, which ends up in logs, shows no field."""
    assert "secret" not in repr(HTTPHeaders({"Authorization": "secret"}))


def test_weak_references() -> None:
    """Headers can be referred to weakly, as Tornado's can."""
    headers = HTTPHeaders()
    assert weakref.ref(headers)() is headers
