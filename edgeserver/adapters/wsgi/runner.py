"""One call of the application, in its thread.

Decides what of PEP 3333 holds when: when the head is sent, what the body may be, and what becomes
of exceptions. It must not know how threads are run, nor how bytes are framed.

An answer that is in hand when the head is known goes to the event loop in one step; every other is
sent piece by piece, by an `AnswerStream`.

Source: PEP 3333, "Specification Details".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgeserver.adapters.error_response import answer_failure
from edgeserver.adapters.wsgi.head import check_fields, parse_status
from edgeserver.adapters.wsgi.input import BodyStream, ClientDisconnectedError
from edgeserver.adapters.wsgi.output import AnswerStream
from edgeserver.adapters.wsgi.pool import Mailbox
from edgeserver.errors import HTTPOutputError
from edgeserver.httputil import HTTPConnection
from edgeserver.support.escape import escape
from edgeserver.support.loggers import app_log

__all__ = ["Run", "WSGIApplication"]

Environ = dict[str, Any]
StartLine = tuple[str, int, str]
WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_IN_HAND = 64 * 1024
"""Most bytes of an answer that go to the event loop in one step."""


class Run:
    """One request's call of the application, and its answer.

    Args:
        app: The application.
        environ: The request's environ, complete.
        connection: Where the answer goes.
        mailbox: The way to the event loop.
        body: What `wsgi.input` reads from, if the body is still coming.
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
        "_handed_over",
        "_input",
        "_length",
        "_line",
        "_mailbox",
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
        body: BodyStream | None,
    ) -> None:
        self._app = app
        self._environ = environ
        self._connection = connection
        self._mailbox = mailbox
        self._input = body
        self._line: StartLine | None = None
        self._length: int | None = None
        self._bodiless = False
        self._remaining: int | None = None
        self._stream: AnswerStream | None = None
        self._handed_over = False
        self._gone = False
        connection.set_close_callback(self._peer_left)

    # In the thread.

    def __call__(self) -> None:
        """Call the application; never raises."""
        if self._gone:
            return  # nobody has waited for it to get a thread
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
            TypeError: The status or a header is no `str`.
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
        for chunk in result:
            if not isinstance(chunk, bytes):
                raise _no_bytes("the body holds", chunk)
            if chunk:
                if self._line is not None and self._bodiless:
                    break  # nothing of it is sent; close() tells the application
                if self._stream is None and len(chunk) == self._length and len(chunk) <= _IN_HAND:
                    self._hand_over(chunk)
                    return
                self._write(chunk)
                if self._remaining == 0:
                    # PEP 3333: the server "should stop iterating over the response when enough
                    # data has been sent".
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
        self._hand_over(b"" if self._bodiless else body)
        return True

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
        if isinstance(error, ClientDisconnectedError):
            app_log.info("%s: %s", self._name(), error)
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
        """Hear that the client has left, or has only closed its half of the connection."""
        if not _is_gone(self._connection):
            self._connection.set_close_callback(self._peer_left)
            return
        self._gone = True
        if self._stream is not None:
            self._stream.leave()


def _is_gone(connection: HTTPConnection) -> bool:
    """Tell whether nothing can be written any more."""
    written = connection.write(b"")
    return written.done() and written.exception() is not None


def _mismatch(length: int | None, given: int, least: str = "") -> str:
    return (
        f"the application declared Content-Length: {length} and gave {least}{given} bytes of body;"
        " leave the field out, or count the bytes that are sent"
    )


def _no_bytes(where: str, value: object) -> TypeError:
    """Return the error for a piece of body that is none; the message does not show it."""
    return TypeError(f"{where} a {type(value).__name__} where PEP 3333 wants bytes: encode it")
