"""The echo of a probe: what of its head has arrived, told only to who holds the token.

Decides which requests are answered, with what, and that all others are told 404, at the same cost
whatever is wrong with them. It must not know which application stands behind, nor how probes are
made.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from edgeserver.audit.forgeries import FURTHER_FIELDS
from edgeserver.audit.line import render_audit_line
from edgeserver.audit.nonces import NonceBook
from edgeserver.audit.proof import (
    FIELD,
    NONCE_BYTES,
    minute_of,
    sign_answer,
    sign_probe,
    signed_host,
)
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from edgeserver.proxyheaders.stripping import is_forwarding_name
from edgeserver.support.escape import escape

__all__ = ["Echo", "EchoGate", "nothing"]

_FIELD = FIELD.lower().encode()
_DIGEST_BYTES = 32
_NOBODY = b"\0" * _DIGEST_BYTES
_MINUTES = (-1, 0, 1)
_MAX_FURTHER = 40


class Echo:
    """Answers probes: each nonce once, and ten a second.

    Args:
        token: Returns the secret; called again at each `reload`.
        book: The nonces taken; made anew if None. Processes that are forked share it.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        token: Callable[[], bytes],
        *,
        book: NonceBook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._load = token
        self._token = token()
        self._book = book or NonceBook(size=NONCE_BYTES)
        self._clock = clock
        self._server: Any = None  # whose policy is in force

    def attach(self, server: Any) -> None:
        """Answer for this `HTTPServer`, whose policy says who the client is."""
        self._server = server

    def reload(self) -> None:
        """Read the token again.

        Raises:
            ConfigurationError: There is none; the old one stays.
        """
        self._token = self._load()

    def answer(self, connection: Any) -> None:
        """Answer a request for the echo's path.

        Args:
            connection: The exchange.
        """
        now_s = self._clock()
        nonce = self._nonce_of(connection, now_s)
        if nonce is None or not self._book.take(nonce, now_s):
            _write(connection, 404, "Not Found", "text/plain; charset=utf-8", b"Not Found\n")
            return
        body = self._tell(connection, nonce, now_s)
        proof = sign_answer(self._token, nonce, body).hex().encode()
        _write(connection, 200, "OK", "application/json", body + b"\n" + proof + b"\n")

    def _nonce_of(self, connection: Any, now_s: float) -> bytes | None:
        """Return the nonce of a probe whose proof is right; all others cost the same."""
        claimed = host = b""
        for name, value in connection.head_pairs:
            if name == _FIELD:
                claimed = value
            elif name == b"host":
                host = value
        nonce, proof = _parse_claim(claimed)
        host, minute = signed_host(host), minute_of(now_s)
        found = 0
        for each in _MINUTES:
            made = sign_probe(self._token, nonce, host, minute + each)
            found |= hmac.compare_digest(made, proof)
        return nonce if found and connection.method == "GET" else None

    def _tell(self, connection: Any, nonce: bytes, now_s: float) -> bytes:
        """Return what has arrived: the line of the audit log that this request would have."""
        policy = self._server.trust
        line = render_audit_line(
            connection.bound.explain(connection.head_pairs),
            method=connection.method,
            target=connection.target,
            now=now_s,
            pairs=connection.head_pairs,
            bound=connection.bound,
            policy=policy,
        )
        head = {
            "v": 1,
            "nonce": nonce.hex(),
            "source": policy.source,
            "proto": policy.proto,
            "further": _further(connection.head_pairs, (policy.source, policy.proto)),
        }
        return f'{json.dumps(head)[:-1]}, "line": {line}}}'.encode("ascii")


def _further(pairs: Iterable[tuple[bytes, bytes]], read: tuple[str | None, ...]) -> list[list[str]]:
    """Return the fields of probes that the audit log's line leaves out."""
    found = []
    for name, value in pairs:
        plain = name.replace(b"_", b"-")
        if plain in FURTHER_FIELDS and not is_forwarding_name(plain) and plain.decode() not in read:
            found.append([escape(name, 60), escape(value, 120)])
    return found[:_MAX_FURTHER]


def _parse_claim(value: bytes) -> tuple[bytes, bytes]:
    """Return nonce and proof of a field; of one that is none, bytes that prove nothing."""
    nonce, _, proof = value.partition(b" ")
    try:
        parts = bytes.fromhex(nonce.decode("ascii")), bytes.fromhex(proof.decode("ascii"))
    except ValueError:
        return _NOBODY[:NONCE_BYTES], _NOBODY
    if (len(parts[0]), len(parts[1])) != (NONCE_BYTES, _DIGEST_BYTES):
        return _NOBODY[:NONCE_BYTES], _NOBODY
    return parts


def _write(connection: Any, code: int, reason: str, kind: str, body: bytes) -> None:
    """Answer, and have nobody keep it."""
    headers = HTTPHeaders(
        {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
    )
    connection.write_headers(ResponseStartLine("HTTP/1.1", code, reason), headers, body)
    connection.finish()


class EchoGate:
    """An application's delegate, with the echo on one path before it.

    Args:
        echo: What answers there.
        path: The path, from its slash on.
        delegate: The application's delegate, for everything else; what it has, this one has too.
    """

    def __init__(self, echo: Echo, path: str, delegate: Any) -> None:
        self._echo = echo
        self._path = path
        self._with_query = f"{path}?"
        self._delegate = delegate
        self._start = delegate.start_request
        if hasattr(delegate, "take_request"):
            self._take: Callable[[object, HTTPConnection], None] = delegate.take_request
            # so that a server finds it only where the application's delegate has one
            self.take_request = self._take_request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delegate, name)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate of one request."""
        if self._is_for_echo(request_conn):
            return _Answering(self._echo, request_conn)
        found: HTTPMessageDelegate = self._start(server_conn, request_conn)
        return found

    def _take_request(self, server_conn: object, request_conn: HTTPConnection) -> None:
        """Take a request without a body."""
        if self._is_for_echo(request_conn):
            self._echo.answer(request_conn)
        else:
            self._take(server_conn, request_conn)

    def _is_for_echo(self, request_conn: HTTPConnection) -> bool:
        target: str = request_conn.target
        return target == self._path or target.startswith(self._with_query)


class _Answering(HTTPMessageDelegate):
    """Answers at the head; what comes of the body is dropped."""

    __slots__ = ("_connection", "_echo")

    def __init__(self, echo: Echo, connection: HTTPConnection) -> None:
        self._echo = echo
        self._connection = connection

    def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        """Answer."""
        self._echo.answer(self._connection)


def nothing(request: HTTPServerRequest) -> None:
    """Answer 404: the application of `edgeserver audit echo`, which has nothing but the echo."""
    _write(request.connection, 404, "Not Found", "text/plain; charset=utf-8", b"Not Found\n")
