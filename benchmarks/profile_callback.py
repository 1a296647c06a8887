"""The callback path without network noise: nanoseconds per request, and where they go.

    python -m benchmarks.profile_callback [--request browser|minimal|varied] [--profile]

Feeds the request bytes to the protocol object that `HTTPServer.build_protocol` makes, over a
transport that only counts. The figures are for comparing one version of the code with the next:
what the kernel, the event loop and the cold caches of a real server cost is not in them.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time

import uvloop

from benchmarks.inprocess import CountingTransport, connect, protocol_factory, requests_of
from benchmarks.model import Workload
from benchmarks.tables import BROWSER, MINIMAL, VARIED

WORKLOADS = {workload.name: workload for workload in (BROWSER, MINIMAL, VARIED)}
BATCH = 1000  # requests between two turns of the event loop


def read_flags() -> argparse.Namespace:
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = flags.add_argument
    add("--request", choices=tuple(WORKLOADS), default="browser")
    add("--count", type=int, default=50_000, help="requests in one repeat")
    add("--repeats", type=int, default=7)
    add("--connections", type=int, default=64)
    add("--profile", action="store_true", help="show the functions that cost most")
    add("--top", type=int, default=30, help="how many of them")
    add("--sort", choices=("tottime", "cumtime"), default="tottime")
    add("--asyncio", action="store_true", help="on asyncio's own loop instead of uvloop")
    return flags.parse_args()


async def feed(transports: list[CountingTransport], requests: list[bytes]) -> float:
    """Give the connections the requests by turns, and return the CPU seconds that it took."""
    receivers = [transport.protocol.data_received for transport in transports]
    spent = 0.0
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        turns = [receivers[n % len(receivers)] for n in range(len(batch))]
        before = time.thread_time()
        for receive, request in zip(turns, batch, strict=True):
            receive(request)
        await asyncio.sleep(0)  # the answers of one turn of the loop are written at its end
        spent += time.thread_time() - before
    return spent


async def main(flags: argparse.Namespace) -> None:
    workload = WORKLOADS[flags.request]
    make_protocol, stop = await protocol_factory(*workload.settings())
    transports = [connect(make_protocol) for _ in range(flags.connections)]
    await feed(transports, requests_of(workload, len(transports), 0))
    answer = transports[0].last  # by itself; later those of one turn are written together
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"Hello, world!"):
        raise SystemExit(f"not the answer that is to be measured: {answer!r}")
    await feed(transports, requests_of(workload, BATCH, flags.connections))
    served_before = sum(transport.written for transport in transports)
    figures = []
    for repeat in range(flags.repeats):
        requests = requests_of(workload, flags.count, (repeat + 1) * flags.count)
        figures.append(await feed(transports, requests) / flags.count * 1e9)
    served = sum(transport.written for transport in transports) - served_before
    expected = flags.repeats * flags.count * len(answer)
    if served != expected:
        raise SystemExit(f"{served} bytes were written instead of {expected}: not all was answered")
    print(
        f"{workload.name}: {statistics.median(figures):,.0f} ns per request"
        f" (best {min(figures):,.0f}, worst {max(figures):,.0f})"
    )
    if flags.profile:
        await show_profile(flags, workload, transports)
    for transport in transports:
        transport.lose()
    stop()


async def show_profile(
    flags: argparse.Namespace, workload: Workload, transports: list[CountingTransport]
) -> None:
    requests = requests_of(workload, flags.count, (flags.repeats + 1) * flags.count)
    profile = cProfile.Profile()
    profile.enable()
    await feed(transports, requests)
    profile.disable()
    pstats.Stats(profile).strip_dirs().sort_stats(flags.sort).print_stats(flags.top)


if __name__ == "__main__":
    chosen = read_flags()
    (asyncio.run if chosen.asyncio else uvloop.run)(main(chosen))
