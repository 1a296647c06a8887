"""`WSGIAdapter`: WSGI applications behind the delegate interface, in a bounded pool of threads.

Decides when a request gets a thread: at once where its body is long, which is then streamed; else
once its body is in hand, so that a slow client holds no thread. One of unknown length is collected,
so that the application is told of its length. It knows only the delegate interface.

Source: PEP 3333.
"""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import tempfile
import weakref
from contextvars import copy_context
from typing import Any

from edgeserver.adapters.collecting import Collected
from edgeserver.adapters.error_response import answer_failure
from edgeserver.adapters.leaving import why_cut
from edgeserver.adapters.wsgi.environ import connection_environ, request_environ
from edgeserver.adapters.wsgi.files import FileWrapper
from edgeserver.adapters.wsgi.input import BodyStream, ClientDisconnectedError
from edgeserver.adapters.wsgi.pool import Mailbox, ThreadPool
from edgeserver.adapters.wsgi.runner import Body, Run, WSGIApplication, where_thread_is
from edgeserver.adapters.wsgi.spool import SpooledBody
from edgeserver.errors import ConfigurationError
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)
from edgeserver.support.loggers import app_log
from edgeserver.support.ratelimit import LimitedLog, RateLimit
from edgeserver.support.spelling import spelled
from edgeserver.support.validate import require_count, require_seconds

__all__ = ["ClientDisconnectedError", "FileWrapper", "WSGIAdapter"]

_IN_HAND = 64 * 1024
"""A body that says that it is at most this long is awaited before a thread is taken."""

_MAX_THREADS = 1024

_Constants = tuple[dict[str, Any], Mailbox]


class WSGIAdapter(HTTPServerConnectionDelegate):
    """Calls a WSGI application with each request, in one of its threads.

    Args:
        app: The application.
        threads: How many requests the application works on at once.
        root_path: `SCRIPT_NAME`: the path under which the application stands. It is taken from
            the path of a request where the proxy in front has left it on.
        multiprocess: What `wsgi.multiprocess` says: whether other processes run it, too.
        wsgi_buffering: Whether a body of unknown length is collected before the application is
            called, which is then told of its length. Else it is streamed without one.

    Raises:
        ConfigurationError: An option cannot work.
    """

    keeps_limits = True

    def __init__(
        self,
        app: WSGIApplication,
        *,
        threads: int = 8,
        root_path: str = "",
        multiprocess: bool = False,
        wsgi_buffering: bool = True,
    ) -> None:
        require_count("threads", threads, "threads", most=_MAX_THREADS)
        self._app = app
        self._root = _parse_root_path(root_path)
        self._multiprocess = multiprocess
        self.buffers = wsgi_buffering
        self._pool = ThreadPool(threads)
        # The way from the threads to the event loop that serves.
        self._mailbox: Mailbox | None = None
        # What the requests of each connection have in common, from its first to its end.
        self._constants: dict[object, _Constants] = {}
        # What is said of bodies that the status does not have.
        self._mistakes = LimitedLog(
            app_log,
            logging.WARNING,
            "Bodies dropped of answers that have none",
            limit=RateLimit(in_all=5),
        )
        # The threads know the pool, not the adapter: without it they have nothing to wait for.
        weakref.finalize(self, self._pool.close).atexit = False

    @property
    def threads(self) -> int:
        """How many requests the application works on at once."""
        return self._pool.size

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request with a body."""
        return _WSGIMessage(self, server_conn, request_conn)

    def take_request(self, server_conn: object, request_conn: HTTPConnection) -> None:
        """Have the application called with a request that has no body."""
        base, mailbox = self.constants(server_conn, request_conn)
        environ = request_environ(base, request_conn)
        environ["wsgi.input"] = io.BytesIO()
        self.run(environ, request_conn, mailbox, None)

    def on_close(self, server_conn: object) -> None:
        """Forget what was kept for a connection."""
        self._constants.pop(server_conn, None)

    def where_is(self, request_conn: HTTPConnection) -> str:
        """Return where the application is with a request, in words; empty if it is not known."""
        where = where_thread_is(request_conn)
        if where:
            return f"the application, at {where}"
        if self._pool.waiting:
            return f"a thread: all {self._pool.size} are busy ({spelled('threads')})"
        return ""

    async def shutdown(self, timeout: float = 5.0) -> bool:
        """Wait for what still runs in threads, though nobody waits for its answer any more.

        Args:
            timeout: How many seconds to wait. What takes longer does not keep the process.

        Returns:
            Whether everything has ended.

        Raises:
            ConfigurationError: `timeout` is not a time.
        """
        require_seconds("timeout", timeout, zero=True)
        return await self._pool.shutdown(timeout)

    # What a request needs.

    def constants(self, server_conn: object, connection: HTTPConnection) -> _Constants:
        """Return what all requests of a connection have in common: environ, and the way back."""
        constants = self._constants.get(server_conn)
        if constants is None:
            environ = connection_environ(
                connection,
                root_path=self._root,
                multithread=self._pool.size > 1,
                multiprocess=self._multiprocess,
            )
            loop = asyncio.get_running_loop()
            mailbox = self._mailbox
            if mailbox is None or mailbox.loop is not loop:
                mailbox = self._mailbox = Mailbox(loop)
            constants = self._constants[server_conn] = environ, mailbox
        return constants

    def run(
        self,
        environ: dict[str, Any],
        connection: HTTPConnection,
        mailbox: Mailbox,
        body: Body | None,
    ) -> None:
        """Have the application called, in a copy of the request's context."""
        run = Run(self._app, environ, connection, mailbox, body, self._mistakes)
        self._pool.submit(functools.partial(copy_context().run, run), mailbox)


class _WSGIMessage(HTTPMessageDelegate):
    """One request, until the application has it."""

    __slots__ = (
        "_adapter",
        "_body",
        "_connection",
        "_environ",
        "_mailbox",
        "_server_conn",
        "_size",
        "_spool",
        "_stream",
    )

    def __init__(
        self, adapter: WSGIAdapter, server_conn: object, connection: HTTPConnection
    ) -> None:
        self._adapter = adapter
        self._server_conn = server_conn
        self._connection = connection
        # A body that is awaited; how much of it, or of the stream, is counted as held.
        self._body: Collected | None = None
        self._size = 0
        # A body of unknown length, and one that is streamed.
        self._spool: SpooledBody | None = None
        self._stream: BodyStream | None = None

    def headers_received(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> asyncio.Future[None] | None:
        """Make the environ; begin at once where the body is to be streamed.

        A client that expects 100 hears it when somebody reads, but for one whose body is collected:
        no application could be called before.
        """
        connection = self._connection
        base, self._mailbox = self._adapter.constants(self._server_conn, connection)
        environ = self._environ = request_environ(base, connection)
        length = environ.get("CONTENT_LENGTH")
        is_known = length is not None
        if "HTTP_X_CONSUMED_CONTENT_ENCODING" in environ:
            # What is declared is the length before decompression; nobody knows the other yet.
            environ.pop("CONTENT_LENGTH", None)
            is_known = False
        if length is None and "HTTP_TRANSFER_ENCODING" not in environ:
            return None
        if not is_known and self._adapter.buffers:
            self._spool = SpooledBody()
            return None
        expects = connection.expects_continue
        if length is not None and int(length) <= _IN_HAND and not expects:
            return None
        return self._start_streaming(on_demand=expects).wanted

    def data_received(self, chunk: bytes) -> asyncio.Future[None] | None:
        """Keep a piece of the body, or pass it on to the thread that reads."""
        if self._stream is not None:
            return self._feed(self._stream, chunk)
        if self._spool is not None:
            return self._collect(self._spool, chunk)
        self._connection.hold(len(chunk))
        body = self._body
        if body is None:
            body = self._body = Collected()
        body.add(chunk)
        self._size += len(chunk)
        if self._size <= _IN_HAND:
            return None
        self._body = None
        if self._adapter.buffers:
            # HTTP/2 declares no length, and no coding that says so.
            self._spool = SpooledBody()
            return self._collect(self._spool, body.take())
        # More than was declared comes out of a compressed body; or nothing was declared.
        return self._feed(self._start_streaming(), body.take())

    def _collect(self, spool: SpooledBody, chunk: bytes) -> asyncio.Future[None] | None:
        """Keep a piece of a body whose length nobody knows; what is in a file is not held."""
        try:
            spool.add(chunk)
        except OSError as error:
            self._fail_to_keep(error)
            return None
        self._count_held(spool.memory)
        return self._connection.room_to_hold() if spool.memory else None

    def _fail_to_keep(self, error: OSError) -> None:
        """Answer 500, since a body cannot be kept."""
        app_log.error(
            "A request's body cannot be kept in %s: %s; make room there, name another folder in"
            " TMPDIR, or have bodies streamed (--no-wsgi-buffering)",
            tempfile.gettempdir(),
            error,
        )
        self._forget()
        answer_failure(self._connection)

    def _feed(self, stream: BodyStream, chunk: bytes) -> asyncio.Future[None] | None:
        """Pass a piece on, and count what is kept by now: what the thread has read is not."""
        waiting = stream.feed(chunk)
        self._count_held(stream.size)
        return waiting

    def _count_held(self, size: int) -> None:
        """Count `size` bytes as held, in place of those before."""
        if size > self._size:
            self._connection.hold(size - self._size)
        else:
            self._connection.release(self._size - size)
        self._size = size

    def finish(self) -> None:
        """Have the application called, if it was not yet."""
        if self._stream is not None:
            self._stream.end()
            return
        environ = self._environ
        if self._spool is not None:
            self._run_spooled(environ, self._spool)
            return
        body = b""
        if self._body is not None:
            body = self._body.take()
            environ.setdefault("CONTENT_LENGTH", str(len(body)))
        environ["wsgi.input"] = io.BytesIO(body)
        self._adapter.run(environ, self._connection, self._mailbox, None)

    def _run_spooled(self, environ: dict[str, Any], spool: SpooledBody) -> None:
        """Have the application called with a body that was collected, and told of its length."""
        try:
            environ["wsgi.input"] = spool.open()
        except OSError as error:
            self._fail_to_keep(error)
            return
        # RFC 9112 section 6.1: it is the message's that was sent, not of what is read here.
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(spool.size)
        self._spool = None
        self._adapter.run(environ, self._connection, self._mailbox, spool)

    def on_connection_close(self) -> None:
        """Called when the rest will not come; a request that never began is forgotten."""
        self._forget()
        if self._stream is not None:
            self._stream.cut(why_cut(self._connection))

    def _forget(self) -> None:
        self._body = None
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.abandon()

    def _start_streaming(self, *, on_demand: bool = False) -> BodyStream:
        """Have the application called with a body that is still coming."""
        stream = self._stream = BodyStream(self._mailbox, on_demand=on_demand)
        self._environ["wsgi.input"] = io.BufferedReader(stream, _IN_HAND)
        self._adapter.run(self._environ, self._connection, self._mailbox, stream)
        return stream


def _parse_root_path(root_path: object) -> str:
    """Return `root_path` as PEP 3333 writes it: bytes as latin-1 characters.

    Raises:
        ConfigurationError: It is not an absolute path.
    """
    if not isinstance(root_path, str) or (root_path and not root_path.startswith("/")):
        raise ConfigurationError(
            f"root_path={root_path!r} is not an absolute path: give one such as '/shop', or ''"
        )
    return root_path.rstrip("/").encode().decode("latin-1")
