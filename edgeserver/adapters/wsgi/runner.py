"""A call of the application, in its thread.

Decides what of PEP 3333 holds when: when the head is sent, what the body may be, and what becomes
of exceptions. It must not know how threads are run, nor how bytes are framed.

An answer that is in hand when the head is known goes to the event loop in one step; every other is
sent piece by piece, by an `AnswerStream`.

Source: PEP 3333, "Specification Details".
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

from edgeserver.adapters.error_response import answer_failure
from edgeserver.adapters.leaving import comes_of_leaving, describe, is_gone
from edgeserver.adapters.wsgi.head import check_fields, parse_status
from edgeserver.adapters.wsgi.input import CLOSED_EARLY, BodyStream, ClientDisconnectedError
from edgeserver.adapters.wsgi.output import AnswerStream
from edgeserver.adapters.wsgi.pool import Mailbox
from edgeserver.adapters.wsgi.spool import SpooledBody
from edgeserver.errors import HTTPOutputError
from edgeserver.httputil import HTTPConnection
from edgeserver.support.escape import escape
from edgeserver.support.loggers import app_log
from edgeserver.support.ratelimit import LimitedLog
from edgeserver.support.tasks import describe_frames

__all__ = ["Body", "Run", "WSGIApplication", "where_thread_is"]

Environ = dict[str, Any]
StartLine = tuple[str, int, str]
WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

Body = BodyStream | SpooledBody
"""What `wsgi.input` reads from where that has an end of its own."""

_IN_HAND = 64 * 1024
"""Most bytes of an answer that go to the event loop in one step."""

_EMPTY_PIECES = 2
"""Empty pieces in a row after which a client that has closed its half is taken for gone.

Only writing tells one that left from one that waits for the answer, and there is nothing to write.
"""


class Run:
    """One request's call of the application, and its answer.

    Args:
        app: The application.
        environ: The request's environ, complete.
        connection: Where the answer goes.
        mailbox: The way to the event loop.
        body: What `wsgi.input` reads from, if the body is still coming or was collected.
        mistakes: Where it is said that an answer had a body which its status does not have.
    """

    # One is made for every request; CPython 3.11 takes long to find what stands on the class.
    __slots__ = (
        "_app",
        "_bodiless",
        "_body",
        "_connection",
        "_environ",
        "_fields",
        "_gone",
        "_half_closed",
        "_handed_over",
        "_input",
        "_length",
        "_line",
        "_mailbox",
        "_mistakes",
        "_remaining",
        "_stream",
    )

    _fields: list[tuple[str, str]]
    _body: bytes

    def __init__(
        self,
        app: WSGIApplication,
        environ: Environ,
        connection: HTTPConnection,
        mailbox: Mailbox,
        body: Body | None,
        mistakes: LimitedLog,
    ) -> None:
        self._app = app
        self._environ = environ
        self._connection = connection
        self._mailbox = mailbox
        self._input = body
        self._mistakes = mistakes
        # The head that start_response was given: its line, its length, whether no body follows.
        self._line: StartLine | None = None
        self._length: int | None = None
        self._bodiless = False
        # How many bytes are missing of the length, once some were sent.
        self._remaining: int | None = None
        # An answer that is sent in pieces; whether one in one step was given to the event loop.
        self._stream: AnswerStream | None = None
        self._handed_over = False
        # Whether the client has left, and whether it has closed its half of the connection.
        self._gone = False
        self._half_closed = False
        connection.set_close_callback(self._peer_left)

    def serves(self, connection: object) -> bool:
        """Return whether it is the call for a request."""
        return self._connection is connection

    # In the thread.

    def __call__(self) -> None:
        """Call the application; never raises."""
        if self._gone:  # nobody has waited for it to get a thread
            if self._input is not None:
                self._input.abandon()
            return
        result = None
        try:
            result = self._app(self._environ, self.start_response)
            self._take(result)
        except BaseException as error:
            self._failed(error)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                self._close(close)
            if self._input is not None:
                self._input.abandon()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        """Take the head of the answer; it is sent with the first bytes of the body.

        Returns:
            PEP 3333's `write` callable.

        Raises:
            TypeError: The status or a header is not a `str`.
            ValueError: They cannot be sent, or are the server's to set.
            RuntimeError: It is called a second time, without `exc_info`.
            BaseException: That of `exc_info`, if the head has been sent already.
        """
        try:
            if self._stream is not None or self._handed_over:
                if exc_info:
                    # PEP 3333: "if exc_info is provided, and the HTTP headers have already been
                    # sent, start_response must raise an error, and should re-raise using the
                    # exc_info tuple."
                    raise exc_info[1].with_traceback(exc_info[2])
                raise RuntimeError("start_response was called after the head had been sent")
            if self._line is not None and not exc_info:
                # PEP 3333: "it is a fatal error to call start_response without the exc_info
                # argument if start_response has already been called".
                raise RuntimeError(
                    "start_response was called twice, the second time without exc_info"
                )
        finally:
            exc_info = None  # it holds the frame that holds it
        line = parse_status(status)
        self._length = check_fields(headers)
        self._line = line
        self._fields = headers.copy()
        code = line[1]
        # RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5: neither has a body, whatever its fields say.
        self._bodiless = code == 204 or code == 304 or self._environ["REQUEST_METHOD"] == "HEAD"
        return self._write

    def _take(self, result: Iterable[bytes]) -> None:
        """Send what the application returned."""
        in_hand = type(result) is list or type(result) is tuple
        if in_hand and self._stream is None and self._take_in_hand(result):
            return
        empty = 0
        for chunk in result:
            if not isinstance(chunk, bytes):
                raise _no_bytes("the body holds", chunk)
            if self._gone:
                raise ClientDisconnectedError(CLOSED_EARLY)
            if not chunk:
                empty += 1
                if self._half_closed and empty >= _EMPTY_PIECES:
                    raise ClientDisconnectedError(CLOSED_EARLY)
                continue
            empty = 0
            if self._line is not None and self._bodiless:
                self._note_dropped()
                break  # nothing of it is sent; close() tells the application
            if self._stream is None and len(chunk) == self._length and len(chunk) <= _IN_HAND:
                self._hand_over(chunk)
                return
            self._write(chunk)
            if self._remaining == 0:
                # PEP 3333: the server "should stop iterating over the response when enough data
                # has been sent".
                break
        self._finish()

    def _take_in_hand(self, result: Any) -> bool:
        """Send a body that is a sequence in one step, if it is short; say whether."""
        try:
            body = result[0] if len(result) == 1 else b"".join(result)
        except TypeError:
            body = None
        if not isinstance(body, bytes):
            wrong = next(chunk for chunk in result if not isinstance(chunk, bytes))
            raise _no_bytes("the body holds", wrong)
        if len(body) > _IN_HAND:
            return False
        self._require_head()
        if not self._bodiless:
            if self._length is not None and self._length != len(body):
                raise HTTPOutputError(_mismatch(self._length, len(body)))
        elif self._length is None and self._environ["REQUEST_METHOD"] == "HEAD":
            # RFC 9110 section 8.6: the length is what a GET would have been answered with.
            self._fields.append(("Content-Length", str(len(body))))
        if self._bodiless and body:
            self._note_dropped()
            body = b""
        self._hand_over(body)
        return True

    def _note_dropped(self) -> None:
        """Say that the application gave a body which its status does not have; not of HEAD."""
        environ, line = self._environ, self._line
        if line is not None and environ["REQUEST_METHOD"] != "HEAD":
            self._mistakes.write(
                "",
                "The application gave a body with status %d, which has none (RFC 9110 section"
                " 6.4.1); it was not sent: %s %s",
                line[1],
                escape(environ["REQUEST_METHOD"]),
                escape(environ["REQUEST_URI"]),
            )

    def _require_head(self) -> None:
        if self._line is None:
            raise RuntimeError(
                "the application gave a body, or the end of one, before it called start_response"
            )

    def _hand_over(self, body: bytes) -> None:
        """Give the whole answer to the event loop."""
        self._body = body
        self._handed_over = True
        self._mailbox.post(self._answer)

    def _write(self, data: bytes, /) -> None:
        """Send a piece of the body, after the head if that has not been sent."""
        if not isinstance(data, bytes):
            raise _no_bytes("write() was given", data)
        if not data:
            return
        self._require_head()
        if self._bodiless:
            self._note_dropped()
            return
        stream = self._stream
        if stream is None:
            if self._handed_over:
                raise RuntimeError("write() was called after the answer was complete")
            self._remaining = self._length
        remaining = self._remaining
        if remaining is not None:
            if len(data) > remaining:
                sent = (self._length or 0) - remaining
                raise HTTPOutputError(_mismatch(self._length, sent + len(data), "at least "))
            self._remaining = remaining - len(data)
        if stream is None:
            stream = self._begin()
        stream.write(data)

    def _begin(self) -> AnswerStream:
        assert self._line is not None
        stream = AnswerStream(self._connection, self._mailbox, self._line, self._fields)
        self._stream = stream
        if self._gone:
            stream.leave()
        return stream

    def _finish(self) -> None:
        """Complete the answer, whatever of it has been sent."""
        self._require_head()
        if self._stream is not None:
            if self._remaining:
                length = self._length or 0
                raise HTTPOutputError(_mismatch(length, length - self._remaining))
            self._stream.finish()
            return
        if self._length and not self._bodiless:
            raise HTTPOutputError(_mismatch(self._length, 0))
        self._hand_over(b"")

    def _close(self, close: Callable[[], object]) -> None:
        """Call the result's `close`, as PEP 3333 wants whatever happened."""
        try:
            close()
        except BaseException:
            app_log.error("Uncaught exception in close() of %s", self._name(), exc_info=True)

    def _failed(self, error: BaseException) -> None:
        """Answer 500 if no head was sent, else cut the connection."""
        if comes_of_leaving(error, kinds=(ClientDisconnectedError,)):
            app_log.info("%s was not completed: %s", self._name(), describe(error))
            app_log.debug("What the application raised", exc_info=error)
            self._mailbox.post(self._cut)
            return
        app_log.error("Uncaught exception in %s", self._name(), exc_info=error)
        if not self._handed_over:  # else the answer was complete before
            self._mailbox.post(self._answer_failure)

    def _name(self) -> str:
        """Return the request as logs name it."""
        environ = self._environ
        return (
            f"the WSGI application, {escape(environ['REQUEST_METHOD'])}"
            f" {escape(environ['REQUEST_URI'])} from {environ['REMOTE_ADDR']}"
        )

    # In the event loop.

    def get_all(self) -> list[tuple[str, Any]]:
        """Return the header fields, as `write_headers` asks for them."""
        return self._fields

    def _answer(self) -> None:
        """Write the whole answer."""
        connection = self._connection
        if self._input is not None and not self._input.complete:
            # RFC 9112 section 9.6: the rest of the body will not be read, so the connection ends.
            self._fields.append(("Connection", "close"))
        assert self._line is not None
        connection.write_headers(self._line, self, self._body, whole=True)
        connection.finish()

    def _answer_failure(self) -> None:
        answer_failure(self._connection)

    def _cut(self) -> None:
        self._connection.abort()

    def _peer_left(self) -> None:
        """Called when the client has left, or has only closed its half of the connection."""
        if not is_gone(self._connection):
            self._half_closed = True
            self._connection.set_close_callback(self._peer_left)
            return
        self._gone = True
        if self._stream is not None:
            self._stream.leave()


def _mismatch(length: int | None, given: int, least: str = "") -> str:
    return (
        f"the application declared Content-Length: {length} and gave {least}{given} bytes of body;"
        " leave the field out, or count the bytes that are sent"
    )


def _no_bytes(where: str, value: object) -> TypeError:
    """Return the error for a piece of body that is none; the message does not show it."""
    return TypeError(f"{where} a {type(value).__name__} where PEP 3333 wants bytes: encode it")


def where_thread_is(connection: object) -> str:
    """Return where a thread is with a request, as `describe_frames` says it; empty if none is.

    Args:
        connection: The request's.
    """
    for innermost in sys._current_frames().values():
        frames: list[tuple[CodeType, int]] = []
        frame: FrameType | None = innermost
        while frame is not None:
            if frame.f_code is Run.__call__.__code__:
                if frame.f_locals["self"].serves(connection):
                    return describe_frames(frames[::-1])
                break
            frames.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
    return ""
