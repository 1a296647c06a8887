"""Tests of tls.certificates.authorities: which clients get in, and what is said at start."""

import logging
import ssl

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls import build_contexts
from tests.tls import pki
from tests.tls.shake import shake_hands

ROOT = pki.make_ca()
INTERMEDIATE = pki.make_intermediate(ROOT)
OTHER = pki.make_ca("Other Root")
ALICE = pki.make_client(ROOT, "alice")
MALLORY = pki.make_client(ROOT, "mallory")


@pytest.fixture
def options(tmp_path):
    """Options that require a client certificate of ROOT."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(ROOT.pem)
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    return {**pair, "client_auth": "required", "ca_certs": str(ca)}


def connect(options, tmp_path, client):
    """Shake hands as `client` and return the server's view."""
    context = pki.client_context(ROOT, client, directory=tmp_path if client else None)
    return shake_hands(build_contexts(options).select(None).context, context).server


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (ALICE, None),
        (pki.make_client(INTERMEDIATE, "bob"), None),
        (None, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (pki.make_client(OTHER, "eve"), "CERTIFICATE_VERIFY_FAILED"),
        (pki.make_client(ROOT, "old", end_days=-0.5), "certificate has expired"),
        (pki.make_client(ROOT, "young", start_days=1), "not yet valid"),
        (pki.make_leaf(ROOT, "server.test"), "purpose"),
        (pki.issue("self"), "self.signed"),
    ],
    ids=["good", "chain", "none", "other CA", "expired", "not yet", "a server's", "self-signed"],
)
def test_who_gets_in(options, tmp_path, client, reason):
    """Only a current client certificate with a path to the authority gets in."""
    if reason is None:
        assert connect(options, tmp_path, client).getpeercert(True) == client.der
        return
    with pytest.raises(ssl.SSLError, match=f"(?i){reason}"):
        connect(options, tmp_path, client)


def test_optional(options, tmp_path):
    """With "optional" nobody must, but who shows one must show a good one."""
    options["client_auth"] = "optional"
    assert connect(options, tmp_path, None).getpeercert(True) is None
    assert connect(options, tmp_path, ALICE).getpeercert(True) == ALICE.der
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(options, tmp_path, pki.make_client(OTHER, "eve"))


def test_an_intermediate_alone_is_an_authority(options, tmp_path):
    """Each certificate in ca_certs is trusted as it stands, with its root in the file or not."""
    (tmp_path / "ca.pem").write_bytes(pki.render_certs(INTERMEDIATE.cert))
    bob = pki.make_client(INTERMEDIATE, "bob")
    assert connect(options, tmp_path, bob).getpeercert(True) == bob.der
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(options, tmp_path, ALICE)


@pytest.mark.parametrize("form", ["pem", "der"])
def test_revoked(options, tmp_path, form):
    """A revoked client is refused and another is not, with the CRL as PEM or DER."""
    data = pki.make_crl(ROOT, MALLORY)
    if form == "der":
        text = data.decode().replace("X509 CRL", "CERTIFICATE")
        data = ssl.PEM_cert_to_DER_cert(text)
    options["crl"] = pki.write_crl(tmp_path, data)
    assert connect(options, tmp_path, ALICE)
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        connect(options, tmp_path, MALLORY)


def test_a_revoked_client_does_not_resume(options, tmp_path):
    """A new CRL makes a new context, so that tickets given before are worth nothing."""
    options["crl"] = pki.write_crl(tmp_path, pki.make_crl(ROOT))
    contexts = build_contexts(options)
    client = pki.client_context(ROOT, MALLORY, directory=tmp_path)
    first = shake_hands(contexts.select(None).context, client)
    session = first.client.session
    kept = shake_hands(contexts.select(None).context, client, session=session)
    assert kept.server.session_reused
    pki.write_crl(tmp_path, pki.make_crl(ROOT, MALLORY))
    assert contexts.reload(force=False).replaced == ("",)
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        shake_hands(contexts.select(None).context, client, session=session)


@pytest.mark.parametrize("cut", [0, 20], ids=["a-certificate", "damaged"])
def test_a_binary_file_that_is_no_crl(options, tmp_path, cut):
    """It is said to be DER, and how a revocation list of that form is converted."""
    data = ssl.PEM_cert_to_DER_cert(ROOT.cert.public_bytes(Encoding.PEM).decode())
    options["crl"] = pki.write_crl(tmp_path, data[: len(data) - cut])
    with pytest.raises(TLSConfigurationError, match=r"is binary \(DER\).*openssl crl -inform DER"):
        build_contexts(options)


SAID = {
    "expired CRL": (lambda: pki.make_crl(ROOT, end_days=-0.1), "Fetch the current one"),
    "future CRL": (lambda: pki.make_crl(ROOT, start_days=1), "is not valid before"),
    "other's CRL": (lambda: pki.make_crl(OTHER), 'has no revocation list of "Test Root"'),
    "forged CRL": (
        lambda: pki.make_crl(pki.Issued(ROOT.cert, pki.make_key("ec"))),
        "is not signed by its key",
    ),
}


@pytest.mark.parametrize(("crl", "words"), SAID.values(), ids=SAID)
def test_a_crl_that_shuts_everybody_out_is_said_at_start(options, tmp_path, caplog, crl, words):
    """OpenSSL refuses all clients then, so the start says it before the first one comes."""
    options["crl"] = pki.write_crl(tmp_path, crl())
    with caplog.at_level(logging.WARNING, "edgeserver.general"):
        contexts = build_contexts(options)
    assert words in caplog.text
    assert any(words in warning for warning in contexts.status()[0].warnings)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(options, tmp_path, ALICE)


def test_whom_the_lack_of_one_list_shuts_out_is_said(options, tmp_path, caplog):
    """Of two authorities one has a list: the line names the other, whose clients are refused."""
    (tmp_path / "ca.pem").write_bytes(ROOT.pem + OTHER.pem)
    options["crl"] = pki.write_crl(tmp_path, pki.make_crl(ROOT))
    with caplog.at_level(logging.WARNING, "edgeserver.general"):
        build_contexts(options)
    assert 'every client certificate that "Other Root" signed is refused' in caplog.text
    assert "those of other authorities are not" in caplog.text
    assert connect(options, tmp_path, ALICE)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(options, tmp_path, pki.make_client(OTHER))


def test_authorities_without_asking_are_said(options, caplog):
    """ca_certs without cert_reqs looks like protection and is none."""
    del options["client_auth"]
    build_contexts(options)
    assert "but no client is asked for a certificate" in caplog.text


def test_authorities_nobody_is_asked_for_do_not_keep_a_new_certificate_out(options, tmp_path):
    """At a reload an unused file that is gone is no reason to let the served one expire."""
    del options["client_auth"]
    contexts = build_contexts(options)
    (tmp_path / "ca.pem").unlink()
    pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    assert contexts.reload().ok


def test_a_servers_certificate_among_authorities_is_said(options, tmp_path, caplog):
    """A leaf in ca_certs lets in only itself."""
    (tmp_path / "ca.pem").write_bytes(pki.make_leaf(ROOT, "leaf.test").pem)
    build_contexts(options)
    assert '"leaf.test" is not an authority' in caplog.text
