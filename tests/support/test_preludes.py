"""PROXY headers where none is taken: what is recognised, and what is said."""

from __future__ import annotations

import pytest

from edgeserver.proxyheaders.proxyprotocol.parse import Prelude, render_v1, render_v2
from edgeserver.support.preludes import explain_prelude, is_v2_part, prelude_version

PRELUDE = Prelude(1, "PROXY", "203.0.113.9", 4711, "198.51.100.2", 443)


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (render_v1(PRELUDE), "v1"),
        (render_v1(Prelude(1, "PROXY", "2001:db8::1", 1, "2001:db8::2", 2)), "v1"),
        (b"PROXY UNKNOWN\r\n", "v1"),
        (b"PROXY UNKNOWN anything\r\n", "v1"),
        (b"PROXY T", "v1"),
        (render_v2(PRELUDE), "v2"),
        (render_v2(Prelude(2, "LOCAL")), "v2"),
        (b"", None),
        (b"PROXY ", None),
        (b"PROXY /index.html HTTP/1.1\r\n", None),
        (b"PROXY TCPX", None),
        (b"proxy TCP4 ", None),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", None),
        (b"\r\n\r\n\0", None),
        (b"\x16\x03\x01", None),
    ],
)
def test_version(data: bytes, version: str | None) -> None:
    """A whole header is recognised, and no request or other rubbish is taken for one."""
    assert prelude_version(data) == version
    assert prelude_version(bytearray(data)) == version


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", True),
        (b"\r", True),
        (b"\r\n\r\n\0\r\nQUIT", True),
        (b"\r\n\r\n\0\r\nQUIT\n", False),
        (b"\r\n\r\nG", False),
        (b"P", False),
    ],
)
def test_a_part_of_the_signature(data: bytes, expected: bool) -> None:
    """Only while what comes next decides; a whole signature is recognised."""
    assert is_v2_part(data) is expected
    assert is_v2_part(bytearray(data)) is expected


def test_what_is_said() -> None:
    """The line has the flags to set, or what is wrong with a second header."""
    assert explain_prelude("v2", "10.0.0.7") == (
        "this is a PROXY v2 header; this listener takes none: give it --bind ...,proxy=v2 and "
        "--trust 10.0.0.7 (proxy_protocol='v2' and trust=), or turn it off there"
    )
    assert explain_prelude("v1", "10.0.0.7", after=True).startswith(
        "this is a second PROXY v1 header; the listener takes one"
    )
