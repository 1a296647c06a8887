"""Tests for `edgeserver.tls.handshake.ja4` against the values of its public definition."""

import pytest

from edgeserver.tls.handshake.clienthello import parse_client_hello, parse_whole_hello
from edgeserver.tls.handshake.ja4 import JA4Source, keep_for_ja4, render_ja4
from tests.tls.hellos import alpn, build_hello, server_name, signatures, versions

SUITES = [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8]
SUITES += [0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035]
SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
ORDER = [0x1B, 0, 0x33, 0x10, 0x4469, 0x17, 0x2B, 0x0D, 5, 0x23, 0x12, 0x2D, 0xFF01, 0x0B]
ORDER += [0x0A, 0x15]


def text_of(hello):
    """Return the JA4 of a hello."""
    return render_ja4(JA4Source.of(hello))


def chrome(*, order=ORDER, grease=True, schemes=SIGNATURES, protocols=(b"h2", b"http/1.1")):
    """Build the hello of the definition's example."""
    known = dict([server_name(b"a.test"), alpn(*protocols), signatures(*schemes)])
    known[0x0A] = b"\0\2\0\x1d"
    known[0x2B] = versions(0x8A8A, 0x0304, 0x0303)[1]
    extensions = [(kind, known.get(kind, b"")) for kind in order]
    if grease:
        extensions = [(0x2A2A, b""), *extensions, (0xFAFA, b"\0")]
    suites = [0x3A3A, *SUITES] if grease else SUITES
    return parse_client_hello(build_hello(*extensions, suites=suites)[4:])


def whole_hello(*, filler=0):
    """Return the hello of one segment, with so many bytes of padding."""
    message = build_hello(server_name(b"a.test"), (0x15, bytes(filler)), suites=SUITES)
    hello = parse_whole_hello(b"\x16\3\1" + len(message).to_bytes(2) + message)
    assert hello is not None
    return hello


@pytest.mark.parametrize("filler", [0, 2000], ids=["short", "long"])
def test_what_is_kept_gives_the_same_text(filler):
    """A short hello is kept as it is, and of a long one what the text is made of."""
    hello = whole_hello(filler=filler)
    kept = keep_for_ja4(hello)
    assert isinstance(kept, bytes) == (filler == 0)
    assert render_ja4(kept) == text_of(hello)


def test_published_example():
    """The example of the definition comes out as it is printed there."""
    assert text_of(chrome()) == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_order_of_extensions_and_grease_do_not_matter():
    """A client that shuffles its extensions, as browsers do, keeps its fingerprint."""
    assert text_of(chrome(order=ORDER[::-1], grease=False)) == text_of(chrome())


def test_order_of_signature_algorithms_matters():
    """The signature algorithms are hashed in the client's own order."""
    assert text_of(chrome(schemes=SIGNATURES[::-1])) != text_of(chrome())


def test_without_signature_algorithms():
    """Without the extension's values the underscore between the lists is left out."""
    assert text_of(chrome(schemes=())) == "t13d1516h2_8daaf6152771_6d807ffa2a79"


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ],
)
def test_alpn_characters(protocol, expected):
    """The two characters of the first protocol are those that the definition lists."""
    assert text_of(chrome(protocols=(protocol,)))[8:10] == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [(0x0303, "t12"), (0x0302, "t11"), (0x0301, "t10"), (0x0300, "ts3"), (0x9999, "t00")],
)
def test_bare_hello(version, expected):
    """Without extensions the version is the hello's own, and the last hash is zeros."""
    text = text_of(parse_client_hello(build_hello(version=version, suites=[1])[4:]))
    assert text.startswith(expected + "i010000_")
    assert text.endswith("_000000000000")


def test_only_grease_suites():
    """A list without a real suite is zeros, not the hash of nothing."""
    text = text_of(parse_client_hello(build_hello(suites=[0x0A0A])[4:]))
    assert text == "t12i000000_000000000000_000000000000"


def test_counts_stop_at_99():
    """More than 99 suites are written as 99."""
    suites = range(0xE000, 0xE080)
    assert text_of(parse_client_hello(build_hello(suites=suites)[4:]))[4:6] == "99"
