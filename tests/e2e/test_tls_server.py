"""TLS of the whole server: reloads under load, client certificates by host, plain HTTP on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeserver.httpserver import HTTPServer
from tests.e2e.site import Answer, address_of, answer, ask_blocking, connected, fetch, serve
from tests.loops import on_both_loops
from tests.tls import pki
from tests.tls.hellos import real_hello

STAFF = pki.make_ca("Staff CA")
PARTNERS = pki.make_ca("Partners CA")
STRANGERS = pki.make_ca("Strangers CA")

ALICE = pki.make_client(STAFF, "alice", "spiffe://edge.test/alice", "alice.test")
EVE = pki.make_client(STAFF, "eve")
PAUL = pki.make_client(PARTNERS, "paul")

NAMES = ("open.test", "also-open.test", "staff.test", "partner.test", "maybe.test")


@pytest.fixture
def tls_files(tmp_path: Path, authority: pki.Issued) -> dict[str, Any]:
    """Return `ssl_options` with a host for each kind of client policy."""
    pairs = {name: pki.write_pair(tmp_path, pki.make_leaf(authority, name), name) for name in NAMES}
    for name, root in (("staff", STAFF), ("partners", PARTNERS)):
        (tmp_path / f"{name}.pem").write_bytes(root.pem)
    staff = {
        "ca_certs": str(tmp_path / "staff.pem"),
        "crl": pki.write_crl(tmp_path, pki.make_crl(STAFF, EVE)),
    }
    partners = {"ca_certs": str(tmp_path / "partners.pem")}
    hosts = {
        "also-open.test": pairs["also-open.test"],
        "staff.test": {**pairs["staff.test"], **staff, "client_auth": "required"},
        "partner.test": {**pairs["partner.test"], **partners, "client_auth": "required"},
        "maybe.test": {**pairs["maybe.test"], **staff, "client_auth": "optional"},
    }
    return {**pairs["open.test"], "hosts": hosts, "reload": False}


def tell_tls(request: Any) -> None:
    """Answer with what the application sees of TLS, as JSON."""
    tls = request.tls
    certificate = tls.client_certificate
    shown = request.get_ssl_certificate()
    der = request.get_ssl_certificate(binary_form=True)
    assert der == tls.client_certificate_der
    seen = {
        "version": tls.version,
        "sni": tls.sni,
        "alpn": tls.alpn,
        "ja4": tls.ja4,
        "resumed": tls.resumed,
        "scheme": request.protocol,
        "subject": None if certificate is None else certificate.subject,
        "spiffe": None if certificate is None else certificate.spiffe_id,
        "names": None if certificate is None else certificate.alternative_names,
        "getpeercert": dict(part[0] for part in shown["subject"]) if shown else None,
        "der": None if der is None else der.hex(),
    }
    answer(request, json.dumps(seen))


def client(
    authority: pki.Issued, directory: Path, show: pki.Issued | None = None, version: str = "1.3"
) -> ssl.SSLContext:
    """Return a client's context for one version of TLS."""
    context = pki.client_context(authority, show, directory=directory)
    exact = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.minimum_version = context.maximum_version = exact
    return context


async def ask(server: HTTPServer, context: ssl.SSLContext, name: str, **settings: Any) -> Any:
    """Ask in a thread, as a blocking client does; see `ask_blocking`."""
    return await asyncio.to_thread(ask_blocking, address_of(server), context, name=name, **settings)


@on_both_loops
async def test_what_the_application_sees(tls_files, authority, tmp_path: Path) -> None:
    """`request.tls` and `get_ssl_certificate` tell of the handshake and of who shook hands."""
    context = client(authority, tmp_path, ALICE)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with serve(tell_tls, ssl_options=tls_files, http2=False) as server:
        async with connected(address_of(server), tls=context, name="staff.test") as staff:
            for _ in range(2):
                got = await staff.ask(host="staff.test")
                seen = json.loads(got.body)
                assert seen["version"] == "TLSv1.3"
                assert (seen["sni"], seen["alpn"]) == ("staff.test", "http/1.1")
                assert seen["ja4"].startswith("t13d")
                assert (seen["scheme"], seen["resumed"]) == ("https", False)
                assert (seen["subject"], seen["spiffe"]) == ("CN=alice", "spiffe://edge.test/alice")
                assert ["DNS", "alice.test"] in seen["names"]
                assert seen["getpeercert"] == {"commonName": "alice"}
                assert bytes.fromhex(seen["der"]) == ALICE.der
        for name in ("open.test", "maybe.test"):
            got, *_ = await ask(server, client(authority, tmp_path), name)
            seen = json.loads(got.body)
            assert (seen["sni"], seen["subject"], seen["getpeercert"]) == (name, None, None)


@on_both_loops
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa", "ed25519"])
async def test_kinds_of_keys_and_an_intermediate(
    authority, tmp_path: Path, kind: str, version: str
) -> None:
    """A client that knows only the root is served, whatever the key and with a chain."""
    leaf = pki.make_leaf(pki.make_intermediate(authority), kind=kind)
    options = pki.write_pair(tmp_path, leaf)
    async with serve(tell_tls, ssl_options=options) as server:
        got, *_ = await ask(server, client(authority, tmp_path, version=version), "localhost")
        assert json.loads(got.body)["version"] == f"TLSv{version}"


WRONG = {
    "none": (None, "client-cert-missing", "CERTIFICATE_REQUIRED"),
    "other-ca": (PAUL, "client-cert-unknown-ca", "UNKNOWN_CA"),
    "self-signed": (pki.issue("mallory"), "client-cert-unknown-ca", "UNKNOWN_CA"),
    "same-name-other-key": (
        pki.make_client(pki.make_ca("Staff CA"), "alice"),
        "client-cert-unknown-ca",
        "UNKNOWN_CA",
    ),
    "expired": (
        pki.make_client(STAFF, "late", start_days=-9, end_days=-1),
        "client-cert-expired",
        "CERTIFICATE_EXPIRED",
    ),
    "not-yet-valid": (
        pki.make_client(STAFF, "early", start_days=1),
        "client-cert-not-yet-valid",
        "BAD_CERTIFICATE",
    ),
    "revoked": (EVE, "client-cert-revoked", "CERTIFICATE_REVOKED"),
    "a-servers": (pki.make_leaf(STAFF, "web.test"), "client-cert-refused", "UNSUPPORTED_CERT"),
}
"""Clients that staff.test refuses: the certificate, our reason, and the alert that they see."""


@on_both_loops
async def test_status_shows_stalled_handshakes(tls_files, authority, tmp_path: Path) -> None:
    """The server tells how many are stalled and were evicted; above the limit others are served."""
    options = {**tls_files, "max_stalled_handshakes": 2}
    async with serve(tell_tls, ssl_options=options) as server, contextlib.AsyncExitStack() as held:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", address_of(server)[1])
            held.callback(lambda writer=writer: writer.transport.abort())
            writer.write(real_hello())
        while server.tls.handshakes.evicted < 1:
            await asyncio.sleep(0)
        good, *_ = await ask(server, client(authority, tmp_path, ALICE, "1.3"), "staff.test")
        assert good.status == 200
        counts = server.tls.handshakes
        assert (counts.max_stalled, counts.waiting, counts.completed) == (2, 0, 1)
        assert counts.evicted == counts.failed == 2
        assert counts.stalled == 1
    assert HTTPServer(tell_tls).tls.handshakes is None


@on_both_loops
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(("show", "reason", "alert"), WRONG.values(), ids=WRONG)
async def test_wrong_clients_see_why(
    tls_files, authority, tmp_path: Path, version: str, show: Any, reason: str, alert: str
) -> None:
    """Every wrong kind of client is refused with the alert that says why, and others are served."""
    if (version, alert) == ("1.2", "CERTIFICATE_REQUIRED"):
        alert = "HANDSHAKE_FAILURE"  # RFC 5246 has no other for it
    async with serve(tell_tls, ssl_options=tls_files) as server:
        with pytest.raises(ssl.SSLError) as caught:
            await ask(server, client(authority, tmp_path, show, version), "staff.test")
        assert f"ALERT_{alert}" in (caught.value.reason or "")
        assert dict(server.tls.limiter.log.counts) == {reason: 1}
        good, *_ = await ask(server, client(authority, tmp_path, ALICE, version), "staff.test")
        assert json.loads(good.body)["subject"] == "CN=alice"


@on_both_loops
async def test_each_host_has_its_own_clients(tls_files, authority, tmp_path: Path) -> None:
    """Who is welcome at one host is not at another; the open ones ask nobody."""
    welcome = {
        "alice": ({"staff.test", "maybe.test", "open.test"}, ALICE),
        "paul": ({"partner.test", "open.test"}, PAUL),
        "nobody": ({"maybe.test", "open.test", "also-open.test"}, None),
    }
    async with serve(tell_tls, ssl_options=tls_files) as server:
        for who, (hosts, show) in welcome.items():
            for name in NAMES:
                if show is not None and name == "also-open.test":
                    continue
                context = client(authority, tmp_path, show)
                if name in hosts:
                    got, *_ = await ask(server, context, name)
                    assert got.status == 200, (who, name)
                else:
                    with pytest.raises(ssl.SSLError, match="ALERT"):
                        await ask(server, context, name)


@on_both_loops
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_sessions_stay_at_their_host(
    tls_files, authority, tmp_path: Path, version: str
) -> None:
    """A session resumes where it was made, with its certificate, and opens no other host."""
    async with serve(tell_tls, ssl_options=tls_files) as server:
        nobody = client(authority, tmp_path, None, version)
        for first in ("open.test", "maybe.test"):
            _, session, _ = await ask(server, nobody, first)
            _, _, resumed = await ask(server, nobody, first, session=session)
            assert resumed
            with pytest.raises(ssl.SSLError, match=r"ALERT_(CERTIFICATE_REQUIRED|HANDSHAKE_FAIL)"):
                await ask(server, nobody, "staff.test", session=session)
        alice = client(authority, tmp_path, ALICE, version)
        _, session, _ = await ask(server, alice, "staff.test")
        got, _, resumed = await ask(server, alice, "staff.test", session=session)
        assert resumed
        assert json.loads(got.body)["subject"] == "CN=alice"
        assert json.loads(got.body)["resumed"] is True
        with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
            await ask(server, alice, "partner.test", session=session)


@on_both_loops
async def test_a_revoked_client_cannot_resume(tls_files, authority, tmp_path: Path) -> None:
    """Once the new list is read, a ticket from before it opens nothing."""
    alice = client(authority, tmp_path, ALICE)
    async with serve(tell_tls, ssl_options=tls_files) as server:
        _, session, _ = await ask(server, alice, "staff.test")
        pki.write_crl(tmp_path, pki.make_crl(STAFF, EVE, ALICE))
        (result,) = await server.reload_tls()
        assert result.ok
        with pytest.raises(ssl.SSLError, match="ALERT_CERTIFICATE_REVOKED"):
            await ask(server, alice, "staff.test", session=session)
        assert server.tls.limiter.log.counts["client-cert-revoked"] == 1


MISDIRECTED = [
    ("open.test", None, "open.test", 200),
    ("open.test", None, "also-open.test", 200),
    ("open.test", None, "OPEN.test.:443", 200),
    ("open.test", None, "unknown.test", 200),
    ("open.test", None, "staff.test", 421),
    ("open.test", None, "STAFF.TEST:443", 421),
    ("open.test", None, "staff.test.", 421),
    ("also-open.test", None, "partner.test", 421),
    ("maybe.test", None, "staff.test", 421),
    ("maybe.test", ALICE, "staff.test", 421),
    ("staff.test", ALICE, "staff.test", 200),
    ("staff.test", ALICE, "partner.test", 421),
    ("staff.test", ALICE, "open.test", 421),
]


@on_both_loops
@pytest.mark.parametrize(
    ("name", "show", "host", "status"), MISDIRECTED, ids=lambda value: str(value)[:20]
)
async def test_misdirected_requests(
    tls_files, authority, tmp_path: Path, name: str, show: Any, host: str, status: int
) -> None:
    """A request for a host with another client policy than the handshake's is answered 421."""
    async with serve(tell_tls, ssl_options=tls_files) as server:
        got, *_ = await ask(server, client(authority, tmp_path, show), name, host=host)
        assert got.status == status


@on_both_loops
async def test_the_target_directs_as_well(tls_files, authority, tmp_path: Path) -> None:
    """An absolute-form target replaces the Host field, for this too (RFC 9112 section 3.2.2)."""
    async with (
        serve(tell_tls, ssl_options=tls_files) as server,
        connected(
            address_of(server), tls=client(authority, tmp_path), name="open.test"
        ) as connection,
    ):
        await connection.send(b"GET https://staff.test/ HTTP/1.1\r\nHost: open.test\r\n\r\n")
        assert (await connection.answer()).status == 421


@on_both_loops
@pytest.mark.parametrize(
    ("options", "request_head", "status", "url"),
    [
        (
            {},
            b"GET /a?b HTTP/1.1\r\nHost: edge.test:8443\r\n\r\n",
            400,
            "https://edge.test:8443/a?b",
        ),
        (
            {"https_redirect": True},
            b"GET /a?b HTTP/1.1\r\nHost: edge.test\r\n\r\n",
            308,
            "https://edge.test/a?b",
        ),
        ({"https_redirect": True}, b"GET /a HTTP/1.0\r\n\r\n", 400, "an https:// URL"),
        (
            {"https_redirect": True},
            b"GET / HTTP/1.1\r\nHost: edge.test\r\nX-Forwarded-Host: evil.test\r\n\r\n",
            308,
            "https://edge.test/",
        ),
    ],
    ids=["400", "308", "no-host", "not-from-headers"],
)
async def test_plain_http_on_the_tls_port(
    pair, options: dict[str, Any], request_head: bytes, status: int, url: str
) -> None:
    """Who forgot the `s` is told the URL, or led to it, and never reaches the application."""
    calls: list[Any] = []
    async with (
        serve(calls.append, ssl_options=pair, **options) as server,
        connected(address_of(server)) as plain,
    ):
        await plain.send(request_head)
        got = await plain.answer()
        assert got.status == status
        assert url.encode() in got.body
        assert got.fields.get("location") == (url if status == 308 else None)
        assert await plain.ended()
        assert dict(server.tls.limiter.log.counts) == {"plain-http": 1}
    assert calls == []


# Reloading


Step = Callable[[dict[str, str], pki.Issued, pki.Issued], None]


def _replace(path: str, data: bytes) -> None:
    """Replace a file in one step, as careful renewal tools do."""
    Path(path + ".new").write_bytes(data)
    os.replace(path + ".new", path)


TEARS: dict[str, Step] = {
    "new certificate, old key": lambda pair, old, new: _replace(pair["certfile"], new.pem),
    "new key, old certificate": lambda pair, old, new: _replace(pair["keyfile"], new.key_pem),
    "certificate cut": lambda pair, old, new: Path(pair["certfile"]).write_bytes(new.pem[:200]),
    "certificate empty": lambda pair, old, new: Path(pair["certfile"]).write_bytes(b""),
    "key cut": lambda pair, old, new: Path(pair["keyfile"]).write_bytes(new.key_pem[:50]),
    "key gone": lambda pair, old, new: Path(pair["keyfile"]).unlink(),
    "certificate gone": lambda pair, old, new: Path(pair["certfile"]).unlink(),
    "garbage": lambda pair, old, new: Path(pair["certfile"]).write_bytes(bytes(range(256)) * 20),
}
"""What a renewal that is interrupted leaves behind."""


async def ask_afresh(server: HTTPServer, context: ssl.SSLContext) -> tuple[Answer, bytes]:
    """Ask on a new connection; return the answer and the certificate that was shown."""
    async with connected(address_of(server), tls=context) as one:
        got = await one.ask()
        return got, one.writer.get_extra_info("ssl_object").getpeercert(True)


class Load:
    """Clients that ask without a pause, over fresh connections and over kept ones.

    Args:
        server: Whom they ask.
        context: Their TLS.
        total: How many requests they make together.
    """

    def __init__(self, server: HTTPServer, context: ssl.SSLContext, total: int) -> None:
        self.server, self.context, self.left = server, context, total
        self.done = 0
        self.statuses: set[int] = set()
        self.shown: set[bytes] = set()
        self._more = asyncio.Event()

    def _turns(self) -> Iterator[None]:
        while self.left > 0:
            self.left -= 1
            yield

    def _count(self, got: Answer) -> None:
        self.statuses.add(got.status)
        self.done += 1
        self._more.set()

    async def fresh(self) -> None:
        """Ask on a connection of its own each time, and note the certificate."""
        for _ in self._turns():
            got, shown = await ask_afresh(self.server, self.context)
            self.shown.add(shown)
            self._count(got)

    async def kept(self) -> None:
        """Ask on one connection."""
        async with connected(address_of(self.server), tls=self.context) as one:
            for _ in self._turns():
                self._count(await one.ask())

    async def until(self, done: int) -> None:
        """Wait until so many requests are answered."""
        while self.done < done:
            self._more.clear()
            await self._more.wait()


@on_both_loops
async def test_reload_under_load(tmp_path: Path, authority: pki.Issued, caplog) -> None:
    """A thousand requests succeed while the pair is swapped and torn fifty times under them."""
    leaves = [pki.make_leaf(authority) for _ in range(26)]
    pair = pki.write_pair(tmp_path, leaves[0])
    options = {**pair, "reload": 0.001}  # looked at in the middle of every step
    async with serve(tell_tls, ssl_options=options) as server:
        load = Load(server, pki.client_context(authority), 1000)
        workers: list[Awaitable[None]] = [load.fresh() for _ in range(3)]
        workers += [load.kept() for _ in range(3)]
        running = asyncio.ensure_future(asyncio.gather(*workers))
        for number in range(25):
            old, new = leaves[number], leaves[number + 1]
            await load.until(number * 40)
            tear = list(TEARS.values())[number % len(TEARS)]
            tear(pair, old, new)
            (torn,) = await server.reload_tls()
            assert not torn.ok
            assert server.tls.contexts[0].status()[0].problem
            await load.until(number * 40 + 20)
            pki.write_pair(tmp_path, new)
            (whole,) = await server.reload_tls()
            assert whole.ok
        await running
        assert (load.done, load.statuses) == (1000, {200})
        assert len(load.shown) > 20
        assert load.shown <= {leaf.der for leaf in leaves}
        assert (await ask_afresh(server, load.context))[1] == leaves[-1].der
        assert sum(server.tls.limiter.log.counts.values()) == 0
    assert "Traceback" not in caplog.text


@on_both_loops
async def test_the_poll_finds_a_renewal(tmp_path: Path, authority: pki.Issued) -> None:
    """Nobody says that the files are new, and yet new connections get what is in them."""
    before, after = pki.make_leaf(authority), pki.make_leaf(authority)
    options = {**pki.write_pair(tmp_path, before), "reload": 0.001}
    context = pki.client_context(authority)

    async with (
        serve(tell_tls, ssl_options=options) as server,
        connected(address_of(server), tls=context) as live,
    ):
        assert (await live.ask()).status == 200
        assert (await ask_afresh(server, context))[1] == before.der
        pki.write_pair(tmp_path, after)
        while (await ask_afresh(server, context))[1] != after.der:
            pass
        assert (await live.ask()).status == 200


@on_both_loops
async def test_garbage_disturbs_nobody(pair, trusting) -> None:
    """Hellos that are no hellos, silence and hang-ups leave other handshakes alone."""
    options = {**pair, "handshake_timeout": 0.1}
    async with serve(tell_tls, ssl_options=options) as server, contextlib.AsyncExitStack() as stack:
        for data in (
            b"",
            b"\x16",
            b"\x16\x03\x01\x00\x05",
            b"\x16\x03\x01\xff\xff" + bytes(1000),
            b"\x80\x2e\x01\x00\x02" + bytes(40),
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"SSH-2.0-scanner\r\n",
            bytes(5000),
        ):
            one = await stack.enter_async_context(connected(address_of(server)))
            await one.send(data)
        for _ in range(3):
            assert (await fetch(address_of(server), tls=trusting)).status == 200
