"""The samples of a worker: what its servers and logs have counted, put where its parent reads it.

Decides what is looked at once a second, and what a worker tells of itself. It must not know how the
numbers are shown. A request pays for a few additions to numbers of its own process; here they get
into memory that outlives it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from edgeserver.audit.samples import ChainSamples
from edgeserver.config.trust import describe_policy
from edgeserver.http.tally import UNKNOWN, RequestTally
from edgeserver.support.counters import OTHER, TEXT_BYTES, CounterRow
from edgeserver.support.durations import BOUNDS_S, Durations

__all__ = ["SampledServer", "Sampler"]

DESCRIBE_EVERY_S: Final = 5.0
"""How often a worker tells of itself in words, while nothing is the matter."""

PEERS: Final = 20
"""How many of the peers that connect most are named."""

NAMED: Final = 10
"""How many of the requests in flight are named."""

_LABELS: Final = (*(str(bound) for bound in BOUNDS_S), "+Inf")


class SampledServer(Protocol):
    """What is asked of a server; see `HTTPServer`."""

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        ...

    @property
    def opened_connections(self) -> int:
        """How many have come as far as HTTP."""
        ...

    @property
    def requests_in_flight(self) -> int:
        """How many requests are being served."""
        ...

    @property
    def trust(self) -> Any:
        """The trust policy in force."""
        ...

    @property
    def tls(self) -> Any:
        """The TLS of the server; see `TLSService`."""
        ...

    def keep_tally(self) -> RequestTally:
        """Return how many requests have ended since this was first called."""
        ...

    def count_into(self, counters: CounterRow) -> None:
        """Have what is refused and shed counted there."""
        ...

    def sample_chains(self, samples: ChainSamples | None = None) -> ChainSamples:
        """Return what looks at some requests, and have it look at the next ones."""
        ...

    def in_flight(self) -> list[str]:
        """Return the requests in flight as people read them."""
        ...


class Sampler:
    """Writes what one worker has counted into its row.

    Args:
        row: The row; nobody else writes there now.
        servers: The servers of the worker, the main one first.
        dropped: Returns how many lines each log has dropped.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        row: CounterRow,
        servers: Sequence[SampledServer],
        *,
        dropped: Callable[[], Mapping[str, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._row = row
        self._servers = servers
        self._dropped = dropped
        self._clock = clock
        self._seen: dict[tuple[str, ...], float] = {}  # what was written of each number that rises
        self._policy: Any = None  # whose findings were looked at last
        self._tallies = [each.keep_tally() for each in servers]
        self._handshakes = [each.tls.keep_tally() for each in servers]
        self._described_s = 0.0
        self._chains = servers[0].sample_chains()
        self._ended = 0  # requests of the main server, when a window was opened
        for each in servers:
            each.count_into(row)

    def sample(self, *, lag_s: float = 0.0, is_ending: bool = False) -> None:
        """Look at everything.

        Args:
            lag_s: How late the event loop was.
            is_ending: Whether requests are waited for, which are then named each time.
        """
        row = self._row
        row.set("connections", value=sum(each.open_connections for each in self._servers))
        row.set("requests_in_flight", value=sum(each.requests_in_flight for each in self._servers))
        row.set("loop_lag", value=lag_s)
        opened = sum(each.opened_connections for each in self._servers)
        self._rise("connections_total", value=opened)
        for number, tally in enumerate(self._tallies):
            self._sample_tally(number, tally)
        for number, server in enumerate(self._servers):
            self._sample_tls(number, server)
        self._sample_findings()
        self._sample_chains()
        for name, count in self._dropped().items():
            self._rise("log_lines_dropped_total", name, value=count)
        now_s = self._clock()
        if is_ending or not self._described_s or now_s - self._described_s >= DESCRIBE_EVERY_S:
            self._described_s = now_s
            self._describe()

    def count_reload(self, *, failed: bool) -> None:
        """Count a reload, and tell of what it has changed."""
        self._row.add("reloads_total", "failed" if failed else "ok")
        self._describe()

    def _rise(self, family: str, *labels: str, value: float, source: str = "") -> None:
        """Add what a number has risen by since it was looked at last.

        Args:
            family: What it is counted as.
            labels: The values of its labels.
            value: The number now; one that begins again has risen by all of it.
            source: Which of several numbers that are counted together it is.
        """
        key = (source, family, *labels)
        before = self._seen.get(key, 0.0)
        risen = value - before if value >= before else value
        if risen:
            self._seen[key] = value
            self._row.add(family, *labels, amount=risen)

    def _sample_tally(self, number: int, tally: RequestTally) -> None:
        source = str(number)
        for status, count in tally.statuses().items():
            if count:
                code = OTHER if status == UNKNOWN else str(status or "none")
                self._rise("requests_total", code, value=count, source=source)
        self._sample_durations("request_duration_seconds", tally.buckets(), tally.seconds, source)

    def _sample_durations(
        self, family: str, counts: Sequence[int], seconds: float, source: str
    ) -> None:
        for label, count in zip(_LABELS, counts, strict=True):
            if count:
                self._rise(family, label, value=count, source=source)
        self._rise(f"{family}_sum", value=seconds, source=source)

    def _sample_tls(self, number: int, server: SampledServer) -> None:
        source = str(number)
        tally = self._handshakes[number]
        for (resumed, version), count in tally.versions.items():
            kind = "resumed" if resumed else "full"
            self._rise("tls_handshakes_total", kind, version, value=count, source=source)
        for reason, count in server.tls.failures.items():
            self._rise("tls_handshakes_total", reason, "none", value=count, source=source)
        handshakes = server.tls.handshakes
        if handshakes is not None and handshakes.silent:
            self._rise(
                "tls_handshakes_total", "silent", "none", value=handshakes.silent, source=source
            )
        durations: Durations = tally.durations
        self._sample_durations("tls_handshake_seconds", durations.counts, durations.seconds, source)

    def _sample_findings(self) -> None:
        policy = self._servers[0].trust
        if policy is not self._policy:  # it counts from 0 on
            self._policy = policy
            self._seen = {
                key: value for key, value in self._seen.items() if key[1] != "findings_total"
            }
        for code, count in policy.finding_counts.items():
            self._rise("findings_total", code, value=count)

    def _sample_chains(self) -> None:
        ended = sum(self._tallies[0].statuses().values())
        for (family, label), amount in self._chains.take(ended - self._ended).items():
            self._row.add(family, label, amount=amount)
        self._ended = ended
        self._servers[0].sample_chains(self._chains)

    # In words.

    def _describe(self) -> None:
        statuses = [
            status
            for server in self._servers
            for contexts in server.tls.contexts
            for status in contexts.status()
        ]
        self._row.clear("certificate_not_after_seconds")  # a host may be there no more
        for each in statuses:
            if each.not_after is not None:
                until_s = each.not_after.timestamp()
                self._row.set("certificate_not_after_seconds", each.host, value=until_s)
        policy = self._servers[0].trust
        said: dict[str, Any] = {
            "policy": describe_policy(policy),
            "findings": [each.as_dict() for each in policy.warnings],
            "certificates": [each.as_dict() for each in statuses],
            "waiting": self._waiting(),
            "peers": [
                {
                    "address": address,
                    "listed": each.listed,
                    "claims": each.claims,
                    "requests": round(each.requests),
                }
                for address, each in self._chains.peers.most(PEERS)
            ],
        }
        for name in ("certificates", "findings", "policy", "waiting", "peers"):
            data = json.dumps(said).encode("ascii")
            if len(data) <= TEXT_BYTES:
                break
            said[name] = said[name][:5]  # hundreds of hosts: the numbers have them all
        else:
            data = b"{}"
        self._row.write_text(data)

    def _waiting(self) -> list[str]:
        requests = [each for server in self._servers for each in server.in_flight()]
        return requests[:NAMED]
