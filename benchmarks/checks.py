"""The check before the measurement: nobody is measured who answers wrongly or does less.

Decides what a right answer is: status 200, the promised type and length, the promised bytes, and at
`/client` the address that the workload's proxies vouch for.
"""

from __future__ import annotations

import http.client
import re
import socket

from benchmarks.load import client_address, vary
from benchmarks.model import CLIENT_TARGET, PLAIN_ANSWER, BenchmarkError, Workload
from benchmarks.procs import Running

_NUMBERS = (7, 0x1234567)
_SECONDS = 10.0


class CheckFailed(BenchmarkError):
    """A server answered something else than what is measured."""


def ask(port: int, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """Send `request` over a connection of its own and return the answer and its body."""
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method="GET")
        response.begin()
        return response, response.read()


def requests_of(workload: Workload) -> list[tuple[bytes, str]]:
    """Return requests of `workload`, each with the client address it is to resolve to."""
    template = workload.template()
    body = b"x" * workload.body_bytes
    if workload.varied:
        return [(vary(template, n), client_address(n)) for n in _NUMBERS]
    forwarded = re.search(rb"(?mi)^X-Forwarded-For: *([^,\r]+)", template)
    claimed = forwarded[1].decode() if forwarded and workload.proxied else "127.0.0.1"
    return [(template + body, claimed)]


def check(process: Running, workload: Workload) -> None:
    """Hold `process` to what `workload` asks for.

    Raises:
        CheckFailed: Naming what came instead.
    """
    name = process.server.name
    for request, client in requests_of(workload):
        response, body = ask(process.port, request)
        if response.status != 200:
            raise CheckFailed(f"{name}, {workload.name}: status {response.status}: {body[:200]!r}")
        if response.getheader("Content-Type", "").partition(";")[0] != "text/plain":
            raise CheckFailed(f"{name}: not text/plain: {response.getheader('Content-Type')!r}")
        if response.getheader("Content-Length") != str(workload.answer_bytes):
            raise CheckFailed(f"{name}: Content-Length is {response.getheader('Content-Length')!r}")
        if body != PLAIN_ANSWER and body != b"x" * workload.answer_bytes:
            raise CheckFailed(f"{name}, {workload.name}: the body is {body[:60]!r}")
        if process.server.parses:
            _check_client(process, request, client)


def _check_client(process: Running, request: bytes, client: str) -> None:
    method, _, rest = request.split(b" ", 2)
    _, resolved = ask(process.port, b" ".join((method, CLIENT_TARGET.encode(), rest)))
    if resolved != client.encode():
        raise CheckFailed(
            f"{process.server.name} took {resolved[:60]!r} for the client, not {client!r}:"
            " it would be measured doing less"
        )
