"""A request as function callbacks see it: `HTTPServerRequest`.

Decides how start line, header fields, body and connection become what an application asks for,
and works most of it out only then. It must not know how they came over the wire, nor how the
client's address was found out.

Source: `tornado.httputil.HTTPServerRequest`, whose attributes these are.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import warnings
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any, Self

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.cookies import load_cookies
from edgeserver.httputil.forms import (
    HTTPFile,
    get_parse_body_config,
    merge_values,
    parse_body_arguments,
)
from edgeserver.httputil.headers import HTTPHeaders
from edgeserver.httputil.hosts import (
    authority_of,
    check_host,
    split_absolute_target,
    split_host_and_port,
)
from edgeserver.httputil.interfaces import HTTPConnection
from edgeserver.httputil.lazy import lazy
from edgeserver.httputil.peers import ClientDetails, ClientProof, TLSDetails
from edgeserver.httputil.startlines import RequestStartLine
from edgeserver.httputil.urls import parse_qs_bytes

__all__ = ["HTTPServerRequest"]

new_object = object.__new__

# What an HTTP/1.0 request without a Host field is for, as Tornado has it.
_HOST_OF_HTTP_1_0 = "127.0.0.1"


class HTTPServerRequest:
    """One request.

    What the request says of its client is captured when it is made: the next request on the same
    connection changes the connection's context, and not this request.

    Args:
        method: Deprecated, as in Tornado; give `start_line`.
        uri: Deprecated, as in Tornado; give `start_line`.
        version: Deprecated, as in Tornado; give `start_line`.
        headers: The header fields.
        body: The body.
        host: Deprecated, as in Tornado; give `headers["Host"]`.
        files: Uploaded files, by name.
        connection: Where the answer is written; its `context` says who the client is.
        start_line: Method, target and version.
        server_connection: What `start_request` got.

    Attributes:
        method: Such as `"GET"`.
        uri: The target as it was sent, in whatever form.
        version: Such as `"HTTP/1.1"`.
        body: The body, `bytes`.
        remote_ip: The address of the client: the result of resolving.
        protocol: The scheme of the client: `"http"` or `"https"`.
        connection: Where the answer is written; None only in a request that was made by hand
            without one.
        server_connection: The same object for all requests of one connection.

    Raises:
        HTTPInputError: The host is missing, where it must not be, or invalid; or the query has
            more arguments than `ParseUrlEncodedConfig` allows.
    """

    connection: HTTPConnection

    # As class attributes, what most requests never set costs nothing for each request.
    body: bytes = b""
    _finish_time: float | None = None
    _parsed_body: bytes | None = None

    # For applications that read the body as it comes, as in Tornado.
    _body_future: asyncio.Future[None]

    def __init__(
        self,
        method: str | None = None,
        uri: str | None = None,
        version: str = "HTTP/1.0",
        headers: HTTPHeaders | None = None,
        body: bytes | None = None,
        host: str | None = None,
        files: dict[str, list[HTTPFile]] | None = None,
        connection: HTTPConnection | None = None,
        start_line: RequestStartLine | None = None,
        server_connection: object | None = None,
    ) -> None:
        if method is not None or uri is not None:
            _deprecated("the method, uri and version arguments", instead="start_line")
        if start_line is None:
            _deprecated("leaving out the start_line argument", instead="start_line")
            start_line = RequestStartLine(method or "GET", uri or "/", version)
        self.method, self.uri, self.version = start_line
        self.headers = HTTPHeaders() if headers is None else headers
        if host is not None:
            _deprecated("the host argument", instead='headers["Host"]')
            self.headers["Host"] = host
        if body:
            self.body = body
        if files:
            self.files = files
        self.connection = connection  # type: ignore[assignment]  # None: see the class
        self.server_connection = server_connection
        context = getattr(connection, "context", None)
        self.remote_ip: str | None = getattr(context, "remote_ip", None)
        self.protocol: str = getattr(context, "protocol", "http")
        self._start_time = time.time()
        # What is worked out later for a request from the wire is refused at once here; and what
        # the HTTP layer has done there is done here: the target's host replaces the field's.
        _ = self.host, self.query_arguments
        authority = authority_of(self.method, self.uri)
        if authority:
            self.headers = self.headers.copy()
            self.headers["Host"] = self.host = authority

    @classmethod
    def from_validated(
        cls,
        start_line: RequestStartLine,
        headers: HTTPHeaders,
        connection: Any,
        server_connection: object,
    ) -> Self:
        """Make a request from what the HTTP layer has validated, as cheaply as possible.

        Nothing is checked here. The number of arguments in the query, and a form in the body, are
        checked when an attribute that needs them is first read, which then raises
        `HTTPInputError`; whoever calls the application answers that with its status.

        Args:
            start_line: Method, target and version.
            headers: The header fields.
            connection: Has `remote_ip`, `protocol`, `client` and `explain()`, since it serves this
                one request; its `context` has `peer_ip` and `tls`.
            server_connection: What `start_request` got.
        """
        self = cls.__new__(cls)
        self.method, self.uri, self.version = start_line
        self.headers = headers
        self.connection = connection
        self.server_connection = server_connection
        self.remote_ip = connection.remote_ip
        self.protocol = connection.protocol
        self._start_time = time.time()
        return self

    @classmethod
    def from_connection(cls, connection: Any, server_connection: object) -> Self:
        """Make a request of which `connection` has the head, even more cheaply.

        Args:
            connection: Has `method`, `target`, `version` and `headers`, besides what
                `from_validated` asks of it.
            server_connection: What `take_request` got.
        """
        self = new_object(cls)
        self.method = connection.method
        self.uri = connection.target
        self.version = connection.version
        self.connection = connection
        self.server_connection = server_connection
        self.remote_ip = connection.remote_ip
        self.protocol = connection.protocol
        self._start_time = time.time()
        return self

    @lazy
    def headers(self) -> HTTPHeaders:
        """The header fields."""
        return self.connection.headers

    # The target

    @lazy
    def _absolute(self) -> tuple[str, str, str] | None:
        # RFC 9112 section 3.2.3: a CONNECT target is an authority, whatever it looks like.
        return None if self.method == "CONNECT" else split_absolute_target(self.uri)

    @lazy
    def path(self) -> str:
        """The path of the target; the whole of it in asterisk- and authority-form."""
        if self.uri.startswith("/") or self._absolute is None:
            return self.uri.partition("?")[0]
        return self._absolute[1]

    @lazy
    def query(self) -> str:
        """The query of the target, without `?`; empty if there is none."""
        if self.uri.startswith("/") or self._absolute is None:
            return self.uri.partition("?")[2]
        return self._absolute[2]

    @lazy
    def host(self) -> str:
        """The host, and port if given, of the `Host` field: the target's own where it names one.

        Source: RFC 9112 section 3.2.2: the target's host replaces the field's, in `headers` too.
        """
        try:
            host = self.headers["Host"]
        except KeyError:
            if self.version != "HTTP/1.0":
                # RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status
                # code to any HTTP/1.1 request message that lacks a Host header field".
                raise HTTPInputError("Missing Host header", rfc="RFC 9112 section 3.2") from None
            host = _HOST_OF_HTTP_1_0
        check_host(host)
        return host

    @lazy
    def host_name(self) -> str:
        """The host in lower case, without the port."""
        return split_host_and_port(self.host.lower())[0]

    def full_url(self) -> str:
        """Return the URL that the client asked for."""
        if self._absolute is None:
            return f"{self.protocol}://{self.host}{self.uri}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.protocol}://{self.host}{self.path}{query}"

    # Arguments, files, cookies

    @lazy
    def query_arguments(self) -> dict[str, list[bytes]]:
        """The arguments of the query: names to lists of values, which are `bytes`.

        Raises:
            HTTPInputError: There are too many.
        """
        config = get_parse_body_config().urlencoded
        try:
            return parse_qs_bytes(
                self.query, keep_blank_values=True, max_num_fields=config.max_arguments
            )
        except ValueError as error:
            raise HTTPInputError(f"Invalid query string: {error}") from error

    @lazy
    def arguments(self) -> dict[str, list[bytes]]:
        """The arguments of the query and then of the body, in the same form.

        Raises:
            HTTPInputError: There are too many, or the body is a malformed form.
        """
        if self._has_unparsed_body():
            self._parse_body()
            return self.arguments
        return {name: values.copy() for name, values in self.query_arguments.items()}

    @lazy
    def body_arguments(self) -> dict[str, list[bytes]]:
        """The arguments of the body, in the same form.

        Raises:
            HTTPInputError: The body is a malformed form, or one beyond a limit.
        """
        if self._has_unparsed_body():
            self._parse_body()
            return self.body_arguments
        return {}

    @lazy
    def files(self) -> dict[str, list[HTTPFile]]:
        """The uploaded files: names to lists of `HTTPFile`.

        Raises:
            HTTPInputError: The body is a malformed form, or one beyond a limit.
        """
        if self._has_unparsed_body():
            self._parse_body()
            return self.files
        return {}

    @lazy
    def cookies(self) -> SimpleCookie:
        """The cookies: names to `http.cookies.Morsel`."""
        return load_cookies(self.headers.get("Cookie", ""))

    def _has_unparsed_body(self) -> bool:
        return bool(self.body) and self.body is not self._parsed_body

    def _parse_body(self) -> None:
        """Add what a form body holds to `body_arguments`, `arguments` and `files`, once.

        Reading one of these does so too. An application that was handed the request before its
        body calls this when the body is there.

        Raises:
            HTTPInputError: The form is malformed or beyond a limit, or the query is; then nothing
                was added.
        """
        body = self.body
        before = self._parsed_body
        if body is before:
            return
        # From here on the three attributes do not come back here for this body.
        self._parsed_body = body
        found: dict[str, list[bytes]] = {}
        found_files: dict[str, list[HTTPFile]] = {}
        content_type = self.headers.get("Content-Type", "")
        try:
            parse_body_arguments(content_type, body, found, found_files, self.headers)
            arguments = self.arguments
        except HTTPInputError:
            self._parsed_body = before
            raise
        merge_values(found, into=arguments)
        merge_values(found, into=self.body_arguments)
        merge_values(found_files, into=self.files)

    # Who and when

    @lazy
    def peer_ip(self) -> str | None:
        """The address at the other end of the TCP connection."""
        return getattr(getattr(self.connection, "context", None), "peer_ip", None)

    @lazy
    def request_id(self) -> str | None:
        """The request's id, where the server gives requests ids; else None."""
        return getattr(self.connection, "request_id", None)

    @lazy
    def tls(self) -> TLSDetails | None:
        """What the TLS layer knows (a `TLSInfo` of `edgeserver.tls`), or None."""
        return getattr(getattr(self.connection, "context", None), "tls", None)

    @lazy
    def client(self) -> ClientDetails | None:
        """Who the client is (`edgeserver.proxyheaders.Resolved`), or None if nothing was asked."""
        return getattr(self.connection, "client", None)

    def explain(self) -> ClientProof | None:
        """Return the proof of `client` (`Provenance`), or None if there is nothing to prove."""
        explain: Callable[[], ClientProof | None] | None
        explain = getattr(self.connection, "explain", None)
        return None if explain is None else explain()

    def request_time(self) -> float:
        """Return for how many seconds the request has been, or was, in hand."""
        end = time.time() if self._finish_time is None else self._finish_time
        return end - self._start_time

    def get_ssl_certificate(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """Return the client's certificate, or None: without TLS, or if there was none.

        Args:
            binary_form: Whether to return it as DER rather than as a dict, as
                `ssl.SSLSocket.getpeercert` does.
        """
        stream = getattr(self.connection, "stream", None)
        getpeercert = getattr(getattr(stream, "socket", None), "getpeercert", None)
        if getpeercert is None:
            return None
        try:
            certificate: dict[str, Any] | bytes | None = getpeercert(binary_form=binary_form)
        except (ssl.SSLError, ValueError):
            return None
        return certificate

    def __repr__(self) -> str:
        # Neither fields nor body, which hold secrets: a repr ends up in logs.
        try:
            host = self.host
        except HTTPInputError:
            host = ""
        return (
            f"{type(self).__name__}(protocol={self.protocol!r}, host={host!r},"
            f" method={self.method!r}, uri={self.uri!r}, version={self.version!r},"
            f" remote_ip={self.remote_ip!r})"
        )


def _deprecated(what: str, *, instead: str) -> None:
    warnings.warn(
        f"HTTPServerRequest: {what} is deprecated, as in Tornado 6.6, and goes with 6.7;"
        f" give {instead}",
        DeprecationWarning,
        stacklevel=3,
    )
