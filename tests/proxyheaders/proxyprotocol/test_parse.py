"""The PROXY prelude, version 1 and the choice between the versions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.errors import ProxyProtocolError
from edgeserver.proxyheaders.proxyprotocol.parse import (
    MAX_PRELUDE,
    Prelude,
    is_prelude_start,
    parse_prelude,
    render_prelude,
    render_v1,
    render_v2,
)
from edgeserver.proxyheaders.proxyprotocol.v2 import SIGNATURE

LONGEST = (
    b"PROXY TCP6 " + b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff " * 2 + b"65535 65535\r\n",
    b"PROXY UNKNOWN " + b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff " * 2 + b"65535 65535\r\n",
)

ACCEPTED = {
    "tcp4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1", 56324, 443),
    "extremes": (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0", 0, 65535),
    "tcp6": (b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "2001:db8::1", 1, 2),
    "tcp6-long-form": (b"PROXY TCP6 2001:0db8:0:0:0:0:0:1 ::1 1 2\r\n", "2001:db8::1", 1, 2),
    "tcp6-mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1", 1, 2),
    "tcp6-mapped-hex": (b"PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n", "192.0.2.1", 1, 2),
    "longest": (LONGEST[0], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 65535),
}

REFUSED = {
    "http": b"GET / HTTP/1.1\r\n",
    "tls-hello": b"\x16\x03\x01",
    "lower-case": b"proxy ",
    "no-space": b"PROXY\r\n",
    "leading-space": b" ",
    "family-unknown": b"PROXY TCP5",
    "family-lower-case": b"PROXY t",
    "family-empty": b"PROXY  ",
    "family-missing": b"PROXY \r\n",
    "family-too-long": b"PROXY UNKNOWNS",
    "udp": b"PROXY UD",
    "two-spaces": b"PROXY TCP4 1.2.3.4  ",
    "tab": b"PROXY TCP4\t",
    "octet-leading-zero": b"PROXY TCP4 01",
    "octet-256": b"PROXY TCP4 256",
    "octet-three": b"PROXY TCP4 1.2.3 ",
    "octet-five": b"PROXY TCP4 1.2.3.4.",
    "octet-hex": b"PROXY TCP4 0x",
    "octet-empty": b"PROXY TCP4 1..",
    "ipv6-in-tcp4": b"PROXY TCP4 :",
    "ipv4-in-tcp6": b"PROXY TCP6 1.",
    "ipv6-zone": b"PROXY TCP6 fe80::1%",
    "ipv6-two-gaps": b"PROXY TCP6 1::2::",
    "ipv6-three-colons": b"PROXY TCP6 :::",
    "ipv6-long-group": b"PROXY TCP6 00000",
    "ipv6-nine-groups": b"PROXY TCP6 1:2:3:4:5:6:7:8:",
    "ipv6-lone-colon-first": b"PROXY TCP6 :1",
    "ipv6-bracketed": b"PROXY TCP6 [",
    "ipv6-mapped-octet": b"PROXY TCP6 ::ffff:1.256",
    "ipv6-short": b"PROXY TCP6 1:2 ",
    "port-leading-zero": b"PROXY TCP4 1.2.3.4 5.6.7.8 01",
    "port-65536": b"PROXY TCP4 1.2.3.4 5.6.7.8 65536",
    "port-sign": b"PROXY TCP4 1.2.3.4 5.6.7.8 +",
    "port-empty": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
    "port-missing": b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
    "field-seven": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ",
    "bare-lf": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    "cr-without-lf": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rG",
    "non-ascii-digit": "PROXY TCP4 ².".encode(),
    "nul": b"PROXY TCP4 1.2.3.4\0",
    "unknown-too-long": b"PROXY UNKNOWN " + b"x" * 93,
    "crlf-one-too-late": LONGEST[1][:-2] + b"x\r\n",
}


@pytest.mark.parametrize(
    ("data", "source", "source_port", "destination_port"), ACCEPTED.values(), ids=ACCEPTED
)
def test_v1_lines_are_read(
    data: bytes, source: str, source_port: int, destination_port: int
) -> None:
    """A v1 line gives its addresses, and what follows it is left alone."""
    parsed = parse_prelude(data + b"GET", allow="v1")
    assert parsed is not None
    prelude, consumed = parsed
    assert consumed == len(data)
    assert (prelude.version, prelude.command, prelude.source) == (1, "PROXY", source)
    assert (prelude.source_port, prelude.destination_port) == (source_port, destination_port)


@pytest.mark.parametrize(
    "data",
    [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN \r\n", b"PROXY UNKNOWN \xff\0 \r x\r\n", LONGEST[1]],
    ids=["bare", "space", "anything", "longest"],
)
def test_unknown_keeps_the_real_endpoints(data: bytes) -> None:
    """UNKNOWN carries no address, whatever stands before its CR LF."""
    expected = (Prelude(version=1, command="UNKNOWN"), len(data))
    assert parse_prelude(data + b"rest", allow="any") == expected


def test_the_longest_line_takes_107_bytes() -> None:
    """The longest lines of the specification are exactly at the bound."""
    assert {len(line) for line in LONGEST} == {104, 107}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_v1_refusals_come_with_the_first_wrong_byte(data: bytes) -> None:
    """A malformed line is refused at its last byte here, not when a whole line is there."""
    with pytest.raises(ProxyProtocolError) as caught:
        parse_prelude(data, allow="any")
    assert "PROXY protocol specification, section 2" in caught.value.rfc
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    with pytest.raises(ProxyProtocolError):
        parse_prelude(data + b"\r\nmore", allow="any")


# What is refused only because the line ends or the bound is passed: its last byte decides.
@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_refused_before_its_wrong_byte(name: str) -> None:
    """All but the last byte of each refused line may still become a prelude."""
    data = REFUSED[name]
    early = {"http", "tls-hello", "no-space", "lower-case", "family-missing", "port-empty",
             "port-missing", "non-ascii-digit", "crlf-one-too-late"}  # fmt: skip
    if name not in early:
        assert parse_prelude(data[:-1], allow="any") is None


OTHER_VERSION = pytest.mark.parametrize(
    ("allow", "start"),
    [("v1", SIGNATURE), ("v2", b"PROXY ")],
    ids=["v2-to-v1-listener", "v1-to-v2-listener"],
)


@OTHER_VERSION
def test_the_other_version_is_refused_when_it_is_certain(allow: str, start: bytes) -> None:
    """A listener for one version refuses the other and names the fix, not before it can be told."""
    for end in range(1, len(start)):
        assert parse_prelude(start[:end], allow=allow) is None
    with pytest.raises(ProxyProtocolError, match="takes only " + allow):
        parse_prelude(start, allow=allow)


@OTHER_VERSION
def test_what_begins_alike_is_not_the_other_version(allow: str, start: bytes) -> None:
    """A request whose first byte is that of a PROXY header is told as no header at all."""
    for end in range(1, len(start)):
        with pytest.raises(ProxyProtocolError, match="no PROXY prelude"):
            parse_prelude(start[:end] + b"?", allow=allow)


def test_no_bytes_decide_nothing() -> None:
    """Before the first byte there is neither a prelude nor an error."""
    assert parse_prelude(b"", allow="any") is None
    assert is_prelude_start(b"")


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"PRO", True), (b"PROXY nonsense", True), (SIGNATURE, True), (b"PUT /", False)],
    ids=["part", "malformed-later", "v2", "http"],
)
def test_is_prelude_start(data: bytes, expected: bool) -> None:
    """The start alone tells a malformed prelude from none at all."""
    assert is_prelude_start(data) is expected


IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str)
PORT = st.integers(0, 65535)


def preludes(version: int) -> st.SearchStrategy[Prelude]:
    """Return preludes with two addresses of one family or of both."""
    address = st.one_of(IPV4, IPV6)
    return st.builds(
        Prelude,
        version=st.just(version),
        command=st.just("PROXY"),
        source=address,
        source_port=PORT,
        destination=address,
        destination_port=PORT,
    )


@given(preludes(1))
@settings(max_examples=60)
def test_v1_renders_back(prelude: Prelude) -> None:
    """Parsing what was rendered gives the same prelude and takes every byte."""
    data = render_prelude(prelude)
    assert parse_prelude(data, allow="v1") == (prelude, len(data))


@given(st.one_of(preludes(1), preludes(2)))
@settings(max_examples=30)
def test_cutting_changes_nothing(prelude: Prelude) -> None:
    """Whatever prefix has arrived asks for more, and the whole gives the same answer."""
    data = render_prelude(prelude)
    for cut in range(len(data)):
        assert parse_prelude(data[:cut], allow="any") is None
    assert parse_prelude(data + b"\r\nrest", allow="any") == (prelude, len(data))


ALPHABET = st.sampled_from(
    [
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"1.2.3.4",
        b"::",
        b"1:",
        b"ffff",
        b".",
        b" ",
        b"0",
        b"65535",
        b"\r",
        b"\n",
        b"\xff",
        b"\x21",
        b"\x11",
        b"\0\x0c",
        SIGNATURE,
    ]
)
JUNK = st.one_of(st.binary(max_size=200), st.lists(ALPHABET, max_size=20).map(b"".join))


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21"]), JUNK)
@settings(max_examples=300)
def test_random_bytes_raise_nothing_else(start: bytes, junk: bytes) -> None:
    """Any bytes are a prelude, a refusal or too few; and a refusal stays one."""
    data, refused = start + junk, False
    for cut in range(len(data) + 1):
        try:
            parsed = parse_prelude(data[:cut], allow="any")
        except ProxyProtocolError:
            refused = True
        else:
            assert not refused
            if parsed is not None:
                assert parse_prelude(data, allow="any") == parsed
                assert parsed[1] == cut
                return


@pytest.mark.parametrize(
    "start",
    [b"PROXY UNKNOWN ", SIGNATURE + b"\x20\x00\xff\xff", SIGNATURE + b"\x21\x00\x10\x00"],
    ids=["v1", "v2-too-long", "v2-longest"],
)
def test_the_bound_is_kept(start: bytes) -> None:
    """With `MAX_PRELUDE` bytes in hand the answer is never that more must come."""
    data = start.ljust(MAX_PRELUDE, b"\x04")
    try:
        assert parse_prelude(data, allow="any") is not None
    except ProxyProtocolError:
        pass


@pytest.mark.parametrize("command", ["LOCAL", "UNKNOWN"])
def test_v1_renders_unknown(command: str) -> None:
    """Version 1 has one word for endpoints that are not told."""
    assert render_v1(Prelude(version=2, command=command)) == b"PROXY UNKNOWN\r\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [("unix:/run/x", "use version 2"), ("nonsense", "nonsense"), (None, "''")],
    ids=["unix", "no-address", "none"],
)
def test_v1_refuses_to_render(source: str | None, message: str) -> None:
    """What a v1 line cannot say is a ValueError, not a malformed line."""
    with pytest.raises(ValueError, match=message):
        render_v1(Prelude(version=1, command="PROXY", source=source, destination="192.0.2.1"))


def test_renders_by_version() -> None:
    """`render_prelude` writes the version that the prelude names."""
    prelude = Prelude(version=2, command="LOCAL")
    assert render_prelude(prelude) == render_v2(prelude)
