"""Tests of edgeserver.tls.contexts.selector: which context a connection gets, and for what."""

import ssl
from pathlib import Path

import pytest

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls import ClientPolicy, TLSContexts, build_contexts
from tests.tls import pki
from tests.tls.shake import shake_hands

ROOT = pki.make_ca()


@pytest.fixture
def several(tmp_path):
    """Options with a default, a host that requires client certificates, and a wildcard."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(ROOT.pem)
    names = {"main": "main.test", "secure": "secure.test", "wild": "*.wild.test"}
    pair = {
        label: pki.write_pair(tmp_path, pki.make_leaf(ROOT, name), label)
        for label, name in names.items()
    }
    return {
        **pair["main"],
        "hosts": {
            "secure.test": {**pair["secure"], "client_auth": "required", "ca_certs": str(ca)},
            "*.wild.test": {**pair["wild"], "policy": "modern"},
        },
    }


@pytest.mark.parametrize(
    ("asked", "host"),
    [
        (None, ""),
        ("", ""),
        ("main.test", ""),
        ("secure.test", "secure.test"),
        ("SECURE.test.", "secure.test"),
        ("a.wild.test", "*.wild.test"),
        ("a.b.wild.test", ""),
        ("wild.test", ""),
        ("unknown.test", ""),
        ("192.0.2.1", ""),
    ],
)
def test_names(several, asked, host):
    """Exact, then one-label wildcard, then the default; each host with a context of its own."""
    contexts = build_contexts(several)
    selection = contexts.select(asked, ())
    assert (selection.host, selection.alert) == (host, None)
    others = {contexts.select(name).context for name in ("secure.test", "x.wild.test", None)}
    assert len(others) == 3
    assert selection.context in others


@pytest.mark.parametrize(
    ("asked", "alert"),
    [
        (None, None),
        ("main.test", None),
        ("MAIN.test.", None),
        ("secure.test", None),
        ("a.wild.test", None),
        ("unknown.test", 112),
        ("a.main.test", 112),
    ],
)
def test_unknown_names_rejected(several, asked, alert):
    """With "reject", alert 112 answers a name that neither a host nor the default covers."""
    contexts = build_contexts({**several, "unknown_sni": "reject"})
    assert contexts.select(asked).alert == alert


def test_unknown_names_rejected_without_hosts(tmp_path):
    """The default certificate's own names are enough for "reject"."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT, "*.one.test"))
    contexts = build_contexts({**pair, "unknown_sni": "reject"})
    assert contexts.select("a.one.test").alert is None
    assert contexts.select("two.test").alert == 112


@pytest.mark.parametrize(
    ("offered", "alert"),
    [
        ((), None),
        ((b"http/1.1",), None),
        ((b"h2", b"http/1.1"), None),
        (("h2", "http/1.1"), None),
        ((b"http/1.0",), None),
        ((b"h2",), 120),
        (("h2", "\x0a\x0a"), 120),
    ],
    ids=str,
)
def test_alpn(several, offered, alert):
    """An offer without anything spoken here is answered with alert 120 (RFC 7301)."""
    contexts = build_contexts(several)
    for name in (None, "secure.test"):
        assert contexts.select(name, offered).alert == alert


def test_no_alpn_wanted(tmp_path):
    """With alpn=[] no offer is refused."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    assert build_contexts({**pair, "alpn": []}).select(None, (b"h2",)).alert is None


@pytest.mark.parametrize(
    ("handshake", "requested", "expected"),
    [
        ("", "main.test", False),
        ("", "secure.test", True),
        ("", "SECURE.test.:443", True),
        ("", "unknown.test", False),
        ("", "", False),
        ("secure.test", "secure.test:8443", False),
        ("secure.test", "main.test", True),
        ("secure.test", "[::1]:443", True),
        ("*.wild.test", "main.test", False),
        ("*.wild.test", "secure.test", True),
    ],
)
def test_misdirected(several, handshake, requested, expected):
    """A request for a host with another client policy than the handshake's is misdirected."""
    assert build_contexts(several).misdirected(handshake, requested) is expected


def test_nothing_is_misdirected_under_one_policy(several):
    """Where all hosts ask the same of clients, every connection may serve every host."""
    several["hosts"].pop("secure.test")
    contexts = build_contexts(several)
    assert not contexts.misdirected("", "a.wild.test")
    assert contexts.client_policy_of("*.wild.test") == ClientPolicy("none")


def test_a_session_does_not_resume_at_another_host(several, tmp_path):
    """A ticket from an open host is worth nothing at the one that requires a certificate."""
    contexts = build_contexts(several)
    client = pki.client_context(ROOT, pki.make_client(ROOT), directory=tmp_path)
    open_host = contexts.select("main.test").context
    first = shake_hands(open_host, client, name="main.test")
    again = shake_hands(open_host, client, name="main.test", session=first.client.session)
    assert again.server.session_reused
    secure = contexts.select("secure.test").context
    moved = shake_hands(secure, client, name="secure.test", session=first.client.session)
    assert not moved.server.session_reused
    assert moved.server.getpeercert(True) is not None


def test_each_host_has_its_own_versions_and_client_policy(several):
    """What a host requires holds in its handshakes and in no other's."""
    contexts = build_contexts(several)
    anonymous = pki.client_context(ROOT)
    assert shake_hands(contexts.select("main.test").context, anonymous)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(contexts.select("secure.test").context, anonymous)
    anonymous.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake_hands(contexts.select("a.wild.test").context, anonymous)


def test_a_given_context_is_honoured_and_never_changed(tmp_path):
    """The application's context serves every name, with its own callback, unchanged by reloads."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT, "given.test"))
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    given.load_cert_chain(pair["certfile"], pair["keyfile"])
    asked = []
    given.sni_callback = lambda sslobject, name, context: asked.append(name)
    before = (given.options, given.verify_mode, given.verify_flags, given.minimum_version)
    contexts = build_contexts(given)
    assert contexts.is_given
    assert contexts.select("any.test", (b"h2",)).context is given
    assert not contexts.misdirected("", "other.test")
    assert not contexts.changed()
    assert contexts.reload().replaced == ()
    assert contexts.renew_aged() is None
    shake_hands(given, pki.client_context(ROOT), name="given.test")
    assert asked == ["given.test"]
    assert before == (
        given.options,
        given.verify_mode,
        given.verify_flags,
        given.minimum_version,
    )
    assert contexts.handshake_timeout == 10.0
    assert contexts.handshake_limits == (256, 32)


def test_a_clients_context_is_refused():
    """A context that can only connect is a mistake that is named at start."""
    with pytest.raises(TLSConfigurationError, match="PROTOCOL_TLS_CLIENT"):
        build_contexts(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def test_contexts_made_before_come_back(several):
    """What `build_contexts` made may be passed on as ssl_options."""
    contexts = build_contexts(several)
    assert build_contexts(contexts) is contexts
    assert isinstance(contexts, TLSContexts)


def test_a_wrong_file_of_a_host_names_the_host(several):
    """The message of a wrong file says in whose settings it stands."""
    Path(several["hosts"]["secure.test"]["keyfile"]).unlink()
    with pytest.raises(TLSConfigurationError, match=r'^hosts\["secure.test"\]: keyfile ".*" does'):
        build_contexts(several)
