"""Mistakes that type checkers find; each line that is marked is refused by both."""

from edgeserver import HTTPServer, HTTPServerRequest, listen
from edgeserver.proxyheaders import TrustPolicy


def app(request: HTTPServerRequest) -> None:
    """Answer nothing."""


def two(environ: object, start_response: object) -> None:
    """Be no callback."""


HTTPServer(app, max_conections=3)  # refused
HTTPServer(app, max_connections="3")  # refused
HTTPServer(app, trust=["10.0.0.0/8"])  # refused
HTTPServer(app, protocol="ftp")  # refused
HTTPServer(app, proxy_protocol=2)  # refused
HTTPServer(two)  # refused
HTTPServer()  # refused
listen(app, 8000, thread=3)  # refused
listen(app, 8000, threads="3")  # refused
listen(app)  # refused
listen(app, 8000, interface="cgi")  # refused
HTTPServer(app).set_trust(None)  # refused
print(HTTPServer(app).tls.handshake)  # refused
listen(app, 0).start_app()  # refused


def wrong(request: HTTPServerRequest) -> None:
    """Ask for what may not be there, or is not."""
    print(request.client.verified)  # refused
    print(request.tls.version)  # refused
    request.connection.writ(b"")  # refused
    request.remote_ip.lower()  # refused
    TrustPolicy("loopback", source=3)  # refused
