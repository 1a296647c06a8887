"""The HTTP/1 exchange: how one answer is framed, and held to what it declared.

Decides which bytes an answer is. It must not know how requests are parsed or in which order they
came: it has an output to write to, and an owner who is told of its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from edgeserver.errors import HTTPOutputError
from edgeserver.http.exchange import DONE, FRESH, OPEN, Exchange, ExchangeOwner
from edgeserver.http.output import JOIN_BELOW, OutputBuffer, failed_future
from edgeserver.http.semantics import parse_expect_continue
from edgeserver.http1.body_reader import BodyReader
from edgeserver.http1.framing import CHUNKED, parse_connection
from edgeserver.http1.head import Head
from edgeserver.http1.raw_stream import Closable, RawStream
from edgeserver.http1.response_head import (
    cached_field,
    cached_length,
    cached_status,
    encode_field,
    encode_length,
    encode_trailers,
    field_lines,
    framing_names,
    split_connection,
    status_line,
)
from edgeserver.http1.shared import HTTP1Shared
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.httputil.headers import HTTPHeaders, RawHeaders
from edgeserver.iostream import IOStream

__all__ = ["HTTP1Exchange", "HTTP1Owner", "unread_exchange"]

KEEP_ALIVE: Final = frozenset((b"keep-alive", b"Keep-Alive"))
"""The values of Connection that nearly every client sends, and that change nothing."""

SPECIAL_METHODS: Final = frozenset(("HEAD", "CONNECT"))
"""Those whose answers are not framed as they say, or change the connection."""

BY_LENGTH: Final = 0
"""The body ends after as many bytes as were declared; or nothing has been declared yet."""
NO_BODY: Final = 1
IN_CHUNKS: Final = 2
UNTIL_CLOSE: Final = 3
"""Only the end of the connection ends the body."""
UPGRADED: Final = 4
"""It is not HTTP any more what follows the head."""

UNSAID: Final = -1
"""What remains of a body of which nothing has been said, because no head was written."""

LENGTH: Final = 1
CONNECTION: Final = 2
DATE: Final = 3
OURS: Final = 4
FRAMING: Final = framing_names(
    {"Content-Length": LENGTH, "Connection": CONNECTION, "Date": DATE, "Transfer-Encoding": OURS}
)
"""Fields that the server reads, or writes itself; Transfer-Encoding is its own alone."""


class HTTP1Owner(ExchangeOwner, Closable, Protocol):
    """What an exchange asks of a connection that serves it alone."""


class HTTP1Exchange(Exchange):
    """Where the answer to one HTTP/1.1 request is written; nothing reaches that of another.

    What applications hand over is `Any` here: compiled, a narrower type would be held against it,
    and whatever has the shape that `HTTPConnection` asks for is accepted.

    Args:
        owner: Who is told of the end of the answer.
        output: Where its bytes go.
        shared: The lines that all answers have.
        info: Who is at the other end.
        head: The request's.
        body: What reads its body; None where it has none.

    Attributes:
        keep_alive: Whether the connection may serve another request after this one.
        plain: Whether this is HTTP/1.1 without body or HEAD, and not the last request of the
            connection: its answer is framed as it says.
        body: The same.
        sent_before: What `bytes_sent` was when it was last looked whether the answer gets on.
        expects_continue: Whether the client waits for a 100 before it sends the body.
    """

    __slots__ = ("_framing", "_output", "_remaining", "_shared", "keep_alive", "plain")

    # What few requests have stands on the class.
    body: BodyReader | None = None
    expects_continue = False
    sent_before = 0
    _trailers = b""

    def __init__(
        self,
        owner: HTTP1Owner,
        output: OutputBuffer,
        shared: HTTP1Shared,
        info: ConnectionInfo,
        head: Head,
        body: BodyReader | None,
    ) -> None:
        method, target, version, lines, fields = head
        self._owner = owner
        self._output = output
        self._shared = shared
        self.info = info
        self.method = method
        self.target = target
        self.version = version
        self.fields = self._head_fields = fields
        self.lines = self._head_lines = lines
        self.status = self.bytes_sent = 0
        self.state = FRESH
        self.keep_alive = self.plain = True
        self._framing = BY_LENGTH
        self._remaining: int | None = UNSAID  # of the body that was declared; None without one
        self._headers = self._close_callback = None
        if (
            (b"connection" in fields and (fields[b"connection"] not in KEEP_ALIVE or lines))
            or body is not None
            or version != "HTTP/1.1"
            or method in SPECIAL_METHODS
        ):
            self._read_options(lines, fields, body)

    def _read_options(
        self, lines: RawHeaders | None, fields: dict[bytes, bytes], body: BodyReader | None
    ) -> None:
        """Note what the head says of the connection, where that is not plain."""
        if body is not None:
            self.body = body
            self.plain = False
        close, keep_alive = parse_connection(lines, fields)
        if self.version == "HTTP/1.0":
            self.plain = False
            # RFC 9112 section 6.1: chunked from a 1.0 client may be a misread framing; the
            # connection is closed "even if" the answer would let it go on.
            is_chunked = body is not None and body.length == CHUNKED
            self.keep_alive = keep_alive and not close and not is_chunked
        else:
            if close:
                self.keep_alive = self.plain = False
            # RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received
            # in an HTTP/1.0 request."
            if b"upgrade" in fields:
                self.upgrades = True
            if body is not None and b"expect" in fields:
                self.expects_continue = parse_expect_continue(fields[b"expect"])
        if self.method in SPECIAL_METHODS:
            self.plain = False
            if self.method == "CONNECT":
                # RFC 9110 section 9.3.6: a CONNECT that succeeds makes a tunnel of the connection.
                self.keep_alive = False

    # HTTPConnection.

    def write_headers(
        self,
        start_line: Any,
        headers: Any,
        chunk: Any = None,
        *,
        whole: bool = False,
    ) -> asyncio.Future[None]:
        """Write the head of the answer; see `HTTPConnection.write_headers`.

        A status of 100 to 199 but 101 is an informational answer: another head follows it.

        Raises:
            ValueError: The head cannot be written as it is; nothing was.
            HTTPOutputError: A head was written before, or the chunk is not what was declared.
        """
        if self.state:
            return self._refuse_head()
        _, code, reason = start_line
        status = cached_status((code, reason)) or status_line(code, reason)
        if code < 200:
            return self._write_informational(code, [status], headers)
        parts = [status]
        remaining = None
        dated = False
        lines: Iterable[Any]
        lines = headers.get_all() if type(headers) is HTTPHeaders else field_lines(headers)
        for name, value in lines:
            if name not in FRAMING:
                parts.append(cached_field((name, value)) or encode_field(name, value))
                continue
            kind = FRAMING[name]
            if kind == LENGTH:
                # RFC 9110 section 8.6: "A server MUST NOT send a Content-Length header field in
                # any response with a status code of 1xx (Informational) or 204 (No Content)."
                if code != 204:
                    length, line = cached_length(value) or encode_length(value)
                    if remaining is None:
                        remaining = length
                        parts.append(line)
                    elif remaining != length:
                        raise ValueError(f"Content-Length is both {remaining} and {length}")
            elif kind == CONNECTION:
                self._read_connection(value, parts)
            elif kind == DATE:
                dated = True
                parts.append(cached_field((name, value)) or encode_field(name, value))
        if not dated:
            parts.append(self._shared.date_line)
        if whole and remaining != len(chunk or b""):
            remaining = self._fit(code, remaining, len(chunk or b""), parts)
        if (
            remaining is None
            or not self.plain
            or code == 304
            or not self._shared.service.plain_answers
        ):
            self._frame(code, remaining, len(chunk or b""), parts)
        parts.append(b"\r\n")
        if chunk and type(chunk) is not bytes:
            chunk = bytes(memoryview(chunk))  # a str is refused while nothing has been written
        self.status = code
        self.state = OPEN
        if chunk:
            size = len(chunk)
            if self._framing or size > JOIN_BELOW:
                self._remaining = remaining
                head = b"".join(parts)
                self.bytes_sent = len(head)
                self._output.send(head)
                return self.write(chunk)
            if remaining is not None:
                if size > remaining:
                    self._too_much("Tried to write more data than Content-Length")
                remaining -= size
            parts.append(chunk)
        self._remaining = remaining
        data = b"".join(parts)
        self.bytes_sent = len(data)
        if not self.keep_alive and (whole or self._output.corked):
            # It leaves with the end of the connection, which `finish` is, or is uncorked.
            self._output.collect(data)
            return self._output.ready_future()
        return self._output.send(data)

    def _refuse_head(self) -> asyncio.Future[None]:
        """Say that a second head, or one for an exchange that has ended, is not written."""
        if self.state == DONE:
            return failed_future()
        raise HTTPOutputError(
            "write_headers was called twice for one request: write the body with write()"
        )

    def _fit(self, code: int, remaining: int | None, size: int, parts: list[bytes]) -> int | None:
        """Return the length of a body that is in hand; declare it where the application did not."""
        if code == 204 or code == 304 or self.method == "HEAD":
            return remaining
        if remaining is None:
            parts.append(b"Content-Length: %d\r\n" % size)
        elif remaining != size:
            raise HTTPOutputError(f"Content-Length says {remaining} bytes, and the body has {size}")
        return size

    def _frame(self, code: int, remaining: int | None, size: int, parts: list[bytes]) -> None:
        """Decide how the body ends and whether the connection goes on, where that is not plain."""
        service = self._shared.service
        if code == 204 or code == 304 or self.method == "HEAD":
            self._framing = NO_BODY
        elif remaining is None:
            if self.version == "HTTP/1.1":
                self._framing = IN_CHUNKS
                parts.append(b"Transfer-Encoding: chunked\r\n")
            else:
                # RFC 9112 section 6.3: only the end of the connection can say where it ends.
                self._framing = UNTIL_CLOSE
                self.keep_alive = False
        if service.must_close or self.expects_continue:
            # RFC 9110 section 10.1.1: a client that got no 100 may or may not send its body now.
            self.keep_alive = False
        elif (
            self.body is not None
            and self.body.pending
            and (self._framing == NO_BODY or size == remaining)
        ):
            # RFC 9112 section 9.3: an answer that is complete before its request ends the
            # connection; section 9.6 has the option that says so.
            self.keep_alive = False
        if not self.keep_alive:
            if self.version == "HTTP/1.1":
                parts.append(b"Connection: close\r\n")
        elif self.version == "HTTP/1.0":
            parts.append(b"Connection: Keep-Alive\r\n")
        if service.adds_lines:
            self._add_lines(parts)

    def _add_lines(self, parts: list[bytes]) -> None:
        """Write what the server itself has to say, unless the application has said it."""
        service = self._shared.service
        if service.strict_transport is not None and self.info.tls is not None:
            self._say_strict_transport(parts)
        ids, request_id = service.request_ids, self.request_id
        if ids is not None and request_id is not None:
            before = ids.name + b":"
            if not any(part.lower().startswith(before) for part in parts):
                parts.append(ids.line(request_id))

    def _say_strict_transport(self, parts: list[bytes]) -> None:
        """Have the client come over TLS from now on, unless the application says how.

        Source: RFC 6797 section 7.1; only ever over TLS that ends here, whatever a header says.
        """
        if not any(part[:26].lower() == b"strict-transport-security:" for part in parts):
            parts.append(self._shared.strict_transport_line)

    def write(self, chunk: Any) -> asyncio.Future[None]:
        """Write a piece of the body; see `HTTPConnection.write`.

        Without a `write_headers` before it the bytes go out as they are (Tornado's deprecated
        way to write a preformatted head).

        Raises:
            HTTPOutputError: It is more than the `Content-Length` that was declared; the
                connection is closed.
        """
        output = self._output
        if self.state == DONE:
            return failed_future()
        if not chunk:
            return output.ready_future()
        if type(chunk) is not bytes:
            chunk = bytes(memoryview(chunk))  # it may be changed before it is sent
        size = len(chunk)
        framing = self._framing
        if framing in (NO_BODY, UPGRADED):
            if self.method != "HEAD":
                self._too_much(f"a {self.status} answer has no body")
            return output.ready_future()
        self._count(size)
        if framing == IN_CHUNKS:
            self.bytes_sent += size
            if size <= JOIN_BELOW:
                return output.send(b"%x\r\n%b\r\n" % (size, chunk))
            output.send(b"%x\r\n" % size)
            output.send(chunk)
            return output.send(b"\r\n")
        self.bytes_sent += size
        return output.send(chunk)

    def finish(self) -> None:
        """Say that the answer is complete; see `HTTPConnection.finish`.

        Raises:
            HTTPOutputError: It is less than the `Content-Length` that was declared, or nothing
                at all; the connection is closed.
        """
        if self.state == DONE:
            return
        framing = self._framing
        if not framing:  # BY_LENGTH, as nearly all
            if self._remaining:
                self._too_little(self._remaining)
        elif framing == IN_CHUNKS:
            self._output.send(b"0\r\n%b\r\n" % self._trailers)
        elif framing == UPGRADED:
            self._output.flush()
            return
        self.state = DONE
        self._close_callback = None
        self._owner.exchange_done(self)

    # The body of the request.

    def begin_body(self, body: BodyReader, *, has_come: bool) -> float | None:
        """Have the body read from now on, and sent by a client that waits for a 100.

        Args:
            body: What reads it.
            has_come: Whether it was sent without waiting.

        Returns:
            In how many seconds it has to be there; None where it may take any time.

        Raises:
            HTTPInputError: It declares more than it may have (413).
        """
        limits, most = self._shared.service.limits, self.max_body_size
        body.begin(limits, limits.max_body_size if most is None else most)
        if self.expects_continue and self.state == FRESH:
            self.expects_continue = False
            if not has_come:
                self._output.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return limits.body_timeout if self.body_timeout is None else self.body_timeout

    def set_max_body_size(self, max_body_size: int) -> None:
        """Replace the limit of the body's bytes, for this request only."""
        self.max_body_size = max_body_size
        if self.body is not None:
            self.body.limit(max_body_size)

    # What is below HTTP.

    @property
    def local_address(self) -> Any:
        """The address that the connection came in on; None once it is gone."""
        return self._output.local_address()

    @property
    def stream(self) -> Any:
        """The connection's bytes: `socket`, `write`, `close`, `closed`; None once it is gone."""
        if self._output.transport is None:
            return None
        return RawStream(cast(HTTP1Owner, self._owner), self._output, self)

    def detach(self) -> IOStream:
        """Take the connection away from HTTP, with the bytes that came after this request.

        Raises:
            StreamClosedError: The connection is closed, or serves another request by now.
        """
        stream = IOStream(max_buffer_size=self._shared.service.limits.max_buffer_size)
        self._owner.detach(self, stream)
        return stream

    # The answer.

    def set_trailers(self, fields: Any) -> None:
        """Have `fields` follow the body, where its framing has a place for them.

        Raises:
            ValueError: One of them cannot be written, or may not stand in a trailer section.
        """
        self._trailers = encode_trailers(fields)

    @property
    def is_open_ended(self) -> bool:
        """Whether the answer has begun and does not say how long it is."""
        return self.state == OPEN and self._framing in (IN_CHUNKS, UNTIL_CLOSE)

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not take what is written."""
        return self._output.paused

    @property
    def until_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self._framing == UNTIL_CLOSE

    def _read_connection(self, value: Any, parts: list[bytes]) -> None:
        """Honour the application's `Connection`: close is ours to say, other options pass."""
        close, others = split_connection(value)
        if close:
            self.keep_alive = self.plain = False
        if others:
            parts.append(encode_field("Connection", others))

    def _write_informational(
        self, code: int, parts: list[bytes], headers: Any
    ) -> asyncio.Future[None]:
        if self.version == "HTTP/1.0":
            # RFC 9110 section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client."
            if code == 101:
                raise ValueError("a 101 answer cannot be sent to an HTTP/1.0 client")
            return self._output.ready_future()
        for name, value in field_lines(headers):
            # Section 8.6 and RFC 9112 section 6.1: neither in a 1xx answer.
            if FRAMING.get(name) not in (LENGTH, OURS):
                parts.append(encode_field(name, value))
        parts.append(b"\r\n")
        data = b"".join(parts)
        if code == 101:
            self.status = 101
            self.bytes_sent += len(data)
            self.state = OPEN
            self._framing = UPGRADED
            self.keep_alive = False
        elif code == 100:
            self.expects_continue = False
        return self._output.send(data)

    def _count(self, size: int) -> None:
        remaining = self._remaining
        if remaining is not None:
            if size <= remaining:
                self._remaining = remaining - size
            elif remaining == UNSAID:
                self.state = OPEN
                self._remaining = None
            else:
                self._too_much("Tried to write more data than Content-Length")

    def _too_little(self, remaining: int) -> None:
        self._owner.exchange_broken()
        if remaining == UNSAID:
            # Without a head there is no answer: the next one would be taken for it.
            raise HTTPOutputError("finish() was called before write_headers()")
        raise HTTPOutputError(f"Tried to write {remaining} bytes less than Content-Length")

    def _too_much(self, message: str) -> None:
        self._owner.exchange_broken()
        raise HTTPOutputError(message)


def unread_exchange(
    owner: HTTP1Owner,
    output: OutputBuffer,
    shared: HTTP1Shared,
    info: ConnectionInfo,
    status: int,
    sent: int,
) -> HTTP1Exchange:
    """Return what the access log says of a head that could not be read: `- - -`, and a peer.

    Args:
        owner: The connection.
        output: Its output; nothing is written to it.
        shared: What all connections share.
        info: Who is at the other end.
        status: What it was told.
        sent: Bytes of that.
    """
    exchange = HTTP1Exchange(owner, output, shared, info, ("-", "-", "-", None, {}), None)
    exchange.end()
    exchange.client = exchange.bound = None
    exchange.remote_ip, exchange.protocol = info.peer_ip, info.scheme
    exchange.status, exchange.bytes_sent = status, sent
    exchange.started_s = time.perf_counter()
    return exchange
