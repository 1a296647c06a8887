"""The check before the measurement: nobody is measured who answers wrongly or does less.

Decides what a right answer is: status 200, the promised type and length, the promised bytes, and at
`/client` the address that the workload's proxies vouch for; over TLS a certificate that verifies
and the cipher that all others have. WebSocket messages are checked by their loader, every one.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import tempfile
from pathlib import Path

from benchmarks.http2 import fields_of
from benchmarks.load import client_address, vary
from benchmarks.loaders.handshakes import CIPHER, HOST_NAME, client_context
from benchmarks.model import (
    CERTIFICATES_VARIABLE,
    CLIENT_TARGET,
    PLAIN_ANSWER,
    BenchmarkError,
    Workload,
)
from benchmarks.procs import Running

_NUMBERS = (7, 0x1234567)
_SECONDS = 10.0


class CheckFailed(BenchmarkError):
    """A server answered something else than what is measured."""


def connect(port: int, *, tls: bool) -> socket.socket:
    """Return a connection, over TLS one whose server has shown the certificate of this run.

    Raises:
        CheckFailed: Something else was negotiated than what is measured.
    """
    plain = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
    if not tls:
        return plain
    context = client_context(str(Path(os.environ[CERTIFICATES_VARIABLE]) / "ca.pem"))
    connection = context.wrap_socket(plain, server_hostname=HOST_NAME)
    cipher = connection.cipher()
    if cipher is None or cipher[0] != CIPHER:
        raise CheckFailed(f"the server chose {cipher}, not {CIPHER}")
    return connection


def ask(port: int, request: bytes, *, tls: bool) -> tuple[http.client.HTTPResponse, bytes]:
    """Send `request` over a connection of its own and return the answer and its body."""
    with connect(port, tls=tls) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method="GET")
        response.begin()
        return response, response.read()


def requests_of(workload: Workload, resolves: bool | None = None) -> list[tuple[bytes, str]]:
    """Return requests of `workload`, each with the client address it is to resolve to.

    Args:
        workload: Whose requests.
        resolves: Whether the client is read from the head; None for what the workload says.
    """
    template = workload.template()
    body = b"x" * workload.body_bytes
    if b"@CLIENT@" in template:
        return [(vary(template, n), client_address(n)) for n in _NUMBERS]
    forwarded = re.search(rb"(?mi)^X-Forwarded-For: *([^,\r]+)", template)
    resolves = workload.proxied if resolves is None else resolves
    claimed = forwarded[1].decode() if forwarded and resolves else "127.0.0.1"
    if workload.varied:
        return [(vary(template, n), claimed) for n in _NUMBERS]
    return [(template + body, claimed)]


def check(process: Running, workload: Workload) -> None:
    """Hold `process` to what `workload` asks for.

    Raises:
        CheckFailed: Naming what came instead.
    """
    if workload.app not in ("app", "reader"):
        return
    try:
        if workload.http2:
            _check_http2(process, workload)
        else:
            _check_answers(process, workload)
    except (OSError, http.client.HTTPException) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckFailed(f"{process.server.name}, {workload.name}: {reason}") from error


def _check_answers(process: Running, workload: Workload) -> None:
    name = process.server.name
    for request, client in requests_of(workload, process.server.resolves):
        response, body = ask(process.port, request, tls=workload.tls)
        if response.status != 200:
            raise CheckFailed(f"{name}, {workload.name}: status {response.status}: {body[:200]!r}")
        if response.getheader("Content-Type", "").partition(";")[0] != "text/plain":
            raise CheckFailed(f"{name}: not text/plain: {response.getheader('Content-Type')!r}")
        if response.getheader("Content-Length") != str(workload.answer_bytes):
            raise CheckFailed(f"{name}: Content-Length is {response.getheader('Content-Length')!r}")
        if body != PLAIN_ANSWER and body != b"x" * workload.answer_bytes:
            raise CheckFailed(f"{name}, {workload.name}: the body is {body[:60]!r}")
        if process.server.parses:
            _check_client(process, request, client, tls=workload.tls)


def _check_http2(process: Running, workload: Workload) -> None:
    """Ask by curl, which reads answers as browsers do."""
    name = process.server.name
    for request, _ in requests_of(workload):
        _, head, body = ask_by_curl(process.port, request.partition(b"\r\n\r\n")[0], workload)
        status, *lines = head.decode("latin-1").splitlines()
        fields = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
        if status.split()[:2] != ["HTTP/2", "200"]:
            raise CheckFailed(f"{name}, {workload.name}: {status!r}")
        if fields.get("content-type", "").partition(";")[0] != "text/plain":
            raise CheckFailed(f"{name}: not text/plain: {fields}")
        if body != PLAIN_ANSWER and body != b"x" * workload.answer_bytes:
            raise CheckFailed(f"{name}, {workload.name}: the body is {body[:60]!r}")


def ask_by_curl(port: int, request: bytes, workload: Workload) -> tuple[str, bytes, bytes]:
    """Return what curl says, the head of the last answer that it got, and its body.

    Raises:
        CheckFailed: It got none.
    """
    fields = fields_of(request)
    asked = dict(fields)
    with tempfile.TemporaryDirectory() as directory:
        head, body = Path(directory, "head"), Path(directory, "body")
        command = ["curl", "-sS", "--http2-prior-knowledge", "-m", str(_SECONDS)]
        command += ["-X", asked[b":method"].decode(), "-D", str(head), "-o", str(body)]
        for key, value in fields[4:]:
            command += ["-H", f"{key.decode()}: {value.decode()}"]
        command += ["-H", f"host: {asked[b':authority'].decode()}"]
        if workload.body_bytes:
            Path(directory, "sent").write_bytes(b"x" * workload.body_bytes)
            command += ["--data-binary", f"@{directory}/sent"]
        command.append(f"http://127.0.0.1:{port}{asked[b':path'].decode()}")
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise CheckFailed(f"curl: {ended.stderr.strip()}")
        return ended.stdout, head.read_bytes(), body.read_bytes()


def _check_client(process: Running, request: bytes, client: str, *, tls: bool) -> None:
    method, _, rest = request.split(b" ", 2)
    _, resolved = ask(process.port, b" ".join((method, CLIENT_TARGET.encode(), rest)), tls=tls)
    if resolved != client.encode():
        raise CheckFailed(
            f"{process.server.name} took {resolved[:60]!r} for the client, not {client!r}:"
            " it would be measured doing less"
        )
