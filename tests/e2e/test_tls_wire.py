"""The TLS wire against real clients: openssl s_client, curl and httpx, with what they report."""

import asyncio
import contextlib
import re
import ssl

import httpx
import pytest

from edgeserver.tls import build_contexts
from tests.e2e.site import program
from tests.tls import pki
from tests.tls.wire import (
    Echo,
    Recorder,
    Selected,
    authority,
    both_loops,
    client_context,
    directory,
    serve,
    server_context,
)

KEPT_SETTINGS = (
    "sni_callback",
    "options",
    "verify_mode",
    "verify_flags",
    "minimum_version",
    "maximum_version",
    "num_tickets",
)

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


class Hello(Recorder):
    """Answers each request with one text."""

    def data_received(self, data):
        """Answer at the end of a head."""
        super().data_received(data)
        if self.data.endswith(b"\r\n\r\n"):
            self.transport.write(HELLO)


def ca_file(name="Wire Root"):
    """Return the file of an authority."""
    path = directory() / f"{name.replace(' ', '-')}.pem"
    path.write_bytes(pki.render_certs(authority(name).cert))
    return str(path)


@contextlib.asynccontextmanager
async def s_client(port, *arguments):
    """Run `openssl s_client`; yield the process."""
    process = await asyncio.create_subprocess_exec(
        program("openssl"),
        "s_client",
        "-connect",
        f"127.0.0.1:{port}",
        "-CAfile",
        ca_file(),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output_until(process, pattern):
    """Return what a process has written, once it matches."""
    text = b""
    while not re.search(pattern, text):
        piece = await process.stdout.read(65536)
        assert piece, f"ended without {pattern!r}: {text.decode(errors='replace')}"
        text += piece
    return text.decode(errors="replace")


async def curl(*arguments):
    """Run curl; return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        program("curl"),
        "-sS",
        "-m",
        "10",
        "--noproxy",
        "*",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    return process.returncode, written.decode()


@both_loops
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-tls1_3"], "New, TLSv1.3, Cipher is TLS_"),
        (["-tls1_2"], "New, TLSv1.2, Cipher is ECDHE-ECDSA"),
        (["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "CHACHA20"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "AES128-GCM"),
        (["-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1"),
        (["-servername", "b.test", "-verify_hostname", "b.test"], "Verification: OK"),
        (["-groups", "P-256"], "ECDH, prime256v1"),
        (["-split_send_frag", "512", "-max_send_frag", "512"], "New, TLSv1.3"),
    ],
    ids=["1.3", "1.2", "suite-1.3", "suite-1.2", "alpn", "sni", "group", "small-records"],
)
async def test_s_client_is_served(arguments, shown):
    """Openssl agrees on what it asked for, and its bytes come back."""
    context = server_context(protocols=["http/1.1"])
    async with serve(context) as server, s_client(server.port, *arguments) as process:
        text = await output_until(process, rb"Verify return code: 0 \(ok\)")
        assert shown in text or shown in await output_until(process, shown.encode())
        process.stdin.write(b"to and fro\n")
        await output_until(process, rb"to and fro\n")


@both_loops
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_s_client_resumes(version):
    """A session that openssl keeps is resumed by the same context, and not by another."""
    path = str(directory() / f"session{version}.pem")
    contexts = [server_context(), server_context()]
    chosen = [contexts[0], contexts[0], contexts[1]]
    async with serve(
        select=lambda name, protocols: Selected(chosen[len(server.asked) - 1])
    ) as server:
        for number, (way, shown) in enumerate(
            [("-sess_out", "New, "), ("-sess_in", "Reused, "), ("-sess_in", "New, ")]
        ):
            async with s_client(server.port, version, way, path) as process:
                await output_until(process, shown.encode())
                process.stdin.write(b"echo\n")
                await output_until(process, b"echo\n")  # the tickets of TLS 1.3 come before it
                process.stdin.close()
                await process.wait()
            assert (await server.protocol(number)).transport.tls_info.resumed is (number == 1)
        assert server.limiter.resumed == 1


@both_loops
async def test_s_client_updates_its_keys():
    """A key update that asks for ours is answered, and the stream goes on."""
    async with serve() as server, s_client(server.port, "-tls1_3", "-msg") as process:
        await output_until(process, rb"Verify return code")
        for line in (b"first", b"second"):
            process.stdin.write(b"K\n")
            await output_until(process, rb">>> TLS 1.3, [^\n]*KeyUpdate")
            process.stdin.write(line + b"\n")
            await output_until(process, line + b"\n")


@both_loops
async def test_flood_of_key_updates_ends(monkeypatch):
    """Key updates without data in between end the connection, for that one client."""
    monkeypatch.setattr("edgeserver.tls.connection.transport.DATALESS_BYTES", 200)
    async with serve() as server, s_client(server.port, "-tls1_3", "-msg") as process:
        await output_until(process, rb"Verify return code")
        protocol = await server.protocol()
        for _ in range(2):  # a byte of data makes them harmless
            for _ in range(4):
                process.stdin.write(b"K\n")
                await output_until(process, rb">>> TLS 1.3, [^\n]*KeyUpdate")
            process.stdin.write(b"data\n")
            await output_until(process, rb"data\n")
        while "lost" not in protocol.heard:
            process.stdin.write(b"K\n")
            if not await process.stdout.read(65536):
                break
        await protocol.hears("lost")
        assert "without application data" in str(protocol.exc)
        async with s_client(server.port) as another:
            await output_until(another, rb"Verify return code: 0")


@both_loops
async def test_given_context_decides_by_its_own_sni_callback():
    """A context with an `sni_callback` is asked through our transport, and stays as it was."""
    asked = []
    other = server_context(kind="rsa")

    def choose(sslobject, name, context):
        asked.append((name, context is given))
        if name == "refused.test":
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if name == "b.test":
            sslobject.context = other
        return None

    given = server_context()
    given.sni_callback = choose
    before = [getattr(given, name) for name in KEPT_SETTINGS]
    contexts = build_contexts(given)
    async with serve(select=contexts.select) as server:
        for name, kind in (("a.test", "ECDSA"), ("b.test", "RSA")):
            async with s_client(
                server.port, "-servername", name, "-tls1_2", "-verify_hostname", name
            ) as process:
                text = await output_until(process, rb"Verify return code: 0 \(ok\)")
                assert f"ECDHE-{kind}-" in text
        async with s_client(server.port, "-servername", "refused.test") as process:
            written, _ = await process.communicate()
            assert "unrecognized name" in written.decode()
    assert asked == [("a.test", True), ("b.test", True), ("refused.test", True)]
    assert [getattr(given, name) for name in KEPT_SETTINGS] == before


@both_loops
async def test_s_client_may_not_renegotiate():
    """A TLS 1.2 client that wants to renegotiate gets no new handshake; others are served."""
    context = server_context()
    context.options |= ssl.OP_NO_RENEGOTIATION
    async with serve(context) as server, s_client(server.port, "-tls1_2") as process:
        await output_until(process, rb"Verify return code")
        process.stdin.write(b"R\n")
        await output_until(process, rb"(?i)no renegotiation")
        async with s_client(server.port) as another:
            await output_until(another, rb"Verify return code: 0")


@both_loops
@pytest.mark.parametrize(
    ("end", "truncated"), [("eof", False), ("kill", True)], ids=["close-notify", "killed"]
)
async def test_s_client_ends(end, truncated):
    """An orderly end is told apart from a client that was cut off."""
    async with serve() as server, s_client(server.port) as process:
        process.stdin.write(b"half of it\n")
        protocol = await server.protocol()
        await protocol.has(11)
        if end == "kill":
            process.kill()
        else:
            process.stdin.close()
        await protocol.hears("lost")
        assert protocol.transport.truncated is truncated


@both_loops
@pytest.mark.parametrize(
    ("arguments", "alert", "reason"),
    [
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert protocol version", "no-common-version"),
        (["-tls1_2", "-cipher", "AES128-SHA"], "alert handshake failure", "no-common-cipher"),
        (["-groups", "X448"], "alert handshake failure", "no-common-group"),
        (
            ["-servername", "nobody.test"],
            "unrecognized name",
            "unknown-name",
        ),
        (["-alpn", "smtp"], "alert no application protocol", "no-common-alpn"),
    ],
)
async def test_s_client_is_refused(arguments, alert, reason):
    """Openssl reports the alert that says why, and the log has the reason."""
    context = server_context()
    context.set_ecdh_curve("prime256v1")

    def select(name, protocols):
        if name == "nobody.test":
            return Selected(None, "", 112)
        return Selected(None, "", 120) if "smtp" in protocols else Selected(context)

    async with serve(select=select) as server, s_client(server.port, *arguments) as process:
        written, _ = await process.communicate()
        assert alert in written.decode()
        assert server.reasons == {reason: 1}


@both_loops
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_s_client_without_a_certificate(version):
    """A client without the certificate that is required is told so."""
    context = server_context(clients=authority("Clients"))
    async with serve(context) as server, s_client(server.port, version) as process:
        expected = b"alert handshake failure" if version == "-tls1_2" else b"certificate required"
        await output_until(process, expected)
        assert server.reasons == {"client-cert-missing": 1}


@both_loops
async def test_curl():
    """Curl verifies the certificate and gets its answer."""
    async with serve(protocol=Hello) as server:
        code, text = await curl("--cacert", ca_file(), f"https://localhost:{server.port}/")
        assert (code, text) == (0, "hello\n")


@both_loops
async def test_a_client_does_not_trust_us():
    """The client says that it does not trust the authority, and so does our log."""
    async with serve(protocol=Hello) as server:
        # A curl of 2026 looks at the certificate after the handshake, and leaves in silence.
        code, _ = await curl("--cacert", ca_file("Other Root"), f"https://localhost:{server.port}/")
        assert code == 60
    async with (
        serve(protocol=Hello) as server,
        s_client(server.port, "-CAfile", ca_file("Other Root"), "-verify_return_error"),
    ):
        while not server.reasons:
            await asyncio.sleep(0)
        assert server.reasons == {"distrusted-ca": 1}
        assert "it does not trust our CA" in server.lines[0]


@both_loops
async def test_curl_over_plain_http():
    """Who forgot the `s` is told the URL, or led to it."""
    async with serve(protocol=Hello) as server:
        code, text = await curl(f"http://localhost:{server.port}/a?b")
        assert (code, text) == (
            0,
            f"This port speaks HTTPS only: use https://localhost:{server.port}/a?b\n",
        )
    async with serve(protocol=Hello, redirect=True) as server:
        code, text = await curl("-L", "--cacert", ca_file(), f"http://localhost:{server.port}/")
        assert (code, text) == (0, "hello\n")


@both_loops
async def test_curl_posts_to_plain_http():
    """A large upload to the wrong scheme still gets to read its answer."""
    upload = directory() / "upload"
    upload.write_bytes(bytes(150_000))
    async with serve() as server:
        code, text = await curl(
            "-H", "Expect:", "--data-binary", f"@{upload}", f"http://localhost:{server.port}/"
        )
        assert code == 0
        assert text.startswith("This port speaks HTTPS only")


@both_loops
async def test_httpx():
    """Httpx keeps its connection and gets every answer."""
    async with serve(protocol=Hello) as server:
        context = client_context(check_hostname=True)
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            for _ in range(5):
                answer = await client.get(f"https://localhost:{server.port}/")
                assert answer.text == "hello\n"
        assert server.limiter.completed == 1


@both_loops
async def test_many_clients_at_once():
    """A hundred clients from one address are all served, in turn."""
    async with serve(protocol=Echo) as server:
        context = client_context()

        async def talk(number):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=context, server_hostname="a.test"
            )
            writer.write(b"%03d" % number)
            assert await reader.readexactly(3) == b"%03d" % number
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(talk(number) for number in range(100)))
        assert server.limiter.completed == 100
        assert server.reasons == {}
