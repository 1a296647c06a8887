"""What edgeserver promises who operates it, as figures: `python -m benchmarks.operated.promises`.

Each is measured by itself (`--only kills,stuck`), in half a minute to two. Those of time (`slow`,
`share`) count on an idle machine alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from benchmarks.operated.peers import PEERS, Site, filled
from benchmarks.operated.rows import ask
from benchmarks.procs import free_port, memory_kib
from benchmarks.rolls import Load

KILLS = 10
STUCK_S = 3
SLOW_CLIENTS = 2000
NEIGHBOURS = 1000
ROTATIONS = 10
REQUESTS, CONNECTIONS = 200_000, 20_000
RENEWALS = 100
STARTS = 12
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def _running(
    site: Site, *options: str, workers: int = 2
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Run the server at a port; yield its first process and the port."""
    peer, port = PEERS["edgeserver"], free_port()
    site.forget()
    command = [*peer.run, *filled(peer.bind, port=port), *options, "--workers", str(workers)]
    async with site.serving(command, workers=workers) as process:
        yield process, port


async def kills(site: Site) -> str:
    """Kill -9 ten times, three seconds apart."""
    async with _running(site, "--no-access-log") as (_, port):
        load, took, at_s = Load(port, looks=True), [], []
        for _ in range(KILLS):
            await asyncio.sleep(3)
            known = set(site.workers())
            os.kill(min(site.living()), signal.SIGKILL)
            at_s.append(time.monotonic())
            served_s = await site.until_new(known, 1, 20)
            took.append(float("inf") if served_s is None else served_s - at_s[-1])
        await asyncio.sleep(1)
        await load.end()
    # What was on its way to the dead process when it died is lost, whoever the server is.
    after = [
        each for each in load.lost if not any(-1 < each.begun_s - kill_s < 0.1 for kill_s in at_s)
    ]
    for each in after:
        print("  ", each.what, [round(each.begun_s - kill_s, 2) for kill_s in at_s])
    return (
        f"{len(after)} lost of those begun after, {len(load.lost)} in all, of {load.answered:,};"
        f" replaced after {min(took):.2f} to {max(took):.2f} s"
    )


async def stuck(site: Site) -> str:
    """A worker is held by a call that sleeps, and by one that keeps the interpreter's lock."""
    results = []
    for path in ("asleep", "held"):
        options = ("--no-access-log", "--worker-timeout", str(STUCK_S))
        async with _running(site, *options) as (_, port):
            load = Load(port, looks=True)
            await asyncio.sleep(1)
            known, at_s = set(site.workers()), time.monotonic()
            asking = asyncio.create_task(ask(port, path))
            served_s = await site.until_new(known, 1, 20)
            await asyncio.sleep(1)
            await load.end()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        kept = sum(each.what.startswith(("keep", "pause")) for each in load.lost)
        named = 'application.py", line' in site.said()
        results.append(
            f"{path}: replaced after {(served_s or float('inf')) - at_s:.1f} s of {STUCK_S},"
            f" {'line named' if named else 'line NOT named'}, {kept} lost that were on its"
            f" connections, {len(load.lost) - kept} others, of {load.answered:,}"
        )
    return "; ".join(results)


async def trickle(port: int) -> None:
    """Be 2,000 clients that each send a byte of a head a second, until somebody kills us."""

    async def one() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(1)

    await asyncio.gather(*(one() for _ in range(SLOW_CLIENTS)))


async def slow(site: Site) -> str:
    """2,000 slow clients, beside one that asks over fresh connections."""

    async def neighbour(port: int) -> float:
        times = []
        for _ in range(NEIGHBOURS):
            begun_s = time.perf_counter()
            await ask(port)
            times.append((time.perf_counter() - begun_s) * 1000)
        return statistics.quantiles(times, n=100)[98]

    async with _running(site, "--no-access-log") as (_, port):
        await neighbour(port)
        alone_ms = await neighbour(port)
        # In a process of their own: the neighbour would wait for them in this one.
        command = (sys.executable, "-m", "benchmarks.operated.promises", "--trickle", str(port))
        clients = await asyncio.create_subprocess_exec(*command)
        await asyncio.sleep(5)
        beside_ms = await neighbour(port)
        clients.kill()
        await clients.wait()
    return f"p99 {alone_ms:.1f} ms alone, {beside_ms:.1f} ms beside {SLOW_CLIENTS:,}"


async def rotate(site: Site) -> str:
    """Both logs are renamed and opened again under load."""
    access, audit = site.directory / "access.log", site.directory / "audit.jsonl"
    options = ("--access-log", str(access), "--audit-log", str(audit))
    async with _running(site, *options) as (process, port):
        load = Load(port)
        for number in range(ROTATIONS):
            await asyncio.sleep(0.5)
            for each in (access, audit):
                each.rename(f"{each}.{number}")
            process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(0.5)
        await load.end()
    lines = [
        line
        for name in ("access", "audit")
        for each in site.directory.glob(f"{name}.*")
        for line in each.read_text().splitlines()
    ]
    audited = sum('"target"' in line for line in lines)
    policies = sum('"target"' not in line and line.startswith("{") for line in lines)
    return (
        f"{ROTATIONS} rotations, {load.answered:,} requests, {len(load.lost)} lost; lines in the"
        f" access logs {len(lines) - audited - policies:,}, in the audit logs {audited:,}"
    )


async def memory(site: Site) -> str:
    """200,000 requests and 20,000 connections, after a tenth of each to warm up."""

    async def keep(port: int, count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count // 10):
            writer.write(REQUEST * 10)
            for _ in range(10):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
        writer.close()

    async def fresh(port: int, count: int) -> None:
        for _ in range(count):
            await ask(port)

    async def both(port: int, share: float) -> None:
        requests = round(REQUESTS * share) // 8
        connections = round(CONNECTIONS * share) // 8
        await asyncio.gather(*(keep(port, requests) for _ in range(8)))
        await asyncio.gather(*(fresh(port, connections) for _ in range(8)))

    async with _running(site, "--no-access-log") as (process, port):
        await both(port, 0.1)
        before = memory_kib(process.pid)[1]
        await both(port, 1.0)
        after = memory_kib(process.pid)[1]
    return f"{before:,} KiB before, {after:,} KiB after: {(after / before - 1) * 100:+.1f} %"


async def share(site: Site) -> str:
    """16 connections, a millisecond of work in each request: one worker, two; 12 starts."""

    async def work(port: int, until_s: float) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done, pid = 0, ""
        while time.monotonic() < until_s:
            writer.write(REQUEST.replace(b"/ ", b"/busy ", 1))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split()[0])
            pid = (await reader.readexactly(length)).decode()
            done += 1
        writer.close()
        return done, pid

    rates: dict[int, list[float]] = {1: [], 2: []}
    splits = []
    for number in range(STARTS):
        for workers in (1, 2) if number < 3 else (2,):
            async with _running(site, "--no-access-log", workers=workers) as (_, port):
                lasts_s = 2.0 if number < 3 else 0.3
                until_s = time.monotonic() + lasts_s
                done = await asyncio.gather(*(work(port, until_s) for _ in range(16)))
                if number < 3:
                    rates[workers].append(sum(count for count, _ in done) / lasts_s)
                if workers == 2:
                    counts = Counter(pid for _, pid in done)
                    splits.append(min(counts.values()) if len(counts) == 2 else 0)
    one, two = (statistics.median(rates[workers]) for workers in (1, 2))
    return (
        f"{one:,.0f} requests a second with one worker, {two:,.0f} with two"
        f" ({two / one:.2f} times);"
        f" fewest connections of a worker in {STARTS} starts: {sorted(splits)}"
    )


async def renew(site: Site) -> str:
    """Workers are renewed a hundred times under load (`--max-requests`)."""
    async with _running(site, "--no-access-log", "--max-requests", "20") as (_, port):
        load = Load(port)
        served_s = await site.until_new(set(site.workers()), RENEWALS, 300)
        await load.end()
        count = len(site.workers()) - 2
    return (
        f"{len(load.lost)} lost of {load.answered:,} in {count} restarts of a worker"
        f"{'' if served_s else ', which took too long'}"
    )


PROMISES: dict[str, Callable[[Site], Awaitable[str]]] = {
    "kills": kills,
    "stuck": stuck,
    "slow": slow,
    "rotate": rotate,
    "memory": memory,
    "share": share,
    "renew": renew,
}


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PROMISES))
    parser.add_argument("--python", default=sys.executable, help="of the server")
    parser.add_argument("--trickle", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if args.trickle:
        asyncio.run(trickle(args.trickle))
        return
    for name in args.only.split(","):
        with tempfile.TemporaryDirectory(prefix="promises-") as directory:
            site = Site(Path(directory), os.path.abspath(args.python))
            print(f"{name}: {asyncio.run(PROMISES[name](site))}", flush=True)


if __name__ == "__main__":
    main()
