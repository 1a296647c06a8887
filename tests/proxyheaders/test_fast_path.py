"""The fast path: it gives the walk's answer or none, and nothing untrusted is ever remembered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.proxyheaders import Resolved, TrustPolicy
from edgeserver.proxyheaders.addresses import parse_address
from edgeserver.proxyheaders.networks import NetworkTable, Rule, parse_network
from tests.proxyheaders import inside
from tests.proxyheaders.support import PROXY

TRUSTED = ["10.0.0.0/8", "173.245.48.0/20", "2001:db8::/64"]
MAKERS = {
    "xff": lambda: TrustPolicy(TRUSTED),
    "xff-2-hops": lambda: TrustPolicy(TRUSTED, max_hops=2),
    "xff-1-hop": lambda: TrustPolicy(TRUSTED, max_hops=1),
    "single": lambda: TrustPolicy(TRUSTED, source="cf-connecting-ip"),
    "forwarded": lambda: TrustPolicy(TRUSTED, source="forwarded"),
    "tornado": lambda: TrustPolicy.tornado(trusted_downstream=TRUSTED),
}
TAIL = b", 10.0.0.2, 173.245.48.12"


def ask(trust: TrustPolicy, line: bytes, *others: tuple[bytes, bytes]) -> Resolved:
    """Return the answer for one line, once every road to it has been tried and agrees."""
    bound = trust.bind(peer=PROXY)
    raw = [(trust.source.encode(), line), *others]
    fields = dict(raw)
    answer = bound.resolve(raw, fields)
    before = trust.reason_counts[answer.reason]
    assert bound.resolve(raw, fields) == answer
    assert bound.resolve(raw, None) == answer
    assert trust.reason_counts[answer.reason] == before + 2
    assert bound.decide(raw) == answer
    assert trust.explain(peer=PROXY, headers=raw).resolved == answer
    return answer


def check_memory(trust: TrustPolicy) -> None:
    """Fail if anything is remembered that the table does not trust, or too much."""
    tails = inside.known_tails(trust)
    assert len(tails) <= 256
    for tail in tails:
        entries = tail.split(b",")
        assert len(tail) <= 128
        assert len(entries) < (trust.max_hops or 1 << 30)
        for entry in entries:
            assert inside.is_listed(trust, parse_address(entry))


LINES = [
    b"",
    b",",
    b"0.0.0.0",
    b"0.1.2.3",
    b"01.2.3.4",
    b"1.2.3.04",
    b"1.2.3",
    b"1.2.3.4.5",
    b"1.2.3.256",
    b"1.2.3.4 ",
    b"\t1.2.3.4",
    b"1.2.3.4\x00",
    b"\x001.2.3.4",
    b"1.2.3.-4",
    b"1.2.3.\xb2",
    b"+1.2.3.4",
    b"223.255.255.255",
    b"224.0.0.1",
    b"239.255.255.255",
    b"240.0.0.1",
    b"255.255.255.255",
    b"127.0.0.1",
    b"10.0.0.1",
    b"173.245.48.1",
    b"173.245.64.1",
    b"1.2.3.4:80",
    b"1.2.3.4:0",
    b"[1.2.3.4]",
    b"::1",
    b"::",
    b"::ffff:1.2.3.4",
    b"::ffff:10.0.0.9",
    b"::FFFF:102:304",
    b"2001:db8::5",
    b"2001:db8:1::5",
    b"2001:DB8:1:0:0:0:0:5",
    b"[2001:db8:1::5]:443",
    b"fe80::1%eth0",
    b"ff02::1",
    b"unknown",
    b"_hidden",
    b"1.2.3.4, 5.6.7.8",
    b"10.0.0.9, 5.6.7.8",
    b"1.2.3.4,",
    b"1.2.3.4,,",
    b"x" * 300,
    b"6.6.6.6, " * 60 + b"1.2.3.4",
    b"1.2.3.4" + b", 10.0.0.2" * 7,
    b"1.2.3.4" + b", 10.0.0.2" * 8,
    b"1.2.3.4" + b", 10.0.0.2" * 19,
    b"1.2.3.4" + b", 10.0.0.2" * 20,
    b"1.2.3.4" + b" " * 90,
    b"1.2.3.4," + b" " * 300 + b"10.0.0.2",
    b"1.2.3.4, 10.0.0.2" + b" " * 100,
]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("line", LINES, ids=[ascii(line[:40]) for line in LINES])
def test_every_road_agrees(name: str, line: bytes) -> None:
    """Alone, left of proxies, and left of them once they are known: the walk's answer."""
    trust = MAKERS[name]()
    for value in (line, line + TAIL, line + b",10.0.0.2\t", line + b", 10.0.0.2:81"):
        ask(MAKERS[name](), value)
        ask(trust, b"9.9.9.9" + value[len(line) :])  # so that what follows is known
        ask(trust, value)
        ask(trust, value, (b"x-forwarded-proto", b"wss"))
        ask(trust, value, (b"x-forwarded-proto", b"ftp, HTTPS "))
        ask(trust, value, (b"x-real-ip", b"7.7.7.7"), (b"x-scheme", b"ftp"))
    if inside.has_fast_path(trust):
        check_memory(trust)


@pytest.mark.parametrize("cut", range(-8, 9))
def test_a_line_is_cut_without_making_an_address(cut: int) -> None:
    """However the 256 bytes fall that are looked at, no half of an entry is taken for one."""
    trust = TrustPolicy(TRUSTED)
    long = b"6.6.6.6, " * 100
    for client in (b"203.0.113.201", b"2001:db8:1:2:3:4:5:6789"):
        rest = b" 10.0.0.2".rjust(256 - len(client) - 1 + cut)
        answer = ask(trust, long + client + b"," + rest)
        assert answer.remote_ip == client.decode()


def test_max_hops_counts_known_proxies() -> None:
    """A tail known from elsewhere does not lengthen the walk: the limit is the policy's own."""
    trust = TrustPolicy(TRUSTED, max_hops=2)
    assert ask(trust, b"1.2.3.4, 10.0.0.2").remote_ip == "1.2.3.4"
    assert ask(trust, b"1.2.3.4, 10.0.0.3, 10.0.0.2").reason == "max-hops"
    assert inside.known_tails(trust) == {b" 10.0.0.2"}


def test_a_forged_tail_is_never_remembered() -> None:
    """What a client writes left of its own address is not learned, however often it comes."""
    trust = TrustPolicy(TRUSTED)
    for _ in range(3):
        for forged in (b"6.6.6.6", b"10.0.0.9", b"6.6.6.6, 10.0.0.9"):
            assert ask(trust, forged + b", 198.51.100.7" + TAIL).remote_ip == "198.51.100.7"
    assert inside.known_tails(trust) == set()
    assert ask(trust, b"198.51.100.7" + TAIL).remote_ip == "198.51.100.7"
    assert inside.known_tails(trust) == {TAIL[1:]}


def test_a_flood_of_tails_is_bounded() -> None:
    """Proxies that write ever new ports fill nothing, and every answer stays right."""
    trust = TrustPolicy(TRUSTED)
    bound = trust.bind(peer=PROXY)
    for number in range(2000):
        raw = [(b"x-forwarded-for", b"1.2.3.4, 10.0.0.2:%d, 10.0.0.3" % (number + 1))]
        assert bound.resolve(raw, dict(raw)).remote_ip == "1.2.3.4"
    check_memory(trust)
    assert trust.reason_counts["first-untrusted"] == 2000


def test_repeated_fields_are_remembered_too() -> None:
    """Lines of one header are one list, whichever other names repeat."""
    trust = TrustPolicy(TRUSTED)
    ask(trust, b"9.9.9.9" + TAIL)
    bound = trust.bind(peer=PROXY)
    raw = [
        (b"cookie", b"a=1"),
        (b"x-forwarded-for", b"6.6.6.6, 1.2.3.4"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-for", TAIL[2:]),
        (b"cookie", b"b=2"),
        (b"x-forwarded-proto", b"https"),
    ]
    first = bound.resolve(raw, None)
    assert (first.remote_ip, first.protocol) == ("1.2.3.4", "https")
    again = bound.resolve(raw, None)
    assert bound.resolve(raw, None) is again  # from the second time it is remembered
    assert trust.explain(peer=PROXY, headers=raw).resolved == first


@pytest.mark.parametrize(
    ("ranges", "listed"),
    [
        ([], []),
        (["10.0.0.0/8"], [10]),
        (["10.0.0.1/32", "173.245.48.0/20"], [10, 173]),
        (["64.0.0.0/3"], range(64, 96)),
        (["0.0.0.0/1"], range(1, 128)),
        (["0.0.0.0/0"], range(1, 224)),
        (["::/0"], []),
    ],
)
def test_foreign_octets(ranges: list[str], listed: list[int]) -> None:
    """An octet is foreign if no range has an address that begins with it."""
    table = NetworkTable([(parse_network(text), Rule(text)) for text in ranges])
    assert table.foreign_octets == {b"%d" % n for n in range(1, 224) if n not in set(listed)}


ENTRIES = st.one_of(
    st.sampled_from([line for line in LINES if b"," not in line and len(line) < 100]),
    st.ip_addresses().map(lambda address: str(address).encode()),
    st.integers(0, 2**32 - 1).map(
        lambda n: b"10.%d.%d.%d" % (n >> 16 & 255, n >> 8 & 255, n & 255)
    ),
)
CHAINS = st.lists(ENTRIES, min_size=1, max_size=9)
JOINTS = st.sampled_from([b",", b", ", b" ,\t"])
WARM = {name: make() for name, make in MAKERS.items()}


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=100)
@given(entries=CHAINS, joint=JOINTS, proxies=st.integers(0, 9))
def test_what_was_remembered_changes_nothing(
    name: str, entries: list[bytes], joint: bytes, proxies: int
) -> None:
    """A policy that has seen much answers as one that has seen nothing."""
    line = joint.join([*entries, *[b"10.0.0.2", b"173.245.48.9", b"2001:db8::7"][: proxies % 4]])
    answer = ask(WARM[name], line)
    assert answer == ask(MAKERS[name](), line)
    if inside.has_fast_path(WARM[name]):
        check_memory(WARM[name])
