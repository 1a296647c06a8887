"""The probe: what it sends, when it stops, and what counts as an answer."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edgeserver.audit.forgeries import MAX_REQUESTS, plan_forgeries
from edgeserver.audit.probe import (
    PAUSE_S,
    ProbeAnswer,
    ProbeError,
    Prober,
    Target,
    parse_target,
    resolve,
)
from edgeserver.audit.proof import DEFAULT_PATH, sign_answer
from edgeserver.errors import ConfigurationError

TOKEN = b"a token of the tests, long enough"

Reply = Callable[[bytes], bytes]


@contextmanager
def answering(reply: Reply) -> Iterator[tuple[int, list[bytes]]]:
    """Run a server that answers each connection once; yield its port and what it got."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        piece = connection.recv(65536)
                        if not piece:
                            break
                        head += piece
                    heads.append(head)
                    connection.sendall(reply(head))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heads
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def field(head: bytes, name: bytes) -> list[bytes]:
    """Return the lines of a field."""
    lines = head.split(b"\r\n")
    return [line[len(name) + 1 :].strip() for line in lines if line.lower().startswith(name + b":")]


def body(request: bytes, *, token: bytes = TOKEN, **changes: object) -> bytes:
    """Return an echo's body for a request."""
    nonce = bytes.fromhex(field(request, b"edgeserver-audit")[0].split()[0].decode())
    line = {"peer": "127.0.0.6", "conn": {"scheme": "http"}, "host": "x", "head": [],
            "client": "127.0.0.1", "scheme": "http", "verified": True,
            "policy": "0" * 12} | changes  # fmt: skip
    told = {"v": 1, "source": "x-forwarded-for", "proto": "x-forwarded-proto", "further": [],
            "line": line}  # fmt: skip
    text = json.dumps(told).encode()
    return text + b"\n" + sign_answer(token, nonce, text).hex().encode() + b"\n"


def answer(content: bytes, status: bytes = b"200 OK", *, fields: bytes = b"") -> bytes:
    """Return a response."""
    length = b"Content-Length: %d\r\n" % len(content)
    return b"HTTP/1.1 " + status + b"\r\n" + length + fields + b"\r\n" + content


def prober(port: int, waits: list[float] | None = None) -> Prober:
    """Return a prober that does not wait."""
    target = parse_target(f"http://127.0.0.1:{port}")
    given = waits if waits is not None else []
    return Prober(target, TOKEN, address="127.0.0.1", wait=given.append)


def replayed() -> Reply:
    """Return a server that answers the first request well, and every other one with the same."""
    known: list[bytes] = []

    def reply(head: bytes) -> bytes:
        known.append(answer(body(head)))
        return known[0]

    return reply


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (lambda head: b"", "closed without an answer"),
        (lambda head: b"SSH-2.0-OpenSSH\r\n", "not an HTTP answer"),
        (lambda head: answer(b"Not Found\n", b"404 Not Found"), "status 404, Not Found"),
        (lambda head: answer(b"hello"), "status 200, not the echo's"),
        (lambda head: answer(body(head, token=b"another token, as long as it")), "not the echo's"),
        (lambda head: answer(body(head), b"302 Found", fields=b"Location: http://x/\r\n"), "302"),
        (lambda head: answer(b"", b"403 \x1b[31m", fields=b"Server: \x1b[2J\r\n"), r"\\x1b"),
        (lambda head: answer(body(head).replace(b'"127.0.0.1"', b'"127.0.0.2"')), "not the echo"),
        (lambda head: b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 400_000, "not the echo's"),
        (lambda head: b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n", "not an HTTP answer"),
        (lambda head: answer(body(head, head=7)), "another version"),
    ],
    ids=["closed", "ssh", "404", "page", "token", "redirect", "hostile", "changed", "endless",
         "fields", "version"],
)  # fmt: skip
def test_it_stops_without_a_proved_answer(reply: Reply, words: str) -> None:
    """Whatever else comes back to the honest request, it was the only one."""
    with answering(reply) as (port, heads), pytest.raises(ProbeError, match=words) as raised:
        list(prober(port).run())
    assert len(heads) == 1
    assert not field(heads[0], b"x-forwarded-for")
    assert str(raised.value).isprintable()


def test_nobody_there() -> None:
    """A port that nobody listens on is said with its reason, and what to do about that."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ProbeError, match="Connection refused") as raised:
        list(prober(port).run())
    assert str(raised.value).endswith(f"check that the chain runs, and listens on port {port}")
    assert "token" not in str(raised.value)


def refused_certificate(code: int, words: str) -> ssl.SSLCertVerificationError:
    """Return what a handshake raises where a certificate is not believed."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)")
    error.verify_code, error.verify_message = code, words
    return error


FAILED = [
    (refused_certificate(20, "no local issuer"), "refused: no local issuer).*--ca-certs FILE"),
    (refused_certificate(18, "self-signed"), "--ca-certs FILE"),
    (refused_certificate(62, "Hostname mismatch"), "Hostname mismatch).*as the certificate does$"),
    (refused_certificate(10, "has expired"), "has expired).*renew the certificate"),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "check that this port speaks TLS"),
    (TimeoutError("timed out"), "timed out).*no firewall is before port 443$"),
    (OSError(errno.EADDRNOTAVAIL, "Cannot assign"), "Cannot assign).*of this machine to --bind"),
    (OSError(errno.EHOSTUNREACH, "No route"), "No route).*check the address"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "reset).*--audit-echo /.*same token"),
]


@pytest.mark.parametrize(("error", "words"), FAILED, ids=[words[:20] for _, words in FAILED])
def test_what_to_do_about_a_failure(
    error: OSError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way to fail has a fix of its own, and nothing of what has not failed."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    target = parse_target("https://localhost/")
    with pytest.raises(ProbeError) as raised:
        list(Prober(target, TOKEN, address="127.0.0.1").run())
    said = str(raised.value)
    assert re.search(words.replace(")", r"\)"), said), said
    assert "_ssl.c" not in said


@pytest.mark.parametrize(
    ("status", "words"),
    [("302 Found", "give the URL that it redirects to"), ("502 Bad Gateway", "behind the proxy"),
     ("404 Not Found", "--audit-echo")],
    ids=["redirect", "gateway", "missing"],
)  # fmt: skip
def test_what_to_do_about_a_status(status: str, words: str) -> None:
    """A status that says who is to blame has a fix of its own, too."""
    reply = answer(b"", status.encode())
    with answering(lambda head: reply) as (port, _), pytest.raises(ProbeError) as raised:
        list(prober(port).run())
    assert words in str(raised.value)


def test_what_is_sent() -> None:
    """An honest request comes first and last; all are GETs, few, and five a second."""
    waits: list[float] = []
    with answering(lambda head: answer(body(head))) as (port, heads):
        outcomes = list(prober(port, waits).run())
    assert 2 < len(heads) <= MAX_REQUESTS
    assert len(outcomes) == len(heads)
    assert waits == [PAUSE_S] * (len(heads) - 1)
    plain = [head for head in heads if not head.startswith(b"PROXY TCP4 203.0.113.250 ")]
    assert len(plain) == len(heads) - 1
    assert all(
        head.startswith(b"GET /.well-known/edgeserver-audit?") and head.count(b"\r\n\r\n") == 1
        for head in plain
    )
    proofs = {field(head, b"edgeserver-audit")[0] for head in heads}
    assert len(proofs) == len(heads)
    for head in (heads[0], heads[-1]):
        assert b"forwarded" not in head.lower()
        assert field(head, b"connection") == [b"close"]
    lists = [field(head, b"x-forwarded-for") for head in heads]
    assert [b"203.0.113.250", b"127.0.0.6"] in lists
    assert [b"203.0.113.250, 127.0.0.6"] in lists
    assert [b""] in lists
    assert [b'"203.0.113.250"'] in lists
    assert any(field(head, b"connection") == [b"close, x-forwarded-for"] for head in heads)
    assert any(field(head, b"x_forwarded_for") for head in heads)


def test_an_answer_counts_for_its_own_request() -> None:
    """One that was kept and sent again, as caches and attackers do, proves nothing."""
    with answering(replayed()) as (port, _):
        outcomes = list(prober(port).run())
    assert outcomes[0].answer is not None
    assert all(each.answer is None for each in outcomes[1:])


@pytest.mark.parametrize("source", ["x-forwarded-for", "forwarded", "cf-connecting-ip"])
@pytest.mark.parametrize("proto", ["x-forwarded-proto", "x-forwarded-ssl", None])
def test_a_plan_is_small(source: str, proto: str | None) -> None:
    """Whatever the application reads, it is forged, and the plan stays within its bound."""
    plan = plan_forgeries(
        source=source,
        proto=proto,
        scheme="https",
        proxy="2001:db8::1",
        forged=("9.9.9.9", "9.9.9.8"),
    )
    assert len(plan) < MAX_REQUESTS
    assert plan[-1].kind == "honest"
    kinds = {each.kind for each in plan if each.field == source}
    assert kinds >= {"forged", "two-lines", "chain", "empty", "unknown", "quoted", "nominated"}
    for each in plan:
        assert all(text.isascii() and text.isprintable() for line in each.lines for text in line)


def test_forged_addresses_are_nobodys() -> None:
    """An address that stands in the chain already is not claimed: the answer would be no proof."""
    told = "203.0.113.250, 203.0.113.251"
    with answering(lambda head: answer(body(head, head=[["x-forwarded-for", told]]))) as (port, _):
        outcomes = list(prober(port).run())
    assert {address for each in outcomes for address in each.forgery.addresses} == {
        "198.51.100.250",
        "198.51.100.251",
    }


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://Shop.example", Target("https", "shop.example", 443, DEFAULT_PATH)),
        ("http://[::1]:8080/x", Target("http", "::1", 8080, "/x")),
        ("https://shop.example/", Target("https", "shop.example", 443, DEFAULT_PATH)),
    ],
)  # fmt: skip
def test_targets(url: str, target: Target) -> None:
    """A URL names host, port and path; without a path it is the usual one."""
    assert parse_target(url) == target


@pytest.mark.parametrize(
    "url",
    ["shop.example", "ftp://x", "http://", "http://x:99999", "http://a b/", "http://u@x/",
     "http://x/?q", "http://x/#f", "http://x/\r\nA: b", "http://x/\x00", "http://[::1"],
)  # fmt: skip
def test_what_is_no_target(url: str) -> None:
    """What cannot be probed is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="not a URL that can be probed"):
        parse_target(url)


def test_names_without_an_address() -> None:
    """A host that has no address is said to have none."""
    with pytest.raises(ProbeError, match="has no address"):
        resolve(Target("http", "x" * 70 + ".invalid", 80, "/"))
    assert resolve(Target("http", "127.0.0.1", 80, "/")) == ["127.0.0.1"]


def test_lines_of_an_answer_are_joined() -> None:
    """A field in two lines is one value; one that is missing is none."""
    pairs = (("a", "1"), ("b", "2"), ("a", "3"))
    told = ProbeAnswer("p", {}, "h", pairs, "c", "http", True, "a", None, "0")
    assert (told.value("a"), told.value("x")) == ("1, 3", None)
