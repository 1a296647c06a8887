"""Nanoseconds per call of the resolver, beside `ipaddress.ip_address(str)` in the same run.

    python -m benchmarks.resolve [--json FILE] [--rounds N] [--quick]

Decides what is measured: heads of ten fields whose bytes are new objects for each call, as in a
server, so no hash is at hand. `server` is `bound.resolve(raw, fields)`, what a connection calls
for each request; `call` is `policy.resolve(peer=..., headers=...)` with names in any case. Rounds
are interleaved, and what is quoted is the median over the rounds of that round's ratio, so that a
slow minute of the machine, which meets both, cancels out.
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import json
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from edgeserver.proxyheaders import TrustPolicy

PEER = "10.0.3.7"
TRUSTED = ["10.0.0.0/8", "173.245.48.0/20"]
CALLS = 400
REFERENCE = "ip_address(str)"

FIELDS = (
    (b"Host", b"shop.example"),
    (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"Accept-Language", b"en-GB,en;q=0.7,de;q=0.3"),
    (b"Accept-Encoding", b"gzip, deflate, br"),
    (b"Referer", b"https://shop.example/"),
    (b"Cookie", b"session=0123456789abcdef"),
    (b"Cache-Control", b"max-age=0"),
    (b"Sec-Fetch-Mode", b"navigate"),
    (b"Sec-Fetch-Site", b"same-origin"),
)

Head = list[tuple[bytes, bytes]]


def client(number: int) -> str:
    """Return a client's address, another one for each number."""
    return f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@dataclass(frozen=True)
class Chain:
    """One kind of chain: its title, the field, and its value for a client."""

    title: str
    source: str
    value: Callable[[str], bytes] | None
    proto: bool = True

    def head(self, number: int) -> Head:
        """Return a head of ten fields, every byte string in it a new object."""
        own: list[tuple[bytes, bytes]] = []
        if self.value is not None:
            own.append((self.source.title().encode(), self.value(client(number))))
            if self.proto:
                own.append((b"X-Forwarded-Proto", b"https"))
        fields = [*FIELDS[: 10 - len(own)], *own]
        return [(name, bytes(bytearray(value))) for name, value in fields]


def forwarded(address: str) -> bytes:
    """Return three elements, as conforming proxies write them."""
    return (
        f"for={address};proto=https;host=shop.example, for=173.245.48.12;proto=https, "
        "for=10.0.3.9;by=10.0.3.7"
    ).encode()


def long_chain(address: str) -> bytes:
    """Return 64 KiB, the boundary near the right end."""
    tail = f"{address}, 173.245.48.12".encode()
    return b"6.6.6.6, " * ((65536 - len(tail)) // 9) + tail


XFF = "x-forwarded-for"
CHAINS = (
    Chain("no header", XFF, None),
    Chain("one hop", XFF, lambda address: address.encode()),
    Chain("three hops", XFF, lambda address: f"{address}, 173.245.48.12, 10.0.3.9".encode()),
    Chain("RFC 7239, three elements", "forwarded", forwarded, proto=False),
    Chain("64 KiB, boundary near the right", XFF, long_chain),
)


def timed(call: Callable[[Any], object], arguments: list[Any]) -> float:
    """Return nanoseconds per call."""
    started = perf_counter_ns()
    for argument in arguments:
        call(argument)
    return (perf_counter_ns() - started) / len(arguments)


def measure(chain: Chain, *, fresh: bool, server: bool) -> float:
    """Return nanoseconds per call for one row, with a policy that has seen nothing but its own."""
    policy = TrustPolicy(TRUSTED, source=chain.source)
    count = CALLS if len(chain.head(0)[-1][1]) < 1000 else CALLS // 8
    heads = [chain.head(number if fresh else 7) for number in range(count)]
    if not server:
        ask = policy.resolve
        for head in heads if not fresh else [chain.head(1 << 20)] * 3:
            ask(peer=PEER, headers=head)
        started = perf_counter_ns()
        for head in heads:
            ask(peer=PEER, headers=head)
        return (perf_counter_ns() - started) / len(heads)
    bound = policy.bind(peer=PEER, peer_port=40000)
    lower = [[(name.lower(), value) for name, value in head] for head in heads]
    pairs = [(head, dict(head)) for head in lower]
    if not fresh:
        for raw, fields in pairs[:3]:
            bound.resolve(raw, fields)
    resolve = bound.resolve
    started = perf_counter_ns()
    for raw, fields in pairs:
        resolve(raw, fields)
    return (perf_counter_ns() - started) / len(pairs)


def rows() -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield every row's title and its measurement."""
    yield REFERENCE, lambda: timed(ipaddress.ip_address, [client(n) for n in range(CALLS)])
    for chain in CHAINS:
        for fresh in (False, True):
            if chain.value is None and fresh:
                continue
            for server in (True, False):
                title = f"{chain.title}, {'fresh' if fresh else 'repeated'}"
                yield (
                    f"{title}, {'server' if server else 'call'}",
                    lambda c=chain, f=fresh, s=server: measure(c, fresh=f, server=s),  # type: ignore[misc]
                )


def run(rounds: int) -> dict[str, dict[str, float]]:
    """Measure every row once a round, in a rotating order."""
    table = list(rows())
    samples: dict[str, list[float]] = {title: [] for title, _ in table}
    for number in range(rounds):
        turn = number % len(table)
        for title, call in table[turn:] + table[:turn]:
            gc.disable()
            samples[title].append(call())
            gc.enable()
    reference = samples[REFERENCE]
    return {
        title: {
            "ns": round(statistics.median(values), 1),
            "of_ip_address": round(
                statistics.median(a / b for a, b in zip(values, reference, strict=True)), 2
            ),
        }
        for title, values in samples.items()
    }


def targets(results: dict[str, dict[str, float]]) -> list[tuple[str, float, float]]:
    """Return each target's words, the bound, and what was measured."""
    short = results["three hops, fresh, server"]["ns"]
    return [
        (
            "repeated chain of three hops",
            0.6,
            results["three hops, repeated, server"]["of_ip_address"],
        ),
        (
            "the same through policy.resolve",
            1.3,
            results["three hops, repeated, call"]["of_ip_address"],
        ),
        ("fresh chain of three hops", 8.0, results["three hops, fresh, server"]["of_ip_address"]),
        (
            "64 KiB beside a short one, fresh",
            3.0,
            round(results["64 KiB, boundary near the right, fresh, server"]["ns"] / short, 2),
        ),
    ]


def main() -> int:
    """Measure, print the table, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--quick", action="store_true", help="few rounds: a smoke test, no figures")
    flags = parser.parse_args()
    rounds = 3 if flags.quick else flags.rounds
    results = run(rounds)
    width = max(len(title) for title in results)
    print(f"{'':{width}}  {'ns':>9}  of ip_address")
    for title, row in results.items():
        print(f"{title:{width}}  {row['ns']:>9.0f}  {row['of_ip_address']:>6.2f}")
    print()
    for words, bound, measured in targets(results):
        print(
            f"{'met   ' if measured <= bound else 'MISSED'}  {words}: {measured} (at most {bound})"
        )
    if flags.json is not None:
        python = f"{platform.python_implementation()} {platform.python_version()}"
        report = {"python": python, "rounds": rounds, "rows": results}
        flags.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
