"""The HTTP/2 exchange: how one answer is framed, and held to what it declared.

Decides which header blocks and DATA an answer is. It must not know how requests come in: it has a
sender to write to, and an owner who is told of its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Protocol

from edgeserver.errors import HTTPOutputError
from edgeserver.http.exchange import DONE, FRESH, OPEN, Exchange, ExchangeOwner
from edgeserver.http.output import failed_future
from edgeserver.http2.answer_fields import (
    DATE,
    DROPPED,
    INDEXED,
    LENGTH,
    LITERAL,
    AnswerField,
    answer_field,
    encode_trailer_block,
    known_field,
)
from edgeserver.http2.extended_connect import NOT_IN_ANSWER
from edgeserver.http2.head import RequestHead
from edgeserver.http2.hpack.encoder import Encoder, encode_literal, encode_status
from edgeserver.http2.hpack.tables import Field
from edgeserver.http2.outgoing import Outgoing
from edgeserver.http2.sender import FrameSender
from edgeserver.http2.shared import HTTP2Shared
from edgeserver.http2.stream_view import StreamView
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.iostream import IOStream

__all__ = ["VERSION", "HTTP2Exchange"]

VERSION: Final = "HTTP/2"

UNSAID: Final = -1
"""What remains of a body of which nothing has been said, because no head was written."""

UPGRADED: Final = -2
"""The same of a request that has become a WebSocket."""

SENT: Final = -3
"""The same of a body that has left, with its end."""

NOT_UPGRADED: Final = 501
"""What a handshake is told where the application has answered as if it were any request."""

_statuses: Final[dict[int, bytes]] = {code: encode_status(code) for code in range(100, 600)}


class OutgoingOwner(ExchangeOwner, Protocol):
    """Who has the outgoing half of a stream: most answers need none, since they leave at once."""

    def outgoing(self) -> Outgoing:
        """Return it; it is made when it is first asked for."""
        ...


class HTTP2Exchange(Exchange):
    """Where the answer to the request of one stream is written.

    What applications hand over is `Any` here: compiled, a narrower type would be held against it.

    Args:
        owner: Who is told of the end of the answer.
        sender: Where its frames go.
        stream_id: Whose they are.
        encoder: The connection's.
        shared: The fields that all answers have.
        info: Who is at the other end.
        head: What the request says.

    Attributes:
        expects_continue: Whether the client waits for a 100 before it sends the body.
        guard: Keeps the stream counted until the application has let the exchange go.
    """

    __slots__ = (
        "_bodiless",
        "_encoder",
        "_half",
        "_out",
        "_remaining",
        "_sender",
        "_shared",
        "_stream_id",
        "upgrades",
    )

    # What few requests have stands on the class.
    expects_continue = False
    guard: Any = None
    _trailers = b""

    def __init__(
        self,
        owner: OutgoingOwner,
        sender: FrameSender,
        stream_id: int,
        encoder: Encoder,
        shared: HTTP2Shared,
        info: ConnectionInfo,
        head: RequestHead,
    ) -> None:
        self._owner = self._half = owner
        self._out: Outgoing | None = None
        self._sender = sender
        self._stream_id = stream_id
        self._encoder = encoder
        self._shared = shared
        self.info = info
        self.method = head.method
        self.target = head.target
        self.version = VERSION
        self.fields = self._head_fields = head.fields
        self.lines = self._head_lines = head.lines
        self.status = self.bytes_sent = 0
        self.state = FRESH
        self.upgrades = False
        self._bodiless = False  # whether the answer has no body whatever is written
        self._remaining: int | None = UNSAID  # of the body that was declared; None without one
        self._headers = self._close_callback = None

    def begin_handshake(self, lines: list[Field]) -> None:
        """Have the request be the handshake of a WebSocket, whose fields are `lines`.

        Source: RFC 6455 section 4.1: "The method of the request MUST be GET".
        """
        self.upgrades = True
        self.method = "GET"
        self.fields = self._head_fields = dict(lines)
        self.lines = self._head_lines = lines if len(lines) != len(self.fields) else None

    @property
    def is_upgraded(self) -> bool:
        """Whether its 101 was written."""
        return self._remaining == UPGRADED

    @property
    def was_sent_whole(self) -> bool:
        """Whether all of the answer has left, and no outgoing half was needed."""
        return self._remaining == SENT

    def _outgoing(self) -> Outgoing:
        out = self._out
        if out is None:
            out = self._out = self._half.outgoing()
        return out

    # HTTPConnection.

    def write_headers(
        self, start_line: Any, headers: Any, chunk: Any = None, *, whole: bool = False
    ) -> asyncio.Future[None]:
        """Write the head of the answer; see `HTTPConnection.write_headers`.

        A status of 100 to 199 is an informational answer: another head follows it.

        Raises:
            ValueError: The head cannot be written as it is; nothing was.
            HTTPOutputError: A head was written before, or the chunk is not what was declared.
        """
        if self.state:
            return self._refuse_head()
        code = int(start_line[1])
        status = _statuses.get(code)
        if status is None:
            if not 600 <= code <= 999:
                raise ValueError(f"{code!r} is not a status code: give a number of three digits")
            status = encode_status(code)
        if code < 200:
            return self._write_informational(code, status, headers)
        if self.upgrades and code < 300:
            # RFC 8441 section 5: a 2xx would say that it is a WebSocket now.
            code, status = NOT_UPGRADED, _statuses[NOT_UPGRADED]
        remaining = None
        dated = is_new = False
        written = self._encoder.written
        parts = [status]
        lines: Iterable[Any] = headers if type(headers) is list else headers.get_all()
        for name, value in lines:
            field = known_field((name, value)) or answer_field(name, value)
            kind = field.kind
            if kind == INDEXED:
                line = written.get(field.pair)
                if line is not None:
                    parts.append(line)
                else:
                    is_new = True
            elif kind == LITERAL:
                parts.append(field.literal)
            elif kind == LENGTH:
                # RFC 9110 section 8.6: not in an answer with status 204.
                if code != 204 and remaining != field.length:
                    if remaining is not None:
                        raise ValueError(f"Content-Length is both {remaining} and {field.length}")
                    remaining = field.length
                    parts.append(field.literal)
            elif kind == DATE:
                dated = True
                parts.append(field.literal)
        size = len(chunk) if chunk else 0
        bodiless = code == 204 or code == 304 or self.method == "HEAD"
        if whole and remaining != size and not bodiless:
            if remaining is not None:
                raise HTTPOutputError(
                    f"Content-Length says {remaining} bytes, and the body has {size}"
                )
            remaining = size
            parts.append(answer_field(b"content-length", b"%d" % size).literal)
        if size and type(chunk) is not bytes:
            chunk = bytes(memoryview(chunk))  # a str is refused while nothing has been written
        # Nothing is refused any more, and so the peer's table may change.
        if not dated:
            parts.append(self._shared.date_block)
        if is_new or self._encoder.resized or self._shared.service.adds_lines:
            block = self._encode(status, headers, remaining, dated)
        else:
            block = b"".join(parts)
        self.status = code
        self.state = OPEN
        sender = self._sender
        if whole and size and not bodiless:
            self.bytes_sent += len(block) + size
            if not self._trailers and sender.send_whole(self._stream_id, block, chunk):
                self._remaining = SENT
                return sender.ready
            self._remaining = 0
            return sender.begin(self._outgoing(), block, chunk)
        self.bytes_sent += len(block)
        out = self._outgoing()
        if size and size == remaining and not bodiless:
            self._remaining = 0
            self.bytes_sent += size
            return sender.begin(out, block, chunk)
        self._bodiless = bodiless
        self._remaining = remaining
        sender.send_head(out, block, ends=(bodiless or (whole and not size)) and not self._trailers)
        return self.write(chunk) if size else sender.room(out)

    def _encode(self, status: bytes, headers: Any, length: int | None, dated: bool) -> bytes:
        """Return the header block of a final head, with what not all have; nothing is refused.

        Args:
            status: The status, encoded.
            headers: Its fields; they were checked.
            length: The length of the body; None where that is not said.
            dated: Whether they say when it was made.
        """
        encoder = self._encoder
        parts = [encoder.begin(), status]
        fields = _checked(headers)
        for field in fields:
            if field.kind == INDEXED:
                parts.append(encoder.encode(field.pair))
            elif field.kind != LENGTH and field.kind != DROPPED:
                parts.append(field.literal)
        if length is not None:
            parts.append(answer_field(b"content-length", b"%d" % length).literal)
        if not dated:
            parts.append(self._shared.date_block)
        if self._shared.service.adds_lines:
            self._add_fields(fields, parts)
        return b"".join(parts)

    def _add_fields(self, fields: list[AnswerField], parts: list[bytes]) -> None:
        """Write what the server itself has to say, unless the application has said it."""
        strict = self._shared.strict_transport
        # RFC 6797 section 7.1; only ever over TLS that ends here, whatever a header says.
        if (
            strict is not None
            and self.info.tls is not None
            and not any(field.name == b"strict-transport-security" for field in fields)
        ):
            parts.append(self._encoder.encode((b"strict-transport-security", strict)))
        ids, request_id = self._shared.service.request_ids, self.request_id
        if (
            ids is not None
            and request_id is not None
            and not any(field.name == ids.name for field in fields)
        ):
            # Not `answer_field`, which would keep what never comes again.
            parts.append(encode_literal(ids.name, request_id.encode("ascii")))

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not take what is written."""
        return self._sender.is_full(self._outgoing())

    def _refuse_head(self) -> asyncio.Future[None]:
        """Say that a second head, or one for an exchange that has ended, is not written."""
        if self.state == DONE:
            return failed_future()
        raise HTTPOutputError(
            "write_headers was called twice for one request: write the body with write()"
        )

    def _write_informational(self, code: int, status: bytes, headers: Any) -> asyncio.Future[None]:
        if code == 101 and self.upgrades:
            return self._accept(headers)
        if code == 101:
            # RFC 9113 section 8.6: HTTP/2 "does not support the 101 (Switching Protocols)".
            raise ValueError("a 101 answer cannot be sent over HTTP/2: nothing can be upgraded")
        fields = [field for field in _checked(headers) if field.kind not in (LENGTH, DROPPED)]
        begin = self._encoder.begin()
        block = b"".join([begin, status, *[field.literal for field in fields]])
        if code == 100:
            self.expects_continue = False
        out = self._outgoing()
        self._sender.send_head(out, block, ends=False)
        return self._sender.room(out)

    def _accept(self, headers: Any) -> asyncio.Future[None]:
        """Write what a WebSocket's 101 is over HTTP/2: a 200 whose body has no end yet."""
        fields = [field for field in _checked(headers) if field.name != NOT_IN_ANSWER]
        dated = any(field.kind == DATE for field in fields)
        block = self._encode(_statuses[200], [field.pair for field in fields], None, dated)
        self.status = 200
        self.state = OPEN
        self._remaining = UPGRADED
        self.bytes_sent += len(block)
        out = self._outgoing()
        self._sender.send_head(out, block, ends=False)
        return self._sender.room(out)

    def write(self, chunk: Any) -> asyncio.Future[None]:
        """Write a piece of the body; see `HTTPConnection.write`.

        Raises:
            HTTPOutputError: There is no head, or it is more than the `Content-Length` that was
                declared; the stream is reset.
        """
        if self.state == DONE:
            return failed_future()
        if not chunk:
            return self._sender.room(self._outgoing())
        if type(chunk) is not bytes:
            chunk = bytes(memoryview(chunk))  # it may be changed before it is sent
        if self._bodiless:
            if self.method != "HEAD":
                self._break(f"a {self.status} answer has no body")
            return self._sender.room(self._outgoing())
        size = len(chunk)
        remaining = self._remaining
        if remaining is not None:
            if remaining == UNSAID:
                self._break("write() was called before write_headers()")
            if remaining == UPGRADED:
                self._break("the request is a WebSocket by now: write to what it was detached to")
            if size > remaining:
                self._break("Tried to write more data than Content-Length")
            self._remaining = remaining - size
        self.bytes_sent += size
        return self._sender.write(self._outgoing(), chunk)

    def finish(self) -> None:
        """Say that the answer is complete; see `HTTPConnection.finish`.

        Raises:
            HTTPOutputError: It is less than the `Content-Length` that was declared, or nothing
                at all; the stream is reset.
        """
        if self.state == DONE:
            return
        remaining = self._remaining
        if remaining != SENT:
            if remaining and not self._bodiless:
                if remaining == UPGRADED:
                    return
                if remaining == UNSAID:
                    self._break("finish() was called before write_headers()")
                self._break(f"Tried to write {remaining} bytes less than Content-Length")
            out = self._out
            if out is None:
                out = self._outgoing()
            if not out.complete:
                out.trailers = self._trailers
                self._sender.end(out)
        self.state = DONE
        self._close_callback = None
        self._owner.exchange_done(self)

    @property
    def local_address(self) -> Any:
        """The address that the connection came in on; None once it is gone."""
        return self._sender.output.local_address()

    @property
    def stream(self) -> Any:
        """What is below: `socket`, `close`, `closed`; None once the connection is gone."""
        output = self._sender.output
        return None if output.transport is None else StreamView(output, self)

    def detach(self) -> IOStream:
        """Take the stream of a WebSocket away from HTTP; see `detach_to`.

        Raises:
            HTTPOutputError: It is any other request, or was not accepted.
            StreamClosedError: The stream is over.
        """
        stream = IOStream(max_buffer_size=self._shared.service.limits.max_buffer_size)
        self._owner.detach(self, stream)
        return stream

    def set_trailers(self, fields: Any) -> None:
        """Have `fields` follow the body.

        Raises:
            ValueError: One of them cannot be written, or may not stand in a trailer section.
        """
        self._trailers = encode_trailer_block(fields)

    @property
    def is_open_ended(self) -> bool:
        """Whether the answer has begun and does not say how long it is."""
        return self.state == OPEN and not self._bodiless and self._remaining is None

    def _break(self, message: str) -> None:
        self._owner.exchange_broken()
        raise HTTPOutputError(message)


def _checked(headers: Any) -> list[AnswerField]:
    """Return the fields of any headers object, checked.

    Raises:
        ValueError: One of them cannot be written.
    """
    lines: Iterable[Any] = headers if type(headers) is list else headers.get_all()
    return [answer_field(name, value) for name, value in lines]
