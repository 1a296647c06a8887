"""Tests of edgeserver.tls.certificates.pem: blocks told apart, torn files seen, contents named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.certificates.pem import describe_content, load_file, parse_pem
from tests.tls import pki

LEAF = pki.make_leaf(pki.make_ca())
BOTH = b"subject=leaf\n" + LEAF.pem + b"\nsome words\n" + LEAF.key_pem


def block(label: str) -> bytes:
    """Return a block with little in it."""
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()


@pytest.mark.parametrize(
    "data",
    [BOTH, BOTH.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + LEAF.pem + LEAF.key_pem],
    ids=["text around", "CRLF", "byte order mark"],
)
def test_blocks(data):
    """A certificate and a key are found whatever stands around them and ends their lines."""
    certificate, key = parse_pem(data)
    assert certificate.is_certificate
    assert certificate.der() == LEAF.der
    assert key.is_key
    assert key.pem == LEAF.key_pem


def test_lines_are_counted():
    """A block knows the line of its BEGIN, so that a message can name it."""
    assert [each.line for each in parse_pem(b"\n\n" + block("A") + b"\n" + block("B"))] == [3, 7]


@given(st.integers(min_value=0, max_value=len(LEAF.pem) - 1))
def test_a_file_cut_anywhere_has_no_certificate(cut):
    """A file that is being written is never taken for a whole one."""
    begun = cut >= LEAF.pem.index(b"\n")
    if cut == len(LEAF.pem) - 1:  # only the last line break is missing
        assert parse_pem(LEAF.pem[:cut])[0].der() == LEAF.der
    elif begun:
        with pytest.raises(ValueError, match="cut short"):
            parse_pem(LEAF.pem[:cut])
    else:
        assert parse_pem(LEAF.pem[:cut]) == []


@given(st.binary(max_size=300))
def test_anything_else_is_no_block(data):
    """Bytes without a BEGIN line give no block, and are described in one printable line."""
    assert parse_pem(b"x" + data.replace(b"-", b"")) == []
    assert describe_content(data.replace(b"-", b""), []).isprintable()


def test_a_begin_within_a_block_is_a_tear():
    """Two files written over each other are not silently joined."""
    with pytest.raises(ValueError, match="that starts on line 1 has no END line"):
        parse_pem(b"-----BEGIN A-----\nAAAA\n" + block("B"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (block("CERTIFICATE"), "it holds a certificate"),
        (block("EC PRIVATE KEY"), "it holds a private key"),
        (block("CERTIFICATE REQUEST"), "signing request"),
        (block("TRUSTED CERTIFICATE"), "openssl x509 -in FILE"),
        (block("PKCS7"), "openssl pkcs7"),
        (block("X509 CRL"), "it holds X509 CRL"),
        (b"\x30\x82", "DER or PKCS #12"),
        (b"hello", "no PEM block"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_contents_are_named(data, words):
    """What stands in a file instead of what was wanted is said, with the fix."""
    assert words in describe_content(data, parse_pem(data))


def test_a_path_through_a_file_does_not_exist(tmp_path):
    """A directory that is a file is a missing file to whoever wrote the path."""
    (tmp_path / "file").touch()
    with pytest.raises(TLSConfigurationError, match=r'certfile ".*" does not exist'):
        load_file(str(tmp_path / "file" / "x.pem"), "certfile")
