"""What hostile peers do to a real server on loopback: none of it may reach the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import struct
from itertools import pairwise
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import TrustPolicy
from tests import inside
from tests.e2e.conftest import Scheme
from tests.e2e.site import address_of, answer, connected, fetch, serve
from tests.http1.corpus import REFUSED, SERVED
from tests.loops import on_both_loops


def reset(sock: socket.socket) -> None:
    """Close `sock` with a reset, as a peer does that wants to leave no trace."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@on_both_loops
async def test_reset_before_accept_is_no_unix_socket() -> None:
    """A peer that is gone before the loop asks who it is does not pass for a Unix socket."""
    seen: list[str] = []

    def note(request: Any) -> None:
        seen.append(request.remote_ip)
        answer(request, "ok")

    async with serve(note, trust=TrustPolicy(["unix:"])) as server:
        for _ in range(10):
            # The loop does not run meanwhile: all of them are reset before they are accepted.
            sock = socket.create_connection(address_of(server))
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n"
                b"Content-Length: 2\r\n\r\nhi"
            )
            reset(sock)
        async with connected(address_of(server)) as client:
            await client.ask(b"X-Forwarded-For: 192.0.2.1\r\n")
        while server.open_connections:
            await asyncio.sleep(0)
    assert set(seen) == {"127.0.0.1"}


@on_both_loops
async def test_silent_tls_connections_are_bounded(pair: dict[str, str]) -> None:
    """Connections that never send a hello count: they cannot take every file descriptor."""
    async with (
        serve(ssl_options=pair, max_connections=4) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        (listener,) = server.listeners
        while not listener.paused:
            await stack.enter_async_context(connected(address_of(server)))
        assert server.open_connections >= 4
        await stack.aclose()
        while listener.paused:
            await asyncio.sleep(0)
        assert server.open_connections < 4


async def test_a_full_server_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever keeps a server at its limit does not fill its log: one line in a minute."""
    async with serve(max_connections=1) as server:
        for _ in range(5):
            assert (await fetch(address_of(server))).status == 200
    assert caplog.text.count("max_connections") == 1


async def test_detached_connections_are_counted_without_a_look_at_each() -> None:
    """New connections cost the same beside many detached ones, and closed ones are forgotten."""
    looked = 0

    class Held:
        def closed(self) -> bool:
            nonlocal looked
            looked += 1
            return looked > 100

        def close(self) -> None:
            """Do nothing."""

    async with serve(max_connections=1000) as server:
        held = [Held() for _ in range(100)]
        for stream in held:
            inside.detach(server, stream)
        for _ in range(3):
            assert (await fetch(address_of(server))).status == 200
        assert looked == 0
        assert server.open_connections >= 100
        assert server.open_connections < 100


async def test_half_a_head_is_not_laid_to_the_client_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What comes over a proxy's connection between requests is logged as the proxy's."""
    caplog.set_level(logging.INFO)
    options = {"trust": TrustPolicy(["127.0.0.1"]), "header_timeout": 0.05}
    async with serve(**options) as server, connected(address_of(server)) as client:
        assert (await client.ask(b"X-Forwarded-For: 192.0.2.1\r\n")).seen["ip"] == "192.0.2.1"
        await client.send(b"GET / HT")
        assert (await client.answer()).status == 408
    assert "Timeout reading head from 127.0.0.1" in caplog.text
    assert "192.0.2.1" not in caplog.text


FRAGMENTS = (
    *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\x00", b" ", b":", b",", b"\xff", b'"', b"\\"),
    *(b"0\r\n\r\n", b"3\r\nabc\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"HTTP/1.0", b"HEAD ", b"Expect: 100-continue\r\n", b"Connection: close\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"X-Forwarded-For: 192.0.2.1,\r\n", b"\x16\x03\x01\x00\x05"),
)
SEEDS = [case.data for case in (*REFUSED, *SERVED) if len(case.data) < 3000]


def mutate(choose: random.Random) -> bytes:
    """Return some requests with a few bytes of them changed, lost or added."""
    data = bytearray(b"".join(choose.choices(SEEDS, k=choose.randint(1, 3))))
    for _ in range(choose.randint(0, 4)):
        at = choose.randrange(len(data))
        match choose.randrange(3):
            case 0:
                data[at:at] = choose.choice(FRAGMENTS)
            case 1:
                del data[at : at + choose.randint(1, 4)]
            case 2:
                data[at] = choose.randrange(256)
        data = data or bytearray(b"x")
    return bytes(data)


async def attack(choose: random.Random, address: Any, tls: ssl.SSLContext | None) -> None:
    """Send what `mutate` makes in random pieces, and leave in a random way."""
    # Now and then a server of TLS is sent what is none; it then waits for the rest of a hello.
    patient = choose.random() < 0.8 or tls is None
    tls = tls if patient else None
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: what uvloop says when closed
        async with connected(address, tls=tls) as client:
            data = mutate(choose)
            cuts = sorted(choose.choices(range(len(data) + 1), k=choose.randrange(4)))
            for start, end in pairwise([0, *cuts, len(data)]):
                client.writer.write(data[start:end])
                await asyncio.sleep(0)
            ending = choose.randrange(3)
            if ending == 0 and tls is None:
                client.writer.write_eof()
                await client.reader.read()
            elif ending == 1 and patient:
                await client.reader.read(1)


@on_both_loops
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_hostile_reaches_the_event_loop(
    scheme: Scheme, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is sent, no exception is left to the loop, and every connection ends."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    limits = dict.fromkeys(("idle_connection_timeout", "header_timeout", "body_timeout"), 0.2)
    options = {**scheme.options, **limits, "decompress_request": True}
    choose = random.Random(seed)
    async with serve(trust=TrustPolicy(["127.0.0.1"]), **options) as server:
        for _ in range(10):
            await asyncio.gather(
                *(attack(choose, address_of(server), scheme.tls) for _ in range(10))
            )
        assert (await fetch(address_of(server), tls=scheme.tls)).status == 200
        while server.open_connections:
            await asyncio.sleep(0)
    assert reported == []
    assert "Uncaught" not in caplog.text


async def test_preludes_outlive_their_listener() -> None:
    """No policy that cannot judge a prelude comes into force while one may still be connected."""
    trust = TrustPolicy(["127.0.0.1"])
    async with (
        serve(trust=trust, proxy_protocol="v1") as server,
        connected(address_of(server)) as client,
    ):
        await client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        assert (await client.ask()).seen["ip"] == "192.0.2.1"
        server.stop()
        with pytest.raises(ConfigurationError, match="needs a trust policy"):
            server.set_trust(TrustPolicy.off())
        assert (await client.ask()).seen["ip"] == "192.0.2.1"
