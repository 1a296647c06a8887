"""The samples of a worker: what its servers and logs have counted gets into its row."""

from __future__ import annotations

import datetime
import json
from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.audit.samples import MOST_SAMPLES, ChainSamples
from edgeserver.http.tally import RequestTally
from edgeserver.operate.sampling import DESCRIBE_EVERY_S, Sampler
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.explanation.codes import make_finding
from edgeserver.support.counters import ROW_BYTES, TEXT_BYTES, CounterRow
from edgeserver.tls.contexts.status import HostStatus
from edgeserver.tls.handshake.limiter import HandshakeTally

EXPIRY = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


class FakeTLS:
    """The TLS of a server."""

    def __init__(self) -> None:
        self.tally = HandshakeTally()
        self.failures: dict[str, int] = {}
        self.handshakes = SimpleNamespace(silent=0)
        self.hosts: list[HostStatus] = []

    @property
    def contexts(self) -> list[Any]:
        return [SimpleNamespace(status=lambda: self.hosts)]

    def keep_tally(self) -> HandshakeTally:
        return self.tally


class FakeServer:
    """A server, as far as it is looked at."""

    def __init__(self) -> None:
        self.open_connections = self.opened_connections = self.requests_in_flight = 0
        self.trust = TrustPolicy.off()
        self.tls = FakeTLS()
        self.tally = RequestTally()
        self.waiting: list[str] = []
        self.row: CounterRow | None = None
        self.samples: ChainSamples

    def keep_tally(self) -> RequestTally:
        return self.tally

    def count_into(self, counters: CounterRow) -> None:
        self.row = counters

    def sample_chains(self, samples: ChainSamples | None = None) -> ChainSamples:
        self.samples = samples or ChainSamples(lambda: None)
        return self.samples

    def in_flight(self) -> list[str]:
        return self.waiting


class Sampled:
    """A sampler of fakes, with a clock that stands still."""

    def __init__(self, servers: int = 1, row: CounterRow | None = None, **logs: int) -> None:
        self.now_s = 1000.0
        self.row = CounterRow(bytearray(ROW_BYTES)) if row is None else row
        self.servers = [FakeServer() for _ in range(servers)]
        self.server = self.servers[0]
        self.dropped = logs
        self.sampler = Sampler(
            self.row, self.servers, dropped=lambda: self.dropped, clock=lambda: self.now_s
        )

    def numbers(self, **options: Any) -> dict[tuple[str, ...], float]:
        """Look at everything, and return what is not 0."""
        self.sampler.sample(**options)
        return {key: value for key, value in self.row.read().items() if value}

    @property
    def said(self) -> dict[str, Any]:
        """What it tells of itself."""
        said: dict[str, Any] = json.loads(self.row.read_text())
        return said


def test_requests() -> None:
    """What a tally has risen by is added, once."""
    sampled = Sampled()
    sampled.server.tally.add(200, 0.001)
    sampled.server.tally.add(404, 0.3)
    sampled.server.tally.add(0, 99.0)
    expected = {
        ("requests_total", "200"): 1,
        ("requests_total", "404"): 1,
        ("requests_total", "none"): 1,
        ("request_duration_seconds", "0.005"): 1,
        ("request_duration_seconds", "0.5"): 1,
        ("request_duration_seconds", "+Inf"): 1,
        ("request_duration_seconds_sum",): pytest.approx(99.301),
    }
    assert sampled.numbers() == expected
    assert sampled.numbers() == expected
    sampled.server.tally.add(299, 0.001)
    assert sampled.numbers()["requests_total", "other"] == 1


def test_several_servers_of_several_processes() -> None:
    """Numbers of all servers are added, to what another process has counted before."""
    first = Sampled(2)
    for server in first.servers:
        server.tally.add(200, 0.001)
        server.opened_connections = 3
        server.tls.failures = {"timeout": 1}
    first.numbers()
    second = Sampled(1, row=first.row)
    second.server.tally.add(200, 0.001)
    second.server.opened_connections = 1
    numbers = second.numbers()
    assert numbers["requests_total", "200"] == 3
    assert numbers["connections_total",] == 7
    assert numbers["tls_handshakes_total", "timeout", "none"] == 2
    assert second.server.row is first.row


def test_gauges() -> None:
    """What is true now replaces what was."""
    sampled = Sampled(2)
    for server in sampled.servers:
        server.open_connections, server.requests_in_flight = 5, 2
    numbers = sampled.numbers(lag_s=0.5)
    assert numbers["connections",] == 10
    assert numbers["requests_in_flight",] == 4
    assert numbers["loop_lag",] == 0.5
    sampled.servers[0].open_connections = 0
    assert sampled.numbers()["connections",] == 5


def test_handshakes() -> None:
    """Those that succeeded count by kind and version, the others by reason."""
    sampled = Sampled()
    tls = sampled.server.tls
    tls.tally.add(False, "TLSv1.3", 0.02)
    tls.tally.add(True, "TLSv1.2", 0.001)
    tls.failures = {"no-common-version": 4}
    tls.handshakes.silent = 2
    numbers = sampled.numbers()
    assert numbers["tls_handshakes_total", "full", "TLSv1.3"] == 1
    assert numbers["tls_handshakes_total", "resumed", "TLSv1.2"] == 1
    assert numbers["tls_handshakes_total", "no-common-version", "none"] == 4
    assert numbers["tls_handshakes_total", "silent", "none"] == 2
    assert numbers["tls_handshake_seconds", "0.025"] == 1
    assert numbers["tls_handshake_seconds_sum",] == pytest.approx(0.021)


def test_findings_of_each_policy() -> None:
    """Another policy counts from 0 on, and nothing falls."""
    sampled = Sampled()
    sampled.server.trust.count_findings([make_finding("any-peer-trusted", "x")] * 3)
    assert sampled.numbers()["findings_total", "any-peer-trusted"] == 3
    sampled.server.trust = TrustPolicy.off()
    assert sampled.numbers()["findings_total", "any-peer-trusted"] == 3
    sampled.server.trust.count_findings([make_finding("any-peer-trusted", "x")] * 2)
    assert sampled.numbers()["findings_total", "any-peer-trusted"] == 5


def test_lines_that_were_dropped() -> None:
    """Each log's number is counted, one that begins again by all of it."""
    sampled = Sampled(access=5, audit=0)
    assert sampled.numbers()["log_lines_dropped_total", "access"] == 5
    sampled.dropped["access"] = 2
    assert sampled.numbers()["log_lines_dropped_total", "access"] == 7


def test_what_is_told_in_words() -> None:
    """Certificates, policy and requests are told now and then, and at the end each time."""
    sampled = Sampled()
    sampled.server.tls.hosts = [HostStatus(host="a.test", versions="v", client_policy="c")]
    sampled.server.tls.hosts += [
        HostStatus(host="", versions="v", client_policy="c", not_after=EXPIRY)
    ]
    numbers = sampled.numbers()
    assert numbers["certificate_not_after_seconds", ""] == EXPIRY.timestamp()
    assert [each["host"] for each in sampled.said["certificates"]] == ["a.test", ""]
    assert sampled.said["policy"] == ["client address: the peer's; no header is read"]
    sampled.server.waiting = ["GET /a 3 s"]
    sampled.sampler.sample()
    assert sampled.said["waiting"] == []
    sampled.sampler.sample(is_ending=True)
    assert sampled.said["waiting"] == ["GET /a 3 s"]
    sampled.server.waiting = []
    sampled.now_s += DESCRIBE_EVERY_S
    sampled.sampler.sample()
    assert sampled.said["waiting"] == []


def test_words_are_bounded() -> None:
    """Hundreds of hosts are not all told in words; the numbers have them."""
    sampled = Sampled()
    sampled.server.tls.hosts = [
        HostStatus(host=f"h{n}.test", versions="v" * 100, client_policy="c", not_after=EXPIRY)
        for n in range(100)
    ]
    sampled.server.waiting = ["GET /" + "x" * 80] * 50
    numbers = sampled.numbers()
    assert len([key for key in numbers if key[0] == "certificate_not_after_seconds"]) == 100
    assert len(sampled.row.read_text()) <= TEXT_BYTES
    assert len(sampled.said["certificates"]) == 5
    assert len(sampled.said["waiting"]) == 10


@pytest.mark.parametrize(("failed", "result"), [(True, "failed"), (False, "ok")])
def test_reloads(failed: bool, result: str) -> None:
    """A reload counts by what became of it, and its result is told at once."""
    sampled = Sampled()
    sampled.sampler.sample()
    sampled.server.waiting = ["GET /now 1 s"]
    sampled.sampler.count_reload(failed=failed)
    assert sampled.row.read()["reloads_total", result] == 1
    assert sampled.said["waiting"] == ["GET /now 1 s"]


def _arrive(sampled: Sampled, *clients: str) -> None:
    """Have requests of a listed proxy come, each with a client."""
    bound = TrustPolicy(["10.0.0.5"]).bind(peer="10.0.0.5")
    for client in clients:
        pairs = [(b"x-forwarded-for", client.encode())]
        sampled.server.samples.record(
            lambda: None, "GET", "/", 0.0, pairs=pairs, bound=bound, policy=None, request_id=None
        )
        sampled.server.tally.add(200, 0.001)


def test_chains_of_few_requests_are_counted() -> None:
    """Each request counts once, whatever its client is; peers are told in words."""
    sampled = Sampled()
    _arrive(sampled, "203.0.113.9", "no address")
    numbers = sampled.numbers()
    assert numbers["audit_chains", "10.0.0.5"] == 2
    assert numbers["audit_reasons", "first-untrusted"] == 1
    assert numbers["audit_reasons", "malformed-boundary"] == 1
    assert numbers["audit_shapes", "1 listed proxy, http, not verified"] == 1
    assert sampled.numbers() == numbers
    sampled.now_s += DESCRIBE_EVERY_S
    sampled.sampler.sample()
    peer = {"address": "10.0.0.5", "listed": True, "claims": False, "requests": 2}
    assert sampled.said["peers"] == [peer]


def test_chains_of_many_requests_are_samples() -> None:
    """Where more come than are looked at, these stand for all that have ended since."""
    sampled = Sampled()
    _arrive(sampled, *["203.0.113.9"] * MOST_SAMPLES * 10)
    assert sampled.numbers()["audit_chains", "10.0.0.5"] == MOST_SAMPLES * 10
    _arrive(sampled, "203.0.113.9")
    assert sampled.numbers()["audit_chains", "10.0.0.5"] == MOST_SAMPLES * 10 + 1
