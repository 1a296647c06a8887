"""The address grammar: what names an address, which text it gets, and what names nobody."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.proxyheaders.addresses import (
    MALFORMED,
    UNIX,
    UNKNOWN,
    Address,
    UnusableClaim,
    parse_address,
    parse_ipv4,
    parse_ipv6,
    parse_peer,
    render_chain_entry,
    render_ipv6,
)

USABLE = [
    (b"198.51.100.7", "198.51.100.7", None, None),
    (b" \t198.51.100.7\t ", "198.51.100.7", None, None),
    (b"198.51.100.7:1", "198.51.100.7", 1, None),
    (b"198.51.100.7:65535", "198.51.100.7", 65535, None),
    (b"0.0.0.1", "0.0.0.1", None, None),
    (b"223.255.255.255", "223.255.255.255", None, None),
    (b"240.0.0.1", "240.0.0.1", None, None),
    (b"255.255.255.254", "255.255.255.254", None, None),
    (b"127.0.0.1", "127.0.0.1", None, None),
    (b"2001:DB8::ABCD", "2001:db8::abcd", None, None),
    (b"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", None, None),
    (b"2001:0db8:0000:0001:0001:0001:0001:0001", "2001:db8:0:1:1:1:1:1", None, None),
    (b"::1", "::1", None, None),
    (b"1::", "1::", None, None),
    (b"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", None, None),
    (b"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8", None, None),
    (b"[2001:db8::7]", "2001:db8::7", None, None),
    (b"[2001:db8::7]:443", "2001:db8::7", 443, None),
    (b"::ffff:192.0.2.1", "192.0.2.1", None, None),
    (b"::FFFF:c000:201", "192.0.2.1", None, None),
    (b"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1", None, None),
    (b"[::ffff:192.0.2.1]:80", "192.0.2.1", 80, None),
    (b"64:ff9b::192.0.2.1", "64:ff9b::c000:201", None, None),
    (b"::192.0.2.1", "::c000:201", None, None),
    (b"fe80::1%eth0", "fe80::1", None, "eth0"),
    (b"febf::1%a.b_c~d-e", "febf::1", None, "a.b_c~d-e"),
    (b"[fe80::1%25]:80", "fe80::1", 80, "25"),
    (b"fe80::1%aaaaaaaaaaaaaaa", "fe80::1", None, "a" * 15),
]

MALFORMED_ENTRIES = [
    b"",
    b" \t ",
    b"-",
    b"unix:",
    b"unix:/run/x",
    b"localhost",
    b"127.1",
    b"2130706433",
    b"0x7f.0.0.1",
    b"010.0.0.1",
    b"1.2.3.04",
    b"256.1.1.1",
    b"1.2.3.4.5",
    b"1.2.3.",
    b".1.2.3",
    b"1..2.3",
    b"+1.2.3.4",
    b"1 .2.3.4",
    b"1.2.3.4 5",
    b"1.2.3.4\x00",
    b"1.2.3.4\n",
    b"\x0b1.2.3.4",
    b"1.2.3.4\xa0",
    b"4.4.4.\xb2",
    "４.4.4.4".encode(),
    "١.1.1.1".encode(),
    b"1.2.3.4:",
    b"1.2.3.4:0",
    b"1.2.3.4:080",
    b"1.2.3.4:65536",
    b"1.2.3.4:99999999999",
    b"1.2.3.4:+80",
    b"1.2.3.4:8_0",
    b"1.2.3.4:_x",
    b"1.2.3.4:80:90",
    b"1.2.3.4%eth0",
    b"1.2.3.4/24",
    b"[1.2.3.4]",
    b"[1.2.3.4]:80",
    b"[2001:db8::1",
    b"2001:db8::1]",
    b"[[2001:db8::1]]",
    b"[]",
    b"[]:80",
    b"[2001:db8::1]80",
    b"[2001:db8::1]:",
    b"[2001:db8::1]:0",
    b"[2001:db8::1]:80:1",
    b"[ 2001:db8::1]",
    b":",
    b":::",
    b"1:::2",
    b"::1::",
    b"1:2:3:4:5:6:7",
    b"1:2:3:4:5:6:7:8:9",
    b"1:2:3:4:5:6:7:8::",
    b"1::2:3:4:5:6:7:8:9",
    b":1:2:3:4:5:6:7",
    b"1:2:3:4:5:6:7:",
    b"12345::1",
    b"g::1",
    b"0x1::1",
    b"1_0::1",
    b"::ffff:1.2.3",
    b"::ffff:1.2.3.256",
    b"::ffff:01.2.3.4",
    b"1.2.3.4::",
    b"::1.2.3.4:5",
    b"2001:db8::1%eth0",
    b"fec0::1%eth0",
    b"::ffff:1.2.3.4%eth0",
    b"fe80::1%",
    b"fe80::1%aaaaaaaaaaaaaaaa",
    b"fe80::1%a b",
    b"fe80::1%a%b",
    b"fe80::1%<script>",
    b"fe80::1/64",
    b'"1.2.3.4"',
    b"'1.2.3.4'",
    b"for=1.2.3.4",
    b"unknown2",
    b"_",
    b"_a b",
    b"_" + b"a" * 90,
    b"1" * 65536,
    b" " * 65536 + b"x",
    # Nobody: unspecified, multicast, broadcast, in every spelling.
    b"0.0.0.0",
    b"::",
    b"0:0:0:0:0:0:0:0",
    b"::ffff:0.0.0.0",
    b"224.0.0.1",
    b"239.255.255.255",
    b"::ffff:224.0.0.1",
    b"ff02::1",
    b"[ff0e::1]:80",
    b"255.255.255.255",
    b"::ffff:255.255.255.255",
    b"255.255.255.255:80",
    b"224.0.0.1:80",
]

UNKNOWN_ENTRIES = [
    b"unknown",
    b"Unknown",
    b" UNKNOWN\t",
    b"unknown:80",
    b"unknown:_p",
    b"_hidden",
    b"_SEVKISEK",
    b"_a.b-c_d",
    b"_hidden:47011",
    b"_hidden:_port",
]


def shown(raw: bytes) -> str:
    """Return a short id."""
    return repr(raw[:40])


@pytest.mark.parametrize(
    ("raw", "text", "port", "zone"), USABLE, ids=[shown(row[0]) for row in USABLE]
)
def test_usable(raw: bytes, text: str, port: int | None, zone: str | None) -> None:
    """Every form that names an address gets its one text, with port and zone kept apart."""
    address = parse_address(raw)
    assert (address.text, address.port, address.zone) == (text, port, zone)
    assert address.version == ipaddress.ip_address(text).version
    assert address.value == int(ipaddress.ip_address(text))


@pytest.mark.parametrize("raw", MALFORMED_ENTRIES, ids=shown)
def test_malformed(raw: bytes) -> None:
    """What is not in the grammar, or names nobody, is refused as malformed."""
    with pytest.raises(UnusableClaim) as caught:
        parse_address(raw)
    assert caught.value.code == MALFORMED
    assert caught.value.detail


@pytest.mark.parametrize("raw", UNKNOWN_ENTRIES, ids=shown)
def test_unknown(raw: bytes) -> None:
    """An entry that hides its address says so."""
    with pytest.raises(UnusableClaim) as caught:
        parse_address(raw)
    assert caught.value.code == UNKNOWN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", Address(4, 0x0A000001, "10.0.0.1")),
        ("0.0.0.0", Address(4, 0, "0.0.0.0")),
        ("::", Address(6, 0, "::")),
        ("::ffff:10.0.0.1", Address(4, 0x0A000001, "10.0.0.1")),
        ("::ffff:a00:1", Address(4, 0x0A000001, "10.0.0.1")),
        ("2001:DB8::1", Address(6, 0x20010DB8 << 96 | 1, "2001:db8::1")),
        ("fe80::1%lo", Address(6, 0xFE80 << 112 | 1, "fe80::1", None, "lo")),
        ("unix:", UNIX),
        ("unix:/run/edge.sock", UNIX),
    ],
)
def test_peer(text: str, expected: Address) -> None:
    """A socket's peer is taken as it is: no usability rule is for it."""
    assert parse_peer(text) == expected


@pytest.mark.parametrize(
    "text", ["", "localhost", "1.2.3", "1.2.3.4%e", "1::2::3", "[::1]", "１.1.1.1"]
)
def test_peer_that_is_none(text: str) -> None:
    """Something that no socket says is a mistake of the caller, and named."""
    with pytest.raises(ValueError, match="is not an address"):
        parse_peer(text)


@given(st.binary(max_size=100))
def test_never_anything_but_unusable(raw: bytes) -> None:
    """Any bytes name a usable address or are refused, and nothing else happens."""
    try:
        address = parse_address(raw)
    except UnusableClaim:
        return
    ip = ipaddress.ip_address(address.text)
    assert not ip.is_multicast
    assert not ip.is_unspecified
    assert int(ip) == address.value


@given(st.text(alphabet="0123456789abcdefABCDEF:.", max_size=45))
def test_no_looser_than_the_standard_library(text: str) -> None:
    """What we read as an address, Python's strict parser reads as the same one."""
    raw = text.encode()
    v4, v6 = parse_ipv4(raw), parse_ipv6(raw)
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        assert v4 is None
        assert v6 is None
        return
    assert (v4 if expected.version == 4 else v6) == int(expected)


@given(st.integers(min_value=0, max_value=2**128 - 1), st.integers(min_value=0, max_value=2**8 - 1))
def test_ipv6_text_parses_back(value: int, mask: int) -> None:
    """RFC 5952 text is the standard library's, and means the same address."""
    for group in range(8):  # zero some groups, so that runs of every length occur
        if mask >> group & 1:
            value &= ~(0xFFFF << (group * 16))
    text = render_ipv6(value)
    assert parse_ipv6(text.encode()) == value
    if value >> 32 not in (0, 0xFFFF):  # those Python may write with a dotted tail
        assert text == str(ipaddress.IPv6Address(value))


@given(
    st.ip_addresses(),
    st.none() | st.integers(min_value=1, max_value=65535),
    st.none() | st.text(alphabet="abz09._~-", min_size=1, max_size=15),
)
def test_rendered_address_parses_back(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int | None, zone: str | None
) -> None:
    """What `render_chain_entry` writes, `parse_address` reads as the same."""
    try:
        plain = parse_address(str(ip).encode())
    except UnusableClaim:
        return
    address = plain._replace(port=port)
    if plain.version == 6 and plain.value >> 118 == 0xFE80 >> 6:
        address = address._replace(zone=zone)
    assert parse_address(render_chain_entry(address).encode()) == address
