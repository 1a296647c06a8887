"""HTTPServerRequest: what it says of target, host, arguments and time."""

import copy
import http.cookies
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders as TornadoHeaders
from tornado.httputil import HTTPServerRequest as TornadoRequest
from tornado.httputil import RequestStartLine as TornadoStartLine

from edgeserver.errors import HTTPInputError
from tests.httputil.requests import FORM, Connection, Make, both, direct, validated

# The target and the host


@both
@pytest.mark.parametrize(
    ("method", "uri", "path", "query", "host", "url"),
    [
        ("GET", "/", "/", "", "a.example", "/"),
        ("GET", "/b?c=d?e", "/b", "c=d?e", "a.example", "/b?c=d?e"),
        ("GET", "/b?", "/b", "", "a.example", "/b?"),
        ("GET", "//b.example/c", "//b.example/c", "", "a.example", "//b.example/c"),
        ("GET", "http://B.example:81/c?d", "/c", "d", "B.example:81", "/c?d"),
        ("GET", "HTTPS://b.example", "/", "", "b.example", "/"),
        ("GET", "http://b.example?d", "/", "d", "b.example", "/?d"),
        ("OPTIONS", "*", "*", "", "a.example", "*"),
        ("CONNECT", "b.example:443", "b.example:443", "", "b.example:443", "b.example:443"),
    ],
    ids=[
        "root", "query", "empty-query", "two-slashes", "absolute", "absolute-bare",
        "absolute-query", "asterisk", "authority",
    ],
)  # fmt: skip
def test_target(
    make: Make, method: str, uri: str, path: str, query: str, host: str, url: str
) -> None:
    """Each form of target gives path, query and host; `uri` stays as it was sent."""
    request = make(uri, method=method)
    assert (request.uri, request.path, request.query) == (uri, path, query)
    assert request.host == request.headers["Host"] == host
    assert request.full_url() == f"{request.protocol}://{host}{url}"


@both
@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.example", "a.example"),
        ("A.Example:8000", "a.example"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("", ""),
    ],
)
def test_host_name(make: Make, host: str, name: str) -> None:
    """The host's name is in lower case and without the port."""
    request = make(host=host)
    assert request.host == host
    assert request.host_name == name


@both
def test_missing_host_of_http_1_0(make: Make) -> None:
    """Only an HTTP/1.0 request may come without a host."""
    request = make(host=None, version="HTTP/1.0")
    assert request.host == request.host_name == "127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": None}, "Missing Host header"),
        ({"host": None, "uri": "http://b.example/"}, "Missing Host header"),
        ({"host": "a b"}, "Invalid Host header"),
        ({"host": "a,b"}, "Multiple host headers not allowed"),
        ({"host": "a b", "uri": "http://b.example/"}, "Invalid Host header"),
        ({"uri": "http://u@b/"}, "in the target is no host"),
        ({"uri": "http://b/", "method": "CONNECT"}, "in the target is no host"),
        ({"uri": "/?" + "&" * 1000}, "Max number of fields exceeded"),
        ({"uri": "/?\u6d4b"}, "Invalid query string"),
    ],
    ids=[
        "missing", "missing-absolute", "invalid", "several", "invalid-absolute", "userinfo",
        "connect-is-no-absolute",
        "too-many-arguments", "not-latin-1",
    ],
)  # fmt: skip
def test_constructor_refuses(arguments: dict[str, Any], message: str) -> None:
    """The constructor refuses at once what the HTTP layer would have."""
    with pytest.raises(HTTPInputError, match=message):
        direct(**arguments)


def test_from_the_wire_refuses_when_asked() -> None:
    """A request from the wire refuses a long query when somebody reads it, again and again."""
    request = validated("/b?" + "a=1&" * 1000)
    assert request.path == "/b"
    for _ in range(2):
        with pytest.raises(HTTPInputError, match="Invalid query string: Max number") as caught:
            _ = request.arguments
        assert caught.value.status == 400


def test_query_at_its_limit() -> None:
    """A thousand arguments pass."""
    assert len(direct("/?" + "&".join(["a=1"] * 1000)).arguments["a"]) == 1000


# Arguments, files, cookies


@both
def test_query_arguments(make: Make) -> None:
    """Values are bytes, blank ones too; the two dicts share nothing."""
    request = make("/?a=1&b=&a=%ff")
    assert request.query_arguments == {"a": [b"1", b"\xff"], "b": [b""]}
    request.arguments["a"].append(b"2")
    assert request.query_arguments["a"] == [b"1", b"\xff"]
    assert request.body_arguments == {}
    assert request.files == {}


@both
@pytest.mark.parametrize("first", ["arguments", "body_arguments", "files", "_parse_body"])
def test_body_is_parsed_once(make: Make, first: str) -> None:
    """Whatever is asked for first parses the body, and a second parsing adds nothing."""
    request = make("/?a=1", method="POST", body=b"a=2&b=3", **FORM)
    asked = getattr(request, first)
    if callable(asked):
        asked()
    for _ in range(2):
        assert request.arguments == {"a": [b"1", b"2"], "b": [b"3"]}
        assert request.body_arguments == {"a": [b"2"], "b": [b"3"]}
        assert request.query_arguments == {"a": [b"1"]}
        assert request.files == {}
        request._parse_body()


@both
def test_body_that_comes_later(make: Make) -> None:
    """Who asked before the body was there gets its arguments into the same dicts."""
    request = make("/?a=1", **FORM)
    arguments = request.arguments
    assert (request.arguments, request.body_arguments) == ({"a": [b"1"]}, {})
    request.body = b"a=2"
    request._parse_body()
    assert request.arguments is arguments
    assert (request.arguments, request.body_arguments) == ({"a": [b"1", b"2"]}, {"a": [b"2"]})


@both
def test_files_of_the_body(make: Make) -> None:
    """Uploads become files."""
    body = (
        b"--x\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\nh\r\n"
        b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--"
    )
    request = make(body=body, **{"Content-Type": "multipart/form-data; boundary=x"})
    assert request.files["f"][0].body == b"h"
    assert request.arguments == request.body_arguments == {"a": [b"b"]}


@both
def test_other_bodies_are_no_forms(make: Make) -> None:
    """A body of another type has no arguments."""
    request = make("/?a=1", body=b"b=2", **{"Content-Type": "application/json"})
    assert (request.arguments, request.body_arguments) == ({"a": [b"1"]}, {})


@both
def test_malformed_body_is_refused_each_time(make: Make) -> None:
    """A form beyond its limit is refused whenever somebody asks for what it holds."""
    request = make("/?b=1", body=b"a&" * 1001, **FORM)
    for _ in range(2):
        with pytest.raises(HTTPInputError, match="x-www-form-urlencoded"):
            request._parse_body()
        for name in ("arguments", "body_arguments", "files"):
            with pytest.raises(HTTPInputError, match="x-www-form-urlencoded"):
                getattr(request, name)
    assert request.query_arguments == {"b": [b"1"]}
    request.body = b"a=2"
    assert request.arguments == {"b": [b"1"], "a": [b"2"]}


def test_long_query_beside_a_form() -> None:
    """A query beyond its limit keeps a form from being taken."""
    request = validated("/?" + "a&" * 1001, body=b"a=1", **FORM)
    for name in ("arguments", "body_arguments", "files"):
        with pytest.raises(HTTPInputError, match="Invalid query string"):
            getattr(request, name)


@both
def test_encoded_form_is_refused(make: Make) -> None:
    """A form that nobody decoded is refused."""
    request = make(body=b"a=b", **FORM, **{"Content-Encoding": "gzip"})
    with pytest.raises(HTTPInputError, match="Unsupported Content-Encoding: gzip"):
        request._parse_body()


@both
def test_body(make: Make) -> None:
    """The body is bytes, whether there is one or not."""
    assert make().body == b""
    assert make(body=b"x").body == b"x"


@both
def test_cookies(make: Make) -> None:
    """Cookies are morsels by name, and the same object each time."""
    request = make(Cookie='a=b; path=/; c="d"')
    assert isinstance(request.cookies["a"], http.cookies.Morsel)
    assert {name: morsel.value for name, morsel in request.cookies.items()} == {"a": "b", "c": "d"}
    assert request.cookies is request.cookies
    assert make().cookies == {}


# Time, repr, and the object itself


@both
def test_request_time(make: Make) -> None:
    """The time runs until the request is finished."""
    request = make()
    assert request.request_time() >= 0
    request._start_time = 10.0
    request._finish_time = 12.5
    assert request.request_time() == 2.5


@both
def test_repr_keeps_secrets(make: Make) -> None:
    """A repr tells the request apart and shows neither fields nor body."""
    request = make("/b", body=b"secret", Cookie="secret")
    assert repr(request) == (
        f"HTTPServerRequest(protocol='{request.protocol}', host='a.example', method='GET',"
        f" uri='/b', version='HTTP/1.1', remote_ip={request.remote_ip!r})"
    )


def test_repr_of_a_refused_host() -> None:
    """A repr never raises."""
    assert "host=''" in repr(validated(host="a b"))


@both
@pytest.mark.parametrize(
    "name",
    ["method", "uri", "path", "query", "version", "headers", "body", "host", "host_name",
     "remote_ip", "protocol", "files", "arguments", "query_arguments", "body_arguments", "cookies",
     "connection", "server_connection", "peer_ip", "client", "tls", "_body_future", "mine"],
)  # fmt: skip
def test_attributes_can_be_assigned(make: Make, name: str) -> None:
    """Applications and test suites assign what they like, as with Tornado's."""
    request = make()
    setattr(request, name, "x")
    assert getattr(request, name) == "x"


def test_unknown_attribute() -> None:
    """What does not exist is an AttributeError."""
    request = validated()
    with pytest.raises(AttributeError, match="nothing"):
        _ = request.nothing  # type: ignore[attr-defined]  # the mistake under test
    assert not hasattr(request, "_body_future")


@both
def test_copy(make: Make) -> None:
    """A copy stands for itself."""
    request = make("/b?c=d")
    made = copy.copy(request)
    made.path = "/e"
    assert (request.path, made.path, made.query) == ("/b", "/e", "c=d")


TARGETS = st.text(st.sampled_from("/ab?&=%2+;"), max_size=30).map(lambda text: "/" + text)
NAMES = ["method", "uri", "version", "path", "query", "host", "host_name", "arguments",
         "query_arguments", "body_arguments", "files", "body", "remote_ip", "protocol"]  # fmt: skip


@both
@given(uri=TARGETS, host=st.sampled_from(["a", "A.b:80", "[::1]:1", ""]), body=TARGETS)
def test_agrees_with_tornado(make: Make, uri: str, host: str, body: str) -> None:
    """For origin-form targets every attribute is what Tornado's request has."""
    connection = Connection()
    ours = make(uri, host=host, body=body.encode(), connection=connection, **FORM)
    model = TornadoRequest(
        start_line=TornadoStartLine("GET", uri, "HTTP/1.1"),
        headers=TornadoHeaders({**FORM, "Host": host}),
        body=body.encode(),
        connection=connection,  # type: ignore[arg-type]  # only its context is read
    )
    ours._parse_body()
    model._parse_body()
    for name in NAMES:
        assert getattr(ours, name) == getattr(model, name), name
    assert ours.full_url() == model.full_url()
    assert repr(ours) == repr(model)
