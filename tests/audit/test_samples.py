"""Samples of requests: what of them is kept, that it is bounded, and that it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeserver.audit.log import AuditLog
from edgeserver.audit.samples import MOST_CHAIN, MOST_PEERS, MOST_SAMPLES, ChainSamples, PeerCounts
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.site import address_of, connected, serve
from tests.loops import on_both_loops

POLICY = TrustPolicy(["10.0.0.0/8", "2001:db8::/32", "unix:"])


def counts(
    forwarded: bytes | None = None, peer: str = "10.0.0.5", policy: TrustPolicy = POLICY
) -> dict[str, str]:
    """Return what is counted of one request, by its family."""
    samples = ChainSamples(lambda: None)
    pairs = [] if forwarded is None else [(b"x-forwarded-for", forwarded)]
    samples.record(
        lambda: None, "GET", "/", 0.0,
        pairs=pairs, bound=policy.bind(peer=peer), policy=policy, request_id=None,
    )  # fmt: skip
    found = samples.take(1)
    assert set(found.values()) == {1.0}
    return {family: label for family, label in found if family != "audit_findings"}


@pytest.mark.parametrize(
    ("peer", "forwarded", "chain", "shape"),
    [
        ("10.0.0.5", b"203.0.113.9", "10.0.0.5", "1 listed proxy, http, verified"),
        ("10.0.0.5", b"6.6.6.6, 203.0.113.9", "10.0.0.5", "1 listed proxy, http, verified"),
        (
            "10.0.0.5",
            b"203.0.113.9, 10.0.0.6",
            "10.0.0.6 10.0.0.5",
            "2 listed proxies, http, verified",
        ),
        ("10.0.0.5", None, "10.0.0.5", "1 listed proxy, http, verified"),
        ("10.0.0.5", b"<script>", "10.0.0.5", "1 listed proxy, http, not verified"),
        ("203.0.113.9", b"10.0.0.1", "", "0 listed proxies, http, verified"),
        ("unix:", b"203.0.113.9", "unix:", "1 listed proxy, http, verified"),
    ],
    ids=["one", "a lie", "two", "health check", "markup", "stranger", "unix"],
)
def test_what_is_kept(peer: str, forwarded: bytes | None, chain: str, shape: str) -> None:
    """The listed proxies of a chain, outermost first, and nothing that a stranger chose."""
    found = counts(forwarded, peer)
    assert (found["audit_chains"], found["audit_shapes"]) == (chain, shape)


def test_long_chains_are_cut() -> None:
    """Of many proxies the innermost are named, so that the text has its place in a row."""
    hops = b", ".join(b"2001:db8:1111:2222:3333:4444:5555:%x" % number for number in range(1, 9))
    found = counts(b"203.0.113.9, " + hops)
    assert found["audit_chains"].startswith("... 2001:db8:")
    assert found["audit_chains"].endswith(" 10.0.0.5")
    assert len(found["audit_chains"]) <= MOST_CHAIN
    assert found["audit_shapes"].startswith("more than 4 listed proxies")


@pytest.mark.parametrize(
    "policy", [TrustPolicy.tornado(), TrustPolicy.off()], ids=["tornado", "off"]
)
def test_nobody_is_listed(policy: TrustPolicy) -> None:
    """Where everybody or nobody is believed there is no listed proxy, so no peer is a label."""
    assert counts(b"203.0.113.9", "198.51.100.4", policy)["audit_chains"] == ""


def test_peers_are_bounded() -> None:
    """Whoever connects from many addresses does not drive out those that come most."""
    peers = PeerCounts()
    for number in range(10 * MOST_PEERS):
        peers.add("10.0.0.5", 2.0, listed=True, claims=False)
        peers.add(f"203.0.{number % 250}.{number // 250}", 1.0, listed=False, claims=True)
        assert len(peers.peers) <= MOST_PEERS
    ((address, first),) = peers.most(1)
    assert (address, first.listed, first.requests) == ("10.0.0.5", True, 20.0 * MOST_PEERS)


HEAD = b"X-Forwarded-For: 203.0.113.9\r\n"


@on_both_loops
async def test_a_server_that_is_looked_at(tmp_path: Path) -> None:
    """A window sees the first requests and closes; the audit log has each request once."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    try:
        async with serve(trust=TrustPolicy(["127.0.0.1"]), audit_log=log) as server:
            samples = server.sample_chains()
            async with connected(address_of(server)) as client:
                for _ in range(MOST_SAMPLES + 4):
                    await client.ask(HEAD)
                counted = samples.take(MOST_SAMPLES + 4)
                assert counted["audit_chains", "127.0.0.1"] == MOST_SAMPLES + 4
                await client.ask(HEAD)
                assert samples.take(1) == {}
                assert server.sample_chains(samples) is samples
                await client.ask(HEAD)
                assert samples.take(1)["audit_reasons", "first-untrusted"] == 1
        assert log.flush()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert sum("kind" not in line for line in lines) == MOST_SAMPLES + 6
    finally:
        log.close()


def test_a_sample_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in a sample is logged, and no request hears of it."""
    samples = ChainSamples(lambda: None)
    samples.record(
        lambda: None, "GET", "/", 0.0, pairs=(), bound=None, policy=None, request_id=None
    )
    assert samples.take(1) == {}
    assert "sample of the chain" in caplog.text
