"""edgeserver: the Python HTTP server for the edge.

The public names of the package, and nothing else.
"""

from edgeserver.errors import EdgeServerError, HTTPInputError, HTTPOutputError
from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import HTTPHeaders, HTTPServerRequest
from edgeserver.listening import listen

__all__ = [
    "EdgeServerError",
    "HTTPHeaders",
    "HTTPInputError",
    "HTTPOutputError",
    "HTTPServer",
    "HTTPServerRequest",
    "listen",
]
