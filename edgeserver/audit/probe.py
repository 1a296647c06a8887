"""The probe of a chain from outside: requests to one host, answered by an echo behind it.

Decides how a request is sent, how much of an answer is read and which answers count, and that there
are never too many of either. It must not know what the answers show.
"""

from __future__ import annotations

import errno
import http.client
import io
import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from edgeserver.audit.forgeries import HONEST, Forgery, plan_forgeries
from edgeserver.audit.proof import (
    DEFAULT_PATH,
    FIELD,
    NONCE_BYTES,
    minute_of,
    sign_answer,
    sign_probe,
    signed_host,
)
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.support.escape import escape

__all__ = [
    "ProbeAnswer",
    "ProbeError",
    "ProbeOutcome",
    "Prober",
    "Target",
    "parse_target",
    "pick_address",
    "resolve",
]  # fmt: skip

PAUSE_S = 0.2
"""From one request to the next: five a second."""

PATIENCE_S = 10.0
"""How long one request may take, from its connection to the end of its answer."""

CONNECT_S = 3.0
"""How long it is tried to connect to each address of the host."""

MAX_ANSWER_BYTES = 256 * 1024

_NAMED_OTHERWISE = (62, 64)
"""OpenSSL's numbers of a certificate that is for another host name or address."""

_OUT_OF_DATE = (9, 10)
"""Those of one that is not valid yet, or no more."""

_FORGED = ("203.0.113.250", "203.0.113.251", "198.51.100.250", "198.51.100.251", "192.0.2.250",
           "192.0.2.251")  # fmt: skip


class ProbeError(EdgeServerError):
    """A chain that cannot be probed: nobody there, or no answer of the echo."""


class Target(NamedTuple):
    """What is probed."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.authority}{self.path}"


class ProbeAnswer(NamedTuple):
    """What the echo says of one request; all texts are printable ASCII.

    Args:
        peer: The application's peer.
        connection: What the connection itself says: `scheme`, `port`, `prelude`.
        host: The `Host` that has arrived.
        head: The forwarding fields that have arrived: lower-case names and values, in order.
        client: Whom the application takes for the client.
        scheme: Which scheme it believes.
        verified: Whether that rests on a trusted proxy.
        source: The field that it reads clients from.
        proto: The one that it reads schemes from.
        policy: The id of its policy.
    """

    peer: str
    connection: dict[str, Any]
    host: str
    head: tuple[tuple[str, str], ...]
    client: str
    scheme: str
    verified: bool
    source: str
    proto: str | None
    policy: str

    def value(self, field: str) -> str | None:
        """Return a field's lines, joined; None where there is none."""
        lines = [value for name, value in self.head if name == field]
        return ", ".join(lines) if lines else None


class ProbeOutcome(NamedTuple):
    """What became of one request.

    Args:
        forgery: What was sent.
        status: The status of the answer; 0 for no answer.
        answer: What the echo says; None where no proved answer came.
        note: Why there is none.
    """

    forgery: Forgery
    status: int
    answer: ProbeAnswer | None
    note: str = ""


def parse_target(url: str) -> Target:
    """Return what a URL names; without a path, the usual one.

    Raises:
        ConfigurationError: It is not one of http or https.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    good = url.isascii() and url.isprintable() and " " not in url
    if (
        not good
        or parts.scheme not in ("http", "https")
        or not host
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise ConfigurationError(
            f"{escape(url)}: not a URL that can be probed; write https://shop.example, with the "
            f"path of --audit-echo if it is not {DEFAULT_PATH}"
        )
    path = parts.path if parts.path not in ("", "/") else DEFAULT_PATH
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def resolve(target: Target) -> list[str]:
    """Return the addresses of a target's host, those that are tried first in front.

    Raises:
        ProbeError: It has none.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ProbeError(
            f"{escape(target.host)}: the name has no address: {escape(str(error))}; check it"
        ) from error
    return [*dict.fromkeys(str(each[4][0]) for each in found)]


def pick_address(target: Target, addresses: list[str], local: str | None) -> str:
    """Return the first of a host's addresses that takes a connection; else the first.

    A host often has one that is not listened on, such as ::1 for localhost. Nothing is sent.
    """
    source = (local, 0) if local else None
    for address in addresses:
        try:
            socket.create_connection(
                (address, target.port), CONNECT_S, source_address=source
            ).close()
        except OSError:
            continue
        return address
    return addresses[0]


class Prober:
    """Sends the requests of one probe to one address.

    Args:
        target: What is probed.
        token: The secret that is shared with the echo.
        address: The address of its host that all requests go to.
        received_host: The `Host` that the echo gets, where a proxy writes another one.
        tls: The context for https.
        local: The address of this machine to send from.
        wait: Called with seconds to wait; for tests.
    """

    def __init__(
        self,
        target: Target,
        token: bytes,
        *,
        address: str,
        received_host: str | None = None,
        tls: ssl.SSLContext | None = None,
        local: str | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.target = target
        self.address = address
        self.sent = 0
        self.local = ""  # the address that the last request was sent from
        self._token = token
        self._host = signed_host((received_host or target.authority).encode())
        self._tls = tls
        self._local = local
        self._wait = wait
        self._error: Exception | None = None  # what the last request without an answer raised

    def run(self) -> Iterator[ProbeOutcome]:
        """Send the honest request, and if the echo has answered it, the forgeries.

        Raises:
            ProbeError: No proved answer came back to the honest one: nothing else is sent.
        """
        first = self._ask(HONEST)
        if first.answer is None:
            raise ProbeError(self._unanswered(first))
        yield first
        answer = first.answer
        seen = {answer.peer, answer.client, *(value for _, value in answer.head)}
        free = [each for each in _FORGED if not any(each in text for text in seen)]
        forged = (free[0], free[1]) if len(free) > 1 else (_FORGED[0], _FORGED[1])
        proxy = "127.0.0.1" if answer.peer.startswith("unix") else answer.peer
        for forgery in plan_forgeries(
            source=answer.source,
            proto=answer.proto,
            scheme=self.target.scheme,
            proxy=proxy,
            forged=forged,
        ):
            self._wait(PAUSE_S)
            yield self._ask(forgery)

    def _unanswered(self, outcome: ProbeOutcome) -> str:
        """Return why the probe stops, and what may be wrong."""
        fix = _mend_failure(self._error, self.target) or _mend_status(outcome.status)
        if not fix:
            fix = (
                "check that the server behind runs with --audit-echo "
                f"{self.target.path} and the same token, that the clocks of both differ by less "
                "than a minute, and that no proxy replaces Host: nginx does without "
                "proxy_set_header Host $host, and then --received-host says what with"
            )
        return (
            f"{self.target.url} at {self.address}: no proved answer to an honest request "
            f"({outcome.note}), so nothing else was sent; {fix}"
        )

    def _ask(self, forgery: Forgery) -> ProbeOutcome:
        """Send one request, and read its answer."""
        self.sent += 1
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            received = self._exchange(self._request(forgery, nonce), forgery.prelude)
        except (OSError, ValueError) as error:
            self._error = error
            return ProbeOutcome(forgery, 0, None, f"no answer: {escape(_reason(error))}")
        return _read_answer(forgery, received, self._token, nonce)

    def _request(self, forgery: Forgery, nonce: bytes) -> bytes:
        """Return the bytes of a request; what is forged comes before what is needed."""
        proof = sign_probe(self._token, nonce, self._host, minute_of(time.time()))
        nominated = f", {forgery.nominated}" if forgery.nominated else ""
        lines = [
            # the query keeps caches from answering
            f"GET {self.target.path}?{nonce[:6].hex()} HTTP/1.1",
            f"Host: {self.target.authority}",
            *(f"{name}: {value}".rstrip(" ") for name, value in forgery.lines),
            f"{FIELD}: {nonce.hex()} {proof.hex()}",
            "User-Agent: edgeserver-audit-probe",
            "Accept-Encoding: identity",
            f"Connection: close{nominated}",
        ]
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _exchange(self, request: bytes, prelude: bytes) -> bytes:
        """Return what comes back on a connection of its own, within bounds."""
        deadline_s = time.monotonic() + PATIENCE_S
        source = (self._local, 0) if self._local else None
        with socket.create_connection(
            (self.address, self.target.port), PATIENCE_S, source_address=source
        ) as plain:
            self.local = str(plain.getsockname()[0])
            if prelude:
                plain.sendall(prelude)
            if self._tls is None:
                return _converse(plain, request, deadline_s)
            with self._tls.wrap_socket(plain, server_hostname=self.target.host) as sock:
                return _converse(sock, request, deadline_s)


def _reason(error: Exception) -> str:
    """Return what has failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _mend_failure(error: Exception | None, target: Target) -> str:
    """Return what to do about a connection that has failed; empty where that says nothing."""
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _NAMED_OTHERWISE:
            return "name the host in the URL and in --allow as the certificate does"
        case ssl.SSLCertVerificationError(verify_code=code) if code in _OUT_OF_DATE:
            return "renew the certificate there, or set this machine's clock"
        case ssl.SSLCertVerificationError():
            return (
                "name the CAs of that certificate with --ca-certs FILE, or have it send its chain"
            )
        case ssl.SSLError():
            return "check that this port speaks TLS; where it does not, the URL begins with http://"
        case ConnectionRefusedError():
            return f"check that the chain runs, and listens on port {target.port}"
        case TimeoutError():
            return f"check address and port, and that no firewall is before port {target.port}"
        case OSError(errno=errno.EADDRNOTAVAIL):
            return "give an address of this machine to --bind, or leave it out"
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH):
            return "check the address, and this machine's network"
    return ""


def _mend_status(status: int) -> str:
    """Return what to do about a status that is not the echo's; empty where that says nothing."""
    if 300 <= status < 400:
        return "give the URL that it redirects to: no redirect is followed"
    if status in (502, 503, 504):
        return "check that the server behind the proxy runs, and that the proxy reaches it"
    return ""


def _converse(sock: socket.socket, request: bytes, deadline_s: float) -> bytes:
    """Send a request, and return its answer as far as it has come in time."""
    sock.sendall(request)
    received = bytearray()
    while len(received) < MAX_ANSWER_BYTES and not _is_whole(received):
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            break
        sock.settimeout(left_s)
        try:
            piece = sock.recv(65536)
        except (TimeoutError, ConnectionError, ssl.SSLError):
            if not received:
                raise
            break
        if not piece:
            break
        received += piece
    return bytes(received)


def _is_whole(received: bytearray) -> bool:
    """Return whether an answer of a known length is complete, as far as can be told cheaply."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value.strip()[:9])
    return False


class _Received:
    """A socket for `http.client` that holds an answer which was read already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        """Return the bytes."""
        return io.BytesIO(self._data)


def _read_answer(forgery: Forgery, received: bytes, token: bytes, nonce: bytes) -> ProbeOutcome:
    """Return what an answer says, if it is the echo's and for this very request."""
    if not received:
        return ProbeOutcome(forgery, 0, None, "the connection was closed without an answer")
    response = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read(MAX_ANSWER_BYTES)
    except (http.client.HTTPException, OSError, ValueError) as error:
        return ProbeOutcome(forgery, 0, None, f"not an HTTP answer: {escape(str(error), 100)}")
    status = response.status
    text, _, proof = body.rstrip(b"\n").rpartition(b"\n")
    if status != 200 or not _is_proved(token, nonce, text, proof):
        server = response.getheader("Server")
        of = f" of {escape(server, 60)}" if server else ""
        what = "not the echo's" if status == 200 else f"{escape(response.reason, 60)}"
        return ProbeOutcome(forgery, status, None, f"status {status}{of}, {what}")
    answer = _parse_answer(text)
    if answer is None:
        return ProbeOutcome(forgery, status, None, "an answer of another version of the echo")
    return ProbeOutcome(forgery, status, answer)


def _is_proved(token: bytes, nonce: bytes, text: bytes, proof: bytes) -> bool:
    return secrets.compare_digest(sign_answer(token, nonce, text).hex().encode(), proof)


def _parse_answer(text: bytes) -> ProbeAnswer | None:
    """Return the answer in a text that is proved; None where it is of another version."""
    try:
        value = json.loads(text)
        line = value["line"]
        head = [(str(name), str(field)) for name, field in [*line["head"], *value["further"]]]
        if value["v"] != 1:
            return None
        return ProbeAnswer(
            peer=str(line["peer"]),
            connection=dict(line["conn"]),
            host=str(line.get("host", "")),
            head=tuple(head),
            client=str(line["client"]),
            scheme=str(line["scheme"]),
            verified=bool(line["verified"]),
            source=str(value["source"]),
            proto=None if value["proto"] is None else str(value["proto"]),
            policy=str(line["policy"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
