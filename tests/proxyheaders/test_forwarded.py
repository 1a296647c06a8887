"""RFC 7239: elements cut from the right, pairs parsed, and what they decide."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.addresses import MALFORMED, UNKNOWN, UnusableClaim
from edgeserver.proxyheaders.forwarded import parse_element, parse_pairs, split_rightmost
from tests.proxyheaders.support import CLIENT, PROXY, ask, codes, explain, policy


def forwarded(*trusted: str) -> TrustPolicy:
    """Return a policy that reads `Forwarded`."""
    return policy(*trusted, source="forwarded")


def elements(line: bytes) -> list[bytes]:
    """Return all elements of a line, from the right."""
    found, end = [], len(line)
    while end >= 0:
        comma = split_rightmost(line, end)
        found.append(line[comma + 1 : end])
        end = comma
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", [b""]),
        (b"a=1", [b"a=1"]),
        (b"a=1,b=2", [b"b=2", b"a=1"]),
        (b"a=1,", [b"", b"a=1"]),
        (b'a="1,2",b=3', [b"b=3", b'a="1,2"']),
        (b'a=1,b="x,y;z"', [b'b="x,y;z"', b"a=1"]),
        (b'a=1,b="x,\\"y,"', [b'b="x,\\"y,"', b"a=1"]),
        (b'a=1,b="x,\\\\"', [b'b="x,\\\\"', b"a=1"]),
        (b'a=1,b="x,\\\\\\"y"', [b'b="x,\\\\\\"y"', b"a=1"]),
        (b'a=1,b="";c="d,e"', [b'b="";c="d,e"', b"a=1"]),
        (b'a="1,b=2', [b"b=2", b'a="1']),
        (b'a=1,b="2', [b'a=1,b="2']),
        (b'a="x\\",b=2', [b"b=2", b'a="x\\"']),
    ],
)
def test_elements(line: bytes, expected: list[bytes]) -> None:
    """A comma in quotes is data, a dangling quote to the left swallows nothing."""
    assert elements(line) == expected


@pytest.mark.parametrize("backslashes", range(6))
def test_backslash_parity(backslashes: int) -> None:
    """An odd number of backslashes makes a quote data; an even number leaves it a quote."""
    inner = b"\\" * backslashes
    line = b'for=6.6.6.6, for=192.0.2.1;host="a,' + inner + b'"'
    if backslashes % 2:
        # The string never ends, so the element is refused: never the client's part instead.
        answer = ask(forwarded(), f"Forwarded: {line.decode()}")
        assert (answer.remote_ip, answer.verified) == (PROXY, False)
    else:
        assert elements(line)[0] == b' for=192.0.2.1;host="a,' + inner + b'"'
        assert ask(forwarded(), f"Forwarded: {line.decode()}").remote_ip == "192.0.2.1"


@pytest.mark.parametrize(
    "prefix",
    [
        'for="',
        'for="6.6.6.6',
        'for=6.6.6.6;by="',
        'for="\\"',
        'for="\\',
        "for=6.6.6.6\\",
        'x="y\\\\"',
        '"""',
        ';;;="',
        "for=_x;by=\\",
    ],
)
@pytest.mark.parametrize("joint", [", ", ",", " , "])
def test_a_client_cannot_swallow_the_proxys_element(prefix: str, joint: str) -> None:
    """Whatever stands left of the comma that the proxy wrote, its element counts."""
    own = f'for={CLIENT};host="a\\"b,c";proto=https'
    answer = ask(forwarded(), f"Forwarded: {prefix}{joint}{own}")
    assert (answer.remote_ip, answer.protocol) == (CLIENT, "https")


TOLERATED = [
    (f"for={CLIENT} ; proto=https", "white space"),
    (f"for={CLIENT};\tproto=https", "white space"),
    (f";for={CLIENT}", "empty pair"),
    (f"for={CLIENT};", "empty pair"),
    (f"for={CLIENT};;proto=https", "empty pair"),
    (f"for={CLIENT}:4711", "must be quoted"),
    ("for=[2001:db8::7]", "must be quoted"),
    ("for=2001:db8::7", "must be quoted"),
    ('for="2001:db8::7"', "in brackets"),
    ('for="::ffff:198.51.100.7"', "in brackets"),
    (f"for={CLIENT};host=a.example:8080", "must be quoted"),
]


@pytest.mark.parametrize(("element", "note"), TOLERATED, ids=[row[0] for row in TOLERATED])
def test_tolerated_with_a_finding(element: str, note: str) -> None:
    """What cannot change the meaning is accepted, and noted."""
    provenance = explain(forwarded(), f"Forwarded: {element}")
    assert provenance.resolved.remote_ip in (CLIENT, "2001:db8::7")
    assert provenance.resolved.verified
    (finding,) = [item for item in provenance.findings if item.code == "nonconformant-forwarded"]
    assert note in finding.detail


CONFORMANT = [
    f"for={CLIENT}",
    f'FOR="{CLIENT}"',
    f'for="{CLIENT}:4711"',
    'For="[2001:db8::7]"',
    'for="[2001:db8::7]:4711"',
    f'for="{CLIENT[:-1]}\\{CLIENT[-1]}"',
    f"  for={CLIENT}\t",
    f"by=_proxy;for={CLIENT};host=a.example;ext=1",
    f'ext="for=6.6.6.6";for={CLIENT}',
    f'ext="\\"";for={CLIENT}',
    f'ext="";for={CLIENT}',
    f"for={CLIENT};ext=1;ext=2",
]


@pytest.mark.parametrize("element", CONFORMANT)
def test_conformant(element: str) -> None:
    """Every form of RFC 7239 that names an address is read, without a finding."""
    provenance = explain(forwarded(), f"Forwarded: {element}")
    assert provenance.resolved.remote_ip in (CLIENT, "2001:db8::7")
    assert codes(provenance) == []


REFUSED = [
    ("", MALFORMED),
    (" ", MALFORMED),
    ("for", MALFORMED),
    ("for=", MALFORMED),
    ("=1.2.3.4", MALFORMED),
    ("for =1.2.3.4", MALFORMED),
    ("for= 1.2.3.4", MALFORMED),
    ("for\t=1.2.3.4", MALFORMED),
    ('for=""', MALFORMED),
    ('for=" 1.2.3.4"', MALFORMED),
    ('for="1.2.3.4', MALFORMED),
    ('for=1.2.3.4"', MALFORMED),
    ('for="1.2.3.4"x', MALFORMED),
    ('for="1.2.3.4" proto=https', MALFORMED),
    ("for=1.2.3.4 proto=https", MALFORMED),
    ("for=1.2.3.4;for=1.2.3.4", MALFORMED),
    ("for=1.2.3.4;FOR=5.6.7.8", MALFORMED),
    ("for=1.2.3.4;proto=http;Proto=https", MALFORMED),
    ("for=1.2.3.4;bogus", MALFORMED),
    ("for=1.2.3.4;f(o)=1", MALFORMED),
    ("for=1.2.3.4;a=b/c", MALFORMED),
    ("for=1.2.3.4;a=\xe9", MALFORMED),
    ('for=1.2.3.4;a="\x01"', MALFORMED),
    ('for="[1.2.3.4]"', MALFORMED),
    ('for="[1.2.3.4]:80"', MALFORMED),
    ('for="[2001:db8::1"', MALFORMED),
    ('for="2001:db8::1]"', MALFORMED),
    ("for=1.2.3.4:0", MALFORMED),
    ("for=127.1", MALFORMED),
    ("for=0.0.0.0", MALFORMED),
    ("for=unknown", UNKNOWN),
    ('for="unknown:80"', UNKNOWN),
    ("for=_hidden", UNKNOWN),
    ('for="_hidden:_port"', UNKNOWN),
    ("proto=https", UNKNOWN),
    ("by=10.0.0.9;host=a", UNKNOWN),
]


@pytest.mark.parametrize(("element", "code"), REFUSED, ids=[repr(row[0]) for row in REFUSED])
def test_refused(element: str, code: str) -> None:
    """An element out of the grammar, or one that names nobody, leaves the peer, unverified."""
    with pytest.raises(UnusableClaim) as caught:
        parse_element(element.encode("latin-1"))
    assert caught.value.code == code
    answer = ask(forwarded(), f"Forwarded: for=6.6.6.6, {element}")
    assert (answer.remote_ip, answer.verified, answer.reason) == (PROXY, False, code)


@pytest.mark.parametrize(
    ("lines", "protocol"),
    [
        (["Forwarded: proto=https"], "https"),
        (["Forwarded: for=unknown;proto=https"], "https"),
        (["Forwarded: for=_hidden;proto=https"], "https"),
        (["Forwarded: for=nonsense;proto=https"], "http"),
        (["Forwarded: for=1.2.3.4;for=1.2.3.4;proto=https"], "http"),
        (["Forwarded: proto=https, for=1.2.3.4"], "http"),
        (["Forwarded: for=1.2.3.4;proto=http, for=10.0.0.9;proto=https"], "http"),
        (["Forwarded: for=1.2.3.4, for=10.0.0.9;proto=https"], "http"),
        (["Forwarded: for=1.2.3.4;proto=HTTPS"], "https"),
        (['Forwarded: for=1.2.3.4;proto="w\\ss"'], "https"),
        (["Forwarded: for=1.2.3.4;proto=ftp"], "http"),
        (["Forwarded: for=10.0.0.8;proto=https, for=10.0.0.9"], "https"),
        (["Forwarded: for=1.2.3.4", "X-Forwarded-Proto: https"], "http"),
        (["X-Forwarded-Proto: https"], "http"),
    ],
)
def test_scheme_is_the_boundary_elements_own(lines: list[str], protocol: str) -> None:
    """The scheme is the boundary element's and no other's, as long as that is well-formed."""
    assert ask(forwarded(), *lines).protocol == protocol


def test_no_scheme_where_none_is_wanted() -> None:
    """With `proto=None` no element's scheme counts."""
    trust = policy(source="forwarded", proto=None)
    assert ask(trust, "Forwarded: for=1.2.3.4;proto=https").protocol == "http"


_TOKEN = st.text(alphabet="abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=6)
_QUOTED = st.text(
    alphabet=st.characters(
        min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"
    ).filter(lambda char: not 0x7F <= ord(char) < 0xA0),
    max_size=12,
)


def quoted(text: str) -> str:
    """Return a quoted-string that holds `text`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_PAIRS = st.lists(st.tuples(_TOKEN, st.one_of(_TOKEN, _QUOTED.map(quoted))), min_size=1, max_size=5)


@given(st.lists(_PAIRS, min_size=1, max_size=5))
def test_rendered_elements_parse_back(chain: list[list[tuple[str, str]]]) -> None:
    """Whatever conforming proxies write, it is cut where they cut it, and read as they wrote it."""
    rendered = [
        ";".join(f"{name}={value}" for name, value in pairs).encode("latin-1") for pairs in chain
    ]
    assert elements(b",".join(rendered)) == rendered[::-1]
    for pairs, element in zip(chain, rendered, strict=True):
        found, notes = parse_pairs(element)
        assert notes == []
        assert [(name, len(value)) for name, value in found] == [
            (name.lower().encode("latin-1"), len(plain(value))) for name, value in pairs
        ]
        assert [value.decode("latin-1") for _, value in found] == [plain(v) for _, v in pairs]


def plain(value: str) -> str:
    """Return what a token or quoted-string of `_PAIRS` holds."""
    if not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


@given(st.binary(max_size=60))
def test_any_prefix_leaves_the_proxys_element(prefix: bytes) -> None:
    """No bytes before the comma that a conforming proxy wrote change its element."""
    own = b' for=192.0.2.9;host="x,\\"y";by=_p'
    line = prefix + b"," + own
    assert line[split_rightmost(line, len(line)) + 1 :] == own


@pytest.mark.parametrize(
    "line",
    [
        b'"' * 65536,
        b"\\" * 65535 + b'"',
        b'\\"' * 32768,
        b'a="' + b"," * 65536 + b'"',
        b'a="' + b'\\",' * 21845 + b'"',
        b";" * 65536,
        b'a="b";' * 10922,
        b"a=b;" * 16384,
        b"a=" + b"b" * 65536,
        b"a" * 65536,
        b" " * 65536,
        b"," * 65536,
        b'"",' * 21845,
    ],
    ids=lambda line: repr(line[:8]),
)
def test_long_lines_end(line: bytes) -> None:
    """Lines of 64 KiB made to be slow are answered; `benchmarks/` says how fast."""
    assert b",".join(reversed(elements(line))) == line
    answer = ask(forwarded(), f"Forwarded: {line.decode('latin-1')}")
    assert (answer.remote_ip, answer.verified) == (PROXY, False)
