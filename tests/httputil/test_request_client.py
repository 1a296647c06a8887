"""HTTPServerRequest: what it says of the client, and how Tornado's constructor makes it."""

import ssl
import warnings
from typing import Any

import pytest

from edgeserver.httputil.headers import HTTPHeaders
from edgeserver.httputil.request import HTTPServerRequest
from edgeserver.httputil.startlines import RequestStartLine
from tests.httputil.requests import Connection, Make, both, direct

# The client


@both
def test_client_is_captured(make: Make) -> None:
    """What becomes of the connection's context later changes nothing here."""
    connection = Connection()
    request = make(connection=connection)
    context = connection.context
    context.remote_ip, context.protocol = "6.6.6.6", "http"
    assert (request.remote_ip, request.protocol) == ("203.0.113.9", "https")
    assert (request.peer_ip, request.tls) == ("10.0.0.1", "TLSv1.3")
    assert request.client == "203.0.113.9"
    assert request.explain() == "proof of 203.0.113.9"
    assert request.connection is connection


@both
def test_nothing_was_resolved(make: Make) -> None:
    """Where no policy was asked there is no client and no proof."""
    request = make(connection=Connection(client=None))
    assert request.client is None
    assert request.explain() is None


def test_without_a_connection() -> None:
    """A request that somebody makes by hand knows no client."""
    request = direct()
    assert request.connection is None
    assert request.server_connection is None
    assert (request.remote_ip, request.protocol) == (None, "http")
    assert (request.peer_ip, request.tls, request.client, request.explain()) == (None,) * 4


def test_server_connection() -> None:
    """The object that `start_request` got is handed on."""
    made = HTTPServerRequest.from_validated(
        RequestStartLine("GET", "/", "HTTP/1.0"), HTTPHeaders(), Connection(), 1
    )
    assert made.server_connection == 1


# Certificates


class Socket:
    """A socket of a TLS connection; plain ones have no `getpeercert`."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def getpeercert(self, *, binary_form: bool) -> Any:
        """Return or raise the answer."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return b"DER" if binary_form else self.answer


class Stream:
    """A stream over a socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (Connection(Stream(Socket({"subject": ()}))), {"subject": ()}),
        (Connection(Stream(Socket(None))), None),
        (Connection(Stream(Socket(ssl.SSLError("gone")))), None),
        (Connection(Stream(Socket(ValueError("handshake not done yet")))), None),
        (Connection(Stream(object())), None),
        (Connection(None), None),
        (None, None),
    ],
    ids=["given", "none-given", "ssl-error", "too-early", "plain", "detached", "no-connection"],
)
def test_certificate(connection: Any, expected: Any) -> None:
    """The client's certificate is that of the socket, and None where there cannot be one."""
    assert direct(connection=connection).get_ssl_certificate() == expected


def test_certificate_as_der() -> None:
    """On request it is DER."""
    request = direct(connection=Connection(Stream(Socket({}))))
    assert request.get_ssl_certificate(binary_form=True) == b"DER"
    assert request.get_ssl_certificate(True) == b"DER"


# Tornado's constructor


def test_no_warning_with_a_start_line() -> None:
    """The way that stays warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.0"))
    assert request.headers == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"method": "PUT", "uri": "/b"}, ("PUT", "/b", "HTTP/1.0")),
        ({"method": "PUT"}, ("PUT", "/", "HTTP/1.0")),
        ({"uri": "/b"}, ("GET", "/b", "HTTP/1.0")),
        ({}, ("GET", "/", "HTTP/1.0")),
        ({"version": "HTTP/1.1", "host": "b"}, ("GET", "/", "HTTP/1.1")),
    ],
    ids=["method-uri", "method", "uri", "nothing", "version-host"],
)
def test_deprecated_arguments(arguments: dict[str, str], expected: tuple[str, str, str]) -> None:
    """What Tornado 6.6 deprecates works, and warns of the caller's line."""
    with pytest.warns(DeprecationWarning, match="goes with 6.7") as caught:
        request = HTTPServerRequest(**arguments)  # type: ignore[arg-type]  # a table of arguments
    assert (request.method, request.uri, request.version) == expected
    assert request.host == arguments.get("host", "127.0.0.1")
    assert {warning.filename for warning in caught} == {__file__}


def test_positional_arguments() -> None:
    """The order of the arguments is Tornado's."""
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    files: dict[str, Any] = {"f": []}
    connection = Connection()
    with pytest.warns(DeprecationWarning, match="goes with 6.7"):
        request = HTTPServerRequest(
            None, None, "", HTTPHeaders(), b"b", "h", files, connection, line, 1  # type: ignore[arg-type]  # not an HTTPConnection
        )  # fmt: skip
    assert (request.version, request.body, request.host) == ("HTTP/1.1", b"b", "h")
    assert (request.files, request.connection, request.server_connection) == (files, connection, 1)
