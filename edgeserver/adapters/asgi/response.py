"""The answer to a request: the order that its messages come in, and how they are written.

Decides which message may follow which, that the head waits for the first piece of the body, and
what becomes of messages when nobody hears them any more. It must not know how an answer is framed.

The stages of an answer:

- FRESH: nothing yet. `http.response.start` leads to
- STARTED: status and fields are held back, so that a failure can still answer 500, and an answer
  of one piece is one write. The first `http.response.body` leads to
- STREAMING, where more of it follows, or to
- BODILESS, where more of it follows but the status has no body, and at the first piece of it to
- DROPPING: it is dropped, with a warning; or to
- TRAILING, where `http.response.trailers` was announced, or to
- DONE. "Any further messages on the channel will be ignored."

A client that has left:

The messages go on being taken, each after one turn of the event loop, so that a framework that
listens for `http.disconnect` can end its task in its own way. An application that does not listen
would run for good: from the `UNHEARD_SENDS`th message on, `send` raises `StreamClosedError`, an
`OSError`, as specification 2.4 asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from edgeserver.adapters.asgi.messages import (
    Message,
    check_status,
    to_bytes,
    to_fields,
    type_of,
    unexpected,
    wrong_fields,
)
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    ResponseStartLine,
    responses,
)
from edgeserver.iostream import closed_error
from edgeserver.support.ratelimit import LimitedLog

__all__ = ["DONE", "FRESH", "STARTED", "STREAMING", "TRAILING", "UNHEARD_SENDS", "Responder"]

FRESH: Final = 0
STARTED: Final = 1
BODILESS: Final = 2
DROPPING: Final = 3
STREAMING: Final = 4
TRAILING: Final = 5
DONE: Final = 6

UNHEARD_SENDS: Final = 64

_WITH_MORE: Final = ("after 'http.response.body' with more_body", "'http.response.body'")

_STATES: Final = {
    FRESH: ("before 'http.response.start'", "'http.response.start'"),
    STARTED: ("after 'http.response.start'", "'http.response.body'"),
    BODILESS: _WITH_MORE,
    DROPPING: _WITH_MORE,
    STREAMING: _WITH_MORE,
    TRAILING: ("after the last 'http.response.body'", "'http.response.trailers'"),
}


_start_lines: dict[Any, ResponseStartLine] = {
    status: ResponseStartLine("HTTP/1.1", status, reason)
    for status, reason in responses.items()
    if status >= 200
}


def _start_line(kind: str, message: Message) -> ResponseStartLine:
    """Return the start line for a status that has no registered reason."""
    return ResponseStartLine("HTTP/1.1", check_status(kind, message), "Unknown")


class Responder:
    """The answer to one request, as the application's `send` writes it; see `make`.

    Attributes:
        stage: How far it has come.
        gone: Whether the client is known to have left.
        on_completed: Called once the answer is complete, where somebody waits for that.
    """

    __slots__ = (
        "_connection",
        "_fields",
        "_mistakes",
        "_start_line",
        "_trailers",
        "_unheard",
        "gone",
        "on_completed",
        "stage",
    )

    # See `make`.
    _connection: HTTPConnection
    _mistakes: LimitedLog
    stage: int
    gone: bool
    on_completed: Callable[[], None] | None
    # The head, from http.response.start until it is written.
    _start_line: ResponseStartLine
    _fields: list[tuple[bytes, bytes]]
    # None, or the fields of the trailer section that was announced.
    _trailers: list[tuple[bytes, bytes]] | None
    # How many messages were for a client that has left.
    _unheard: int

    @staticmethod
    def make(connection: HTTPConnection, mistakes: LimitedLog) -> Responder:
        """Return a new one; CPython 3.11 takes half as long for that as for an `__init__`.

        Args:
            connection: Where the answer goes.
            mistakes: Where it is said that an answer had a body which its status does not have.
        """
        response = Responder()
        response._connection = connection
        response._mistakes = mistakes
        response.stage = FRESH
        response.gone = False
        response.on_completed = None
        response._trailers = None
        response._unheard = 0
        return response

    async def send(self, message: Message) -> None:
        """Take a message of the application; done when it may send more.

        Raises:
            MessageError: It is not allowed, or not allowed now; the message says why.
            HTTPOutputError: The body is longer or shorter than its `content-length`.
            StreamClosedError: The client left long ago.
        """
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            kind = type_of(message)  # says what is wrong with it
        stage = self.stage
        if stage == FRESH and kind == "http.response.start":
            # Held back until the first piece of the body.
            self._start_line = _start_lines.get(message.get("status")) or _start_line(kind, message)
            headers = message.get("headers")
            self._fields = headers if type(headers) is list else to_fields(kind, message)
            if message.get("trailers"):
                self._trailers = []
            self.stage = STARTED
        elif FRESH < stage < TRAILING and kind == "http.response.body":
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = to_bytes(kind, "body", body)
            more = message.get("more_body", False)
            if stage == STREAMING:
                written = self._connection.write(body)
            elif stage != STARTED:
                written = self._drop(body)
            else:
                whole = not more and self._trailers is None
                written = self._begin(body, whole)
                if whole:
                    return
            if not more:
                self._end_body()
            if not written.done():
                await written
            elif self.gone:
                await self._unheard_by(written)
        else:
            await self._send_other(kind, message)

    def _begin(self, body: bytes, whole: bool) -> asyncio.Future[None]:
        """Write the head with the first piece of the body; complete the answer if that is all."""
        connection = self._connection
        code = self._start_line[1]
        if code == 204 or code == 304:
            self.stage = BODILESS
            self._drop(body)
            body = b""
        try:
            written = connection.write_headers(self._start_line, self._fields, body, whole=whole)
        except (ValueError, TypeError, AttributeError) as error:
            raise wrong_fields("http.response.start", error) from error
        if not whole:
            if self.stage == STARTED:
                self.stage = STREAMING
            return written
        self.stage = DONE
        connection.finish()
        if self.on_completed is not None:
            self.complete()
        return written

    def _drop(self, piece: bytes) -> asyncio.Future[None]:
        """Take a piece of a body that the status does not have, and say so once.

        Source: RFC 9110 sections 15.3.5 and 15.4.5.
        """
        connection = self._connection
        if piece and self.stage == BODILESS:
            self.stage = DROPPING
            self._mistakes.write(
                "",
                "The application gave a body with status %d, which has none (RFC 9110 section"
                " 6.4.1); it was not sent: %s %s",
                self._start_line[1],
                connection.method,
                connection.target,
            )
        return connection.write(b"")

    def complete(self) -> None:
        """Let whoever waits for the end of the answer know that it has come."""
        self.stage = DONE
        callback, self.on_completed = self.on_completed, None
        if callback is not None:
            callback()

    def _wants_trailers(self) -> bool:
        """Tell whether the client said `TE: trailers`."""
        values = [value for name, value in self._connection.raw if name == b"te"]
        codings = b",".join(values).lower().split(b",")
        return b"trailers" in [coding.strip(b" \t") for coding in codings]

    def _end_body(self) -> None:
        """Take the end of the body: the answer is complete, or its trailers are to come."""
        if self._trailers is not None:
            self.stage = TRAILING
            return
        self.stage = DONE
        try:
            self._connection.finish()
        finally:
            self.complete()

    async def _send_other(self, kind: str, message: Message) -> None:
        """Take what is neither the start nor a piece of the body in its place."""
        stage = self.stage
        if stage == DONE:
            if self.gone:
                await self._unheard_by(None)
        elif kind == "http.response.early_hint":
            self._hint(message)
        elif kind == "http.response.trailers" and stage == TRAILING:
            self._take_trailers(kind, message)
        else:
            raise unexpected(kind, *_STATES[stage])

    def _hint(self, message: Message) -> None:
        """Send a 103 with the links of an early hint; after the head it is too late for one.

        Source: RFC 8297.
        """
        if self._connection.status:
            return
        kind = "http.response.early_hint"
        headers = HTTPHeaders()
        try:
            for link in message.get("links", ()):
                headers.add("Link", to_bytes(kind, "links", link))
            self._connection.write_headers(("HTTP/1.1", 103, "Early Hints"), headers)
        except (TypeError, ValueError, HTTPInputError) as error:
            raise wrong_fields(kind, error) from error

    def _take_trailers(self, kind: str, message: Message) -> None:
        """Take a part of the trailer section; the last one completes the answer.

        "The ASGI server will only send the trailing headers in case the client has sent the
        TE: trailers header in the request."
        """
        trailers = self._trailers
        assert trailers is not None, "they were announced"
        trailers += to_fields(kind, message)
        if message.get("more_trailers", False):
            return
        if trailers and self._wants_trailers():
            try:
                self._connection.set_trailers(trailers)
            except (ValueError, TypeError, AttributeError) as error:
                raise wrong_fields(kind, error) from error
        self._trailers = None
        self._end_body()

    async def _unheard_by(self, written: asyncio.Future[None] | None) -> None:
        """Count what was written for a client that has left; see the module.

        Raises:
            StreamClosedError: It was one too many.
        """
        if written is not None and (written.cancelled() or written.exception() is None):
            return  # only its half is closed: it still reads
        self._unheard += 1
        if self._unheard >= UNHEARD_SENDS:
            raise closed_error()
        await asyncio.sleep(0)
