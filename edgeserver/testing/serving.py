"""A real server for the length of a test: a free port, TLS, and what was asked of it.

Decides where it runs, which is a thread with an event loop of its own, so that tests of any kind
can ask it; and that it has ended, with everything that it opened, when the test goes on.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from edgeserver.errors import ConfigurationError
from edgeserver.runtime.listen import ApplicationServer, listen
from edgeserver.runtime.listen_options import ListenOptions
from edgeserver.support.addresses import client_name

if TYPE_CHECKING:
    from edgeserver.tls.devcerts import DevCertificates

__all__ = ["LoggedRequest", "Served", "serve"]

PATIENCE_S = 30.0
"""How long the server may take to start, to log and to stop: longer than it ever does."""

DRAIN_S = 5.0
"""How long requests in flight have at the end of the block."""

HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedRequest:
    """One request that was answered.

    Args:
        client: The client's address, as the trust policy has it; `unix:` for a Unix peer.
        method: The method.
        target: The request target, path and query.
        status: The status of the answer; 0 where no head was written.
        bytes_sent: The bytes of the whole answer, head and body.
    """

    client: str
    method: str
    target: str
    status: int
    bytes_sent: int


@dataclass
class _Log:
    """The requests that were answered, in the order of their ends."""

    requests: list[LoggedRequest] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    also: Callable[[Any], None] | None = None

    def __call__(self, exchange: Any) -> None:
        """Take one exchange that has ended."""
        request = LoggedRequest(
            client=client_name(exchange.remote_ip),
            method=exchange.method,
            target=exchange.target,
            status=exchange.status,
            bytes_sent=exchange.bytes_sent,
        )
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        if self.also is not None:
            self.also(exchange)


class Served:
    """What `serve` hands out: where the server is, how to be its client, and what it logged.

    Args:
        port: The port that it listens on, at 127.0.0.1.
        certificates: Those of its TLS, None over plain HTTP.
        log: Where its requests are noted.
        server: The server.
    """

    def __init__(
        self,
        port: int,
        certificates: DevCertificates | None,
        log: _Log,
        server: ApplicationServer,
    ) -> None:
        self._certificates = certificates
        self._log = log
        self.host = HOST
        self.port = port
        self.server = server
        """The server itself; it belongs to another thread: look, and call nothing."""

    @property
    def scheme(self) -> Literal["http", "https"]:
        """The scheme that it is reached by."""
        return "http" if self._certificates is None else "https"

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end: `https://127.0.0.1:40123`."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The TLS settings of a client that trusts this server; for each call a new context.

        Over plain HTTP they are the usual ones, so that a test may hand them to its client anyway.
        """
        if self._certificates is None:
            return ssl.create_default_context()
        return ssl.create_default_context(cafile=str(self._certificates.ca))

    @property
    def client_ssl_context(self) -> ssl.SSLContext:
        """The same, of a client that shows a certificate where it is asked for one.

        Its name is `developer@localhost`.
        """
        context = self.ssl_context
        if self._certificates is not None:
            context.load_cert_chain(
                self._certificates.client_certfile, self._certificates.client_keyfile
            )
        return context

    @property
    def ca(self) -> Path | None:
        """The file of the authority that clients are to trust; None over plain HTTP."""
        return None if self._certificates is None else self._certificates.ca

    @property
    def log(self) -> list[LoggedRequest]:
        """The requests that were answered so far."""
        return list(self._log.requests)

    def wait_for_log(self, count: int = 1, *, timeout: float = PATIENCE_S) -> list[LoggedRequest]:
        """Wait until so many requests were answered, and return them all.

        A client has its answer before the server has noted it.

        Raises:
            TimeoutError: They were not, within `timeout` seconds.
        """
        log = self._log
        with log.changed:
            if not log.changed.wait_for(lambda: len(log.requests) >= count, timeout):
                raise TimeoutError(
                    f"{len(log.requests)} of {count} requests were answered in {timeout:g} s"
                )
            return list(log.requests)

    def __repr__(self) -> str:
        return f"<Served {self.url}>"


@contextmanager
def serve(
    app: Any,
    *,
    tls: bool | None = None,
    interface: Literal["auto", "callback", "asgi", "wsgi", "tornado", "delegate"] = "auto",
    **options: Unpack[ListenOptions],
) -> Iterator[Served]:
    """Serve an application on a free port of 127.0.0.1 for the length of a `with` block.

    It runs in a thread of its own, so that both a blocking client and one in the test's own event
    loop reach it. The application's start (ASGI's lifespan) is over when the block begins, and its
    shutdown when the block has ended.

    Args:
        app: A callback, a delegate, or an ASGI, WSGI or Tornado application.
        tls: Whether over HTTPS, with a certificate of an authority made for tests (by trustme);
            None for yes where trustme is installed.
        interface: What `app` is, where its shape does not say it.
        **options: As `edgeserver.listen` takes them; those of `ssl_options` are added to the
            test's own certificate, and `ca_certs` is its authority unless said otherwise.

    Raises:
        ConfigurationError: `app` or an option is wrong, or `tls` needs trustme.
        TimeoutError: The application did not start or stop.
        Exception: What the application's own start has raised.
    """
    certificates = _certificates() if _wants_tls(tls, options) else None
    if certificates is not None:
        options["ssl_options"] = _with_certificate(options.get("ssl_options"), certificates)
    log = _Log(also=options.get("access_log"))
    options["access_log"] = log
    thread = _Thread(lambda: listen(app, 0, HOST, interface=interface, **options))
    server = thread.start()
    try:
        port: int = server.listeners[0].socket.getsockname()[1]
        yield Served(port, certificates, log, server)
    finally:
        thread.stop()


def _wants_tls(tls: bool | None, options: ListenOptions) -> bool:
    """Return whether to serve over HTTPS."""
    if tls is None:
        return options.get("ssl_options") is not None or _has_trustme()
    if not tls and options.get("ssl_options") is not None:
        raise ConfigurationError("tls=False and ssl_options contradict each other; give one")
    return tls


def _with_certificate(given: object, certificates: DevCertificates) -> dict[str, Any]:
    """Return the `ssl_options` of a test with the certificate that its clients trust."""
    if given is not None and not isinstance(given, Mapping):
        raise ConfigurationError(
            "ssl_options is a dict in tests: the certificate that clients trust is added to it"
        )
    own = {"certfile": str(certificates.certfile), "keyfile": str(certificates.keyfile)}
    asked = dict(given or {})
    if asked.get("cert_reqs") or asked.get("client_auth"):
        own["ca_certs"] = str(certificates.ca)
    return own | asked


def _has_trustme() -> bool:
    return importlib.util.find_spec("trustme") is not None


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    """Return the directory of this process's certificates; it goes with the process."""
    return tempfile.TemporaryDirectory(prefix="edgeserver-testing-", ignore_cleanup_errors=True)


@functools.cache
def _certificates() -> DevCertificates:
    """Make certificates, once in a process."""
    from edgeserver.tls.devcerts import ensure_dev_certificates

    return ensure_dev_certificates(_directory().name)


class _Thread:
    """A server in a thread with an event loop of its own.

    Args:
        make: Starts the server, in that loop.
    """

    def __init__(self, make: Callable[[], ApplicationServer]) -> None:
        self._make = make
        # Set once the server listens, or could not.
        self._started = threading.Event()
        self._server: ApplicationServer | None = None
        # What start or end has raised, for the test's own thread.
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="edgeserver.testing", daemon=True)

    def start(self) -> ApplicationServer:
        """Start the thread, and return its server once that accepts connections.

        Raises:
            TimeoutError: It did not start.
            Exception: What its start has raised.
        """
        self._thread.start()
        if not self._started.wait(PATIENCE_S):
            self._end()
            raise TimeoutError(f"the application did not start within {PATIENCE_S:g} s")
        if self._server is None:
            self._thread.join(PATIENCE_S)
            assert self._error is not None
            raise self._error
        return self._server

    def stop(self) -> None:
        """Let what is in flight end, stop the application, and wait for the thread.

        Raises:
            TimeoutError: It did not stop.
            Exception: What its end has raised.
        """
        self._end()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the application did not stop within {PATIENCE_S:g} s")
        if self._error is not None:
            raise self._error

    def _end(self) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._stopping.set)
            except RuntimeError:
                pass  # the loop has ended by itself

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = self._make()
        try:
            await server.started()
        except BaseException:
            await server.close_all_connections()
            raise
        self._server = server
        self._started.set()
        await self._stopping.wait()
        await server.drain(DRAIN_S, idle=0)
