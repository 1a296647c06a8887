"""`TCPServer`: accepts connections on listening sockets, and gives each one a protocol.

Decides when a socket is listened on, paused and closed, and with which settings. It must not know
what is spoken on a connection; how TLS is done is for `_loop_ssl` and `build_protocol` to say.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import itertools
import socket as socket_module
import ssl
import sys
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from typing import Any

from edgeserver.ioloop import IOLoop, call_logged
from edgeserver.iostream import IOStream
from edgeserver.netutil import DEFAULT_BACKLOG, bind_sockets, listen_backlog
from edgeserver.process import fork_processes
from edgeserver.support.addresses import render_address
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import RateLimit

__all__ = ["INHERIT", "Listener", "SSLOptions", "TCPServer"]

SSLOptions = Mapping[str, Any] | ssl.SSLContext

INHERIT: Any = type("Inherit", (), {"__repr__": lambda self: "<the server's>"})()
"""Says for a listener's setting that the server's own is meant."""


RESUME_RETRY_S = 1.0
"""How soon accepting is tried again where the system has no descriptor to spare, in seconds."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_DESCRIPTOR = "descriptors"


class Listener:
    """One listening socket of a server, with the settings of its connections.

    The socket itself stays open until `close`; an event loop accepts on a duplicate of it. So
    while accepting is paused, connections queue in the system as if the process were busy.

    Attributes:
        socket: The listening socket.
        server: The server that it belongs to.
        ssl_options: The TLS settings of its connections, None for plain ones.
        proxy_protocol: Whether and which PROXY prelude they begin with, None for none.
        trust: Who is believed about their clients, where that is not for the server to say; else
            `INHERIT`.
        http2: Whether HTTP/2 may be spoken on them: a bool, or `"only"`.
    """

    def __init__(
        self,
        sock: socket_module.socket,
        server: TCPServer,
        *,
        ssl_options: SSLOptions | None,
        proxy_protocol: Any,
        trust: Any = INHERIT,
        http2: Any = False,
    ) -> None:
        self.socket = sock
        self.server = server
        self.ssl_options = ssl_options
        self.proxy_protocol = proxy_protocol
        self.trust = trust
        self.http2 = http2
        self.loop = IOLoop.current().asyncio_loop
        self.address = render_address(sock.getsockname())
        self._backlog = listen_backlog(sock)
        self._factory = functools.partial(server.build_protocol, self)
        self._ssl = server._loop_ssl(self)
        self._accepting: tuple[socket_module.socket, asyncio.AbstractServer] | None = None
        self._late: set[asyncio.Task[Any]] = set()  # who was accepted at the end, until connected

    def __repr__(self) -> str:
        return f"<Listener {self.address}>"

    @property
    def paused(self) -> bool:
        """Whether nothing is accepted at present."""
        return self._accepting is None

    def resume(self) -> None:
        """Accept connections, from the first time on or again.

        Raises:
            OSError: The socket does not listen, or is closed.
        """
        if self._accepting is not None:
            return
        sock = self.socket.dup()
        try:
            self._accepting = sock, _finish_now(self._create_server(sock))
        except BaseException:
            sock.close()
            raise

    def pause(self) -> None:
        """Accept nothing more; connections queue until `resume`, and live ones go on.

        Not to be called from `build_protocol`, where a loop is in the middle of accepting.
        """
        if self._accepting is None:
            return
        (sock, server), self._accepting = self._accepting, None
        if self.loop.is_closed():
            sock.close()
        elif self.loop.remove_reader(sock.fileno()):
            # asyncio's own loop. Its server is not closed: what it has accepted in this very turn
            # gets a transport in the next one, which a closed server refuses.
            sock.close()
        else:
            server.close()

    def accept_queued(self) -> None:
        """Accept whom the event loop has not come to yet, unless nothing is accepted at present.

        They are connected as far as they know, and may have asked something: a socket that is
        closed resets whatever is in its queue.
        """
        self.socket.setblocking(False)
        for _ in range(self._backlog if self._accepting is not None else 0):
            try:
                sock, _ = self.socket.accept()
            except ConnectionAbortedError:
                continue
            except OSError:  # nobody waits, or there is no descriptor for them
                return
            sock.setblocking(False)
            made = self.loop.connect_accepted_socket(self._factory, sock, ssl=self._ssl)
            task = self.loop.create_task(made)
            self._late.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        """Called once somebody late has a protocol, which tells of all that follows."""
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # such as of a handshake by the loop's own TLS; it is not ours to log

    def close(self) -> None:
        """Stop listening at once; live connections go on."""
        self.pause()
        self.socket.close()

    def _create_server(
        self, sock: socket_module.socket
    ) -> Coroutine[Any, Any, asyncio.AbstractServer]:
        if sock.family != getattr(socket_module, "AF_UNIX", None):
            return self.loop.create_server(
                self._factory, sock=sock, backlog=self._backlog, ssl=self._ssl
            )
        make = functools.partial(
            self.loop.create_unix_server,
            self._factory,
            sock=sock,
            backlog=self._backlog,
            ssl=self._ssl,
        )
        if sys.version_info >= (3, 13):
            # The file is not the loop's to remove: other processes may listen on the socket.
            try:
                return make(cleanup_socket=False)
            except TypeError:
                pass  # an older uvloop, which leaves it alone anyway
        return make()


class TCPServer:
    """A server that gives each connection a protocol.

    Override `handle_stream` to speak through a stream, or `build_protocol` to bring an asyncio
    protocol. There are three ways to start: `listen`; `add_sockets` with sockets bound before,
    which processes may share; `bind` and `start`, which forks them.

    Args:
        ssl_options: TLS settings, a dict or an `ssl.SSLContext`, of listeners without their own.
        max_buffer_size: The most that a stream keeps for a waiting read, in bytes.
        read_chunk_size: The most that a stream keeps ahead of any read, in bytes.
        proxy_protocol: The PROXY prelude of listeners without their own setting.

    Attributes:
        http2: Whether HTTP/2 may be spoken on listeners without their own setting.

    Source: `tornado.tcpserver.TCPServer`.
    """

    http2: Any = False

    def __init__(
        self,
        ssl_options: SSLOptions | None = None,
        max_buffer_size: int | None = None,
        read_chunk_size: int | None = None,
        *,
        proxy_protocol: Any = None,
    ) -> None:
        self.ssl_options = ssl_options
        self.max_buffer_size = max_buffer_size
        self.read_chunk_size = read_chunk_size
        self.proxy_protocol = proxy_protocol
        self.listeners: list[Listener] = []
        self._pending: list[socket_module.socket] = []
        self._pending_trust: dict[socket_module.socket, object] = {}
        self._started = False
        self._paused_by: set[str] = set()
        self._accept_warnings = RateLimit(in_all=1)
        self._check_ssl_options(ssl_options)

    def listen(
        self,
        port: int,
        address: str | None = None,
        family: int = socket_module.AF_UNSPEC,
        backlog: int = DEFAULT_BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
        *,
        trust: Any = INHERIT,
    ) -> None:
        """Accept connections on a port from now on; see `netutil.bind_sockets`.

        It may be called more than once, and before the loop runs.

        Args:
            port: The port; 0 for one that is free.
            address: Where, by address or name; None for everywhere.
            family: Which kind of addresses.
            backlog: The length of the queue of connections not yet accepted.
            flags: Those of `getaddrinfo`.
            reuse_port: Let other processes listen on the same port.
            trust: As for `add_sockets`.

        Raises:
            OSError: The port cannot be bound.
        """
        sockets = bind_sockets(port, address, family, backlog, flags, reuse_port)
        try:
            self.add_sockets(sockets, trust=trust)
        except BaseException:
            for sock in sockets:
                sock.close()
            raise

    def add_sockets(
        self,
        sockets: Iterable[socket_module.socket],
        *,
        ssl_options: SSLOptions | None = INHERIT,
        proxy_protocol: Any = INHERIT,
        trust: Any = INHERIT,
        http2: Any = INHERIT,
    ) -> None:
        """Accept connections on listening `sockets`, which belong to the server from now on.

        Args:
            sockets: Such as those of `bind_sockets`.
            ssl_options: TLS settings of their connections; None for plain ones.
            proxy_protocol: The PROXY prelude of their connections; None for none.
            trust: For servers that find out who a client is: who is believed about it on their
                connections.
            http2: Whether HTTP/2 may be spoken on them: a bool, or `"only"`.

        Raises:
            ValueError: The settings are wrong.
            OSError: A socket cannot be used. After any error nothing is accepted on any of them.
        """
        added = [
            Listener(
                sock,
                self,
                ssl_options=self.ssl_options if ssl_options is INHERIT else ssl_options,
                proxy_protocol=self.proxy_protocol if proxy_protocol is INHERIT else proxy_protocol,
                trust=trust,
                http2=self.http2 if http2 is INHERIT else http2,
            )
            for sock in sockets
        ]
        try:
            for listener in added if not self._paused_by else ():
                listener.resume()
        except BaseException:
            for listener in added:
                listener.pause()
            raise
        self.listeners += added

    def add_socket(self, socket: socket_module.socket) -> None:
        """Accept connections on one listening socket."""
        self.add_sockets([socket])

    def bind(
        self,
        port: int,
        address: str | None = None,
        family: int = socket_module.AF_UNSPEC,
        backlog: int = DEFAULT_BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
        *,
        trust: object = INHERIT,
    ) -> None:
        """Bind a port that `start` will accept connections on; its arguments are those of `listen`.

        Raises:
            OSError: The port cannot be bound.
        """
        sockets = bind_sockets(port, address, family, backlog, flags, reuse_port)
        if self._started:
            self.add_sockets(sockets, trust=trust)
        else:
            self._pending += sockets
            self._pending_trust.update(dict.fromkeys(sockets, trust))

    def start(self, num_processes: int | None = 1, max_restarts: int | None = None) -> None:
        """Accept connections on what was bound, in this process or in forked ones.

        Args:
            num_processes: How many processes; 1 does not fork, None, 0 or less is one per
                processor. No event loop may have been made before; see `fork_processes`.
            max_restarts: How many restarts of crashed children before giving up.

        Raises:
            RuntimeError: It was called before.
        """
        if self._started:
            raise RuntimeError("this server was started before; call start once")
        self._started = True
        if num_processes != 1:
            fork_processes(num_processes, max_restarts)
        pending, self._pending = self._pending, []
        for trust, sockets in itertools.groupby(pending, key=self._pending_trust.pop):
            self.add_sockets(list(sockets), trust=trust)

    def stop(self) -> None:
        """Stop listening at once; connections go on. Later calls do nothing."""
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener.close()
        pending, self._pending = self._pending, []
        for sock in pending:
            sock.close()

    def pause_accepting(self, *, by: str = "application") -> None:
        """Accept nothing more until `resume_accepting`; connections queue in the system.

        Args:
            by: Who pauses. Each may pause and resume for itself; connections are accepted while
                nobody pauses.
        """
        self._paused_by.add(by)
        for listener in self.listeners:
            listener.pause()

    def resume_accepting(self, *, by: str = "application") -> None:
        """Accept again what has queued, unless somebody else still pauses.

        Accepting takes a descriptor; where none is free it is tried again until there is one.

        Args:
            by: Who paused; nothing else changes where they did not.

        Raises:
            OSError: A socket does not listen any more.
        """
        self._paused_by.discard(by)
        if self._paused_by:
            return
        for listener in self.listeners:
            try:
                listener.resume()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                if self._accept_warnings.permits(listener.loop.time()):  # tried every second
                    gen_log.warning("cannot accept connections yet: %s", error.strerror)
                self.pause_accepting(by=_NO_DESCRIPTOR)
                retry = functools.partial(self.resume_accepting, by=_NO_DESCRIPTOR)
                listener.loop.call_later(RESUME_RETRY_S, retry)
                return

    def handle_stream(self, stream: IOStream, address: Any) -> Awaitable[None] | None:
        """Speak on a new connection; to be overridden, by a coroutine function or a plain one.

        What it raises is logged, and the stream closed; at a good end close it yourself.

        Args:
            stream: The connection, after the handshake if it is TLS.
            address: The peer's, as its socket has it.
        """
        raise NotImplementedError  # an interface: the subclass says what is spoken

    def build_protocol(self, listener: Listener) -> asyncio.Protocol:
        """Return the protocol of a connection just accepted; a stream by default."""
        return IOStream(
            self.max_buffer_size, self.read_chunk_size, on_connect=self._handle_connection
        )

    def _handle_connection(self, stream: IOStream) -> None:
        call_logged(functools.partial(self._call_handle_stream, stream))

    def _call_handle_stream(self, stream: IOStream) -> Awaitable[None] | None:
        """Call `handle_stream`; what it raises, now or later, closes the stream."""
        try:
            result = self.handle_stream(stream, stream.peer_address)
        except BaseException:
            stream.close()
            raise
        return None if result is None else _close_on_error(stream, result)

    def _loop_ssl(self, listener: Listener) -> ssl.SSLContext | None:
        """Return the context for the loop's own TLS on `listener`, None where it does none."""
        if listener.ssl_options is None:
            return None
        from edgeserver.tls import ssl_options_to_context  # only a server with TLS pays for it

        return ssl_options_to_context(listener.ssl_options, server_side=True)

    def _check_ssl_options(self, ssl_options: SSLOptions | None) -> None:
        """Raise early what is wrong with settings in a dict, before any socket is there.

        Raises:
            KeyError: There is no `certfile`.
            ValueError: A file is missing, or a setting is wrong.
        """
        if ssl_options is None or isinstance(ssl_options, ssl.SSLContext):
            return
        from edgeserver.tls import ssl_options_to_context  # only a server with TLS pays for it

        ssl_options_to_context(ssl_options, server_side=True)


async def _close_on_error(stream: IOStream, serving: Awaitable[None]) -> None:
    """Await what `handle_stream` has begun, and close the stream if it fails."""
    try:
        await serving
    except BaseException:
        stream.close()
        raise


def _finish_now(
    coroutine: Coroutine[Any, Any, asyncio.AbstractServer],
) -> asyncio.AbstractServer:
    """Run the coroutine of `create_server` to its end without a running loop.

    With a socket that already listens nothing in it waits: uvloop's ends at once, asyncio's after
    one bare yield, which only lets other callbacks run.
    """
    for _ in range(2):
        try:
            coroutine.send(None)
        except StopIteration as end:
            server: asyncio.AbstractServer = end.value
            return server
    coroutine.close()
    raise RuntimeError("this event loop's create_server waits for something, even with a socket")
