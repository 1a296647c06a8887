"""Form bodies: what becomes an argument, what a file, and what is refused as a whole."""

import copy
import pickle
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.forms import (
    HTTPFile,
    ParseBodyConfig,
    ParseMultipartConfig,
    ParseUrlEncodedConfig,
    get_parse_body_config,
    parse_body_arguments,
    parse_multipart_form_data,
    set_parse_body_config,
)
from edgeserver.httputil.headers import HTTPHeaders

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=1234"

END = "--1234--"
UNKNOWN = "application/unknown"

Parsed = tuple[dict[str, list[bytes]], dict[str, list[HTTPFile]]]


def crlf(text: str) -> bytes:
    """Return `text` with the line ends of the wire."""
    return text.replace("\n", "\r\n").encode()


def part(disposition: str = 'form-data; name="a"', content: str = "b", more: str = "") -> str:
    """Return one part, with its delimiter in front."""
    return f"--1234\nContent-Disposition: {disposition}\n{more}\n{content}\n"


def multipart(
    data: bytes, *, boundary: bytes = b"1234", config: ParseMultipartConfig | None = None
) -> Parsed:
    """Parse a multipart body."""
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    parse_multipart_form_data(boundary, data, arguments, files, config=config)
    return arguments, files


def body(content_type: str, data: bytes, headers: HTTPHeaders | None = None) -> Parsed:
    """Parse any body."""
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    parse_body_arguments(content_type, data, arguments, files, headers)
    return arguments, files


@pytest.fixture
def _own_config() -> Iterator[None]:
    """Leave the process's limits as they were."""
    before = get_parse_body_config()
    yield
    set_parse_body_config(before)


# Any body


@pytest.mark.parametrize(
    ("content_type", "data", "expected"),
    [
        (URLENCODED, b"a=1&b=&a=2", {"a": [b"1", b"2"], "b": [b""]}),
        (URLENCODED + "; charset=utf-8", b"a=%41", {"a": [b"A"]}),
        (URLENCODED.upper(), b"a=b", {"a": [b"b"]}),
        (URLENCODED, b"", {}),
        (URLENCODED + "ish", b"a=b", {}),
        ("application/json", b"a=b", {}),
        ("", b"a=b", {}),
        (MULTIPART, crlf(part() + END), {"a": [b"b"]}),
        ("Multipart/Form-Data; BOUNDARY=1234", crlf(part() + END), {"a": [b"b"]}),
        ('multipart/form-data; x=";"; boundary="1234"', crlf(part() + END), {"a": [b"b"]}),
    ],
    ids=repr,
)
def test_body(content_type: str, data: bytes, expected: dict[str, list[bytes]]) -> None:
    """The media type decides, in any case and with any parameters."""
    assert body(content_type, data) == (expected, {})


@pytest.mark.parametrize(
    ("content_type", "data", "message"),
    [
        (URLENCODED, b"a=1&" * 1001, "Max number of fields exceeded"),
        ("multipart/form-dataxyz; boundary=1234", b"", "Invalid content type"),
        ("multipart/form-data", b"", "multipart boundary not found"),
        ("multipart/form-data; boundary=", b"", "multipart boundary not found"),
        (MULTIPART, b"", "no final boundary"),
    ],
    ids=["too-many", "other-type", "no-boundary", "empty-boundary", "empty"],
)
def test_body_is_refused(content_type: str, data: bytes, message: str) -> None:
    """A malformed form is a 400 that says why."""
    with pytest.raises(HTTPInputError, match=message) as caught:
        body(content_type, data)
    assert caught.value.status == 400


@pytest.mark.parametrize("content_type", [URLENCODED, MULTIPART])
def test_encoded_forms_are_refused(content_type: str) -> None:
    """A form that is still encoded is refused, and another body is none of our business."""
    headers = HTTPHeaders({"Content-Encoding": "gzip\x1b[2J"})
    with pytest.raises(HTTPInputError, match=r"Unsupported Content-Encoding: gzip\\x1b"):
        body(content_type, b"", headers)
    assert body("text/plain", b"", headers) == ({}, {})
    assert body(URLENCODED, b"a=b", HTTPHeaders()) == ({"a": [b"b"]}, {})


def test_arguments_are_added_to_what_is_there() -> None:
    """Values are added behind those that were there."""
    arguments = {"a": [b"0"]}
    parse_body_arguments(URLENCODED, b"a=1", arguments, {})
    assert arguments == {"a": [b"0", b"1"]}


@pytest.mark.usefixtures("_own_config")
def test_limits_of_the_process() -> None:
    """The process's limits hold where a call gives none, and a call's own beat them."""
    set_parse_body_config(
        ParseBodyConfig(
            multipart=ParseMultipartConfig(enabled=False),
            urlencoded=ParseUrlEncodedConfig(max_arguments=1),
        )
    )
    with pytest.raises(HTTPInputError, match="Max number of fields"):
        body(URLENCODED, b"a=1&b=2")
    with pytest.raises(HTTPInputError, match="multipart/form-data parsing is disabled"):
        body(MULTIPART, b"")
    with pytest.raises(HTTPInputError, match="multipart/form-data parsing is disabled"):
        multipart(b"")
    arguments: dict[str, list[bytes]] = {}
    parse_body_arguments(URLENCODED, b"a=1&b=2", arguments, {}, config=ParseBodyConfig())
    assert len(arguments) == 2


def test_default_limits_are_tornados() -> None:
    """Out of the box the limits are those that Tornado documents."""
    config = get_parse_body_config()
    assert config.urlencoded.max_arguments == 1000
    assert config.multipart == ParseMultipartConfig(True, 100, 10240)


# Multipart

NEARLY = "--12345\n--1234x\nx--1234--"


@pytest.mark.parametrize(
    ("text", "arguments", "files"),
    [
        (part() + END, {"a": [b"b"]}, {}),
        (part() + part(content="c") + "--1234--\n", {"a": [b"b", b"c"]}, {}),
        ("preamble\n" + part() + "--1234--epilogue\n--1234\n", {"a": [b"b"]}, {}),
        (part(content="") + END, {"a": [b""]}, {}),
        (part(content="x\n\ny\n") + END, {"a": [b"x\r\n\r\ny\r\n"]}, {}),
        (part(content=NEARLY) + END, {"a": [crlf(NEARLY)]}, {}),
        ("--1234x\n" + part() + END, {"a": [b"b"]}, {}),
        ("--1234--", {}, {}),
        ('--1234\nContent-Disposition: form-data; name="a"\n\n--1234--', {"a": [b""]}, {}),
        (part("Form-Data; name=a") + END, {"a": [b"b"]}, {}),
        (part('form-data; name="a"; filename=""') + END, {"a": [b"b"]}, {}),
        (part('form-data; name=a; filename="f;\\"g"') + END, {}, {"a": [('f;"g', b"b", UNKNOWN)]}),
        (
            part("form-data; name=a; filename=f", more="Content-Type: text/x\n") + END,
            {},
            {"a": [("f", b"b", "text/x")]},
        ),
        (
            part('form-data; name="\u6d4b"; filename="\u8bd5.txt"') + END,
            {},
            {"\u6d4b": [("\u8bd5.txt", b"b", UNKNOWN)]},
        ),
        (
            part("form-data; name=a; filename=x; filename*=UTF-8''%C3%A1") + END,
            {},
            {"a": [("\xe1", b"b", UNKNOWN)]},
        ),
    ],
    ids=[
        "argument", "two", "preamble-epilogue", "empty", "empty-lines-inside", "nearly-delimiters",
        "nearly-first-delimiter", "no-parts", "shared-crlf", "case", "empty-filename",
        "quoted-filename", "content-type", "utf-8", "rfc8187",
    ],
)  # fmt: skip
def test_multipart(
    text: str, arguments: dict[str, list[bytes]], files: dict[str, list[tuple[str, bytes, str]]]
) -> None:
    """Parts with a file name are files and the others arguments; content is kept to the byte."""
    found_arguments, found_files = multipart(crlf(text))
    assert found_arguments == arguments
    assert {
        name: [(file.filename, file.body, file.content_type) for file in listed]
        for name, listed in found_files.items()
    } == files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no final boundary"),
        ("--1234", "no final boundary"),
        (part(), "no final boundary"),
        (part(content="b--1234--"), "no final boundary"),
        ("--1234\n\nb\n--1234--", "missing headers"),
        ("--1234\nb\n--1234--", "missing headers"),
        ("--1234\n--1234--", "no final boundary"),
        ("--1234\n\n\n\nb\n--1234--", "not form-data"),
        (part("attachment; name=a") + END, "not form-data"),
        (part("form-data") + END, "missing name"),
        (part('form-data; name=""') + END, "missing name"),
        (part('form-data; name="a\x00"') + END, "Invalid header value"),
        (part(more="no colon\n") + END, "no colon"),
        (part(more=" folded\n") + END, "folding"),
    ],
    ids=[
        "nothing", "only-delimiter", "no-end", "end-within-line", "no-headers", "no-empty-line",
        "no-part", "no-disposition", "attachment", "no-name", "empty-name", "control", "no-colon",
        "folded",
    ],
)  # fmt: skip
def test_malformed_multipart_is_refused(text: str, message: str) -> None:
    """A malformed body is refused, and nothing of it is kept."""
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    good = "" if text.startswith("--1234\n--") else part() + part("form-data; name=f; filename=g")
    with pytest.raises(HTTPInputError, match=message):
        parse_multipart_form_data(b"1234", crlf(good + text), arguments, files)
    assert (arguments, files) == ({}, {})


def test_bare_cr_in_a_part_header_is_refused() -> None:
    """A carriage return within a file name does not pass."""
    data = crlf(part('form-data; name="a"; filename="X"') + END).replace(b"X", b"a\rb")
    with pytest.raises(HTTPInputError, match="Invalid header value"):
        multipart(data)


def test_part_header_that_is_not_utf_8_is_refused() -> None:
    """Bytes that are no UTF-8 are refused in words."""
    data = crlf(part('form-data; name="X"') + END).replace(b"X", b"\xff")
    with pytest.raises(HTTPInputError, match="not UTF-8"):
        multipart(data)


@pytest.mark.parametrize("boundary", [b"", b'""'])
def test_empty_boundary_is_refused(boundary: bytes) -> None:
    """Without a boundary nothing can be told apart."""
    with pytest.raises(HTTPInputError, match="boundary not found"):
        multipart(b"----", boundary=boundary)


def test_quoted_boundary() -> None:
    """A boundary may come in its quotes."""
    assert multipart(crlf(part() + END), boundary=b'"1234"') == ({"a": [b"b"]}, {})


def test_number_of_parts_is_bounded() -> None:
    """As many parts as allowed pass, and one more does not."""
    config = ParseMultipartConfig(max_parts=2)
    arguments, _ = multipart(crlf(part() * 2 + END), config=config)
    assert arguments == {"a": [b"b", b"b"]}
    with pytest.raises(HTTPInputError, match="too many parts"):
        multipart(crlf(part() * 3 + END), config=config)


def test_size_of_a_part_header_is_bounded() -> None:
    """A header as long as allowed passes, one byte more does not, with or without an end."""
    header = b'Content-Disposition: form-data; name="a"'
    exact = ParseMultipartConfig(max_part_header_size=len(header))
    less = ParseMultipartConfig(max_part_header_size=len(header) - 1)
    data = b"--1234\r\n" + header + b"\r\n\r\nb\r\n--1234--"
    assert multipart(data, config=exact) == ({"a": [b"b"]}, {})
    with pytest.raises(HTTPInputError, match="header too large"):
        multipart(data, config=less)
    with pytest.raises(HTTPInputError, match="header too large"):
        multipart(b"--1234\r\n" + b"x" * 20_000 + b"\r\n--1234--")


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8),
            st.lists(st.sampled_from([b"\r\n", b"--1234", b"-", b"x", b"\r", b"\n"])).map(b"".join),
        ),
        max_size=5,
    )
)
def test_any_content_round_trips(pairs: list[tuple[str, bytes]]) -> None:
    """Content that only looks like the delimiter comes back to the byte."""
    boundary = b"1234567"
    data = b""
    expected: dict[str, list[bytes]] = {}
    for name, content in pairs:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        data += b"--%b\r\nContent-Disposition: form-data; name=" % boundary
        data += f'"{quoted}"\r\n\r\n'.encode() + content + b"\r\n"
        expected.setdefault(name, []).append(content)
    assert multipart(data + b"--%b--" % boundary, boundary=boundary) == (expected, {})


@given(st.lists(st.sampled_from([b"\r\n", b"--", b"1234", b"a:b", b"\xff"]), max_size=30))
def test_any_body_parses_or_is_refused(pieces: list[bytes]) -> None:
    """No body raises anything else than the refusal."""
    try:
        multipart(b"--1234\r\n" + b"".join(pieces))
    except HTTPInputError:
        pass


def test_many_near_delimiters() -> None:
    """A megabyte of what nearly is a delimiter takes one pass."""
    content = "\n--123" * 200_000 + "\n--1234x" * 100_000
    arguments, _ = multipart(crlf(part(content=content) + END))
    assert arguments == {"a": [crlf(content)]}


def test_memory_for_many_parts() -> None:
    """As many empty parts as allowed need at most ten bytes for each byte of input."""
    data = crlf(part('form-data; name="a"; filename="b"', "", "Content-Type: x/y\n") * 99)
    data += b"--1234--"
    multipart(data)
    tracemalloc.start()
    try:
        _, files = multipart(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(files["a"]) == 99
    assert peak / len(data) < 10


# Files


def test_file_by_attribute_and_key() -> None:
    """What a file has can be read and set both ways."""
    file = HTTPFile(filename="f", body=b"b", content_type="t")
    file.filename = "g"
    file["body"] = b"c"
    assert (file["filename"], file.body, file.content_type) == ("g", b"c", "t")
    with pytest.raises(AttributeError, match="nothing"):
        _ = file.nothing


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda file: pickle.loads(pickle.dumps(file))],
    ids=["copy", "deepcopy", "pickle"],
)  # fmt: skip
def test_file_is_copied(how) -> None:  # type: ignore[no-untyped-def]  # a table of callables
    """A file can be copied and pickled."""
    file = HTTPFile(filename="f", body=b"b", content_type="t")
    made = how(file)
    assert type(made) is HTTPFile
    assert made == file
