"""The environ: what a WSGI application is told of its request.

Decides each key of PEP 3333's dictionary and of our own. It must not know threads, nor how the
client was found out: `REMOTE_ADDR` and `wsgi.url_scheme` are the resolved ones. Whoever is at the
other end of a Unix socket is `unix:`.

Our own keys, beside those of PEP 3333 and CGI:

- `edgeserver.peer`: the address at the other end of the TCP connection, which may be a proxy's;
- `edgeserver.client`: the `Resolved`, or None where no policy is in force;
- `edgeserver.explain`: call it for the whole proof, a `Provenance`;
- `edgeserver.request_id`: the request's id, where the server gives requests ids;
- `edgeserver.tls`: what is known of this connection's TLS, or None;
- `REQUEST_URI` and `RAW_URI`: the target as it was sent.

Where `wsgi.url_scheme` is `https`, `HTTPS` is `on`. On a TLS connection of our own there are,
named as Apache's mod_ssl names them: `SSL_PROTOCOL`, `SSL_CIPHER`, `SSL_TLS_SNI`,
`SSL_CLIENT_VERIFY` (`SUCCESS` or `NONE`), and with a client certificate `SSL_CLIENT_S_DN`,
`SSL_CLIENT_I_DN`, `SSL_CLIENT_M_SERIAL` and `SSL_CLIENT_CERT` (PEM).

Source: PEP 3333, section "environ Variables"; RFC 3875 section 4.1.
"""

from __future__ import annotations

import io
import ssl
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from edgeserver.adapters.wsgi.files import FileWrapper
from edgeserver.httputil import HTTPConnection, split_host_and_port
from edgeserver.httputil.headers import RawHeaders
from edgeserver.httputil.hosts import split_absolute_target
from edgeserver.support.addresses import client_name

__all__ = ["connection_environ", "request_environ"]

Environ = dict[str, Any]

_MAX_KEYS = 2048
_MAX_NAME = 64

_DEFAULT_PORTS = {"http": "80", "https": "443"}


_EACH = (
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "RAW_URI",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "wsgi.errors",
    "wsgi.input",
    "edgeserver.client",
    "edgeserver.explain",
)


class _Keys(dict[bytes, str | None]):
    """A bounded cache from a field's name to its key in the environ; None for no key."""

    def __missing__(self, name: bytes) -> str | None:
        key: str | None
        if b"_" in name:
            # "X_Forwarded_For" and "X-Forwarded-For" would be one key, HTTP_X_FORWARDED_FOR, and
            # a proxy that replaces the one lets the other through.
            key = None
        else:
            key = name.decode("latin-1").upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = "HTTP_" + key
        if len(name) <= _MAX_NAME:
            if len(self) >= _MAX_KEYS:
                self.clear()
            self[name] = key
        return key


_key_of = _Keys()


def connection_environ(
    connection: HTTPConnection, *, root_path: str, multithread: bool, multiprocess: bool
) -> Environ:
    """Return the template of the environs of all requests of one connection.

    Every key that each request sets is there already: its copies need not grow.

    Args:
        connection: Any request's connection; only what does not change is read.
        root_path: `SCRIPT_NAME`.
        multithread: Whether the application may run in several threads at once.
        multiprocess: Whether it may run in several processes at once.
    """
    context = connection.context
    name, port = _server_address(connection)
    environ: Environ = {
        "SCRIPT_NAME": root_path,
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_SOFTWARE": "edgeserver",
        "wsgi.version": (1, 0),
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        # Whatever the framing was, reading ends at the end of this request's body.
        "wsgi.input_terminated": True,
        "edgeserver.peer": context.peer,
        "edgeserver.tls": context.tls,
        **dict.fromkeys(_EACH),
    }
    if context.tls is not None:
        environ.update(_tls_environ(context.tls))
    return environ


def request_environ(
    base: Environ,
    connection: HTTPConnection,
) -> Environ:
    """Return the environ of one request, without its `wsgi.input`.

    Args:
        base: What `connection_environ` returned; it is copied.
        connection: Who is asking, and for what; fields whose names have an underscore are left out.

    Raises:
        HTTPInputError: The target is in absolute-form, and its authority is not a host.
    """
    target = connection.target
    client = connection.client
    port = connection.context.peer_port if client is None else client.port
    scheme = connection.protocol
    path, _, query = target.partition("?")
    environ = base.copy()
    environ.update(_fields(connection.raw))
    environ["REQUEST_METHOD"] = connection.method
    environ["PATH_INFO"] = path
    environ["QUERY_STRING"] = query
    environ["REQUEST_URI"] = environ["RAW_URI"] = target
    environ["SERVER_PROTOCOL"] = connection.version
    environ["REMOTE_ADDR"] = client_name(connection.remote_ip)
    environ["wsgi.url_scheme"] = scheme
    # None in a process that was started without one.
    environ["wsgi.errors"] = sys.stderr or io.StringIO()
    environ["edgeserver.client"] = client
    environ["edgeserver.explain"] = connection.explain
    if connection.request_id is not None:
        environ["edgeserver.request_id"] = connection.request_id
    if port is not None:
        environ["REMOTE_PORT"] = str(port)
    if scheme == "https":
        environ["HTTPS"] = "on"
    if not environ["SERVER_PORT"]:
        _name_by_host(environ)
    if path[:1] != "/":
        _read_other_forms(environ)
    if "%" in path:
        # PEP 3333, "Unicode Issues": native strings hold bytes as latin-1 characters.
        environ["PATH_INFO"] = unquote_to_bytes(environ["PATH_INFO"]).decode("latin-1")
    if environ["SCRIPT_NAME"]:
        _strip_root(environ)
    return environ


def _fields(raw: RawHeaders) -> dict[str, str]:
    """Return the header fields by their keys."""
    fields: dict[Any, str] = {_key_of[name]: value.decode("latin-1") for name, value in raw}
    if len(fields) != len(raw):
        fields = {}
        for name, value in raw:
            key, text = _key_of[name], str(value, "latin-1")
            if key in fields:
                # RFC 9110 section 5.3; for Cookie RFC 6265 section 5.4 has another separator.
                text = fields[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
            fields[key] = text
    fields.pop(None, None)
    length = fields.get("CONTENT_LENGTH")
    if length is not None and "," in length:
        # RFC 9110 section 8.6: a list of equal values, which the HTTP layer let pass, is one.
        fields["CONTENT_LENGTH"] = length.partition(",")[0].strip()
    return fields


def _read_other_forms(environ: Environ) -> None:
    """Set the path of a target that is not in origin-form; its host is in `Host` already.

    Source: RFC 9112 section 3.2.
    """
    absolute = None
    if environ["REQUEST_METHOD"] != "CONNECT":
        absolute = split_absolute_target(environ["REQUEST_URI"])
    if absolute is None:
        # "*" and an authority name no path, and PATH_INFO is a path or empty.
        environ["PATH_INFO"] = environ["QUERY_STRING"] = ""
        return
    _, environ["PATH_INFO"], environ["QUERY_STRING"] = absolute


def _strip_root(environ: Environ) -> None:
    """Take `SCRIPT_NAME` from the path, where the proxy in front has left it on."""
    root, path = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    if path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        environ["PATH_INFO"] = path[len(root) :]


def _server_address(connection: HTTPConnection) -> tuple[str, str]:
    """Return the address and port that the connection came in on; empty for a Unix socket."""
    address = connection.local_address
    # A Unix socket's is a path.
    return (address[0], str(address[1])) if isinstance(address, tuple) else ("", "")


def _name_by_host(environ: Environ) -> None:
    """Set server name and port by the Host field, where the socket has none: a Unix socket."""
    name, port = split_host_and_port(environ.get("HTTP_HOST", ""))
    environ["SERVER_NAME"] = name or "localhost"
    environ["SERVER_PORT"] = str(port or _DEFAULT_PORTS[environ["wsgi.url_scheme"]])


def _tls_environ(tls: Any) -> Environ:
    """Return the keys for a TLS connection."""
    certificate = tls.client_certificate
    environ = {
        "SSL_PROTOCOL": tls.version,
        "SSL_CIPHER": tls.cipher,
        "SSL_CLIENT_VERIFY": "NONE" if certificate is None else "SUCCESS",
    }
    if tls.sni:
        environ["SSL_TLS_SNI"] = tls.sni
    if certificate is not None:
        environ["SSL_CLIENT_S_DN"] = certificate.subject
        environ["SSL_CLIENT_I_DN"] = certificate.issuer
        environ["SSL_CLIENT_M_SERIAL"] = certificate.serial_number
        environ["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(certificate.der)
    return environ
