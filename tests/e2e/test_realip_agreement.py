"""The realip module of a real nginx, with `real_ip_recursive on`, and ours: the same client.

Where the specification says otherwise the difference is listed here with the name of its rule;
`docs/explanation/nginx-realip.md` explains each rule, which a test holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.proxies import Proxy, nginx_realip, realip_answer
from tests.e2e.site import address_of, connected, serve
from tests.loops import on_both_loops

PEER = "127.0.0.1"
TRUSTED = (PEER, "10.0.0.0/8", "2001:db8:a::/48")
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "nginx-realip.md"


@dataclass(frozen=True)
class Case:
    """One head.

    Args:
        lines: The values of the field's lines, each character one byte.
        client: Whom we take for the client.
        nginx: Whom nginx takes, where that differs; more than one where its versions differ.
        rule: The heading in the documentation that says why.
    """

    lines: tuple[str, ...]
    client: str
    nginx: tuple[str, ...] = ()
    rule: str = ""

    def __str__(self) -> str:
        return " | ".join(line[:40] for line in self.lines) or "nothing"

    def headers(self, name: str) -> list[tuple[bytes, bytes]]:
        """Return the field lines."""
        return [(name.encode(), line.encode("latin-1")) for line in self.lines]


def same(client: str, *lines: str) -> Case:
    """Return a head on which nginx and we agree."""
    return Case(lines, client)


def differs(rule: str, client: str, nginx: str, *lines: str) -> Case:
    """Return a head on which we answer `client`, and nginx one of those in `nginx`."""
    return Case(lines, client, tuple(nginx.split(" or ")), rule)


C = "203.0.113.9"
"""The client of most heads."""

WHITE_SPACE = "Tabs and spaces"
BRACKETS = "Brackets without a port"
ZEROS = "Leading zeros"
MAPPED = "IPv4-mapped addresses"
ZONES = "Zones"
TEXT = "The text of an address"
NOBODY = "Addresses that name nobody"
BOUNDARY = "An unusable entry behind a trusted one"
EMPTY = "Empty entries"
HOPS = "Many hops"
SINGLE = "A field for one address"

CASES = [
    same(PEER),
    same(C, C),
    same(C, f"6.6.6.6, {C}"),
    same(C, f"{C}, 10.0.0.1"),
    same(C, f"6.6.6.6, {C}, 10.0.0.1, 10.9.9.9"),
    same(C, "6.6.6.6", C),
    same(C, f"6.6.6.6, {C}", "10.0.0.1"),
    same(C, C, "10.0.0.1", "10.0.0.2"),
    same("10.0.0.1", "10.0.0.1"),
    same("10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1"),
    same("10.0.0.3", "10.0.0.3", "10.0.0.2"),
    same(PEER, PEER),
    same(PEER, f"{PEER}, {PEER}"),
    same("127.0.0.2", "127.0.0.2"),
    same(C, f"{C},10.0.0.1"),
    same(C, f"{C}  ,  10.0.0.1"),
    same("2001:db8::1", "2001:db8::1"),
    same("2001:db8::abcd", "2001:DB8::ABCD"),
    same("2001:db8::1", "2001:db8:0:0:0:0:0:1"),
    same(C, f"{C}, 2001:db8:a::1"),
    same("2001:db8:b::1", "2001:db8:b::1, 2001:db8:a::1"),
    same("64:ff9b::cb00:7109", f"64:ff9b::{C}"),
    same("fe80::1", "fe80::1"),
    same("::1", "::1"),
    same("240.0.0.1", "240.0.0.1"),
    same("2001:db8::1", "[2001:db8::1]:443"),
    same(C, f"{C}:4711"),
    same(C, f"{C}:65535"),
    same(C, f"{C}, 10.0.0.1:80"),
    same(C, f"{C}, [2001:db8:a::1]:80"),
    same(C, f"{C}, ::ffff:10.0.0.1"),
    same(PEER, f"{C}:0"),
    same(PEER, f"{C}:65536"),
    same(PEER, f"{C}:http"),
    same(PEER, f"{C}:"),
    same(PEER, "127.1"),
    same(PEER, "0x7f.0.0.1"),
    same(PEER, "203.0.113"),
    same(PEER, f"{C}.1"),
    same(PEER, "256.1.1.1"),
    same(PEER, "203.0.113.1234"),
    same(PEER, "3405803785"),
    same(PEER, "255.255.255.255"),
    same(PEER, "2001:db8::1::2"),
    same(PEER, "1:2:3:4:5:6:7:8:9"),
    same(PEER, "12345::1"),
    same(PEER, "[2001:db8::1"),
    same(PEER, "2001:db8::1]"),
    same(PEER, "unknown"),
    same(PEER, "_hidden"),
    same(PEER, f"{C}, unknown"),
    same(PEER, "nonsense"),
    same(PEER, f"{C}, nonsense"),
    same(C, f"nonsense, {C}"),
    same(PEER, ""),
    same(PEER, ","),
    same(PEER, " , "),
    same(C, "", C),
    same(PEER, C, ""),
    same(PEER, C, "10.0.0.1", ""),
    same(PEER, f'"{C}"'),
    same(PEER, f"{C};10.0.0.1"),
    same(PEER, f"{C}/32"),
    same(PEER, f"for={C}"),
    same(PEER, f"{C}\xff"),
    same(PEER, f"\xa0{C}"),
    same(PEER, "localhost"),
    same(PEER, f"{C}, unix:"),
    same(C, "6.6.6.6, " * 500 + f"{C}, 10.0.0.1"),
    same(C, "\x80garbage, " * 50 + f"{C}, 10.0.0.1"),
    differs(WHITE_SPACE, C, PEER, f"\t{C}\t"),
    differs(WHITE_SPACE, C, PEER, f"{C}\t,\t10.0.0.1"),
    differs(WHITE_SPACE, PEER, C, f"{C} 10.0.0.1"),
    differs(BRACKETS, "2001:db8::1", f"{PEER} or 2001:db8::1", "[2001:db8::1]"),
    differs(BRACKETS, PEER, f"{PEER} or {C}", f"[{C}]"),
    differs(ZEROS, PEER, "10.0.0.1", "010.0.0.1"),
    differs(ZEROS, PEER, C, "203.0.113.09"),
    differs(ZEROS, PEER, C, f"000{C}"),
    differs(ZEROS, PEER, C, f"{C}:080"),
    differs(MAPPED, C, f"::ffff:{C}", f"::ffff:{C}"),
    differs(MAPPED, C, f"::ffff:{C}", "::ffff:cb00:7109"),
    differs(ZONES, "fe80::1", PEER, "fe80::1%eth0"),
    differs(TEXT, "::cb00:7109", f"::{C}", f"::{C}"),
    differs(NOBODY, PEER, "0.0.0.0", "0.0.0.0"),
    differs(NOBODY, PEER, "224.0.0.1", "224.0.0.1"),
    differs(NOBODY, PEER, "::", "::"),
    differs(NOBODY, PEER, "ff02::1", "ff02::1"),
    differs(BOUNDARY, PEER, "10.0.0.1", "unknown, 10.0.0.1"),
    differs(BOUNDARY, PEER, "10.0.0.1", f"{C}, unknown, 10.0.0.1"),
    differs(BOUNDARY, PEER, "10.0.0.1", f"{C}, nonsense, 10.0.0.1"),
    differs(EMPTY, PEER, C, f"{C},"),
    differs(EMPTY, PEER, C, f"{C},,"),
    differs(EMPTY, PEER, C, f"{C}, ,10.0.0.1"),
    differs(EMPTY, PEER, "10.0.0.1", "10.0.0.1,"),
    differs(EMPTY, C, PEER, f",{C}"),
    differs(HOPS, "10.0.0.1", C, f"{C}, " + ", ".join(["10.0.0.1"] * 25)),
]

SINGLE_CASES = [
    same(PEER),
    same(C, C),
    same(C, C, C),
    same(C, f"{C}:80"),
    same("10.0.0.1", "10.0.0.1"),
    same("2001:db8::1", "[2001:DB8::1]:443"),
    same(PEER, "nonsense"),
    same(PEER, ""),
    differs(SINGLE, PEER, C, C, "6.6.6.6"),
    differs(SINGLE, PEER, C, f"6.6.6.6, {C}"),
    differs(SINGLE, PEER, C, f"{C}, 10.0.0.1"),
]
"""Heads with X-Real-IP as the configured field."""

FIELDS = {"X-Forwarded-For": CASES, "X-Real-IP": SINGLE_CASES}
ALL = [pytest.param(name, case, id=f"{name}: {case}") for name in FIELDS for case in FIELDS[name]]


@contextmanager
def both_fields(directory: Path, trusted: tuple[str, ...] = TRUSTED) -> Iterator[dict[str, Proxy]]:
    """Run an nginx for each field."""
    with (
        nginx_realip(directory, trusted=trusted, header="X-Forwarded-For") as chain,
        nginx_realip(directory, trusted=trusted, header="X-Real-IP") as single,
    ):
        yield {"X-Forwarded-For": chain, "X-Real-IP": single}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    """Give an nginx for each field."""
    with both_fields(tmp_path_factory.mktemp("realip")) as proxies:
        yield proxies


@pytest.mark.parametrize(("name", "case"), ALL)
def test_the_same_client(nginx: dict[str, Proxy], name: str, case: Case) -> None:
    """Nginx answers as we do, or as the listed difference says."""
    theirs = realip_answer(nginx[name], case.headers(name))
    policy = TrustPolicy(TRUSTED, source=name)
    headers = [(field, value.strip(b" \t")) for field, value in case.headers(name)]
    assert policy.resolve(peer=PEER, headers=headers).remote_ip == case.client
    assert theirs in (case.nginx or (case.client,))


@on_both_loops
@pytest.mark.parametrize("name", FIELDS)
async def test_the_server_answers_as_the_policy(name: str) -> None:
    """Over a socket, all heads on one connection, our server finds the same clients."""
    async with (
        serve(trust=TrustPolicy(TRUSTED, source=name)) as server,
        connected(address_of(server)) as client,
    ):
        for case in FIELDS[name]:
            head = b"".join(b"%s: %s\r\n" % line for line in case.headers(name))
            assert (await client.ask(head)).seen["ip"] == case.client, case


def test_an_unlisted_peer(tmp_path: Path) -> None:
    """A peer that is not listed is the client for both, whatever it claims."""
    trusted = ("10.0.0.0/8",)
    with both_fields(tmp_path, trusted) as proxies:
        for name, cases in FIELDS.items():
            policy = TrustPolicy(trusted, source=name)
            for case in cases:
                headers = case.headers(name)
                assert policy.resolve(peer=PEER, headers=headers).remote_ip == PEER
                assert realip_answer(proxies[name], headers) == PEER


def test_every_difference_is_explained() -> None:
    """The page has a heading for each rule by which we differ, and no other."""
    text = PAGE.read_text("utf-8")
    explained = text.split("\n## Where the answers differ\n")[1].split("\n## ")[0]
    used = {case.rule for cases in FIELDS.values() for case in cases if case.rule}
    assert set(re.findall(r"(?m)^### (.+)$", explained)) == used
    assert sum(not case.rule for case in CASES) >= 40
