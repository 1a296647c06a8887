"""Tests of edgeserver.tls.contexts.build: what clients get in real handshakes, and wrong files."""

import os
import ssl
from pathlib import Path

import pytest

from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.tls import ssl_options_to_context
from edgeserver.tls.settings.options import parse_ssl_options
from tests.tls import pki
from tests.tls.shake import shake_hands

ROOT = pki.make_ca()
INTERMEDIATE = pki.make_intermediate(ROOT)


def only(version: ssl.TLSVersion, root: pki.Issued | None = ROOT) -> ssl.SSLContext:
    """Return a client that speaks one version."""
    client = pki.client_context(root)
    client.minimum_version = client.maximum_version = version
    return client


@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa", "ed25519"])
@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"]
)
def test_each_kind_of_key_in_each_version(tmp_path, kind, version):
    """A client that knows only the root verifies a chain with an intermediate."""
    leaf = pki.make_leaf(INTERMEDIATE, kind=kind)
    context = ssl_options_to_context(pki.write_pair(tmp_path, leaf))
    ends = shake_hands(context, only(version))
    assert ends.client.getpeercert(True) == leaf.der
    name, _, bits = ends.server.cipher()
    assert "GCM" in name or "CHACHA20" in name
    assert bits >= 128


def test_defaults(tmp_path):
    """The safe defaults of the specification are on the context."""
    context = ssl_options_to_context(pki.write_pair(tmp_path, pki.make_leaf(ROOT)))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.num_tickets == 2
    assert context.verify_mode is ssl.CERT_NONE
    for option in (
        ssl.OP_NO_COMPRESSION,
        ssl.OP_NO_RENEGOTIATION,
    ):
        assert context.options & option
    assert not context.options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    for suite in context.get_ciphers():
        assert suite["aead"]
        assert suite["protocol"] == "TLSv1.3" or suite["kea"] == "kx-ecdhe"


AES128, AES256, CHACHA = (
    f"ECDHE-ECDSA-{name}"
    for name in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)


@pytest.mark.parametrize(
    ("ciphers", "offered", "chosen"),
    [
        pytest.param(None, (CHACHA, AES128), CHACHA, id="a-phone"),
        pytest.param(None, (AES256, AES128), AES256, id="aes-256-first"),
        pytest.param(f"{AES128}:{AES256}", (AES256, AES128), AES128, id="a-list-of-our-own"),
    ],
)
def test_whose_order_of_ciphers_counts(tmp_path, ciphers, offered, chosen):
    """Among our own suites the client chooses; a list that somebody has written has an order."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    context = ssl_options_to_context({**pair, "ciphers": ciphers})
    client = only(ssl.TLSVersion.TLSv1_2)
    client.set_ciphers(":".join(offered))
    assert shake_hands(context, client).server.cipher()[0] == chosen


@pytest.mark.parametrize("tickets", [0, 1, 4])
def test_the_number_of_tickets(tmp_path, tickets):
    """It is what was asked for, for a host what it has asked for itself."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    assert ssl_options_to_context({**pair, "tickets": tickets}).num_tickets == tickets
    hosts = {"a.example": pair, "b.example": {**pair, "tickets": 3}}
    options = parse_ssl_options({**pair, "tickets": tickets, "hosts": hosts})
    assert [each.tickets for each in options.hosts.values()] == [tickets, 3]


@pytest.mark.parametrize("tickets", [-1, 5, True, "2", 1.5], ids=repr)
def test_a_number_of_tickets_that_is_none(tmp_path, tickets):
    """It is refused with the key and the bounds."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    with pytest.raises(TLSConfigurationError, match=r'"tickets"=.*0 .*4'):
        ssl_options_to_context({**pair, "tickets": tickets})


def test_without_tickets_nobody_resumes(tmp_path):
    """A client of TLS 1.3 that was given none has nothing to come back with."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    found = []
    for tickets in (0, 2):
        ends = shake_hands(
            ssl_options_to_context({**pair, "tickets": tickets}), only(ssl.TLSVersion.TLSv1_3)
        )
        found.append(ends.client.session is not None and ends.client.session.has_ticket)
    assert found == [False, True]


def test_modern_is_tls_13_only(tmp_path):
    """With policy="modern" a TLS 1.2 client is told that its version is not spoken."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    context = ssl_options_to_context({**pair, "policy": "modern"})
    with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL"):
        shake_hands(context, only(ssl.TLSVersion.TLSv1_2))
    assert shake_hands(context, only(ssl.TLSVersion.TLSv1_3)).server.version() == "TLSv1.3"


def test_tornados_ssl_version_for_tls_12_only(tmp_path):
    """PROTOCOL_TLSv1_2 keeps Tornado's meaning, without Python's deprecation warning."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    context = ssl_options_to_context({**pair, "ssl_version": 5})
    assert shake_hands(context, pki.client_context(ROOT)).server.version() == "TLSv1.2"


def test_alpn_is_answered(tmp_path):
    """A client that offers HTTP/2 and HTTP/1.1 is given what is spoken here."""
    context = ssl_options_to_context(pki.write_pair(tmp_path, pki.make_leaf(ROOT)))
    client = pki.client_context(ROOT)
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert shake_hands(context, client).server.selected_alpn_protocol() == "http/1.1"


def test_a_given_context_comes_back_untouched():
    """An SSLContext is the application's: the same object, with nothing changed on it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = (context.options, context.verify_flags, context.minimum_version)
    assert ssl_options_to_context(context) is context
    assert (context.options, context.verify_flags, context.minimum_version) == before


@pytest.mark.parametrize("legacy", [False, True], ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("give", [str, bytes, "callable"], ids=["str", "bytes", "callable"])
def test_encrypted_keys(tmp_path, kind, legacy, give):
    """A key's password may be text, bytes or a callable, for every form of encrypted PEM."""
    leaf = pki.make_leaf(ROOT, kind=kind)
    pair = pki.write_pair(tmp_path, leaf)
    Path(pair["keyfile"]).write_bytes(pki.render_key(leaf.key, password=b"secret", legacy=legacy))
    password = {str: "secret", bytes: b"secret", "callable": lambda: "secret"}[give]
    context = ssl_options_to_context({**pair, "password": password})
    assert shake_hands(context, pki.client_context(ROOT)).client.getpeercert(True) == leaf.der


def test_a_password_for_a_plain_key_is_not_needed(tmp_path):
    """A password beside an unencrypted key is not an error, as in OpenSSL."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    assert ssl_options_to_context({**pair, "password": "unused"})


def test_key_and_certificate_in_one_file(tmp_path):
    """Without a keyfile the key is looked for in the certfile, as Tornado does."""
    leaf = pki.make_leaf(INTERMEDIATE)
    both = tmp_path / "both.pem"
    both.write_bytes(b"a comment\n" + leaf.key_pem + leaf.pem)
    context = ssl_options_to_context({"certfile": both})
    assert shake_hands(context, pki.client_context(ROOT)).client.getpeercert(True) == leaf.der


def test_no_trace_is_left(tmp_path, monkeypatch):
    """Neither a temporary file nor an open descriptor with the key stays behind."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    ssl_options_to_context(pair)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    ssl_options_to_context(pair)  # through a temporary file now
    assert list(spool.iterdir()) == []
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def _locked(tmp: Path, pair: dict) -> dict:
    Path(pair["keyfile"]).write_bytes(pki.render_key(pki.make_key("ec"), password=b"secret"))
    return pair


def _fail() -> str:
    raise RuntimeError("vault is sealed")


def _explain() -> str:
    raise ConfigurationError("pw.txt: no such file; name another")


def _write(key: str, data: bytes):
    def change(tmp: Path, pair: dict) -> dict:
        Path(pair[key]).write_bytes(data)
        return pair

    return change


def _cut(key: str):
    def change(tmp: Path, pair: dict) -> dict:
        path = Path(pair[key])
        path.write_bytes(path.read_bytes()[:-40])
        return pair

    return change


def _damaged(key: str, label: bytes):
    junk = b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n" % (label, label)
    return _write(key, junk)


def _leaf(**how):
    return lambda tmp, pair: pki.write_pair(tmp, pki.make_leaf(ROOT, **how))


CSR = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
WRONG = {
    "missing certfile": (
        lambda tmp, pair: {**pair, "certfile": "/nowhere.pem"},
        'certfile "/nowhere.pem" does not exist',
    ),
    "missing keyfile": (
        lambda tmp, pair: {**pair, "keyfile": "/nowhere.key"},
        'keyfile "/nowhere.key" does not exist',
    ),
    "directory": (lambda tmp, pair: {**pair, "certfile": str(tmp)}, "is a directory: name the"),
    "empty": (_write("certfile", b" \n"), "holds no certificate: the file is empty"),
    "text": (_write("certfile", b"hello"), "no PEM block (-----BEGIN ...-----) is in it"),
    "binary": (_write("certfile", ROOT.der), "it is binary (DER or PKCS #12), not PEM: convert"),
    "request": (_write("certfile", CSR), "it holds a signing request (CSR)"),
    "swapped": (
        lambda tmp, pair: {"certfile": pair["keyfile"], "keyfile": pair["certfile"]},
        'holds a private key, not a certificate: are "certfile" and "keyfile" the wrong way round',
    ),
    "key is a certificate": (
        lambda tmp, pair: {**pair, "keyfile": pki.write_pair(tmp, ROOT, "o")["certfile"]},
        'holds a certificate, not a private key: are "certfile" and "keyfile" the wrong way round',
    ),
    "no key": (
        lambda tmp, pair: {"certfile": pair["certfile"]},
        'holds no private key: set "keyfile" to the file of the key',
    ),
    "empty key": (_write("keyfile", b""), "holds no private key: the file is empty"),
    "mismatch": (_write("keyfile", pki.render_key(pki.make_key("ec"))), "does not belong to"),
    "mismatch of kind": (_write("keyfile", pki.render_key(pki.make_key("rsa"))), "(RSA 2048)"),
    "torn certificate": (_cut("certfile"), "has no END line: the file is cut short"),
    "torn key": (_cut("keyfile"), "has no END line: the file is cut short"),
    "damaged certificate": (_damaged("certfile", b"CERTIFICATE"), "starts on line 1 is damaged"),
    "damaged key": (_damaged("keyfile", b"PRIVATE KEY"), "starts on line 1 is damaged"),
    "needs a password": (_locked, 'needs a password: set "password"'),
    "wrong password": (
        lambda tmp, pair: {**_locked(tmp, pair), "password": "guess"},
        'the "password" does not open this key',
    ),
    "password fails": (
        lambda tmp, pair: {**_locked(tmp, pair), "password": _fail},
        'the "password" callable failed: RuntimeError: vault is sealed',
    ),
    "password of no type": (
        lambda tmp, pair: {**_locked(tmp, pair), "password": lambda: 5},
        "must return a str or bytes, not int",
    ),
    "short key": (_leaf(kind="rsa1024"), "key is too short (RSA needs 2048 bits)"),
    "no such cipher": (
        lambda tmp, pair: {**pair, "ciphers": "NOPE"},
        '"ciphers" "NOPE" selects no cipher suite: see',
    ),
    "suites of 1.3": (
        lambda tmp, pair: {**pair, "ciphers": "TLS_AES_128_GCM_SHA256"},
        "always on and not set here",
    ),
    "ciphers for another key": (
        lambda tmp, pair: {**pair, "ciphers": "ECDHE+aRSA+AESGCM"},
        "(ECDSA secp256r1): a test handshake with TLS 1.2 fails: no cipher suite suits",
    ),
    "missing ca_certs": (
        lambda tmp, pair: {**pair, "ca_certs": "/no.pem", "cert_reqs": 2},
        'ca_certs "/no.pem" does not exist',
    ),
    "missing ca_certs that nobody is asked for": (
        lambda tmp, pair: {**pair, "ca_certs": "/no.pem"},
        'ca_certs "/no.pem" does not exist',
    ),
    "wrong ca_certs that nobody is asked for": (
        lambda tmp, pair: {**pair, "ca_certs": pair["keyfile"]},
        "holds a private key, not a certificate",
    ),
    "key in DER": (
        _write("keyfile", b"\x30\x81\x87"),
        "is binary (DER or PKCS #12), not PEM: convert it with `openssl pkey -inform DER",
    ),
    "password that is explained": (
        lambda tmp, pair: {**_locked(tmp, pair), "password": _explain},
        "needs a password: pw.txt: no such file; name another",
    ),
    "ca_certs is a key": (
        lambda tmp, pair: {**pair, "ca_certs": pair["keyfile"], "cert_reqs": 2},
        "holds a private key, not a certificate",
    ),
    "crl is a certificate": (
        lambda tmp, pair: {
            **pair,
            "ca_certs": pair["certfile"],
            "crl": pair["certfile"],
            "cert_reqs": 2,
        },
        "holds no revocation list (X509 CRL): it holds a certificate",
    ),
    "several contexts": (lambda tmp, pair: {**pair, "hosts": {"a.test": pair}}, "build_contexts"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_every_wrong_file_is_one_sentence(tmp_path, change, words):
    """Each mistake with files stops the start with what is wrong, where, and the fix."""
    given = change(tmp_path, pki.write_pair(tmp_path, pki.make_leaf(ROOT)))
    with pytest.raises(TLSConfigurationError) as caught:
        ssl_options_to_context(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    """A missing right is told as such, with the user who lacks it."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    Path(pair["keyfile"]).chmod(0)
    with pytest.raises(TLSConfigurationError, match="may not be read by this process"):
        ssl_options_to_context(pair)


def test_a_pipe_without_a_writer_is_refused(tmp_path):
    """A path that would block is an error at once, not a server that waits."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    Path(pair["keyfile"]).unlink()
    os.mkfifo(pair["keyfile"])
    with pytest.raises(TLSConfigurationError, match="holds no private key: the file is empty"):
        ssl_options_to_context(pair)


def test_a_huge_file_is_refused(tmp_path):
    """A path to something endless is refused after a bounded read."""
    if not os.path.exists("/dev/zero"):
        pytest.skip("no /dev/zero")
    with pytest.raises(TLSConfigurationError, match="is larger than 32 MiB"):
        ssl_options_to_context({"certfile": "/dev/zero"})


@pytest.mark.parametrize(
    ("given", "refused"),
    [({}, True), ({"ca_certs": "ca.pem"}, False), ({"cert_reqs": ssl.CERT_NONE}, False)],
    ids=["system roots", "our root", "no verification"],
)
def test_client_side(tmp_path, monkeypatch, given, refused):
    """For a client the same keys say whom to trust, and servers are verified by default."""
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_bytes(pki.render_certs(ROOT.cert))
    leaf = pki.make_leaf(INTERMEDIATE, "localhost")
    server = ssl_options_to_context(pki.write_pair(tmp_path, leaf))
    client = ssl_options_to_context(given, server_side=False)
    if refused:
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(server, client, name="localhost")
    else:
        shake_hands(server, client, name="localhost")


def test_client_side_refuses_what_is_for_servers():
    """A server's setting in a client's options is a mistake that is named."""
    with pytest.raises(TLSConfigurationError, match="is for servers"):
        ssl_options_to_context({"hosts": {}}, server_side=False)
