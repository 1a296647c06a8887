"""What a reload puts in force in a server, and what it refuses: a server, and files of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeserver.cli.sources import SettingSources
from edgeserver.errors import ConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.runtime.plan import HTTP2_MODES, ServePlan
from edgeserver.runtime.prepare import prepare
from edgeserver.runtime.reconfigure import PlanInForce, open_listener
from edgeserver.runtime.reload import adopt, put_in_force, reread
from tests.e2e.site import address_of, connected, fetch, tell
from tests.tls import pki

LIE = b"X-Forwarded-For: 203.0.113.9\r\n"

FILE = """
[application]
app = "main:app"
[listening]
bind = ["127.0.0.1:0"]
[proxies]
trust = ["127.0.0.1"]
[limits]
max-header-size = "1K"
[[listener]]
bind = "127.0.0.2:0"
trust = []
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory of one's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan_of(text: str) -> ServePlan:
    """Return the plan of a file, prepared."""
    plan = SettingSources({}, "edge.toml", {}).plan(text.encode())
    prepare(plan)
    return plan


class Served:
    """A server as a worker has it, which can be told of other files."""

    def __init__(self, text: str) -> None:
        self.plan = plan_of(text)
        self.server = HTTPServer(tell, **self.plan.server_options)
        self._listeners: list[list[Any]] = []
        for listener in self.plan.listeners:
            open_listener(self.plan, listener)
            options: dict[str, Any] = {"http2": HTTP2_MODES[listener.http2]}
            if listener.is_tls:
                contexts = self.plan.tls if listener.tls is None else listener.tls
                options["ssl_options"] = contexts[listener.http2]
            if listener.trust is not None:
                options["trust"] = listener.trust
            before = len(self.server.listeners)
            self.server.add_sockets(listener.sockets, **options)
            self._listeners.append(self.server.listeners[before:])

    async def reload(self, text: str) -> None:
        """Put another file in force."""
        new = reread(self.plan, text.encode(), "reload")
        await put_in_force(self.server, self._listeners, self.plan, new)
        self.plan.take_over(new)

    async def clients(self) -> list[str]:
        """Return whom each listener takes for the client."""
        return [(await fetch(address_of(self.server, number), LIE)).seen["ip"] for number in (0, 1)]

    async def close(self) -> None:
        """Stop."""
        self.server.stop()
        await self.server.close_all_connections()


async def test_trust_and_limits() -> None:
    """Each listener is judged by what is said now, and every head is held to the new limits."""
    served = Served(FILE)
    assert await served.clients() == ["203.0.113.9", "127.0.0.1"]
    kept = served.server.trust
    await served.reload(FILE.replace("trust = []", 'trust = ["127.0.0.1"]'))
    assert await served.clients() == ["203.0.113.9", "203.0.113.9"]
    assert served.server.trust is kept  # what has not changed goes on counting
    await served.reload(FILE.replace('trust = ["127.0.0.1"]', 'trust = ["127.0.0.9"]'))
    assert await served.clients() == ["127.0.0.1", "127.0.0.1"]
    await served.reload(FILE.replace('max-header-size = "1K"\n', ""))
    long = b"A: " + b"x" * 2000 + b"\r\n"
    assert (await fetch(address_of(served.server), long)).status == 200
    await served.reload(FILE)
    assert (await fetch(address_of(served.server), long)).status == 431
    await served.close()


async def test_http2_and_slow_requests(caplog: pytest.LogCaptureFixture) -> None:
    """Later connections are told of other numbers of streams; slow requests are named at once."""
    served = Served(FILE)
    kept = 'max-header-size = "1K"\n'
    more = "max-streams = 7\nmax-resets = 9\n"
    logs = '[logs]\nslow-request = "10ms"\n'
    async with connected(address_of(served.server)) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
        await served.reload(FILE.replace(kept, kept + more) + logs)
        while "slow request: POST /" not in caplog.text:
            await asyncio.sleep(0.01)
    host, port = address_of(served.server)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    settings = await reader.readexactly(15)
    assert settings[9:] == b"\0\3" + (7).to_bytes(4, "big")
    writer.close()
    await served.close()


async def test_other_certificates(directory: Path) -> None:
    """New options mean new contexts; the same ones stay, with their files read again elsewhere."""
    authorities = [pki.make_ca("One"), pki.make_ca("Two")]
    for number, authority in enumerate(authorities):
        pki.write_pair(directory, pki.make_leaf(authority), f"pair{number}")
    names = [sorted(path.name for path in directory.glob(f"pair{each}*")) for each in (0, 1)]

    def text(number: int) -> str:
        key, pem = sorted(names[number], key=lambda name: "key" not in name)
        return FILE + f"certfile = '{pem}'\nkeyfile = '{key}'\n"

    served = Served(text(0))
    address = address_of(served.server, 1)
    assert (await fetch(address, tls=pki.client_context(authorities[0]))).status == 200
    await served.reload(text(1))
    assert (await fetch(address, tls=pki.client_context(authorities[1]))).status == 200
    with pytest.raises(
        ConfigurationError, match=r"edge\.toml:13: \[\[listener\]\] certfile absent"
    ):
        await served.reload(text(1).replace("pair1", "absent"))
    assert (await fetch(address, tls=pki.client_context(authorities[1]))).status == 200
    await served.close()


REFUSED: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text.replace("127.0.0.1:0", "127.0.0.3:0"),
     "edge.toml:5: [listening] bind has changed, and SIGUSR2 puts it in force, with new workers"),
    (lambda text: text.replace("127.0.0.2:0", "127.0.0.3:0"),
     "edge.toml:10: [[listener]] has changed, and SIGUSR2 puts it in force"),
    (lambda text: text.replace("main:app", "main:other"),
     "edge.toml:3: [application] app has changed, and SIGUSR2"),
    (lambda text: text + "[process]\nsingle-process = true\n",
     "edge.toml:14: [process] single-process has changed, and only a new start"),
    (lambda text: text + "[proxies.x]\n", "unknown key"),
    (lambda text: text.replace('"1K"', '"1X"'), "1X is not a number of bytes"),
    (lambda text: text + "trust-file = ['absent']\n", "the file of ranges cannot be read"),
    (lambda text: text.replace("trust = []\n", ""), "have proxies of their own has changed"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_is_refused(change: Callable[[str], str], said: str) -> None:
    """What needs new workers, and what is wrong, is named; nothing has changed then."""
    plan = plan_of(FILE)
    with pytest.raises(ConfigurationError) as caught:
        reread(plan, change(FILE).encode(), "reload")
    assert said in str(caught.value)
    assert reread(plan, FILE.encode(), "reload").trust == plan.trust


def test_a_roll_takes_nearly_everything() -> None:
    """What is left needs a new start, and is named."""
    plan = plan_of(FILE)
    changed = FILE.replace("main:app", "main:other").replace("127.0.0.2:0", "127.0.0.3:0")
    assert reread(plan, changed.encode(), "roll").target == "main:other"
    with pytest.raises(ConfigurationError, match="backlog has changed, and only a new start"):
        reread(plan, FILE.replace("[listening]", "[listening]\nbacklog = 7").encode(), "roll")


def test_a_roll_to_a_socket_of_systemds(directory: Path) -> None:
    """Descriptors come at the start: the line says so, and how to get it; nothing has changed."""
    path = directory / "edge.toml"
    path.write_text(FILE)
    plan = SettingSources({}, "edge.toml", {}).read()
    prepare(plan)
    for listener in plan.listeners:
        open_listener(plan, listener)
    force = PlanInForce(plan, lambda line: None)
    try:
        path.write_text(FILE.replace('"127.0.0.1:0"', '"127.0.0.1:0", "systemd:web"'))
        with pytest.raises(
            ConfigurationError, match="bind systemd:web: systemd passes its sockets when the"
        ):
            force.reread()
        assert force.plan is plan
    finally:
        force.close()


def test_who_is_started_later() -> None:
    """Has what is in force now: policies, contexts, times."""
    plan = plan_of(FILE)
    text = FILE.replace("trust = []", 'trust = ["127.0.0.1"]') + "[process]\ndrain-idle = 3\n"
    adopt(plan, reread(plan, text.encode(), "reload"))
    assert plan.drain_idle_s == 3
    assert plan.listeners[1].trust is not None
    assert plan.listeners[1].trust.trusts("127.0.0.1")
    assert plan.effective is not None
    assert plan.effective.said["drain_idle"].value == 3


def test_the_parents_side(directory: Path) -> None:
    """A reload leaves the file for the workers; a roll that is given up takes it back."""
    path = directory / "edge.toml"
    path.write_text(FILE)
    said: list[str] = []
    plan = SettingSources({}, "edge.toml", {}).read()
    prepare(plan)
    for listener in plan.listeners:
        open_listener(plan, listener)
    force = PlanInForce(plan, said.append)
    try:
        path.write_text(FILE + "[process]\nworkers = 3\nworker-timeout = 5\n")
        change = force.reload()
        assert (change.more, change.limits.worker_timeout_s) == (2, 5.0)
        assert force.text.read() == path.read_bytes()
        path.write_text(FILE + "[process]\nworkers = 0\n")
        before = force.text.read()
        with pytest.raises(ConfigurationError, match="workers: 0 is not a whole number"):
            force.reload()
        assert (force.text.read(), force.plan) == (before, plan)

        path.write_text(FILE.replace("127.0.0.2:0", "127.0.0.3:0"))
        assert force.reread().more == -2
        assert said == ["SIGUSR2: listening on 127.0.0.3:0, too"]
        assert force.plan is not plan
        undone = force.rolled(done=False)
        assert undone is not None
        assert (undone.more, force.plan, force.text.read()) == (2, plan, before)

        force.reread()
        assert force.rolled(done=True) is None
        assert force.plan.listeners[1].bind.host == "127.0.0.3"
        assert plan.listeners[1].sockets[0].fileno() == -1
        only_code = force.plan
        assert force.reread().more == 0
        assert force.plan is only_code
    finally:
        force.close()
