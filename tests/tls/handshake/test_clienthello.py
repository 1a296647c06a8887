"""Tests for `tls.handshake.clienthello`: what a connection began with, and what a hello offers."""

import itertools
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.tls.handshake.clienthello import (
    MAX_HELLO_BYTES,
    ClientHelloError,
    HelloReader,
    Opening,
    parse_client_hello,
    parse_whole_hello,
)
from tests.tls.hellos import (
    alpn,
    build_hello,
    groups,
    real_hello,
    record,
    server_name,
    signatures,
    split_records,
    versions,
)

HELLO = build_hello(
    (0x1A1A, b""),
    server_name(b"A.Test"),
    alpn(b"h2", b"http/1.1"),
    groups(0x2A2A, 29, 23),
    signatures(0x0403, 0x0804),
    versions(0x3A3A, 0x0304, 0x0303),
    (51, b"\0\0"),
)


REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def read(*segments):
    """Feed segments until the reader knows; return what it says, and the reader."""
    reader = HelloReader()
    for segment in segments:
        opening = reader.feed(segment)
        if opening is not None:
            return opening, reader
    return None, reader


def bytewise(data):
    """Cut `data` into segments of one byte."""
    return [data[at : at + 1] for at in range(len(data))]


def padded_hello(size):
    """Return a hello message of exactly `size` bytes, header included."""
    empty = build_hello(server_name(b"a.test"), (21, b""))
    filler = b"\0" * min(size - len(empty), 65000)
    hello = build_hello(server_name(b"a.test"), (21, filler))
    if len(hello) < size:
        suites = [0x1301] * (2 + (size - len(hello)) // 2)
        hello = build_hello(server_name(b"a.test"), (21, filler), suites=suites)
    assert len(hello) == size
    return hello


def test_fields_are_read():
    """Every field that is offered comes out, in the client's order."""
    opening, reader = read(record(HELLO))
    hello = reader.hello
    assert opening is Opening.HELLO
    assert hello.server_name == "a.test"
    assert hello.alpn == ("h2", "http/1.1")
    assert hello.versions == (0x0304, 0x0303)
    assert hello.legacy_version == 0x0303
    assert hello.cipher_suites == (0x1301, 0xC02F)
    assert hello.extensions == (0x1A1A, 0, 16, 10, 13, 43, 51)
    assert hello.groups == (0x2A2A, 29, 23)
    assert hello.signature_algorithms == (0x0403, 0x0804)
    assert "a.test" in repr(hello)


def test_real_hello_is_read():
    """What OpenSSL's own client sends is understood."""
    opening, reader = read(real_hello("b.test", ["http/1.1"]))
    assert opening is Opening.HELLO
    assert reader.hello.server_name == "b.test"
    assert reader.hello.alpn == ("http/1.1",)
    assert 0x0304 in reader.hello.versions


def test_hello_without_extensions():
    """A hello from before extensions is complete after the compression methods."""
    opening, reader = read(record(build_hello(version=0x0301)))
    assert opening is Opening.HELLO
    assert reader.hello.versions == (0x0301,)
    assert reader.hello.server_name is None
    assert reader.hello.extensions == ()


def test_name_that_is_no_ascii_equals_no_host():
    """Bytes beyond ASCII in the name are written out, so that no host is chosen by accident."""
    _, reader = read(record(build_hello(server_name(b"\xc3\xa4.test"))))
    assert reader.hello.server_name == r"\xc3\xa4.test"


def test_whole_hello_is_read_in_place():
    """A hello in one record and segment is the same without a reader; anything else is not read."""
    raw = record(HELLO)
    assert parse_whole_hello(raw + b"more").alpn == ("h2", "http/1.1")
    for other in (b"", raw[:-1], split_records(HELLO, 50), REQUEST, b"\x16\2" + raw[2:]):
        assert parse_whole_hello(other) is None
    assert parse_whole_hello(record(build_hello(alpn(b"")))) is None


@pytest.mark.parametrize("cut", range(1, len(record(HELLO))))
def test_cut_at_every_byte_changes_nothing(cut):
    """Two segments say the same as one, wherever the cut is, and nothing is said too early."""
    raw = record(HELLO)
    reader = HelloReader()
    assert reader.feed(raw[:cut]) is None
    assert reader.feed(raw[cut:]) is Opening.HELLO
    assert reader.hello.server_name == "a.test"
    assert bytes(reader.raw) == raw


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 64, len(HELLO) - 1])
@pytest.mark.parametrize("segments", [bytewise, lambda data: [data]], ids=["bytewise", "whole"])
def test_fragments_across_records(size, segments):
    """A hello split over several records is one hello."""
    raw = split_records(HELLO, size)
    opening, reader = read(*segments(raw))
    assert opening is Opening.HELLO
    assert reader.hello.alpn == ("h2", "http/1.1")
    assert bytes(reader.raw) == raw


def test_more_after_the_hello_is_kept():
    """Early data or whatever follows stays in `raw`, for OpenSSL to judge."""
    raw = record(HELLO) + b"\x14\3\3\0\1\1"
    opening, reader = read(raw)
    assert opening is Opening.HELLO
    assert reader.raw == raw


@pytest.mark.parametrize("size", [16384, 16385, MAX_HELLO_BYTES])
@pytest.mark.parametrize("segments", [bytewise, lambda data: [data]], ids=["bytewise", "whole"])
def test_long_hello_is_read(size, segments):
    """A hello up to 64 KiB is read, even when every segment has one byte."""
    opening, reader = read(*segments(split_records(padded_hello(size))))
    assert opening is Opening.HELLO
    assert reader.hello.server_name == "a.test"


def test_longer_hello_is_refused_by_its_header():
    """A length over 64 KiB is refused when it is read, before its bytes come."""
    opening, _ = read(record(b"\x01" + (MAX_HELLO_BYTES - 3).to_bytes(3, "big")))
    assert opening is Opening.TOO_LONG


def test_tiny_records_without_end_are_refused():
    """Fragments of one byte cannot make the reader hold more than its bound."""
    reader = HelloReader()
    message = b"\x01" + (60000).to_bytes(3, "big") + bytes(60000)
    opening = None
    for byte in bytewise(message):
        opening = reader.feed(record(byte))
        if opening:
            break
    assert opening is Opening.TOO_LONG
    assert len(reader.raw) <= 2 * MAX_HELLO_BYTES + 6


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", Opening.HTTP),
        (b"GET /\n", Opening.HTTP),
        (b"OPTIONS * HTTP/1.0\r\n", Opening.HTTP),
        (b"PRI * HTTP/2.0\r\n", Opening.HTTP),
        (b"CONNECT a.test:443 HTTP/1.1\r\n", Opening.HTTP),
        (b"GET /" + b"a" * 9000, Opening.HTTP),
        (b"PROXY TCP4 " + b"a" * 9000 + b"\r\n", Opening.HTTP),
        (b"PROXY UNKNOWN\r\n", Opening.GARBAGE),
        (b"\r\n\r\n\0\r\nQUIT\n", Opening.GARBAGE),
        (b"\r\n\r\n\0\r\nQUIX", Opening.GARBAGE),
        (b"\rX", Opening.GARBAGE),
        (split_records(padded_hello(30000), 1), Opening.TOO_LONG),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Opening.GARBAGE),
        (b"EHLO mail.test\r\n", Opening.GARBAGE),
        (b"hello there\r\n", Opening.GARBAGE),
        (b"A" * 33, Opening.GARBAGE),
        (b"\0\0\0\0", Opening.GARBAGE),
        (b"\x16\x02\x00", Opening.GARBAGE),
        (b"\xff\xff\xff\xff", Opening.GARBAGE),
        (bytes.fromhex("802e0103010015000000100100800700c0"), Opening.SSLV2),
        (bytes.fromhex("802e01000200150000001001"), Opening.SSLV2),
        (b"\x15\x03\x01\x00\x02\x02\x28", Opening.MALFORMED),
        (b"\x17\x03\x03\x00\x05hello", Opening.MALFORMED),
        (record(b""), Opening.MALFORMED),
        (b"\x16\x03\x01\x40\x01", Opening.MALFORMED),
        (record(b"\x02\0\0\1\0"), Opening.MALFORMED),
        (record(HELLO[:20]) + record(b"\2\x28", 0x15), Opening.MALFORMED),
        (b"", None),
        (b"\x16", None),
        (b"\x80\x2e", None),
        (b"\r\n\r\n", None),
        (b"G", None),
        (b"GET / HTTP/1.1", None),
    ],
)
@pytest.mark.parametrize("segments", [bytewise, lambda data: [data]], ids=["bytewise", "whole"])
def test_openings(data, expected, segments):
    """The first bytes are told apart, however they are cut."""
    assert read(*segments(data))[0] is expected


def _body(*extensions, **fields):
    return build_hello(*extensions, **fields)[4:]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\3\3",
        _body()[:33],
        _body()[:40],
        _body(session=bytes(33)),
        _body(suites=()),
        _body(compressions=b""),
        _body() + b"\0",
        _body(server_name(b"a.test")) + b"\0",
        _body(server_name(b"a.test"))[:-1],
        _body(server_name(b"a.test"), server_name(b"b.test")),
        _body((5, b""), (5, b"")),
        _body(server_name(b"")),
        _body((0, b"\0\3\1\0\1")),
        _body((0, b"\0\0")),
        _body((0, b"\0")),
        _body((0, b"\0\x0a\0\0\2aa\0\0\2bb")),
        _body(alpn(b"")),
        _body((16, b"\0\3\2h")),
        _body((16, b"\0\2\5h")),
    ],
)
def test_malformed_bodies_raise_only_their_error(body):
    """What does not fit its lengths, or says a thing twice, is a `ClientHelloError`."""
    with pytest.raises(ClientHelloError):
        parse_client_hello(body)
    opening, reader = read(record(b"\1" + len(body).to_bytes(3, "big") + body))
    assert opening is Opening.MALFORMED
    assert reader.refusal
    assert reader.hello is None


@pytest.mark.parametrize(
    ("extension", "field"),
    [((43, b"\3\3\4"), "versions"), ((13, b"\0\4\4\3"), "signature_algorithms")]
    + [((10, data), "groups") for data in (b"", b"\0", b"\0\1\0", b"\0\2\0\x1d\0")],
)
def test_lists_without_a_shape_are_empty(extension, field):
    """What does not choose a context is left to OpenSSL, and reads as nothing offered."""
    assert getattr(parse_client_hello(_body(extension)), field) == ()


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_bytes_cut_anywhere_say_the_same(data, cuts):
    """Nothing but a verdict comes of any bytes, and cutting them changes nothing."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*pieces)[0] is read(data)[0]


# CPython reports a server name that is no ASCII there, and refuses the hello
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_hello_names_what_openssl_sees(data):
    """A name is only read where OpenSSL reads the same one, whatever was changed in a hello."""
    raw = bytearray(real_hello())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(5, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    seen = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda sslobject, name, _: seen.append(name)
    incoming = ssl.MemoryBIO()
    incoming.write(raw)
    server = context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    try:
        server.do_handshake()
    except ssl.SSLError:
        pass
    _, reader = read(bytes(raw))
    if seen and seen[0] is not None and reader.hello is not None:
        assert reader.hello.server_name == seen[0].lower()
