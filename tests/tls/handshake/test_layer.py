"""Tests for `tls.handshake.layer`: every way a connection may begin, and what it is told."""

import asyncio
import contextlib
import functools
import inspect
import logging
import socket
import ssl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeserver.tls.handshake.layer import HELLO, STALLED, TLSLayer
from edgeserver.tls.handshake.limiter import HandshakeLimiter, HandshakeTally, Slot
from edgeserver.transport.handover import replace_layer
from tests.clients import send_until_cut_off
from tests.http1.conversation import FakeTransport
from tests.tls import inside, pki
from tests.tls.hellos import (
    alpn,
    build_hello,
    real_hello,
    record,
    server_name,
    split_records,
    versions,
)
from tests.tls.waiters import Asker, crowded, v4
from tests.tls.wire import (
    Client,
    Echo,
    Selected,
    Served,
    authority,
    both_loops,
    client_context,
    directory,
    serve,
    server_context,
)

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REQUEST = b"GET /a?b=c HTTP/1.1\r\nHost: a.test:8443\r\n\r\n"


async def say(port, *segments, end=False):
    """Send bytes as they are and return everything that comes back, or `b"reset"`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for segment in segments:
            writer.write(segment)
            await writer.drain()
        if end:
            writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


def in_time(shortest_s):
    """Run an async test with ever longer time limits, until one was long enough for the machine.

    A test of what ends when a time is over has to do something before it is; how long that takes
    is the machine's. The test gets `timeout_s`, ten times as long in each further attempt.
    """

    def decorate(test):
        signature = inspect.signature(test)
        others = [each for name, each in signature.parameters.items() if name != "timeout_s"]

        @functools.wraps(test)
        async def run(**arguments):
            for timeout_s in (shortest_s, 10 * shortest_s):
                with contextlib.suppress(AssertionError, OSError, TimeoutError):
                    async with asyncio.timeout(timeout_s + 1.0):
                        await test(timeout_s=timeout_s, **arguments)
                    return
            await test(timeout_s=100 * shortest_s, **arguments)

        run.__signature__ = signature.replace(parameters=others)
        return run

    return decorate


def alert_of(answer):
    """Return the number of the one unencrypted fatal alert that an answer is."""
    assert answer[:1] == b"\x15", answer
    assert answer[3:6] == b"\0\2\2", answer
    assert len(answer) == 7
    return answer[6]


@both_loops
async def test_contexts_are_asked_with_name_and_protocols():
    """What the hello asks for chooses the context, and is known above."""
    plain, special = server_context(), server_context(protocols=["h2"])
    client_side = client_context()
    client_side.set_alpn_protocols(["h2", "http/1.1"])

    def select(name, protocols):
        return Selected(special, "b.test") if name == "b.test" else Selected(plain)

    async with serve(select=select) as server:
        async with Client.connect(server.port, client_side, "b.test") as client:
            await client.handshake()
            assert client.ssl.selected_alpn_protocol() == "h2"
            info = (await server.protocol()).transport.tls_info
            assert (info.sni, info.host, info.alpn) == ("b.test", "b.test", "h2")
            assert info.ja4.startswith("t13d")
            assert not info.resumed
        assert server.asked == [("b.test", ("h2", "http/1.1"))]


@both_loops
@pytest.mark.parametrize("size", [1, 7, 100])
async def test_handshake_in_small_segments(size):
    """A client whose every write is a few bytes is served."""
    async with serve() as server, Client.connect(server.port) as client:
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send = client.writer.write
        client.writer.write = lambda data: [
            send(data[at : at + size]) for at in range(0, len(data), size)
        ]
        await client.handshake()
        client.ssl.write(b"ping")
        client.flush()
        assert await client.read_exactly(4) == b"ping"


@both_loops
async def test_hello_in_fragments_of_records():
    """A hello that is cut into many records is served; OpenSSL gets them as they came."""
    async with serve() as server, Client.connect(server.port) as client:
        with pytest.raises(ssl.SSLWantReadError):
            client.ssl.do_handshake()
        hello = client.outgoing.read()
        client.writer.write(split_records(hello[5:], 50))
        await client.handshake()
        await client.send(b"ping")
        assert await client.read_exactly(4) == b"ping"
        assert server.asked[0][0] == "a.test"


@both_loops
async def test_first_data_in_the_segment_of_finished():
    """Data that comes with the end of the handshake is delivered, however much it is."""
    data = bytes(range(256)) * 300
    async with serve() as server, Client.connect(server.port) as client:
        send = client.writer.write
        held = []
        client.writer.write = held.append
        with pytest.raises(ssl.SSLWantReadError):
            client.ssl.do_handshake()
        client.flush()
        send(b"".join(held))
        held.clear()
        await client.handshake()
        for at in range(0, len(data), 16384):
            client.ssl.write(data[at : at + 16384])
        client.flush()
        send(b"".join(held))
        assert await client.read_exactly(len(data)) == data


@both_loops
async def test_resumption_is_known():
    """A session that is resumed is counted and shown."""
    context = server_context()
    client_side = client_context(maximum_version=TLS12)
    async with serve(context) as server:
        tally = server.limiter.tally = HandshakeTally()
        sessions = []
        for _ in range(2):
            async with Client.connect(server.port, client_side) as client:
                if sessions:
                    client.ssl = client_side.wrap_bio(
                        client.incoming,
                        client.outgoing,
                        server_hostname="a.test",
                        session=sessions[0],
                    )
                await client.handshake()
                await client.send(b"x")
                await client.read_exactly(1)
                sessions.append(client.ssl.session)
        assert server.limiter.completed == 2
        assert server.limiter.resumed == 1
        assert tally.versions == {(False, "TLSv1.2"): 1, (True, "TLSv1.2"): 1}
        assert sum(tally.durations.counts) == 2
        assert (await server.protocol(1)).transport.tls_info.resumed


@both_loops
@pytest.mark.parametrize(
    ("alert", "reason"), [(112, "unknown-name"), (120, "no-common-alpn"), (40, "error")]
)
async def test_refusal_before_openssl_is_an_alert(alert, reason):
    """What the choice of contexts refuses is told by that alert, and the socket lingers."""
    async with serve(select=lambda name, protocols: Selected(None, "", alert)) as server:
        answer = await say(server.port, real_hello("nobody.test") + b"unread" * 1000, end=True)
        assert alert_of(answer) == alert
        assert server.reasons == {reason: 1}
        assert "SNI nobody.test" in server.lines[0]


@both_loops
async def test_alerts_are_what_real_clients_report():
    """OpenSSL's client names the alert that was sent."""
    for alert, name in ((112, "UNRECOGNIZED_NAME"), (120, "no application protocol")):
        async with (
            serve(select=lambda *_, alert=alert: Selected(None, "", alert)) as server,
            Client.connect(server.port) as client,
        ):
            with pytest.raises(ssl.SSLError, match=name):
                await client.handshake()


def old_client():
    """Return a client that speaks TLS 1.1 at most."""
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def with_ciphers(ciphers):
    """Return a TLS 1.2 client with certain suites only."""
    context = client_context(maximum_version=TLS12)
    context.set_ciphers(ciphers)
    return context


def with_curve(curve):
    """Return a client with one group only."""
    context = client_context()
    context.set_ecdh_curve(curve)
    return context


def curve_server():
    """Return a server with another one."""
    context = server_context()
    context.set_ecdh_curve("secp521r1")
    return context


@both_loops
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("server_side", "client_side", "alert", "reason", "words"),
    [
        pytest.param(
            server_context,
            old_client,
            "PROTOCOL_VERSION",
            "no-common-version",
            "the client speaks TLS 1.1 only",
            id="old-client",
        ),
        pytest.param(
            lambda: server_context(minimum_version=TLS13),
            lambda: client_context(maximum_version=TLS12),
            "PROTOCOL_VERSION",
            "no-common-version",
            "TLS 1.2",
            id="modern-server",
        ),
        pytest.param(
            server_context,
            lambda: with_ciphers("ECDHE-RSA-AES128-GCM-SHA256"),
            "HANDSHAKE_FAILURE",
            "no-common-cipher",
            "no cipher suite in common",
            id="kind-of-key",
        ),
        pytest.param(
            curve_server,
            lambda: with_curve("prime256v1"),
            "HANDSHAKE_FAILURE",
            "no-common-group",
            "no key agreement group in common",
            id="groups",
        ),
    ],
)
async def test_refused_clients_see_an_alert(server_side, client_side, alert, reason, words):
    """A client that cannot be served sees why, and so does the log."""
    async with (
        serve(server_side()) as server,
        Client.connect(server.port, client_side()) as client,
    ):
        with pytest.raises(ssl.SSLError, match=alert):
            await client.handshake()
        assert server.reasons == {reason: 1}
        assert words in server.lines[0]
        assert "SNI a.test" in server.lines[0]


async def shake_and_read(client):
    """Shake hands and read: in TLS 1.3 a refusal comes after the client's Finished."""
    await client.handshake()
    await client.read_some()


def shown(kind):
    """Return a client certificate: none, good, of another authority, or expired."""
    ours, other = authority("Clients"), authority("Strangers")
    return {
        "none": lambda: None,
        "good": lambda: pki.make_client(ours),
        "other": lambda: pki.make_client(other, "mallory"),
        "expired": lambda: pki.make_client(ours, "late", start_days=-9, end_days=-1),
    }[kind]()


@both_loops
@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["tls1.2", "tls1.3"])
@pytest.mark.parametrize(
    ("kind", "alert", "reason"),
    [
        ("none", "HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED", "client-cert-missing"),
        ("other", "UNKNOWN_CA", "client-cert-unknown-ca"),
        ("expired", "CERTIFICATE_EXPIRED", "client-cert-expired"),
    ],
)
async def test_wrong_client_certificates(kind, alert, reason, version):
    """Every wrong kind of client certificate is told by its alert, in both versions."""
    context = server_context(clients=authority("Clients"))
    client_side = client_context(show=shown(kind), maximum_version=version)
    async with serve(context) as server, Client.connect(server.port, client_side) as client:
        with pytest.raises(ssl.SSLError, match=alert):
            await shake_and_read(client)
        assert server.reasons == {reason: 1}
        assert not server.protocols


@both_loops
async def test_revoked_client_certificate():
    """A revoked client is told so."""
    ours = authority("Clients")
    revoked = shown("good")
    context = server_context(clients=ours)
    path = pki.write_crl(directory(), pki.make_crl(ours, revoked), "wire.crl")
    context.load_verify_locations(path)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    async with (
        serve(context) as server,
        Client.connect(server.port, client_context(show=revoked)) as client,
    ):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
            await shake_and_read(client)
        assert server.reasons == {"client-cert-revoked": 1}


@both_loops
async def test_good_client_certificate_is_known():
    """The application gets the certificate that was verified."""
    good = shown("good")
    context = server_context(clients=authority("Clients"))
    async with (
        serve(context) as server,
        Client.connect(server.port, client_context(show=good)) as client,
    ):
        await client.handshake()
        transport = (await server.protocol()).transport
        assert transport.tls_info.client_certificate_der == good.der
        assert transport.get_extra_info("peercert")["subject"]


@both_loops
@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["tls1.2", "tls1.3"])
async def test_client_that_does_not_trust_us(version):
    """A client that refuses our certificate is reported with what to look at."""
    async with (
        serve() as server,
        Client.connect(server.port, client_context(trust=False, maximum_version=version)) as client,
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            await client.handshake()
        await client.reader.read()
        assert server.reasons == {"distrusted-ca": 1}
        assert "it does not trust our CA" in server.lines[0]


@both_loops
@pytest.mark.parametrize(
    ("segments", "alert", "reason"),
    [
        ([record(b"\2\0\0\1\0")], 10, "malformed-hello"),
        ([b"\x16\3\1\xff\xff" + b"a" * 40], 22, "malformed-hello"),
        ([b"\x15\3\1\0\2\2\x28"], 10, "malformed-hello"),
        ([record(build_hello(server_name(b"a"), server_name(b"b")))], None, "malformed-hello"),
        ([record(b"\1\1\0\0" + bytes(60))], 47, "hello-too-long"),
        ([bytes.fromhex("802e010301001500000010010080") + b"x" * 60], 70, "no-common-version"),
        ([bytes.fromhex("802e010002001500000010010080") + b"x" * 60], 70, "no-common-version"),
        ([record(build_hello(versions(0x0302, 0x0301), version=0x0302))], 70, "no-common-version"),
        ([record(build_hello(alpn(b"h2"), suites=[0x0005]))], 40, "no-common-cipher"),
    ],
    ids=[
        "server-hello",
        "record-too-long",
        "alert-first",
        "extension-twice",
        "hello-too-long",
        "sslv2-for-tls1.0",
        "sslv2",
        "tls1.1",
        "no-suite",
    ],
)
async def test_bad_openings_get_the_right_alert(segments, alert, reason):
    """What is no good hello is answered by the alert that names the fault."""
    async with serve() as server:
        answer = await say(server.port, *segments, end=True)
        number = alert_of(answer)
        assert alert is None or number == alert
        assert server.reasons == {reason: 1}
        assert not server.protocols


@both_loops
@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 64, b"EHLO a.test\r\n", b"\x16\x02\0\0\0\0\0"],
    ids=["ssh", "zeros", "smtp", "other-major"],
)
async def test_garbage_is_closed_without_an_answer(data):
    """What does not look like TLS gets no record back, since it could not read one."""
    async with serve() as server:
        assert await say(server.port, data + b"x" * 20) in (b"", b"reset")
        assert server.reasons == {"not-tls": 1}


CUT = {
    "proxy-v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n\x16\3\1",
    "proxy-v1-unknown": b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n\r\n",
    "proxy-v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x12\x67\1\xbb",
    "proxy-v2-local": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    "http": REQUEST,
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "empty-lines": b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(20),
    "sslv2": bytes.fromhex("802e010002001500000010010080") + b"x" * 60,
    "alert": b"\x15\3\1\0\2\2\x28",
    "server-hello": record(b"\2\0\0\1\0"),
    "tls1.1": record(build_hello(versions(0x0302, 0x0301), version=0x0302)),
    "no-suite": record(build_hello(alpn(b"h2"), suites=[0x0005])),
}


@pytest.mark.parametrize("name", CUT)
async def test_a_refusal_does_not_depend_on_cuts(name):
    """The same reason is given and the same answer sent, wherever a segment ends."""
    data, context = CUT[name], server_context()

    async def told(*segments):
        limiter = HandshakeLimiter()
        source = Served(lambda *_: Selected(context), 10.0, limiter)
        layer = TLSLayer(contexts=source, build_protocol=lambda transport: Echo(), limiter=limiter)
        transport = FakeTransport()
        transport.set_protocol(layer)
        layer.connection_made(transport)
        for segment in segments:
            transport.inbox.append(segment)
            transport.deliver()
            await asyncio.sleep(0)  # whoever has to wait for a step is served in the next turn
        sent = bytes(transport.sent).partition(b"\r\nContent-Type")  # the date stands before it
        layer.abort()
        return source.lines, sent[2] or sent[0]

    whole = await told(data)
    assert len(whole[0]) == 1
    assert ("this is a PROXY v" in whole[0][0]) is name.startswith("proxy")
    for at in range(1, len(data)):
        assert await told(data[:at], data[at:]) == whole, at
    assert await told(*(data[at : at + 1] for at in range(len(data)))) == whole


@both_loops
async def test_largest_hello_reaches_openssl():
    """A hello of 64 KiB is read, chooses a context and is answered by OpenSSL."""
    suites = [0x1301, 0xC02B] + [0x00FE] * 31000
    message = build_hello(
        server_name(b"a.test"), alpn(b"http/1.1"), versions(0x0304), suites=suites
    )
    async with serve() as server:
        answer = await say(server.port, split_records(message), end=True)
        assert answer[:1] in (b"\x15", b"\x16")
        assert server.asked == [("a.test", ("http/1.1",))]


@both_loops
async def test_silence_ends_with_the_timeout():
    """Who says nothing is closed, and it is a line."""
    async with serve(timeout=0.02) as server:
        assert await say(server.port) == b""
        assert server.reasons == {"silent": 1}


@both_loops
@pytest.mark.parametrize("cut", [1, 5, 60])
@in_time(0.02)
async def test_unfinished_hello_ends_with_the_timeout(cut, timeout_s):
    """Who stops in the middle of its hello is closed."""
    async with serve(timeout=timeout_s) as server:
        assert await say(server.port, real_hello()[:cut]) == b""
        assert server.reasons == {"timeout": 1}


@both_loops
@in_time(0.02)
async def test_unfinished_handshake_ends_with_the_timeout(timeout_s):
    """Who stops after its hello is closed, and is stalled no more."""
    async with serve(timeout=timeout_s) as server:
        answer = await say(server.port, real_hello())
        assert answer[:1] == b"\x16"
        assert server.reasons == {"timeout": 1}
        assert len(server.limiter.stalled) == 0


@both_loops
@in_time(0.05)
async def test_no_timer_is_left_after_the_handshake(timeout_s):
    """An idle connection holds no timer."""
    async with serve(timeout=timeout_s) as server, Client.connect(server.port) as client:
        await client.handshake()
        await client.send(b"x")
        await client.read_exactly(1)
        assert not server.limiter.connections
        assert inside.waiting_handshakes(server.limiter) == 0
        # a later connection times out, and this one is still there
        assert await say(server.port) == b""
        await client.send(b"y")
        assert await client.read_exactly(1) == b"y"


@both_loops
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_connection_without_a_byte_is_no_failure(end, caplog):
    """A health check that opens and closes leaves no line."""
    async with serve() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while not server.layers:
            await asyncio.sleep(0)
        if end == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()
        while not server.limiter.silent:
            await asyncio.sleep(0)
        assert server.reasons == {}
        assert not [each for each in caplog.records if each.name == "edgeserver.general"]


@both_loops
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("data", [real_hello()[:30], real_hello()], ids=["in-hello", "after-hello"])
async def test_leaving_in_the_middle_is_a_failure(data, end):
    """A client that leaves in the middle of its handshake is a line."""
    async with serve() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(data)
        reached = STALLED if len(data) > 30 else HELLO
        while not server.layers or inside.state(server.layers[0]) != reached:
            await asyncio.sleep(0)
        if end == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()
        while not (server.reasons or server.limiter.silent):
            await asyncio.sleep(0)
        if server.limiter.silent:
            assert len(data) == 30  # it was gone before its bytes were read
        else:
            # a kernel may also report a reset as an end, where it came with bytes unread
            assert server.reasons in ({"closed": 1}, {"reset": 1})


@both_loops
async def test_plain_http_is_answered():
    """A request without TLS is told the https URL, once its head has come."""
    async with serve() as server:
        answer = await say(server.port, REQUEST[:20], REQUEST[20:])
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.endswith(b"use https://a.test:8443/a?b=c\n")
        assert server.reasons == {"plain-http": 1}
        assert "plain HTTP sent to the TLS port" in server.lines[0]


@both_loops
async def test_plain_http_with_a_body_gets_its_answer():
    """The answer is not lost to a reset while the client still sends."""
    async with serve() as server:
        head = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n"
        answer = await say(server.port, head, bytes(100000), end=True)
        assert answer.startswith(b"HTTP/1.1 400 ")


@both_loops
async def test_plain_http_is_redirected_if_asked():
    """With `redirect` it is a 308."""
    async with serve(redirect=True) as server:
        answer = await say(server.port, REQUEST)
        assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
        assert b"\r\nLocation: https://a.test:8443/a?b=c\r\n" in answer


@both_loops
@pytest.mark.parametrize("end", [True, False], ids=["fin", "timeout"])
@in_time(0.02)
async def test_plain_http_without_the_end_of_its_head(end, timeout_s):
    """An unfinished plain request is answered when it ends, or when time is up."""
    async with serve(timeout=10.0 if end else timeout_s) as server:
        answer = await say(server.port, b"GET / HTTP/1.1\r\nHost: a.test\r\n", end=end)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert server.reasons == {"plain-http": 1}


async def waits(limiter, count):
    """Wait until so many wait for a slot."""
    while limiter.waiting != count:
        await asyncio.sleep(0)


async def stalls(limiter, count):
    """Wait until so many wait for their client."""
    while len(limiter.stalled) != count:
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def stalling(port, count, hello=None):
    """Hold connections that send a hello and then nothing."""
    hello = real_hello() if hello is None else hello
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hello)
        writers.append(writer)
    try:
        yield writers
    finally:
        for writer in writers:
            writer.transport.abort()


@both_loops
@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["tls1.2", "tls1.3"])
async def test_each_flight_waits_for_a_slot(version):
    """A handshake waits with its hello and again with its next flight, and is computed then."""
    limiter, turns = crowded()
    context = server_context(clients=authority("Clients"))
    client_side = client_context(show=shown("good"), maximum_version=version)
    async with (
        serve(context, limiter=limiter) as server,
        Client.connect(server.port, client_side) as client,
    ):
        shaking = asyncio.ensure_future(client.handshake())
        await waits(limiter, 1)
        assert not server.asked
        turns.give()
        await waits(limiter, 1)  # the slot of that turn was had: the client's flight has come
        assert len(limiter.stalled) == 0
        turns.give()
        await shaking
        await client.send(b"ping")
        assert await client.read_exactly(4) == b"ping"
        assert limiter.completed == 1
        assert len(limiter.stalled) == limiter.waiting == 0


@both_loops
async def test_another_round_trip_is_another_slot():
    """A hello that is answered with HelloRetryRequest is stalled and waits as often as it must."""
    limiter, turns = crowded()
    context = server_context()
    context.set_ecdh_curve("secp521r1")
    async with serve(context, limiter=limiter) as server, Client.connect(server.port) as client:
        shaking = asyncio.ensure_future(client.handshake())
        for _ in range(3):
            await waits(limiter, 1)
            turns.give()
        await shaking
        await client.send(b"ping")
        assert await client.read_exactly(4) == b"ping"


@both_loops
async def test_request_and_end_behind_a_waiting_flight():
    """What a client sends behind its Finished, its half-close too, is there after the wait."""
    limiter, turns = crowded()
    async with serve(limiter=limiter) as server, Client.connect(server.port) as client:
        shaking = asyncio.ensure_future(client.handshake())
        await waits(limiter, 1)
        turns.give()
        await shaking
        await client.send(b"ping" * 10_000)
        client.close_notify()
        client.writer.write_eof()
        await waits(limiter, 1)
        turns.give()
        assert await client.read_to_end() == b"ping" * 10_000
        assert server.reasons == {}


@both_loops
@pytest.mark.parametrize("flight", ["hello", "finished"])
@pytest.mark.parametrize("end", ["time", "stop"])
@in_time(0.05)
async def test_end_while_waiting_for_a_slot(flight, end, timeout_s):
    """Who waits too long is closed and counted, who waits when the server stops is closed."""
    limiter, turns = crowded()
    async with (
        serve(limiter=limiter, timeout=timeout_s if end == "time" else 10.0) as server,
        Client.connect(server.port) as client,
    ):
        shaking = asyncio.ensure_future(client.handshake())
        await waits(limiter, 1)
        if flight == "finished":
            turns.give()
            await shaking
            await waits(limiter, 1)
        if end == "stop":
            limiter.abort_all()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await shaking
            await client.read_to_end()
        assert len(limiter.stalled) == limiter.waiting == 0
        assert server.reasons == ({"crowded": 1} if end == "time" else {})
        turns.give()  # and nobody is there to have it


@both_loops
async def test_error_in_a_turn_ends_that_connection_only():
    """An error of ours in a step that waited ends its connection; the next has its turn."""
    limiter, turns = crowded(slots=2)

    def select(name, protocols):
        if name == "a.test":
            raise RuntimeError("made by the test")
        return Selected(server_context())

    async with serve(select=select, limiter=limiter) as server:
        bad = asyncio.ensure_future(say(server.port, real_hello("a.test")))
        await waits(limiter, 1)
        async with Client.connect(server.port, name="b.test") as client:
            shaking = asyncio.ensure_future(client.handshake())
            await waits(limiter, 2)
            with pytest.raises(RuntimeError, match="made by the test"):
                turns.give()
            assert await bad in (b"", b"reset")
            turns.give()
            await shaking


@both_loops
@pytest.mark.parametrize("data", [b"", b"\x16", real_hello()[:60]], ids=["none", "byte", "half"])
async def test_no_slot_without_a_whole_hello(data):
    """Connections that send no hello, or half of one, neither hold a slot nor are stalled."""
    limiter = HandshakeLimiter(max_handshakes=2, max_per_client=1)
    async with serve(limiter=limiter) as server:
        async with stalling(server.port, 8, data):
            while len(limiter.connections) < 8:
                await asyncio.sleep(0)
            assert (limiter.running, limiter.waiting, len(limiter.stalled)) == (0, 0, 0)
            async with Client.connect(server.port) as client:
                await client.handshake()
        while limiter.connections:
            await asyncio.sleep(0)


@both_loops
async def test_stalled_connections_do_not_make_others_wait():
    """64 hellos without a Finished from one address: the next handshake goes on at once."""
    limiter = HandshakeLimiter()
    async with serve(limiter=limiter) as server, stalling(server.port, 64):
        await stalls(limiter, 64)
        async with Client.connect(server.port) as client:
            await client.handshake()
            await client.send(b"ping")
            assert await client.read_exactly(4) == b"ping"
        assert (len(limiter.stalled), limiter.waiting, limiter.completed) == (64, 0, 1)


@both_loops
async def test_oldest_stalled_is_evicted():
    """Above their limit the stalled one that waited longest goes, with a line that says it."""
    limiter = HandshakeLimiter(max_stalled=3)
    async with serve(limiter=limiter) as server, stalling(server.port, 0) as held:
        for count in (1, 2, 3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(real_hello())
            held.append(writer)
            await stalls(limiter, count)
            if count == 1:
                oldest = reader
        async with Client.connect(server.port) as client:
            await client.handshake()
            with contextlib.suppress(ConnectionError):
                await oldest.read()
            assert server.reasons == {"stalled": 1}
            assert "too many handshakes wait for their clients: more than 3" in server.lines[0]
            assert "max_stalled_handshakes" in server.lines[0]
            await client.send(b"ping")
            assert await client.read_exactly(4) == b"ping"
        assert (limiter.stalled.evicted, len(limiter.stalled)) == (1, 2)


@both_loops
async def test_full_queue_refuses():
    """When even the queue is full a connection is closed at once, and it is counted."""
    limiter, turns = crowded(max_waiting=0)
    async with serve(limiter=limiter) as server:
        assert await say(server.port, real_hello()) in (b"", b"reset")
        assert server.reasons == {"crowded": 1}
        assert "too many handshakes at a time: more than 0" in server.lines[0]
        turns.give()
        async with Client.connect(server.port) as client:
            with pytest.raises(ssl.SSLWantReadError):
                client.ssl.do_handshake()
            client.flush()
            await client.fill()  # its hello had the slot of that turn


@both_loops
async def test_full_queue_refuses_the_client_with_the_most():
    """Who waits in a full queue gives way to a client that has fewer there."""
    limiter, _ = crowded(max_waiting=2)
    async with serve(limiter=limiter) as server, stalling(server.port, 2):
        await waits(limiter, 2)
        other = Asker(v4(1))
        assert limiter.acquire(other) is Slot.QUEUED
        assert server.reasons == {"crowded": 1}
        limiter.cancel(other)


@both_loops
async def test_after_a_prelude():
    """The layer takes over a live transport with bytes that were read too far."""
    made = []

    class Prelude(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            line, _, rest = data.partition(b"\r\n")
            layer = TLSLayer(
                contexts=server,
                build_protocol=build,
                limiter=server.limiter,
                client=line.split()[2].decode(),
            )
            made.append(layer)
            replace_layer(self.transport, layer, rest)

    def build(transport):
        server.protocols.append(Echo())
        return server.protocols[-1]

    async with serve() as server:
        listener = await asyncio.get_running_loop().create_server(Prelude, "127.0.0.1", 0)
        async with Client.connect(listener.sockets[0].getsockname()[1]) as client:
            client.writer.write(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n")
            await client.handshake()
            await client.send(b"ping")
            assert await client.read_exactly(4) == b"ping"
            assert made[0].key == bytes([203, 0, 113, 9])
        async with Client.connect(listener.sockets[0].getsockname()[1]) as client:
            client.writer.write(
                b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\nnonsense!" + b"!" * 20
            )
            await client.reader.read()
        assert server.lines[0].startswith("SSL Error on 127.0.0.1:")
        assert " for 203.0.113.9: " in server.lines[0]
        listener.close()
        await listener.wait_closed()


@both_loops
async def test_unix_socket():
    """A connection without an address is served, and named as what it is."""
    path = str(directory() / "wire.sock")
    async with serve() as server:
        listener = await asyncio.get_running_loop().create_unix_server(
            lambda: TLSLayer(
                contexts=server, build_protocol=lambda transport: Echo(), limiter=server.limiter
            ),
            path,
        )
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"nonsense!" * 9)
        await reader.read()
        assert server.lines[0].startswith("SSL Error on unix socket: ")
        writer.close()
        listener.close()
        await listener.wait_closed()


@both_loops
async def test_failure_is_one_warning_without_traceback(caplog):
    """The log gets one line on `edgeserver.general`, which Tornado's filters match."""
    with caplog.at_level(logging.WARNING, logger="edgeserver.general"):
        async with serve() as server:
            await say(server.port, b"nonsense\n" * 9)
    lines = [each for each in caplog.records if each.name == "edgeserver.general"]
    assert len(lines) == 1
    assert lines[0].levelno == logging.WARNING
    assert lines[0].exc_info is None
    assert lines[0].getMessage().startswith("SSL Error on 127.0.0.1:")


@both_loops
async def test_linger_is_bounded(monkeypatch):
    """A refused client that neither reads nor leaves is cut off."""
    monkeypatch.setattr("edgeserver.transport.lingering.CHECK_S", 0.02)
    async with serve(select=lambda name, protocols: Selected(None, "", 112)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(real_hello())
        assert alert_of(await reader.read()) == 112
        try:
            while True:
                writer.write(bytes(1024))
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        writer.close()


@both_loops
async def test_linger_reads_no_more_than_its_bound(monkeypatch):
    """A refused client that keeps sending is stopped after 256 KiB, and cut off in time."""
    monkeypatch.setattr("edgeserver.transport.lingering.CHECK_S", 0.1)
    async with serve(select=lambda name, protocols: Selected(None, "", 112)) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await send_until_cut_off(writer, real_hello())


@both_loops
async def test_broken_context_source_ends_only_its_connection():
    """An error of ours in the choice ends that connection, and gives its place back."""

    def select(name, protocols):
        if name == "a.test":
            raise RuntimeError("made by the test")
        return Selected(server_context())

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with serve(select=select) as server:
        assert await say(server.port, real_hello("a.test")) in (b"", b"reset")
        while server.limiter.connections:
            await asyncio.sleep(0)
        async with Client.connect(server.port, name="b.test") as client:
            await client.handshake()
        assert len(server.limiter.stalled) == server.limiter.waiting == 0


@given(st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=3), st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_at_a_real_socket(segments, hello_first):
    """Whatever is sent, the connection ends in time and another client is served meanwhile."""

    @both_loops
    async def talk():
        async with serve() as server, Client.connect(server.port) as other:
            while not server.layers:
                await asyncio.sleep(0)
            server.handshake_timeout = 0.05  # for who comes now, however slow the machine is
            first = [real_hello()[:200]] if hello_first else []
            bad = asyncio.ensure_future(say(server.port, *first, *segments))
            await other.handshake()
            await other.send(b"ping")
            assert await other.read_exactly(4) == b"ping"
            await bad
            while server.limiter.connections:
                await asyncio.sleep(0)

    talk(asyncio.new_event_loop)


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_hellos_at_a_real_socket(data):
    """A hello with a few bytes changed ends in an alert, a handshake or a close."""
    raw = bytearray(real_hello())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    @both_loops
    async def talk():
        async with serve(timeout=0.05) as server:
            answer = await say(server.port, bytes(raw))
            assert answer[:1] in (b"", b"\x15", b"\x16", b"r", b"H")

    talk(asyncio.new_event_loop)
