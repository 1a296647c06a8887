"""What is said where nobody is believed: of listeners at start, of peers that claim something."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from edgeserver.httpserver import HTTPServer
from edgeserver.netutil import bind_sockets, bind_unix_socket
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from edgeserver.runtime.listen import listen
from edgeserver.server.unbelieved import ClaimLog
from tests.e2e.site import address_of, connected, fetch, serve

CLAIM = b"X-Forwarded-For: 203.0.113.9\r\n"
NOT_READ = (
    "127.0.0.1 sent X-Forwarded-For: not read, since no proxy is listed, so 127.0.0.1 is taken for "
    "the client; if it is your proxy, list it: --trust 127.0.0.1, or "
    "trust=TrustPolicy(['127.0.0.1'])"
)
NOT_BELIEVED = (
    "127.0.0.1 sent X-Forwarded-For: not believed, and removed, since it is not a listed proxy; if "
    "it is yours, list it too: --trust 127.0.0.1, or trust=TrustPolicy(['127.0.0.1'])"
)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was warned of."""
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# Peers that claim something.


async def test_a_program_that_says_nothing_of_proxies(caplog: pytest.LogCaptureFixture) -> None:
    """Tornado's programs have it as information: a warning would be one that Tornado has not."""
    async with serve() as server:
        assert (await fetch(address_of(server), CLAIM)).seen["ip"] == "127.0.0.1"
        assert caplog.messages == []
        caplog.set_level("INFO")
        for _ in range(3):
            await fetch(address_of(server), CLAIM)
    assert caplog.messages == [NOT_READ]
    assert lines_of(caplog) == []


async def test_a_program_that_listens_with_our_own_call(caplog: pytest.LogCaptureFixture) -> None:
    """`edgeserver.listen` has no contract but ours: without `trust=` it warns, as the command."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["REMOTE_ADDR"].encode()]

    server = listen(app, 0, "127.0.0.1")
    try:
        await server.started()
        assert (await fetch(address_of(server), CLAIM)).body == b"127.0.0.1"
    finally:
        await server.drain(1)
    assert lines_of(caplog) == [NOT_READ]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"trust": TrustPolicy.off()}, NOT_READ),
        ({"trust": TrustPolicy(["127.0.0.9"])}, NOT_BELIEVED),
        (
            {"trust": TrustPolicy(["127.0.0.9"], unlisted="keep")},
            NOT_BELIEVED.replace(", and removed", ""),
        ),
    ],
    ids=["off", "unlisted", "kept"],
)
async def test_a_proxy_that_is_not_listed_is_told_once(
    options: dict[str, Any], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks why the client is the proxy finds the answer, and the flag, in the log."""
    async with serve(**options) as server:
        for _ in range(3):
            assert (await fetch(address_of(server), CLAIM)).seen["ip"] == "127.0.0.1"
    assert lines_of(caplog) == [line]


async def test_a_unix_proxy_that_is_not_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its entry is `unix:`."""
    async with serve(trust=TrustPolicy.off(), path=str(tmp_path / "s")) as server:
        await fetch(address_of(server), CLAIM)
    assert "--trust unix:, or trust=TrustPolicy(['unix:'])" in lines_of(caplog)[0]


async def test_who_a_prelude_names_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Behind a PROXY prelude the head is its source's, and so is the claim."""
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(trust=trust, proxy_protocol="v1") as server:
        async with connected(address_of(server)) as client:
            await client.send(b"PROXY TCP4 203.0.113.1 192.0.2.1 1 2\r\n")
            await client.ask(CLAIM)
        async with connected(address_of(server)) as client:
            await client.send(b"PROXY UNKNOWN\r\n")
            await client.ask(CLAIM)
    (line,) = lines_of(caplog)
    assert line.startswith("203.0.113.1 sent X-Forwarded-For: ")


@pytest.mark.parametrize(
    "options",
    [
        {"trust": TrustPolicy(["127.0.0.1"])},
        {"trust": TrustPolicy([TrustedProxy("127.0.0.1", sets={"x-forwarded-host"})])},
        {"xheaders": True},
    ],
    ids=["listed", "declaring", "xheaders"],
)
async def test_nothing_is_said_of_who_is_believed(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A listed proxy, and any peer under Tornado's rules, writes what it likes."""
    async with serve(**options) as server:
        await fetch(address_of(server), CLAIM + b"X-Real-Ip: 203.0.113.8\r\n")
    assert not [line for line in lines_of(caplog) if "list it" in line]


async def test_nothing_is_said_without_a_claim(caplog: pytest.LogCaptureFixture) -> None:
    """A browser's head is none."""
    async with serve() as server:
        await fetch(address_of(server), b"Cookie: a=b\r\nX-Request-Id: 1\r\n")
    assert not lines_of(caplog)


async def test_another_policy_says_it_anew(caplog: pytest.LogCaptureFixture) -> None:
    """After a policy was replaced, what it does not list is told again."""
    async with serve(trust=TrustPolicy.off()) as server:
        await fetch(address_of(server), CLAIM)
        server.set_trust(TrustPolicy(["127.0.0.9"]))
        await fetch(address_of(server), CLAIM)
        server.set_trust(TrustPolicy(["127.0.0.1"]))
        assert (await fetch(address_of(server), CLAIM)).seen["ip"] == "203.0.113.9"
    assert lines_of(caplog) == [NOT_READ, NOT_BELIEVED]


def set_trust(*policies: TrustPolicy, sock: socket.socket) -> None:
    """Have a server listen, and put one policy after the other in force."""

    async def run() -> None:
        server = HTTPServer(lambda request: None, trust=policies[0])
        server.add_sockets([sock])
        for policy in policies[1:]:
            server.set_trust(policy)
        server.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("policies", "count"),
    [
        ([TrustPolicy(["loopback"]), TrustPolicy(["10.0.0.1"])], 1),
        ([TrustPolicy.off(), TrustPolicy(["10.0.0.1"])], 1),
        ([TrustPolicy(["10.0.0.1"]), TrustPolicy(["10.0.0.2"])], 1),
        ([TrustPolicy(["loopback"]), TrustPolicy(["10.0.0.1"]), TrustPolicy(["10.0.0.2"])], 1),
        ([TrustPolicy(["loopback"]), TrustPolicy(["127.0.0.1"])], 0),
        ([TrustPolicy(["loopback"]), TrustPolicy.off()], 0),
    ],
    ids=["lost", "from-off", "as-at-start", "once", "kept", "to-off"],
)
def test_a_policy_that_nobody_can_meet(
    policies: list[TrustPolicy], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A policy that leaves a listener without a listed proxy warns as at its start, once."""
    (sock,) = bind_sockets(0, "127.0.0.1")
    set_trust(*policies, sock=sock)
    lines = lines_of(caplog)
    assert len(lines) == count
    assert all("is a listed proxy, so no header that comes over it" in line for line in lines)


def test_lines_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    """Strangers get one line each, five a minute in all, and no more than a hundred ever."""
    now = 0.0
    log = ClaimLog(TrustPolicy.off(), clock=lambda: now)
    for number in range(400):
        for _ in range(2):
            log.tell(f"198.51.{number // 200}.{number % 200}", frozenset({b"forwarded"}))
    assert len(lines_of(caplog)) == 5
    for minute in range(1, 60):
        now = 60.0 * minute
        for number in range(9):
            log.tell(f"203.{minute}.113.{number}", frozenset({b"forwarded"}))
    lines = lines_of(caplog)
    assert len(lines) == 100
    assert lines[-1].endswith("; this was said of so many peers that it will not be said of others")


def test_names_are_escaped_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """What a stranger wrote is shown in bounds, without anything that a terminal obeys."""
    names = [b"x-forwarded-%d\x1b[31m" % number for number in range(9)] + [b"x-forwarded-" * 99]
    ClaimLog(TrustPolicy.off()).tell("203.0.113.9", frozenset(names))
    (line,) = lines_of(caplog)
    assert line.isprintable()
    assert " and 7 more" in line
    assert len(line) < 500


# Listeners.


def listening(policy: TrustPolicy, *sockets: socket.socket, **options: Any) -> None:
    """Have a server listen for a moment."""

    async def listen() -> None:
        server = HTTPServer(lambda request: None, trust=policy, **options)
        server.add_sockets(list(sockets))
        server.stop()

    asyncio.run(listen())


@pytest.mark.parametrize(
    ("host", "entries", "said"),
    [
        ("127.0.0.1", ["10.0.0.0/8"], "peers there are 127.0.0.0/8; if your proxy connects to it,"),
        ("127.0.0.1", ["10.0.0.0/8", "unix:"], "add loopback to --trust"),
        ("127.0.0.1", ["::1", "2001:db8::/32"], "add loopback to --trust"),
        ("127.0.0.1", ["loopback"], None),
        ("127.0.0.1", ["127.0.0.9"], None),
        ("127.0.0.1", ["126.0.0.0/7"], None),
        ("::1", ["10.0.0.0/8", "127.0.0.1"], "peers there are ::1/128"),
        ("::1", ["loopback"], None),
        ("0.0.0.0", ["unix:"], "peers there are 0.0.0.0/0; "),
        ("0.0.0.0", ["2001:db8::/32"], "add its address to --trust"),
        ("0.0.0.0", ["10.0.0.1"], None),
        ("::", ["unix:"], "peers there are ::/0"),
        ("::", ["2001:db8::/32"], None),
    ],
)
def test_a_listener_that_no_listed_proxy_can_reach(
    host: str, entries: list[str], said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It warns at start, with who can connect there and what to list."""
    (sock,) = bind_sockets(0, host)
    listening(TrustPolicy(entries), sock)
    lines = lines_of(caplog)
    assert len(lines) == (said is not None)
    if said is not None:
        assert "is a listed proxy, so no header that comes over it is believed" in lines[0]
        assert said in lines[0]


@pytest.mark.parametrize(
    ("policy", "options", "said"),
    [
        (TrustPolicy(["10.0.0.0/8"]), {}, "no header that comes over it is believed"),
        (TrustPolicy(["loopback"]), {"proxy_protocol": "v2"}, "every connection to it is refused"),
        (TrustPolicy(["unix:"]), {}, None),
        (TrustPolicy.off(), {}, None),
        (TrustPolicy.tornado(), {}, None),
    ],
    ids=["unlisted", "prelude", "listed", "off", "tornado"],
)
def test_a_unix_listener(
    policy: TrustPolicy,
    options: dict[str, Any],
    said: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its peers are `unix:` and nothing else."""
    path = tmp_path / "app.sock"
    listening(policy, bind_unix_socket(str(path)), **options)
    lines = lines_of(caplog)
    assert len(lines) == (said is not None)
    if said is not None:
        assert lines[0] == (
            f"nobody who can connect to unix:{path} is a listed proxy, so {said}: peers there are "
            "unix:; if your proxy connects to it, add unix: to --trust (TrustPolicy)"
        )


def test_an_ipv6_listener_for_both_families(caplog: pytest.LogCaptureFixture) -> None:
    """Where IPv4 comes in too, IPv4 proxies can be meant."""
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    listening(TrustPolicy(["10.0.0.1"]), sock)
    assert not lines_of(caplog)
