"""Tests of edgeserver.tls.connection.client_certificate and names: what a client's certificate says."""

import hashlib

import pytest
from cryptography import x509

from edgeserver.tls import client_certificate_info
from edgeserver.tls.certificates.names import common_name, server_names
from tests.tls import pki

ROOT = pki.make_ca()


def test_what_it_says():
    """Subject, names, SPIFFE id, fingerprint, dates and the chain are there."""
    alice = pki.make_client(
        ROOT, "alice", "alice.test", "192.0.2.7", "2001:db8::7", "spiffe://example.org/alice"
    )
    info = client_certificate_info(alice.der, (alice.der, ROOT.der))
    assert info.subject == "CN=alice"
    assert info.issuer == "CN=Test Root"
    assert info.common_name == "alice"
    assert info.alternative_names == (
        ("DNS", "alice.test"),
        ("IP Address", "192.0.2.7"),
        ("IP Address", "2001:db8::7"),
        ("URI", "spiffe://example.org/alice"),
    )
    assert info.spiffe_id == "spiffe://example.org/alice"
    assert info.fingerprint == hashlib.sha256(alice.der).hexdigest()
    assert int(info.serial_number, 16) == alice.cert.serial_number
    assert info.not_before < info.not_after
    assert info.chain == (alice.der, ROOT.der)
    assert "alice" in repr(info)


@pytest.mark.parametrize(
    ("names", "spiffe_id"),
    [
        ((), None),
        (("alice.test",), None),
        (("https://a.test/",), None),
        (("spiffe://a/b", "spiffe://a/c"), None),
        (("spiffe://a/b", "https://a.test/"), None),
        (("spiffe://a/b", "a.test"), "spiffe://a/b"),
    ],
    ids=str,
)
def test_spiffe_id_needs_exactly_one_uri(names, spiffe_id):
    """X.509-SVID allows one URI only, so that nobody chooses among several."""
    info = client_certificate_info(pki.make_client(ROOT, "alice", *names).der)
    assert info.spiffe_id == spiffe_id
    assert info.chain is None


def test_nothing_is_parsed_before_it_is_asked_for():
    """A certificate that cannot be parsed fails where it is looked at, not where it is made."""
    info = client_certificate_info(b"junk")
    assert len(info.fingerprint) == 64
    with pytest.raises(ValueError, match="error parsing asn1 value"):
        assert info.subject


def test_names_are_escaped():
    """A common name with control characters cannot forge a log line."""
    evil = pki.issue("a\nb\x1b[31m\u202e")
    assert common_name(evil.cert) == "a\\x0ab\\x1b[31m\\xe2\\x80\\xae"
    assert client_certificate_info(evil.der).subject.isprintable()


def test_server_names_are_lower_case():
    """Names of certificates compare with names that clients ask for."""
    assert server_names(pki.make_leaf(ROOT, "WWW.Example.test").cert) == ("www.example.test",)


def test_a_certificate_without_a_common_name_has_a_name():
    """What has no common name is called by its first name, or says that it has none."""
    leaf = pki.make_leaf(ROOT, "first.test")
    builder = x509.CertificateBuilder(
        issuer_name=leaf.cert.issuer,
        subject_name=x509.Name([]),
        public_key=leaf.cert.public_key(),
        serial_number=1,
        not_valid_before=leaf.cert.not_valid_before_utc,
        not_valid_after=leaf.cert.not_valid_after_utc,
    )
    bare = builder.sign(ROOT.key, pki.hashes.SHA256())
    assert common_name(bare) == "(no name)"
    named = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("n.test")]), False)
    assert common_name(named.sign(ROOT.key, pki.hashes.SHA256())) == "n.test"
