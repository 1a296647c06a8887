"""The start lines: where it listens, and which families that serves."""

import io
import socket

import pytest

from edgeserver.cli.banner import lay_out, print_lines, render_listener
from edgeserver.config.bind import parse_bind
from edgeserver.runtime.plan import PlannedListener
from edgeserver.runtime.sockets import close_sockets, open_sockets


def lines_of(text: str) -> list[str]:
    """Return the start lines of a bind on a free port, with PORT in its place."""
    bind = parse_bind(text)
    listener = PlannedListener(bind=bind, is_tls=False, sockets=open_sockets(bind))
    port = listener.sockets[0].getsockname()[1]
    try:
        return [line.replace(f":{port}", ":PORT") for line in render_listener(listener)]
    finally:
        close_sockets(listener.sockets)


@pytest.mark.parametrize(
    ("bind", "lines"),
    [
        ("127.0.0.1:0", ["http://127.0.0.1:PORT with HTTP/1.1"]),
        ("[::1]:0", ["http://[::1]:PORT with HTTP/1.1"]),
        (
            "0.0.0.0:0",
            ["http://0.0.0.0:PORT with HTTP/1.1 (IPv4 only; --bind :PORT serves IPv6 too)"],
        ),
        ("[::]:0", ["http://[::]:PORT with HTTP/1.1 (IPv6 only; --bind :PORT serves IPv4 too)"]),
        (
            ":0",
            ["http://0.0.0.0:PORT with HTTP/1.1 (IPv4)", "http://[::]:PORT with HTTP/1.1 (IPv6)"],
        ),
    ],
    ids=["loopback", "loopback-6", "any-4", "any-6", "any"],
)
def test_families(bind: str, lines: list[str]) -> None:
    """An address of all interfaces says which family it serves, and how to have both."""
    assert lines_of(bind) == [f"listening on {line}" for line in lines]


@pytest.mark.parametrize(
    ("http2", "spoken"),
    [("off", "HTTP/1.1"), ("on", "HTTP/2 and HTTP/1.1"), ("only", "HTTP/2")],
)
def test_what_is_spoken(http2: str, spoken: str) -> None:
    """Each line says which versions of HTTP its listener speaks."""
    bind = parse_bind("127.0.0.1:0,proxy=v2")
    listener = PlannedListener(bind=bind, is_tls=True, http2=http2, sockets=open_sockets(bind))
    try:
        (line,) = render_listener(listener)
    finally:
        close_sockets(listener.sockets)
    assert line.partition(" with ")[2] == f"{spoken} after a PROXY v2 prelude"


@pytest.mark.parametrize("bind", [":0", "[::]:0"])
def test_what_is_said_is_so(bind: str) -> None:
    """The empty host is reached over both families, `[::]` over IPv6 alone."""
    sockets = open_sockets(parse_bind(bind))
    try:
        port = sockets[0].getsockname()[1]
        socket.create_connection(("::1", port), 10).close()
        if bind.startswith("["):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 10)
        else:
            socket.create_connection(("127.0.0.1", port), 10).close()
    finally:
        close_sockets(sockets)


def test_an_inherited_socket_of_both_families() -> None:
    """Systemd's socket for `[::]` takes IPv4 too, and is said to."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as inherited:
        bind = parse_bind(f"fd:{inherited.fileno()}")
        listener = PlannedListener(bind=bind, is_tls=False, sockets=[inherited])
        (line,) = render_listener(listener)
    assert line.endswith(" (IPv4 and IPv6)")


LINES = [
    "listening on http://127.0.0.1:8000",
    "serving main:app, an ASGI application, with 1 worker",
    "client address: the peer's; no header is read",
    "warning: --max-connections 9 is too many",
]


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=["xterm", "dumb"])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal, with colours or without."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", request.param)
    return Terminal()


def test_on_a_terminal(terminal: Terminal, request: pytest.FixtureRequest) -> None:
    """The lines are a table whose columns are aligned, with how long it took and how to stop."""
    print_lines(LINES, terminal, took_s=0.123)
    shown = terminal.getvalue()
    assert ("\x1b[" in shown) == (request.node.callspec.params["terminal"] == "xterm")
    assert lay_out(LINES, coloured=False) == [
        "listening on    http://127.0.0.1:8000",
        "serving         main:app, an ASGI application, with 1 worker",
        "client address  the peer's; no header is read",
        "warning         --max-connections 9 is too many",
    ]
    assert "after 0.12 s; Ctrl-C stops" in shown


def test_in_a_file() -> None:
    """What is not a terminal gets the lines as they are, for those that read them."""
    stream = io.StringIO()
    print_lines(LINES, stream, took_s=0.123)
    assert stream.getvalue().splitlines() == LINES
