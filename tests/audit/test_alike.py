"""Heads that differ in one address alone: counted as one, they show what each would have shown."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from edgeserver.audit.aggregate import DistinctHeads, Head, Reading
from edgeserver.audit.alike import tagged_view
from edgeserver.audit.chains import ChainAudit
from edgeserver.audit.logfiles import open_log
from edgeserver.audit.records import FORMATS, LogFormat
from edgeserver.cli.audit_logs import read_log
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.addresses import UnusableClaim, parse_address
from edgeserver.proxyheaders.networks import parse_network

TRUST = ["192.0.2.5", "198.51.100.0/24", "2001:db8:5::/48", "10.0.0.0/8"]

TEXTS = {
    "8.8.8.8": True,
    "223.255.255.255": True,
    "8.8.8.8:4711": True,
    "2a00:1450:4001:81b::200e": True,
    "2a00::": True,
    "2a00:1:2:3:4:5:6:7": True,
    "2001:db8:5::1": False,
    "198.51.100.7": False,
    "10.1.2.3": False,
    "172.16.0.1": False,
    "192.168.1.1": False,
    "127.0.0.1": False,
    "100.64.0.1": False,
    "169.254.1.1": False,
    "0.0.0.0": False,
    "255.255.255.255": False,
    "fe80::1": False,
    "::1": False,
    "::ffff:8.8.8.8": False,
    "8.8.8.8:": False,
    "8.8.8.8:99999": False,
    "8.8.8": False,
    "8.8.8.8.8": False,
    "08.8.8.8": False,
    "8.8.8.256": False,
    " 8.8.8.8": False,
    "2a00::1::2": False,
    "2a00:::1": False,
    "2a00:1:2:3:4:5:6": False,
    "2a00:1:2:3:4:5:6:7:8": False,
    "2a00:1:2:3:4:5:6:": False,
    "2a00::1:": False,
    "2a00::12345": False,
    "unknown": False,
    "'": False,
    "": False,
}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return an engine with a table for heads."""
    with duckdb.connect() as made:
        made.execute("CREATE TABLE heads (who TEXT, claims TEXT, schemes TEXT, kind TEXT)")
        yield made


@pytest.mark.parametrize("wraps", ["{}", "{}, 192.0.2.5", "peer"])
def test_which_addresses_are_nobody_in_particular(
    connection: duckdb.DuckDBPyConnection, wraps: str
) -> None:
    """An address that may be counted with others is usable, public and in no listed range."""
    for text in TEXTS:
        row = (text, None) if wraps == "peer" else ("192.0.2.5", wraps.format(text))
        connection.execute("INSERT INTO heads VALUES (?, ?, NULL, NULL)", row)
    networks = [parse_network(each) for each in TRUST]
    connection.execute(
        tagged_view(networks=networks, source="x-forwarded-for", is_edgeserver=False)
    )
    rows = connection.execute("SELECT coalesce(claims, who), plain FROM tagged").fetchall()
    found = {text.removesuffix(", 192.0.2.5"): plain for text, plain in rows}
    assert found == TEXTS
    for text, plain in TEXTS.items():
        if plain:
            parse_address(text.encode())
    with pytest.raises(UnusableClaim):
        parse_address(b"8.8.8.8:99999")


@pytest.mark.parametrize("entry", ["0.0.0.0/0", "::/0"])
def test_a_policy_that_lists_everybody_leaves_nobody_out(
    connection: duckdb.DuckDBPyConnection, entry: str
) -> None:
    """Where any address may be a proxy, each is told apart."""
    text = "2a00::1" if ":" in entry else "8.8.8.8"
    connection.execute("INSERT INTO heads VALUES ('192.0.2.5', ?, NULL, NULL)", (text,))
    view = tagged_view(
        networks=[parse_network(entry)], source="x-forwarded-for", is_edgeserver=False
    )
    connection.execute(view)
    assert connection.execute("SELECT plain FROM tagged").fetchall() == [(False,)]


def requests(seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield peers, lists and paths of a chain with clients that are all different."""
    chance = random.Random(seed)
    for number in range(200):
        low = f"{seed}.{number >> 8}.{number & 255}"
        client = f"2a00:{seed}::{number:x}" if number % 5 == 0 else f"8.{low}"
        path = f"/{number % 9}"
        yield "192.0.2.5", client, path  # a listed proxy, and behind it a further one
        yield "192.0.2.5", f"{client}, 198.51.100.{chance.randint(1, 2)}", path
        yield "203.0.113.9", client, path  # a proxy that is not listed
        if number % 4 == 0:
            yield f"9.{low}", "-", path  # past the proxies
            # a user of a proxy of his own, who sometimes comes without it
            yield "192.0.2.5", f"{client}, 7.7.7.{number % 3}", path
            yield "192.0.2.5", f"7.7.7.{number % 3}", path
    for number in range(3):
        yield "192.0.2.5", chance.choice(["unknown", "10.9.9.9", "127.0.0.1, 8.8.8.8"]), "/odd"
        yield f"203.0.113.{90 + number}", "10.0.0.1", "/admin"


def nginx(path: Path, seed: int) -> Path:
    """Write them as nginx does."""
    lines = [
        f"{peer} - - [28/Nov/2026:07:{number // 60 % 60:02d}:{number % 60:02d} +0000] "
        f'"GET {target} HTTP/1.1" 200 2 "-" "curl/8" "{claim}"\n'
        for number, (peer, claim, target) in enumerate(requests(seed))
    ]
    path.write_text("".join(lines))
    return path


def caddy(path: Path, seed: int) -> Path:
    """Write them as Caddy does."""
    path.write_text(
        "".join(
            json.dumps(
                {
                    "ts": 1795845599.0 + number,
                    "request": {
                        "remote_ip": peer,
                        "uri": target,
                        "headers": {} if claim == "-" else {"X-Forwarded-For": [claim]},
                    },
                    "status": 200,
                }
            )
            + "\n"
            for number, (peer, claim, target) in enumerate(requests(seed))
        )
    )
    return path


def own(path: Path, seed: int) -> Path:
    """Write them as edgeserver's audit log does."""
    path.write_text(
        "".join(
            json.dumps(
                {
                    "v": 2, "time": "2026-11-28T07:00:00Z", "peer": peer, "target": target,
                    "head": [] if claim == "-" else [["x-forwarded-for", claim]],
                    "conn": {"scheme": "http"}, "verified": True,
                },
                separators=(",", ":"),
            )
            + "\n"
            for peer, claim, target in requests(seed)
        )
    )  # fmt: skip
    return path


WRITERS = {"nginx+xff": nginx, "caddy": caddy, "edgeserver": own}


def shown(path: Path, name: str, *, exact: int) -> tuple[object, ...]:
    """Return what a report says of a log."""
    policy, other = TrustPolicy(TRUST), TrustPolicy(["192.0.2.5", "203.0.113.9"])
    with open_log([str(path)], threads=1) as log:
        result = read_log(log, policy, other, name=name, text=None, exact=exact)
    assert result.changes is not None
    # who stands among many is not named
    findings = [
        (each.code, each.severity, each.requests, round(each.score or 0, 6))
        for each in result.findings
    ]
    counts = (result.reading.lines, result.reading.unread, result.audit.requests)
    return sorted(findings), result.audit.chains, counts, sum(result.changes.values())


@pytest.mark.parametrize("name", WRITERS)
def test_the_report_is_the_same(tmp_path: Path, name: str) -> None:
    """Whether heads are told apart or counted together changes no finding, count or score."""
    path = WRITERS[name](tmp_path / "access.log", 1)
    assert shown(path, name, exact=0) == shown(path, name, exact=1_000_000)


def read_all(path: Path, form: LogFormat, *, exact: int) -> list[Head]:
    """Return the heads of a log."""
    with open_log([str(path)], threads=1) as log:
        heads = DistinctHeads(
            log, form, source="x-forwarded-for", proto=None, exact=exact,
            networks=[parse_network(each) for each in TRUST],
        )  # fmt: skip
        return list(heads.read(Reading()))


@pytest.mark.parametrize("name", WRITERS)
def test_many_heads_become_few(tmp_path: Path, name: str) -> None:
    """Clients that are all different take a row for each way, not one for each client."""
    path = WRITERS[name](tmp_path / "access.log", 3)
    every = read_all(path, FORMATS[name], exact=1_000_000)
    few = read_all(path, FORMATS[name], exact=100)
    assert len(every) > 500
    assert len(few) < 40
    assert sum(each.requests for each in few) == sum(each.requests for each in every)


def test_addresses_of_many_are_counted(tmp_path: Path) -> None:
    """A report says how many peers came past the proxies, and how many clients one names."""
    path = nginx(tmp_path / "access.log", 4)
    with open_log([str(path)], threads=1) as log:
        result = read_log(log, TrustPolicy(TRUST), None, name="nginx+xff", text=None, exact=0)
    told = {each.code: f"{each.subject}: {each.detail}" for each in result.findings}
    assert "53 peers past the listed proxies" in told["bypass"]
    assert "at least 200 public clients" in told["forgotten-proxy"]


def test_a_client_of_whom_nothing_is_known_is_no_candidate() -> None:
    """Heads that are told apart need no count of those that are not."""
    audit = ChainAudit(TrustPolicy(TRUST), has_claims=True, has_scheme=False)
    audit.count_alone(lambda addresses, numbers: pytest.fail("nothing to ask for"))
