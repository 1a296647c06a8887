"""The echo: who is answered, with what, and that everybody else is told 404."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgeserver.adapters.callback import CallbackAdapter
from edgeserver.audit.echo import Echo, EchoGate
from edgeserver.audit.nonces import NonceBook
from edgeserver.audit.proof import load_token, minute_of, sign_answer, sign_probe, signed_host
from edgeserver.errors import ConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.site import Answer, address_of, answer, connected, serve

PATH = "/.well-known/edgeserver-audit"
TOKEN = b"a token of the tests, long enough"
NOW = 1_800_000_030.0


def proof(nonce: bytes, *, host: bytes = b"shop.example", token: bytes = TOKEN,
          minutes: int = 0) -> bytes:  # fmt: skip
    """Return the line of a probe."""
    made = sign_probe(token, nonce, host, minute_of(NOW) + minutes)
    return b"Edgeserver-Audit: " + nonce.hex().encode() + b" " + made.hex().encode() + b"\r\n"


class Plain(HTTPServerConnectionDelegate):
    """A delegate without `take_request` and `on_close`, as programs write them."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> Any:
        return CallbackAdapter(application).start_request(server_conn, request_conn)


def application(request: Any) -> None:
    """Answer as an application does."""
    answer(request, f"the application, {len(request.body)} bytes")


@asynccontextmanager
async def running(delegate: Any = None, *, per_second: int = 1000) -> AsyncIterator[HTTPServer]:
    """Run a server with an echo whose clock stands still."""
    echo = Echo(lambda: TOKEN, book=NonceBook(per_second=per_second), clock=lambda: NOW)
    gate = EchoGate(echo, PATH, delegate or CallbackAdapter(application))
    async with serve(gate, trust=TrustPolicy(["127.0.0.1"])) as server:
        echo.attach(server)
        yield server


async def ask(server: HTTPServer, head: bytes, *, method: bytes = b"GET", path: str = PATH,
              host: bytes = b"shop.example", body: bytes = b"") -> Answer:  # fmt: skip
    """Send one request."""
    async with connected(address_of(server)) as client:
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        await client.send(
            b"%s %s HTTP/1.1\r\nHost: %s\r\n%s%sConnection: close\r\n\r\n%s"
            % (method, path.encode(), host, head, length, body)
        )
        return await client.answer()


async def test_a_probe_is_told_what_has_arrived() -> None:
    """The answer holds head, peer, client and policy, and proves itself for this very nonce."""
    nonce = bytes(range(16))
    async with running() as server:
        head = proof(nonce) + b"X-Forwarded-For: 203.0.113.9, 127.0.0.1\r\nX_Real_Ip: 1.2.3.4\r\n"
        got = await ask(server, head + b"CF-Connecting-IP: 203.0.113.7\r\nCookie: a=b\r\n",
                        path=f"{PATH}?abc")  # fmt: skip
    assert (got.status, got.fields["cache-control"]) == (200, "no-store")
    text, made = got.body.rstrip(b"\n").rsplit(b"\n", 1)
    assert made == sign_answer(TOKEN, nonce, text).hex().encode()
    told = json.loads(text)
    assert (told["v"], told["nonce"], told["source"]) == (1, nonce.hex(), "x-forwarded-for")
    line = told["line"]
    assert (line["peer"], line["client"], line["verified"]) == ("127.0.0.1", "203.0.113.9", True)
    assert line["head"] == [["x-forwarded-for", "203.0.113.9, 127.0.0.1"], ["x_real_ip", "1.2.3.4"]]
    assert told["further"] == [["cf-connecting-ip", "203.0.113.7"]]
    assert "cookie" not in got.body.decode().lower()


@pytest.mark.parametrize(
    ("head", "settings"),
    [
        (b"", {}),
        (b"Edgeserver-Audit:\r\n", {}),
        (b"Edgeserver-Audit: \xff\xfe zz\r\n", {}),
        (b"Edgeserver-Audit: " + b"00" * 16 + b" " + b"00" * 32 + b"\r\n", {}),
        (b"Edgeserver-Audit: " + b"0" * 5000 + b"\r\n", {}),
        (proof(bytes(16), token=b"another token, as long as that"), {}),
        (proof(bytes(16), host=b"other.example"), {}),
        (proof(bytes(16)), {"host": b"other.example"}),
        (proof(bytes(16), minutes=2), {}),
        (proof(bytes(16), minutes=-2), {}),
        (proof(bytes(16)), {"method": b"POST"}),
        (proof(bytes(16)), {"method": b"HEAD"}),
        (proof(bytes(16)), {"method": b"POST", "body": b"x=1"}),
    ],
    ids=["nothing", "empty", "binary", "zeros", "long", "token", "host-signed", "host-asked",
         "early", "late", "post", "head", "body"],
)  # fmt: skip
async def test_everybody_else_is_told_404(head: bytes, settings: dict[str, Any]) -> None:
    """Whatever is wrong with a probe, the answer is the same."""
    async with running() as server, connected(address_of(server)) as client:
        method, body = settings.get("method", b"GET"), settings.get("body", b"")
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        await client.send(
            b"%s %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n%s"
            % (method, PATH.encode(), settings.get("host", b"shop.example"), head, length, body)
        )
        got = await client.answer(bodiless=method == b"HEAD")
    assert (got.status, got.fields["cache-control"]) == (404, "no-store")
    assert got.fields["content-length"] == "10"


async def test_a_minute_to_either_side_is_good() -> None:
    """Clocks may differ by a minute."""
    async with running() as server:
        for minutes in (-1, 0, 1):
            got = await ask(server, proof(bytes([minutes + 2] * 16), minutes=minutes))
            assert got.status == 200


async def test_a_nonce_is_good_once() -> None:
    """Who has seen a probe cannot send it again."""
    async with running() as server:
        assert (await ask(server, proof(bytes(16)))).status == 200
        assert (await ask(server, proof(bytes(16)))).status == 404


async def test_so_many_a_second() -> None:
    """Past the limit probes are told 404, and strangers do not count."""
    async with running(per_second=2) as server:
        for _ in range(3):
            assert (await ask(server, b"")).status == 404
        statuses = [(await ask(server, proof(bytes([each] * 16)))).status for each in range(3)]
    assert statuses == [200, 200, 404]


@pytest.mark.parametrize("delegate", [None, Plain()], ids=["fast-call", "start-request"])
async def test_the_application_has_everything_else(delegate: Any) -> None:
    """Other paths and bodies go to the application, whatever shape its delegate has."""
    async with running(delegate) as server:
        for path in ("/", f"{PATH}/x", f"{PATH}x", "/?.well-known/edgeserver-audit"):
            got = await ask(server, proof(bytes(16)), path=path)
            assert (got.status, got.body) == (200, b"the application, 0 bytes")
        got = await ask(server, b"", method=b"POST", path="/", body=b"abc")
        assert got.body == b"the application, 3 bytes"
        assert (await ask(server, proof(bytes(16)))).status == 200


def test_what_a_delegate_has_its_gate_has() -> None:
    """Whatever a server asks of the application's delegate, it finds."""
    adapter = CallbackAdapter(application)
    gate = EchoGate(Echo(lambda: TOKEN), PATH, adapter)
    assert gate.keeps_limits
    assert gate.on_close == adapter.on_close
    assert not hasattr(EchoGate(Echo(lambda: TOKEN), PATH, Plain()), "take_request")


def test_a_reload_reads_the_token_again() -> None:
    """A token that is wrong leaves the old one."""
    tokens: list[bytes | None] = [TOKEN, b"another token, as long as that", None]

    def load() -> bytes:
        token = tokens.pop(0)
        if token is None:
            raise ConfigurationError("no token")
        return token

    echo = Echo(load)
    echo.reload()
    with pytest.raises(ConfigurationError):
        echo.reload()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "has 0 bytes"), (b"short\n", "has 5 bytes"), (b"\n" + b"x" * 40, "has 0 bytes")],
    ids=["empty", "short", "second-line"],
)
def test_a_token_is_a_secret(content: bytes, words: str, tmp_path: Any) -> None:
    """A token that can be guessed is refused, with how to make one."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{words}.*openssl rand -hex 32"):
        load_token(path, flag="--token-file")
    path.write_bytes(b"  0123456789abcdef \r\nmore")
    assert load_token(path, flag="--token-file") == b"0123456789abcdef"
    with pytest.raises(ConfigurationError, match="No such file"):
        load_token(tmp_path / "nowhere", flag="--token-file")


@pytest.mark.parametrize(
    ("host", "signed"),
    [
        (b"Shop.Example", b"shop.example"),
        (b"shop.example:8443", b"shop.example"),
        (b"shop.example.", b"shop.example"),
        (b"[2001:db8::1]:80", b"[2001:db8::1]"),
        (b"[2001:db8::1]", b"[2001:db8::1]"),
        (b"", b""),
        (b":", b""),
    ],
)
def test_hosts_are_signed_without_their_port(host: bytes, signed: bytes) -> None:
    """Proxies add and remove ports, and change case."""
    assert signed_host(host) == signed


def test_the_delegates_of_the_echo_are_the_interfaces() -> None:
    """What `start_request` returns for the echo's path is a message delegate."""

    class Head:
        target = PATH

    gate = EchoGate(Echo(lambda: TOKEN), PATH, Plain())
    assert isinstance(gate.start_request(None, Head()), HTTPMessageDelegate)  # type: ignore[arg-type]
