"""Workers of a real server that are replaced under load, killed, and stuck."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.processes import Process, is_alive, python, running, serving, url_of
from tests.e2e.asker import Asker
from tests.e2e.site import Client, connected

APPLICATION = """
import asyncio, os, time
from edgeserver.httputil import HTTPHeaders, ResponseStartLine

VERSION = "one"

def answer(request, text):
    body = text.encode()
    headers = HTTPHeaders({"Content-Length": str(len(body))})
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, body)
    request.connection.finish()

async def app(request):
    if request.path == "/sleep":
        print("asleep", flush=True)
        time.sleep(1000)
    if request.path == "/slow":
        await asyncio.sleep(0.3)
    answer(request, f"{VERSION} {os.getpid()} {len(request.body)}")
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a directory with an application."""
    (tmp_path / "site.py").write_text(APPLICATION)
    (tmp_path / "site.py").rename(tmp_path / "rolling.py")
    return tmp_path


@dataclass
class Load:
    """What clients asked, and what became of it."""

    address: tuple[str, int]
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    pids: set[str] = field(default_factory=set)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, body: bytes) -> None:
        """Count an answer."""
        self.answered += 1
        self.pids.add(body.split()[1].decode())

    async def until_seen(self, count: int) -> None:
        """Go on until so many workers have answered."""
        while len(self.pids) < count:
            await asyncio.sleep(0.01)

    async def keep(self) -> None:
        """Ask over kept connections, each as long as the server lets it live."""
        while not self.over.is_set():
            async with connected(self.address) as client:
                while not self.over.is_set():
                    got = await client.ask()
                    self.note(got.body)
                    if got.fields.get("connection") == "close":
                        break

    async def pause(self) -> None:
        """Ask over a kept connection that is silent for a while now and then."""
        while not self.over.is_set():
            async with connected(self.address) as client:
                while not self.over.is_set():
                    got = await client.ask()
                    self.note(got.body)
                    if got.fields.get("connection") == "close":
                        break
                    await asyncio.sleep(0.3)

    async def connect(self) -> None:
        """Ask over a fresh connection each time, which is silent at first."""
        while not self.over.is_set():
            async with connected(self.address) as client:
                await asyncio.sleep(0.05)
                self.note((await client.ask(b"Connection: close\r\n")).body)

    async def post(self) -> None:
        """Send bodies in two halves."""
        while not self.over.is_set():
            async with connected(self.address) as client:
                head = (
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"
                )
                await client.send(head + b"half")
                await asyncio.sleep(0.1)
                await client.send(b"half")
                self.note((await client.answer()).body)

    async def wait(self) -> None:
        """Ask what takes long."""
        while not self.over.is_set():
            async with connected(self.address) as client:
                await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.note((await client.answer()).body)

    async def multiplex(self) -> None:
        """Ask over HTTP/2, for several things at a time, as long as the server lets it live."""
        while not self.over.is_set():
            reader, writer = await asyncio.open_connection(*self.address)
            asker = Asker(reader, writer, self.over)
            try:
                await asker.keep_asking()
            finally:
                writer.close()
            self.answered += asker.answered
            self.lost += [f"stream {each}" for each in asker.open]

    async def run(self, kind: str) -> None:
        """Go on as a client of one kind; whatever goes wrong is a lost request."""
        while not self.over.is_set():
            try:
                await getattr(self, kind)()
            except (OSError, EOFError) as error:
                self.lost.append(f"{kind}: {error!r}")


@contextlib.asynccontextmanager
async def loaded(process: Process) -> AsyncIterator[Load]:
    """Put a server under a mixed load."""
    load = Load(_address(process))
    kinds = ("keep", "pause", "pause", "connect", "connect", "post", "wait", "multiplex")
    tasks = [asyncio.create_task(load.run(kind)) for kind in kinds]
    try:
        async with asyncio.timeout(120):
            yield load
            load.over.set()
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _address(process: Process) -> tuple[str, int]:
    host, _, port = url_of(process).removeprefix("http://").rpartition(":")
    return host, int(port)


@contextlib.contextmanager
def rolling(site: Path, *arguments: str) -> Iterator[Process]:
    """Run the server with two workers, and wait until both serve."""
    with serving(site, "rolling:app", "--no-access-log", "--workers", "2", *arguments) as process:
        process.wait_for("with 2 workers")
        yield process


async def hear(process: Process, text: str, times: int = 1) -> str:
    """Wait for a line of the server while the load goes on."""
    return await asyncio.to_thread(process.wait_for, text, times=times)


async def pids_of(process: Process, count: int = 40) -> collections.Counter[str]:
    """Return how many of so many connections, open at the same time, each worker has."""
    async with contextlib.AsyncExitStack() as stack:
        clients: list[Client] = [
            await stack.enter_async_context(connected(_address(process))) for _ in range(count)
        ]
        answers = [await client.ask() for client in clients]
        return collections.Counter(got.body.split()[1].decode() for got in answers)


async def test_rolls_lose_nothing(site: Path) -> None:
    """Workers are replaced twice under a mixed load: new code serves, and nothing is lost."""
    with rolling(site) as process:
        async with loaded(process) as load:
            await load.until_seen(2)
            for number in (1, 2):
                # Of another length each time: Python takes a file of the same second for unchanged.
                (site / "rolling.py").write_text(APPLICATION.replace("one", "v" * number))
                process.send(signal.SIGUSR2)
                await hear(process, "SIGUSR2: all workers were replaced", times=number)
                await load.until_seen(2 + 2 * number)
        assert load.lost == []
        async with connected(_address(process)) as client:
            assert (await client.ask()).body.startswith(b"vv ")
        process.send(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait) == 0
        assert "Traceback" not in process.err


async def test_code_that_does_not_start_changes_nothing(site: Path) -> None:
    """A roll to a version with an error is given up: the old one serves on, and why is said."""
    with rolling(site) as process:
        before = set(await pids_of(process))
        (site / "rolling.py").write_text(APPLICATION + "\n1 / 0\n")
        async with loaded(process) as load:
            process.send(signal.SIGUSR2)
            await hear(process, "the roll is given up, and the old workers stay")
        assert load.lost == []
        assert load.pids <= before
        assert "ZeroDivisionError" in process.err


async def test_fewer_and_more_workers_lose_nothing(site: Path) -> None:
    """What is queued for a worker that goes is answered by another."""
    with rolling(site) as process:
        async with loaded(process) as load:
            await load.until_seen(2)
            process.send(signal.SIGTTOU)
            await hear(process, "takes over what is queued")
            await hear(process, "SIGTERM: stopping", times=2)
            process.send(signal.SIGTTIN)
            await hear(process, "SIGTTIN: 2 workers from now on")
            await load.until_seen(4)
        assert load.lost == []


async def test_a_killed_worker(site: Path) -> None:
    """What is asked after a kill is answered, by the others and by the next in its place."""
    with rolling(site) as process:
        before = set(await pids_of(process))
        os.kill(int(min(before)), signal.SIGKILL)
        process.wait_for("was killed by signal 9; starting it again")
        after = await pids_of(process)
        assert sum(after.values()) == 40
        assert len(set(after) & before) == 1


async def test_workers_share_the_work(site: Path) -> None:
    """Of a crowd of connections each of two workers has a good part."""
    with rolling(site) as process:
        shares = await pids_of(process, 100)
        assert len(shares) == 2
        assert min(shares.values()) >= 25  # chance has it below that once in ten million


async def test_a_worker_that_is_stuck(site: Path) -> None:
    """It is named with the line that holds it and replaced, and what waits for it is answered."""
    with rolling(site, "--worker-timeout", "2") as process:
        async with connected(_address(process)) as stuck:
            await stuck.send(b"GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n")
            await hear(process, "asleep")
            shares = await pids_of(process)
            assert sum(shares.values()) == 40
            await hear(process, "has done nothing for 2 s (--worker-timeout)")
            await hear(process, 'rolling.py", line 16 in app')
        process.send(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait) == 0


async def test_a_slow_call_is_named(site: Path) -> None:
    """What holds the event loop for a while is logged with its line once that is over."""
    (site / "rolling.py").write_text(APPLICATION.replace("1000", "1"))
    with rolling(site, "--slow-loop", "0.2") as process:
        async with connected(_address(process)) as client:
            await client.send(b"GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.answer()).status == 200
            line = await hear(process, "the event loop was held for ")
            assert "rolling.py:16 in app" in line


async def test_requests_renew_workers(site: Path) -> None:
    """After about so many requests a worker is replaced by a new one, and nothing is lost."""
    with rolling(site, "--max-requests", "100") as process:
        async with loaded(process) as load:
            await hear(process, "it has served about 100 requests (--max-requests)", times=2)
            await hear(process, "SIGTERM: stopping", times=2)
        assert load.lost == []


LEFT_OVER = """
import asyncio, threading, time

async def swallow():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

async def app(scope, receive, send):
    await receive()
    app.task = asyncio.create_task(swallow())
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 1000)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
"""


@pytest.mark.parametrize("alone", [False, True], ids=["watched", "single-process"])
def test_what_an_application_leaves_running(tmp_path: Path, alone: bool) -> None:
    """Neither a task that swallows its cancellation nor a thread keeps the process for long."""
    (tmp_path / "left.py").write_text(LEFT_OVER)
    arguments = ["--graceful-timeout", "0", "--shutdown-timeout", "1"]
    if alone:
        arguments.append("--single-process")
    with serving(tmp_path, "left:app", *arguments) as process:
        process.wait_for("serving left:app")
        process.send(signal.SIGTERM)
        assert process.wait() == int(alone)
        assert ("Timeout" in process.err) == alone
        assert not is_alive(process.pid)


def test_a_single_process_has_its_time_limits(site: Path) -> None:
    """Without a parent a start that never ends prints its stacks, and ends the process."""
    (site / "never.py").write_text("import time\ntime.sleep(1000)\n")
    arguments = ("--single-process", "--start-timeout", "3")
    with serving(site, "never:app", *arguments) as process:
        process.wait_for("still starting: waiting for the import of never")
        process.wait_for('never.py", line 2 in <module>')
        assert process.wait() == 1


def test_a_single_process_rolls_nothing(site: Path) -> None:
    """What needs a parent is refused by name, and the process serves on."""
    with serving(site, "rolling:app", "--single-process") as process:
        process.wait_for("serving rolling:app")
        process.send(signal.SIGUSR2)
        process.wait_for("SIGUSR2: there is no parent that could start workers")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_the_parent_stays_small(site: Path) -> None:
    """It imports the server whole, but not the application, and makes neither loop nor thread."""
    script = (
        "import asyncio, gc, sys, threading, edgeserver.runtime.processes as processes\n"
        "def look(*_, queues, **__):\n"
        "    queues.close()\n"
        "    gc.unfreeze()\n"
        "    loops = [x for x in gc.get_objects() if isinstance(x, asyncio.AbstractEventLoop)]\n"
        "    print('has', loops, threading.active_count(), 'rolling' in sys.modules)\n"
        "    print('warmed', {'cryptography.x509', 'uvloop', 'edgeserver'} - set(sys.modules))\n"
        "    return 0\n"
        "processes.run_workers = look\n"
        "from edgeserver.cli import main; main(sys.argv[1:])"
    )
    command = python("-c", script, "serve", "rolling:app", "--bind", "127.0.0.1:0")
    with running(command, site) as process:
        assert process.wait() == 0
        assert "has [] 1 False" in process.out
        assert "warmed set()" in process.out


_LATE = """
import os, sys

BEFORE = set(sys.modules)

def late():
    ours = ("edgeserver", "uvloop", "websockets")
    late = [name for name in set(sys.modules) - BEFORE if name.startswith(ours)]
    return f"{os.getpid()} {late}".encode()
"""

_LATE_ASGI = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": late()})
"""

_LATE_WSGI = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [late()]
"""


@pytest.mark.parametrize(
    ("code", "options"),
    [(_LATE_ASGI, ("--interface", "asgi")), (_LATE_WSGI, ())],
    ids=["asgi", "wsgi"],
)
async def test_a_replaced_worker_imports_nothing_of_the_server(
    tmp_path: Path, code: str, options: tuple[str, ...]
) -> None:
    """The next worker has only the application to import, so that it serves soon."""
    (tmp_path / "late.py").write_text(_LATE + code)
    with serving(tmp_path, "late:app", "--no-access-log", *options) as process:
        process.wait_for("serving late:app")
        async with connected(_address(process)) as client:
            before = (await client.ask()).body.split()[0]
        os.kill(int(before), signal.SIGKILL)
        await hear(process, "was killed by signal 9")
        async with connected(_address(process)) as client:
            after, late = (await client.ask()).body.split(maxsplit=1)
        assert after != before
        assert late == b"[]"
