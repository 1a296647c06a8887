"""Tests of edgeserver.tls.certificates.pem: blocks told apart, torn files seen, contents named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls import build_contexts
from edgeserver.tls.certificates.pem import describe_content, load_file, parse_pem
from edgeserver.tls.doctor.check import check_files
from tests.tls import pki

ROOT = pki.make_ca()
LEAF = pki.make_leaf(ROOT)
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


def test_joined_without_a_line_break():
    """`cat a b` of files without a line break at their ends is read like any other file."""
    leaf, key = pki.make_leaf(ROOT), pki.make_key("ec")
    data = ROOT.pem.rstrip() + leaf.pem.rstrip() + pki.render_key(key).rstrip()
    blocks = parse_pem(data)
    assert [block.label for block in blocks] == ["CERTIFICATE", "CERTIFICATE", "PRIVATE KEY"]
    assert b"".join(block.pem for block in blocks) == ROOT.pem + leaf.pem + pki.render_key(key)
    line = len(ROOT.pem.splitlines())
    assert [block.line for block in blocks][:2] == [1, line]


FLATTENED = {
    "literal": (lambda pem: pem.replace(b"\n", b"\\n"), r"two characters \n", "printf '%b'"),
    "literal CRLF": (lambda pem: pem.replace(b"\n", b"\\r\\n"), "two characters", "printf '%b'"),
    "quoted": (lambda pem: pem.strip().replace(b"\n", b"\\n") + b"\n", "two characters", "%b"),
    "spaces": (lambda pem: pem.replace(b"\n", b" "), "have become spaces", "with quotes"),
    "none": (lambda pem: pem.replace(b"\n", b""), "are missing", "copy or fetch"),
    "UTF-16": (lambda pem: pem.decode().encode("utf-16"), "is UTF-16", "Set-Content"),
}


@pytest.mark.parametrize(("spoil", "what", "fix"), FLATTENED.values(), ids=FLATTENED)
@pytest.mark.parametrize("key", ["certfile", "keyfile"])
def test_lost_line_breaks_are_named(tmp_path, key, spoil, what, fix):
    """What became of the line breaks is said with the fix, by serve and check alike."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    path = Path(pair[key])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(TLSConfigurationError) as refused:
        build_contexts(pair)
    assert what in str(refused.value)
    assert fix in str(refused.value)
    (found,) = [each for each in check_files([path]).findings if each.code == "damaged"]
    assert what in found.what
    assert fix in found.fix
