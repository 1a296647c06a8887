"""The binary PROXY prelude: families, TLVs, checksum, TLS details and every refusal."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.errors import ProxyProtocolError
from edgeserver.proxyheaders.proxyprotocol.model import CRC32C, SSL
from edgeserver.proxyheaders.proxyprotocol.parse import (
    Prelude,
    PreludeSSL,
    parse_prelude,
    render_v2,
)
from edgeserver.proxyheaders.proxyprotocol.v2 import MAX_BLOCK, MAX_TLVS, SIGNATURE, crc32c

V4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + (56324).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6 = bytes.fromhex("20010db800000000000000000000000100000000000000000000000000000001") + V4[8:]
MAPPED = (bytes(10) + b"\xff\xff\xc0\x00\x02\x01") * 2 + V4[8:]


def head(command: int, family: int, block: bytes) -> bytes:
    """Return a v2 prelude with the length that `block` has."""
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2, "big") + block


def tlv(kind: int, value: bytes) -> bytes:
    """Return one type-length-value."""
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def parsed(data: bytes) -> Prelude:
    """Return the prelude, having checked that exactly its bytes were taken."""
    result = parse_prelude(data + b"GET / HTTP/1.1\r\n", allow="v2")
    assert result is not None
    assert result[1] == len(data)
    return result[0]


@pytest.mark.parametrize(
    ("family", "block", "source", "port"),
    [
        (0x11, V4, "192.0.2.1", 56324),
        (0x12, V4, "192.0.2.1", 56324),
        (0x21, V6, "2001:db8::1", 56324),
        (0x22, V6, "2001:db8::1", 56324),
        (0x21, MAPPED, "192.0.2.1", 56324),
        (0x31, b"/run/a".ljust(108, b"\0") + bytes(108), "unix:/run/a", None),
        (0x31, b"/run/a\0junk".ljust(216, b"\0"), "unix:/run/a", None),
        (0x31, b"\0abstract".ljust(216, b"\0"), "unix:\\x00abstract", None),
        (0x32, b"/\x1b[2J".ljust(216, b"\0"), "unix:/\\x1b[2J", None),
        (0x31, b"p" * 108 + bytes(108), "unix:" + "p" * 108, None),
    ],
    ids=[
        "tcp4",
        "udp4",
        "tcp6",
        "udp6",
        "mapped",
        "unix",
        "unix-junk",
        "abstract",
        "escaped",
        "unix-unterminated",
    ],
)
def test_families(family: int, block: bytes, source: str, port: int | None) -> None:
    """Each defined family gives its source address."""
    prelude = parsed(head(0x21, family, block))
    assert (prelude.version, prelude.command) == (2, "PROXY")
    assert (prelude.source, prelude.source_port) == (source, port)


def test_destination() -> None:
    """The address that the client connected to is there too."""
    prelude = parsed(head(0x21, 0x11, V4))
    assert (prelude.destination, prelude.destination_port) == ("198.51.100.2", 443)


@pytest.mark.parametrize("family", [0x00, 0x11, 0x7F, 0xFF])
@pytest.mark.parametrize("block", [b"", b"\xff" * 7, bytes(MAX_BLOCK)], ids=["0", "7", "max"])
def test_local_discards_its_block(family: int, block: bytes) -> None:
    """LOCAL means the real endpoints, whatever its family and block say."""
    assert parsed(head(0x20, family, block)) == Prelude(version=2, command="LOCAL")


def test_unspec_means_the_real_endpoints() -> None:
    """PROXY with AF_UNSPEC has no address, but its TLVs count."""
    prelude = parsed(head(0x21, 0x00, tlv(0x05, b"id")))
    assert (prelude.command, prelude.source, prelude.unique_id) == ("UNKNOWN", None, b"id")


def test_tlvs() -> None:
    """Known TLVs have names, unknown ones are kept raw, and all stay in order."""
    block = (
        tlv(0x04, b"\0\0") + tlv(0x01, b"h2") + tlv(0x02, "exämple".encode()) + tlv(0xE0, b"\xff")
        + tlv(0x05, b"u" * 128) + tlv(0x30, b"blue") + tlv(0xE0, b"again")
    )  # fmt: skip
    prelude = parsed(head(0x21, 0x11, V4 + block))
    assert prelude.alpn == "h2"
    assert prelude.authority == "exämple"
    assert prelude.unique_id == b"u" * 128
    assert prelude.netns == "blue"
    assert prelude.crc32c is None
    assert prelude.ssl is None
    assert [kind for kind, _ in prelude.tlvs] == [0x04, 0x01, 0x02, 0xE0, 0x05, 0x30, 0xE0]
    assert prelude.tlv(0xE0) == b"\xff"


def test_undecodable_texts_are_none() -> None:
    """A text in the wrong encoding is absent, and its bytes are still there."""
    prelude = parsed(head(0x21, 0x11, V4 + tlv(0x01, b"\xff") + tlv(0x02, b"\xff")))
    assert (prelude.alpn, prelude.authority, prelude.netns) == (None, None, None)
    assert prelude.tlvs == ((0x01, b"\xff"), (0x02, b"\xff"))


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
    ids=["zeros", "ones", "counting", "check"],
)
def test_crc32c(data: bytes, checksum: int) -> None:
    """The checksum agrees with the examples of RFC 3720 appendix B.4."""
    assert crc32c(data) == checksum


def test_crc32c_is_verified() -> None:
    """A right checksum passes, and any byte of the prelude that is changed is noticed."""
    ssl = PreludeSSL(client_ssl=True, version="TLSv1.3")
    made = Prelude(2, "PROXY", "192.0.2.1", 1, "192.0.2.2", 2, tlvs=((0x05, b"id"),), ssl=ssl)
    data = render_v2(made, with_crc32c=True)
    prelude = parsed(data)
    assert prelude.crc32c is not None
    assert prelude.ssl == ssl
    for index in range(16, 28):
        changed = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
        with pytest.raises(ProxyProtocolError, match="checksum"):
            parse_prelude(changed, allow="v2")


@pytest.mark.parametrize(
    ("flags", "verify", "verified"),
    [
        (0x07, 0, True),
        (0x03, 0, True),
        (0x05, 0, True),
        (0x03, 18, False),
        (0x01, 0, False),
        (0x06, 0, False),
        (0x00, 0, False),
    ],
    ids=["both", "conn", "session", "failed", "no-certificate", "no-tls", "nothing"],
)
def test_ssl_verified_needs_a_certificate(flags: int, verify: int, verified: bool) -> None:
    """A `verify` of 0 counts only where the client showed a certificate over TLS."""
    value = bytes([flags]) + verify.to_bytes(4, "big")
    ssl = parsed(head(0x21, 0x11, V4 + tlv(SSL, value))).ssl
    assert ssl is not None
    assert ssl.verified is verified
    assert ssl.client_ssl is bool(flags & 1)
    assert (ssl.client_cert_conn, ssl.client_cert_sess) == (bool(flags & 2), bool(flags & 4))


def test_ssl_texts() -> None:
    """The sub-TLVs are read, unknown ones skipped, and a wrong encoding is absent."""
    value = (
        bytes(5) + tlv(0x21, b"TLSv1.3") + tlv(0x28, b"\x30\x82") + tlv(0x22, b"\xe9")
        + tlv(0x23, b"AES") + tlv(0x24, b"SHA256") + tlv(0x25, b"EC256")
    )  # fmt: skip
    assert parsed(head(0x21, 0x11, V4 + tlv(SSL, value))).ssl == PreludeSSL(
        client_ssl=False, version="TLSv1.3", cipher="AES", sig_alg="SHA256", key_alg="EC256"
    )


REFUSED = {
    "signature": SIGNATURE[:11] + b"\r",
    "version-1": SIGNATURE + b"\x11",
    "version-3": SIGNATURE + b"\x31",
    "command-2": SIGNATURE + b"\x22",
    "family-4": SIGNATURE + b"\x21\x41",
    "transport-missing": SIGNATURE + b"\x21\x10",
    "unspec-stream": SIGNATURE + b"\x21\x01",
    "too-long": SIGNATURE + b"\x21\x11" + (MAX_BLOCK + 1).to_bytes(2, "big"),
    "local-too-long": SIGNATURE + b"\x20\x00\xff\xff",
    "tcp4-short": SIGNATURE + b"\x21\x11\x00\x0b",
    "tcp6-short": SIGNATURE + b"\x21\x21\x00\x23",
    "unix-short": SIGNATURE + b"\x21\x31\x00\xd7",
    "tlv-stray-byte": SIGNATURE + b"\x21\x00\x00\x02",
    "tlv-past-end": SIGNATURE + b"\x21\x00\x00\x08\x04\x00\x06",
    "tlv-second-past-end": SIGNATURE + b"\x21\x00\x00\x08\x04\x00\x00\x04\x00\x03",
    "tlv-too-many": head(0x21, 0x00, tlv(0x04, b"") * (MAX_TLVS + 1))[: 16 + 3 * MAX_TLVS],
    "unique-id-129": head(0x21, 0x00, tlv(0x05, bytes(129))),
    "crc-length": head(0x21, 0x00, tlv(0x03, bytes(3))),
    "crc-wrong": head(0x21, 0x00, tlv(0x03, bytes(4))),
    "ssl-short": head(0x21, 0x00, tlv(0x20, bytes(4))),
    "ssl-sub-past-end": head(0x21, 0x00, tlv(0x20, bytes(5) + b"\x21\x00\x09x")),
    "ssl-sub-stray": head(0x21, 0x00, tlv(0x20, bytes(6))),
    "ssl-sub-twice": head(0x21, 0x00, tlv(0x20, bytes(5) + tlv(0x22, b"a") + tlv(0x22, b"b"))),
    "authority-twice": head(0x21, 0x00, tlv(0x02, b"a") + tlv(0x05, b"") + tlv(0x02, b"a")),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refusals(data: bytes) -> None:
    """Each malformed prelude is refused with the byte that makes it so, and not before."""
    assert parse_prelude(data[:-1], allow="any") is None
    with pytest.raises(ProxyProtocolError) as caught:
        parse_prelude(data, allow="any")
    assert caught.value.rfc.startswith("HAProxy's PROXY protocol specification, section 2")
    with pytest.raises(ProxyProtocolError):
        parse_prelude(data + bytes(300), allow="any")


def test_longest_block() -> None:
    """A block of exactly the bound is taken."""
    block = V4 + tlv(0xE0, bytes(MAX_BLOCK - 15))
    assert parsed(head(0x21, 0x11, block)).tlv(0xE0) == bytes(MAX_BLOCK - 15)


ADDRESS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str),
)
TEXT = st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
TLVS = st.lists(
    st.tuples(st.sampled_from([0x04, 0xE0, 0xE1, 0xFF]), st.binary(max_size=30)), max_size=6
).map(tuple)
SSLS = st.none() | st.builds(
    PreludeSSL, client_ssl=st.booleans(), version=TEXT, cn=TEXT, cipher=TEXT, sig_alg=TEXT,
    key_alg=TEXT,
)  # fmt: skip


@given(ADDRESS, ADDRESS, st.integers(0, 65535), TLVS, SSLS, st.booleans())
@settings(max_examples=60)
def test_v2_renders_back(
    source: str,
    destination: str,
    port: int,
    tlvs: tuple[tuple[int, bytes], ...],
    ssl: PreludeSSL | None,
    with_crc32c: bool,
) -> None:
    """Parsing what was rendered gives it back, and rendering that gives the same bytes."""
    made = Prelude(2, "PROXY", source, port, destination, port, tlvs=tlvs, ssl=ssl)
    data = render_v2(made, with_crc32c=with_crc32c)
    prelude = parsed(data)
    assert (prelude.source, prelude.destination, prelude.source_port) == (source, destination, port)
    assert prelude.ssl == ssl
    assert tuple(pair for pair in prelude.tlvs if pair[0] not in (SSL, CRC32C)) == tlvs
    assert render_v2(prelude) == data
    for cut in range(len(data)):
        assert parse_prelude(data[:cut], allow="v2") is None


def test_unix_renders_back() -> None:
    """Two Unix paths survive the round trip."""
    made = Prelude(2, "PROXY", "unix:/run/a", None, "unix:/run/b", None)
    assert parsed(render_v2(made)) == made


@pytest.mark.parametrize("command", ["LOCAL", "UNKNOWN"])
def test_real_endpoints_render_back(command: str) -> None:
    """LOCAL and UNKNOWN survive the round trip."""
    made = Prelude(version=2, command=command)
    assert parsed(render_v2(made)) == made


@pytest.mark.parametrize(
    "source", ["unix:" + "p" * 109, "nonsense"], ids=["unix-too-long", "no-address"]
)
def test_v2_refuses_to_render(source: str) -> None:
    """What the format cannot hold is a ValueError."""
    with pytest.raises(ValueError, match=r"108 bytes|nonsense"):
        render_v2(Prelude(2, "PROXY", source, None, "192.0.2.1", None))
