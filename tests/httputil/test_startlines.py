"""Start lines: what is well-formed, and what each refusal says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.startlines import (
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
    parse_response_start_line,
    responses,
)

TCHARS = "!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ"
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET / HTTP/1.1", ("GET", "/", "HTTP/1.1")),
        ("GET /a?b=c HTTP/1.0", ("GET", "/a?b=c", "HTTP/1.0")),
        ("get / HTTP/1.9", ("get", "/", "HTTP/1.9")),
        ("M-SEARCH * HTTP/1.1", ("M-SEARCH", "*", "HTTP/1.1")),
        ("CONNECT a.b:443 HTTP/1.1", ("CONNECT", "a.b:443", "HTTP/1.1")),
        ("GET http://a.b/c HTTP/1.1", ("GET", "http://a.b/c", "HTTP/1.1")),
    ],
    ids=["origin", "query", "minor-9", "asterisk", "authority", "absolute"],
)
def test_request_line_is_parsed(line: str, expected: tuple[str, str, str]) -> None:
    """A well-formed request line gives its three parts, as sent."""
    parsed = parse_request_start_line(line)
    assert parsed == expected
    assert (parsed.method, parsed.path, parsed.version) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1\n",
        "GET /\tHTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GET /\xe9 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/11.1",
        "GET / HTTP/1.\u0661",
    ],
    ids=repr,
)
def test_malformed_request_line_is_refused(line: str) -> None:
    """Everything else than method SP target SP version is a 400."""
    with pytest.raises(HTTPInputError, match="Malformed HTTP request line") as caught:
        parse_request_start_line(line)
    assert caught.value.status == 400
    assert caught.value.rfc == "RFC 9112 section 3"


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0", "HTTP/3.0"])
def test_other_major_version_is_505(version: str) -> None:
    """A well-formed line of another major version is refused with 505."""
    with pytest.raises(HTTPInputError, match="Unexpected HTTP version") as caught:
        parse_request_start_line(f"GET / {version}")
    assert caught.value.status == 505


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("HTTP/1.1 200 OK", ("HTTP/1.1", 200, "OK")),
        ("HTTP/1.0 404 Not Found", ("HTTP/1.0", 404, "Not Found")),
        ("HTTP/1.1 299 ", ("HTTP/1.1", 299, "")),
        ("HTTP/1.1 200 \t caf\xe9", ("HTTP/1.1", 200, "\t caf\xe9")),
    ],
    ids=["ok", "two-words", "no-reason", "obs-text"],
)
def test_status_line_is_parsed(line: str, expected: tuple[str, int, str]) -> None:
    """A well-formed status line gives its three parts, the code as a number."""
    parsed = parse_response_start_line(line)
    assert parsed == expected
    assert (parsed.version, parsed.code, parsed.reason) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 200 O\nK",
        "HTTP/1.1 \u0662\u0660\u0660 OK",
        "HTTP/2.0 200 OK",
    ],
    ids=repr,
)
def test_malformed_status_line_is_refused(line: str) -> None:
    """A status line with a part missing or malformed is refused."""
    with pytest.raises(HTTPInputError):
        parse_response_start_line(line)


@given(
    method=st.text(TCHARS, min_size=1, max_size=20),
    path=st.text(VISIBLE, min_size=1, max_size=60),
    minor=st.integers(0, 9),
)
def test_request_line_round_trips(method: str, path: str, minor: int) -> None:
    """Joining the parts of any request line and parsing gives the parts again."""
    parts = (method, path, f"HTTP/1.{minor}")
    assert parse_request_start_line(" ".join(parts)) == parts


def test_start_lines_have_tornados_field_names() -> None:
    """The tuples compare with plain ones and name their fields as Tornado's do."""
    assert RequestStartLine._fields == ("method", "path", "version")
    assert ResponseStartLine._fields == ("version", "code", "reason")
    assert ResponseStartLine("HTTP/1.1", 200, responses[200]) == ("HTTP/1.1", 200, "OK")
