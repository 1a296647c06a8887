"""Programs as people write them; type checkers have nothing to say of any line."""

import asyncio
import ssl
from typing import Any, assert_type

import tornado.web

import edgeserver
from edgeserver import HTTPHeaders, HTTPServer, HTTPServerRequest, listen
from edgeserver.audit.log import AuditLog
from edgeserver.httputil import (
    HTTPConnection,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    ResponseStartLine,
)
from edgeserver.httputil.peers import ClientDetails, ClientProof, TLSDetails
from edgeserver.logs.access import AccessLog
from edgeserver.proxyheaders import Provenance, Resolved, TrustedProxy, TrustPolicy
from edgeserver.runtime.listen import ApplicationServer
from edgeserver.server.tls import TLSService
from edgeserver.tls.connection.info import TLSInfo


def app(request: HTTPServerRequest) -> None:
    """Answer a request."""
    assert_type(request.connection, HTTPConnection)
    assert_type(request.remote_ip, str | None)
    headers = HTTPHeaders({"Content-Type": "text/plain"})
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, b"hello")
    request.connection.finish()


async def slow(request: HTTPServerRequest) -> None:
    """Say who the client is."""
    client = request.client
    assert_type(client, ClientDetails | None)
    if client is not None:
        assert_type(client.verified, bool)
        assert_type(client.remote_ip, str)
        assert_type(client.port, int | None)
    tls = request.tls
    assert_type(tls, TLSDetails | None)
    if tls is not None and tls.client_certificate is not None:
        assert_type(tls.client_certificate.subject, str)
    proof = request.explain()
    assert_type(proof, ClientProof | None)
    if proof is not None:
        assert_type(proof.as_dict(), dict[str, object])
    await asyncio.sleep(0)


def what_is_there(resolved: Resolved, proof: Provenance, tls: TLSInfo) -> None:
    """Take what the rooms below make for what a request promises."""
    client: ClientDetails = resolved
    shown: ClientProof = proof
    # pyright takes a cached_property for no property
    details: TLSDetails = tls  # pyright: ignore[reportAssignmentType]
    print(client.remote_ip, shown.reason, details.version)


class Delegate(HTTPServerConnectionDelegate):
    """A delegate of one's own."""

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return what hears the request."""
        return HTTPMessageDelegate()


class Logged(HTTPServer):
    """A server with something between."""

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return what hears the request."""
        return super().start_request(server_conn, request_conn)


async def servers(context: ssl.SSLContext, options: dict[str, Any]) -> None:
    """Make servers in every way."""
    assert_type(HTTPServer(app), HTTPServer)
    assert_type(Logged(slow, True), Logged)
    HTTPServer(Delegate(), xheaders=True, trusted_downstream=["10.0.0.0/8"])
    HTTPServer(tornado.web.Application([]), ssl_options={"certfile": "server.pem"})
    HTTPServer(app, ssl_options=context, https_redirect=True, max_connections=100)
    HTTPServer(app, **options)
    server = HTTPServer(
        app,
        trust=TrustPolicy([TrustedProxy("10.0.0.1", name="edge"), "192.0.2.0/24"]),
        proxy_protocol="v2",
        protocol="https",
        access_log=print,
        audit_log=AuditLog("audit.jsonl"),
        max_body_size=1 << 20,
        body_timeout=30,
    )
    assert_type(server.tls, TLSService)
    assert_type(server.tls.handshaking, int)
    assert_type(server.trust, TrustPolicy)
    assert_type(await server.drain(timeout=3), bool)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Do nothing."""


async def one_call(log: AccessLog) -> None:
    """Serve an application of any kind."""
    server = listen(asgi, 8000, "127.0.0.1", root_path="/api", lifespan="on", ws_max_size=1 << 16)
    assert_type(server, ApplicationServer)
    await server.started()
    edgeserver.listen(app, 0, backlog=7, interface="callback", trust=TrustPolicy(["loopback"]))
    edgeserver.listen(app, 0, access_log=log)
