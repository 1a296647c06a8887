"""Tests for `tls.connection.info`: what an application may know of the TLS under a connection."""

import ssl
import sys

import pytest

from edgeserver.tls.connection.info import TLSInfo
from edgeserver.tls.handshake.ja4 import JA4Source
from tests.tls import pki
from tests.tls.wire import authority, client_context, server_context

SOURCE = JA4Source(0x0303, b"\0\2\x13\1", (), b"", b"", "")


def shake(server_side, client_side):
    """Shake hands in memory and return the server's object."""
    bios = [ssl.MemoryBIO() for _ in range(4)]
    server = server_side.wrap_bio(bios[0], bios[1], server_side=True)
    client = client_side.wrap_bio(bios[2], bios[3], server_hostname="a.test")
    for _ in range(4):
        for side, source, target in ((client, bios[3], bios[0]), (server, bios[1], bios[2])):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            target.write(source.read())
    return server


@pytest.mark.parametrize(
    ("version", "name", "number"),
    [
        (ssl.TLSVersion.TLSv1_2, "TLSv1.2", 0x0303),
        (ssl.TLSVersion.TLSv1_3, "TLSv1.3", 0x0304),
    ],
    ids=["tls1.2", "tls1.3"],
)
def test_facts_of_a_handshake(version, name, number):
    """Version, suite and names are those of the handshake."""
    server = shake(server_context(), client_context(maximum_version=version))
    info = TLSInfo(server, sni="a.test", ja4_source=SOURCE, host="a.test")
    assert (info.version, info.version_number) == (name, number)
    assert info.cipher == server.cipher()[0]
    suites = {each["name"]: each["id"] & 0xFFFF for each in server.context.get_ciphers()}
    assert info.cipher_number == suites[info.cipher]
    assert (info.sni, info.host, info.alpn) == ("a.test", "a.test", None)
    assert info.ja4.startswith("t12i010000_")
    assert TLSInfo(server).ja4 == ""
    assert info.resumed is False
    assert info.client_certificate_der is None
    assert info.client_certificate is None
    assert info.verified_chain is None
    assert name in repr(info)


def test_client_certificate():
    """The certificate comes as DER, parsed when asked for, with its chain where Python can."""
    good = pki.make_client(authority("Clients"), "alice", "spiffe://a.test/alice")
    server = shake(
        server_context(clients=authority("Clients")),
        client_context(show=good),
    )
    info = TLSInfo(server)
    assert info.client_certificate_der == good.der
    if sys.version_info >= (3, 13):
        assert info.verified_chain == (good.der, authority("Clients").der)
    else:
        assert info.verified_chain is None
    assert info.client_certificate is info.client_certificate
    assert info.client_certificate.spiffe_id == "spiffe://a.test/alice"
