"""The endpoint of operators: who may ask what, and that nobody can do it harm."""

from __future__ import annotations

import base64
import json
import selectors
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.operate.endpoint import (
    MOST_CONNECTIONS,
    MOST_HEAD_BYTES,
    AdminRefusal,
    AdminRequest,
    Answer,
    Endpoint,
    check_access,
    parse_admin_request,
    render_answer,
)

TOKEN = b"0123456789abcdef0123"


def _refused(call: Callable[[], object]) -> int:
    """Return the status of a refusal."""
    with pytest.raises(AdminRefusal) as caught:
        call()
    return caught.value.answer.status


# One request, as bytes.


def test_a_request() -> None:
    """What is asked for is its path, without the query."""
    request = parse_admin_request(
        b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:9000\r\nAccept: text/plain\r\n"
        b"Authorization: Bearer abc\r\n\r\n"
    )
    assert request == AdminRequest(
        method="GET",
        path="/metrics",
        accept="text/plain",
        host="localhost:9000",
        authorization="Bearer abc",
    )


@pytest.mark.parametrize(
    "part", [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"], ids=range(4)
)
def test_a_part_of_a_request(part: bytes) -> None:
    """What is not whole is waited for."""
    assert parse_admin_request(part) is None


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"POST /roll HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 413),
        (b"POST /roll HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n", 413),
        (b"POST /roll HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431),
        (b"x" * MOST_HEAD_BYTES, 431),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400),
    ],
    ids=[
        "nonsense",
        "no-host",
        "two-hosts",
        "space",
        "folded",
        "nul",
        "http2",
        "body",
        "odd-length",
        "chunked",
        "fields",
        "long",
        "tls",
    ],
)
def test_what_is_refused(sent: bytes, status: int) -> None:
    """What breaks a rule, has a body or is too long is refused, and says why."""
    assert _refused(lambda: parse_admin_request(sent)) == status


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever comes is a request, a part of one, or refused."""
    for sent in (data, data + b"\r\n\r\n", b"GET /" + data + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
        try:
            parse_admin_request(sent)
        except AdminRefusal as refusal:
            render_answer(refusal.answer)


# Who may ask.


def _asked(path: str = "/status", **facts: Any) -> AdminRequest:
    return AdminRequest(method="GET", path=path, **{"host": "localhost", **facts})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9000",
        "127.0.0.1:9000",
        "10.1.2.3",
        "[::1]:9000",
        "Admin.test:1",
        None,
    ],
)
def test_a_host_of_ours(host: str | None) -> None:
    """An address cannot be rebound, localhost is this machine, and a configured name is known."""
    assert check_access(_asked(host=host), token=None, names=["admin.test"])


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9000", "localhost.evil.example", "127.0.0.1.evil", ""]
)
@pytest.mark.parametrize("path", ["/status", "/live"])
def test_a_name_that_points_here(host: str, path: str) -> None:
    """A page whose name was made to point here is told nothing."""
    assert _refused(lambda: check_access(_asked(path, host=host), token=None)) == 421
    assert _refused(lambda: check_access(_asked(path, host=host), token=TOKEN)) == 421


def _basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    "shown",
    ["Bearer " + TOKEN.decode(), "bearer  " + TOKEN.decode(), _basic(b"anybody:" + TOKEN)],
    ids=["bearer", "spelling", "basic"],
)
@pytest.mark.parametrize("host", ["localhost", "metrics.internal:9000"], ids=["own", "name"])
def test_the_token(shown: str, host: str) -> None:
    """Whoever shows it may ask everything, by any name."""
    assert check_access(_asked(host=host, authorization=shown), token=TOKEN)


@pytest.mark.parametrize(
    "shown",
    [
        "Bearer x",
        "Bearer",
        "Bearer " + TOKEN.decode() + "0",
        "Bearer " + TOKEN.decode()[:-1],
        "Digest " + TOKEN.decode(),
        _basic(b"x:y"),
        "Basic !!!",
        "Bearer \xff\xfe",
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None], ids=["asked", "not-asked"])
@pytest.mark.parametrize("path", ["/status", "/ready"])
def test_a_wrong_token(shown: str, token: bytes | None, path: str) -> None:
    """Whoever shows another one is answered nothing."""
    request = _asked(path, authorization=shown)
    assert _refused(lambda: check_access(request, token=token)) == 401


def test_without_the_token() -> None:
    """Probes are answered, and told nothing more."""
    assert check_access(_asked("/live"), token=TOKEN) is False
    assert check_access(_asked("/ready"), token=TOKEN) is False
    assert _refused(lambda: check_access(_asked("/metrics"), token=TOKEN)) == 401


def test_the_unix_socket() -> None:
    """Its rights have decided already."""
    assert check_access(_asked(host="anything", is_local=True), token=TOKEN)


def test_an_answer_is_for_nobody_else() -> None:
    """It is not kept, not framed, not sniffed, and no other origin may read it."""
    answer = render_answer(Answer(body={"a": 1})).lower()
    assert b"cache-control: no-store" in answer
    assert b"x-frame-options: deny" in answer
    assert b"nosniff" in answer
    assert b"access-control-" not in answer
    assert render_answer(Answer(body=b"text", content_type="text/plain")).endswith(b"\r\n\r\ntext")
    assert render_answer(Answer(body=b"text"), head_only=True).endswith(b"\r\n\r\n")


# The sockets.


def _close_all(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


class Driven:
    """An endpoint on a Unix socket or an address, driven by hand; its clock stands still."""

    def __init__(self, respond: Callable[[AdminRequest], Answer], **options: Any) -> None:
        self.now_s = 100.0
        self.errors: list[Exception] = []
        self.selector = selectors.DefaultSelector()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(
            [self.listening],
            self.selector,
            respond,
            clock=lambda: self.now_s,
            close=_close_all,
            on_error=self.errors.append,
            **options,
        )
        self.clients: list[socket.socket] = []

    def client(self) -> socket.socket:
        """Return a connected client."""
        sock = socket.create_connection(self.listening.getsockname())
        sock.settimeout(10)
        self.clients.append(sock)
        self.turn()
        return sock

    def turn(self, times: int = 3) -> None:
        """Let what is ready be done."""
        for _ in range(times):
            for key, _ in self.selector.select(0):
                key.data()

    def ask(self, sent: bytes) -> bytes:
        """Return what is answered, up to the end."""
        sock = self.client()
        sock.sendall(sent)
        self.turn()
        return self.rest(sock)

    def rest(self, sock: socket.socket) -> bytes:
        """Return what comes until the other end closes its half."""
        got = b""
        sock.setblocking(False)
        for _ in range(200):
            try:
                data = sock.recv(65536)
            except BlockingIOError:
                self.selector.select(0.05)
                self.turn(1)
                continue
            if not data:
                return got
            got += data
        raise AssertionError(f"not closed: {got[:200]!r}")

    def close(self) -> None:
        """Close everything."""
        self.endpoint.close()
        self.selector.close()
        for each in self.clients:
            each.close()


@pytest.fixture
def driven() -> Iterator[Driven]:
    """Give an endpoint that says who is asked for, and fails at /fail."""

    def respond(request: AdminRequest) -> Answer:
        if request.path == "/fail":
            raise RuntimeError("no")
        if request.path == "/long":
            return Answer(body=b"x" * 3_000_000, content_type="text/plain")
        return Answer(body={"path": request.path, "known": request.is_known})

    made = Driven(respond)
    yield made
    made.close()


GET = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_an_answer(driven: Driven) -> None:
    """One request is answered, and the connection ends."""
    head, _, body = driven.ask(GET).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body) == {"path": "/status", "known": True}
    assert b"Connection: close" in head


def test_bytes_one_by_one(driven: Driven) -> None:
    """A request may come in any pieces."""
    sock = driven.client()
    for number in range(len(GET)):
        sock.sendall(GET[number : number + 1])
        driven.turn(1)
    assert driven.rest(sock).startswith(b"HTTP/1.1 200 ")


def test_a_refusal_is_answered(driven: Driven) -> None:
    """What is refused is told why, as JSON, though more is still coming."""
    answer = driven.ask(b"nonsense\r\n\r\n" + b"x" * 5000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_failure_is_ours(driven: Driven) -> None:
    """A mistake of ours is answered with 500 and told to the operator; nothing ends."""
    assert driven.ask(b"GET /fail HTTP/1.1\r\nHost: a.localhost\r\n\r\n").startswith(
        b"HTTP/1.1 421"
    )
    assert driven.ask(b"GET /fail HTTP/1.1\r\nHost: [::1]\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    assert [str(each) for each in driven.errors] == ["no"]
    assert driven.ask(GET).startswith(b"HTTP/1.1 200 ")


def test_a_long_answer(driven: Driven) -> None:
    """What the client does not take at once is sent as it does."""
    answer = driven.ask(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert len(answer) > 3_000_000


@pytest.mark.parametrize(
    "sent", [b"", GET[:10], b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ids=["silent", "half", "reads-nothing"],
)  # fmt: skip
def test_who_is_late_is_closed(driven: Driven, sent: bytes) -> None:
    """A request, its answer and the end of the connection have a time limit each."""
    sock = driven.client()
    sock.sendall(sent)
    driven.turn()
    assert len(driven.endpoint) == 1
    due_s = driven.endpoint.due_s()
    assert due_s is not None
    driven.now_s = due_s
    driven.endpoint.tick()
    assert len(driven.endpoint) == 0
    assert driven.endpoint.due_s() is None


def test_who_was_there_longest_goes(driven: Driven) -> None:
    """Many silent connections keep nobody from being answered."""
    silent = [driven.client() for _ in range(MOST_CONNECTIONS + 5)]
    assert len(driven.endpoint) == MOST_CONNECTIONS
    assert driven.ask(GET).startswith(b"HTTP/1.1 200 ")
    assert driven.rest(silent[0]) == b""


def test_a_client_that_goes(driven: Driven) -> None:
    """One that leaves in the middle is forgotten."""
    for sent in (b"", GET[:5], b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        sock = driven.client()
        sock.sendall(sent)
        sock.close()
        for _ in range(20):
            driven.turn(1)
    driven.now_s += 100
    driven.endpoint.tick()
    assert len(driven.endpoint) == 0
    assert driven.ask(GET).startswith(b"HTTP/1.1 200 ")


def test_no_descriptor_is_left(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no connection can be accepted nobody turns in circles; later it goes on."""

    def refuse(self: socket.socket) -> Any:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", refuse)
        sock = driven.client()
        assert not driven.selector.get_map()
    driven.now_s += 2
    driven.endpoint.tick()
    sock.sendall(GET)
    driven.turn()
    assert driven.rest(sock).startswith(b"HTTP/1.1 200 ")
