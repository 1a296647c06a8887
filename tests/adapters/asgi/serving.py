"""A server with an ASGI application, and a client that speaks plain bytes to it.

Decides nothing about what is tested; every test here is over a real socket.
"""

import asyncio
import contextlib
from dataclasses import dataclass

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.httpserver import HTTPServer
from tests import inside
from tests.adapters.serving import STEP_S, hang_up, listening

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"


def post(body, *, path="/"):
    """Return a request with a body of known length, on a connection that closes."""
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@dataclass
class Served:
    """A running server.

    Attributes:
        port: Where it listens on 127.0.0.1.
        adapter: What runs the application.
        server: The server.
    """

    port: int
    adapter: ASGIAdapter
    server: HTTPServer

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def connection(self):
        """The only connection, as the server sees it; None before it is there."""
        return next(iter(inside.connections(self.server)), None)

    async def connect(self, **options):
        """Return a reader and a writer of a new connection."""
        return await asyncio.open_connection("127.0.0.1", self.port, **options)

    async def ask(self, request=GET):
        """Send `request`, and return all that comes until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await asyncio.wait_for(reader.read(), STEP_S)
        finally:
            await hang_up(writer)


@contextlib.asynccontextmanager
async def serving(app, *, server=None, adapter=ASGIAdapter, **options):
    """Serve `app` while the context lasts.

    Args:
        app: The ASGI application.
        server: Keyword arguments of `HTTPServer`.
        adapter: What makes the adapter.
        **options: Of `ASGIAdapter`; the lifespan is off where nothing is said of it.
    """
    delegate = adapter(app, **{"lifespan": "off", "shutdown_timeout": 5, **options})
    http_server = HTTPServer(delegate, **(server or {}))
    await delegate.startup()
    try:
        async with listening(http_server) as port:
            yield Served(port, delegate, http_server)
    finally:
        await delegate.shutdown()


def split(answer):
    """Return the status, the fields (lower-case name -> value) and the rest of an answer."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(": ")
        fields[name.lower()] = value
    return int(first.split(" ")[1]), fields, rest


async def answer(send, body=b"ok", *, status=200, headers=()):
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
