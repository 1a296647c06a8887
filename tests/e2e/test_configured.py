"""`serve --config`: real processes that start from a file, reload it, and roll with it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import PATIENCE_S, Process, python, running

APPLICATION = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    text = f"{os.getpid()} {scope['client'][0]}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
"""

LIE = {"X-Forwarded-For": "203.0.113.9"}

FILE = """
[application]
app = "configured:app"

[proxies]
source = "x-forwarded-for"
trust = ["192.0.2.1"]

[admin]
admin = ["unix:admin.sock"]

[process]
workers = 2

[logs]
access-log = "off"

[[listener]]
bind = "127.0.0.1:0"
trust = []

[[listener]]
bind = "127.0.0.2:0"
trust = ["127.0.0.1"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a directory with an application and a configuration."""
    (tmp_path / "configured.py").write_text(APPLICATION)
    (tmp_path / "edge.toml").write_text(FILE)
    return tmp_path


@contextmanager
def configured(
    site: Path, *arguments: str, **variables: str
) -> Iterator[tuple[Process, list[str]]]:
    """Run what the file says, and return its addresses."""
    command = python("-m", "edgeserver", "serve", *arguments)
    if "EDGESERVER_CONFIG" not in variables:
        command += ["--config", "edge.toml"]
    with running(command, site, variables=variables) as process:
        process.wait_for("serving configured:app")
        yield process, re.findall(r"listening on (\S+)", process.out)


def clients_at(url: str, headers: dict[str, str] = LIE, least: int = 2) -> dict[str, set[str]]:
    """Return whom each worker takes for the client, once so many have answered."""
    seen: dict[str, set[str]] = {}
    for _ in range(400):
        pid, client = httpx.get(url, headers=headers).text.split()
        seen.setdefault(pid, set()).add(client)
        if len(seen) >= least:
            return seen
    raise AssertionError(f"only {len(seen)} workers have answered")


def clients(url: str) -> set[str]:
    """Return whom all workers take for the client."""
    return set().union(*clients_at(url).values())


def test_listeners_with_trust_of_their_own(site: Path) -> None:
    """A forged header is believed on the private listener, and not on the public one."""
    with configured(site) as (process, (public, private)):
        assert clients(public) == {"127.0.0.1"}
        assert clients(private) == {"203.0.113.9"}
        assert "client address: X-Forwarded-For of trusted proxies 127.0.0.1" in process.out
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_a_wrong_reload_changes_nothing_and_a_good_one_all(site: Path) -> None:
    """What is wrong is told with its line; what is right counts in every worker."""
    path = site / "edge.toml"
    with configured(site) as (process, (public, private)):
        changed = FILE.replace('["127.0.0.1"]', '["127.0.0.2"]').replace(
            "trust = []", 'trust = ["127.0.0.1"]'
        )
        path.write_text(changed + 'trust-file = ["absent"]\n[limits]\nbody-timeout = "never"\n')
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: nothing was changed")
        assert "SIGHUP: edge.toml:27: [limits] body-timeout: never is not a time" in process.err
        assert (clients(public), clients(private)) == ({"127.0.0.1"}, {"203.0.113.9"})

        path.write_text(changed + 'trust-file = ["absent"]\n')
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: nothing was changed", times=2)
        assert "SIGHUP: edge.toml:25: [[listener]] trust-file[0]" in process.err
        assert (clients(public), clients(private)) == ({"127.0.0.1"}, {"203.0.113.9"})

        path.write_text(changed)
        assert "[[listener]] 2 now: trust = " in _differences(site)
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloaded", times=2)
        assert _differences(site) == "# nothing differs now"
        assert (clients(public), clients(private)) == ({"203.0.113.9"}, {"127.0.0.1"})

        path.write_text(
            changed.replace("workers = 2", "workers = 3") + "[limits]\nmax-header-size = 99\n"
        )
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloaded", times=4)
        for url in (public, private):
            assert httpx.get(url, headers={"X-Long": "x" * 99}).status_code == 431
        process.wait_for("workers: 3 workers from now on")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.err


def test_logs_and_rates_change_in_place(site: Path) -> None:
    """Every worker writes to other files, and sheds; what is wrong changes nothing in any."""
    path = site / "edge.toml"
    logs = (
        'access-log = "access.log"\naccess-log-format = "json"\nlog-level = "warning"\n'
        '[audit]\naudit-log = "audit.jsonl"\n'
    )
    changed = FILE.replace('access-log = "off"\n', logs)
    with configured(site) as (process, (public, private)):
        path.write_text(changed.replace("audit.jsonl", "absent/audit.jsonl"))
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: nothing was changed")
        assert not (site / "access.log").exists()

        path.write_text(changed)
        process.send(signal.SIGHUP)
        _until(lambda: httpx.get(public) and _workers_in(site / "access.log") == {1, 2})
        _until(lambda: (site / "audit.jsonl").read_text() != "")
        assert "SIGHUP: reloaded" not in process.err  # it is below the level by now

        (site / "access.log").rename(site / "old.log")
        path.write_text(changed + '[limits]\nclient-rate = "1/h"\nmax-in-flight = 9\n')
        process.send(signal.SIGHUP)
        _until(lambda: [httpx.get(public).status_code for _ in range(8)] == [429] * 8)
        assert (site / "access.log").exists()

        path.write_text(FILE)
        process.send(signal.SIGHUP)
        _until(lambda: [httpx.get(public).status_code for _ in range(8)] == [200] * 8)
        before = (site / "access.log").read_text()
        assert set(clients_at(public)) == set(clients_at(private))
        assert (site / "access.log").read_text() == before
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.err


def _until(holds: Callable[[], object]) -> None:
    """Look again and again until something holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s


def _workers_in(log: Path) -> set[int]:
    """Return which workers have written to a log."""
    lines = log.read_text().splitlines() if log.exists() else []
    return {json.loads(line)["worker"] for line in lines}


def _differences(site: Path) -> str:
    """Return what differs between what runs and what is configured."""
    command = python("-m", "edgeserver", "config", "--config", "edge.toml", "--running")
    ran = subprocess.run(command, cwd=site, capture_output=True, text=True, check=True)
    return ran.stdout.split("\n\n")[-1].strip()


def _free_port() -> int:
    """Return a port that is free at present."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_roll_opens_new_addresses(site: Path) -> None:
    """A reload refuses them by name; a roll opens them, closes the old ones, or goes back."""
    path, port = site / "edge.toml", _free_port()
    with configured(site) as (process, (public, private)):
        changed = FILE.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
        path.write_text(changed)
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: nothing was changed")
        assert "[[listener]] has changed, and SIGUSR2 puts it in force, with new" in process.err

        (site / "configured.py").write_text("1 / 0\n")
        process.send(signal.SIGUSR2)
        process.wait_for("the roll is given up, and the old workers stay")
        assert clients(public) == {"127.0.0.1"}
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), PATIENCE_S)

        (site / "configured.py").write_text(APPLICATION + "# again\n")
        process.send(signal.SIGUSR2)
        process.wait_for("SIGUSR2: all workers were replaced")
        process.wait_for("SIGTERM: stopping", times=2)
        assert clients(f"http://127.0.0.1:{port}") == {"127.0.0.1"}
        assert clients(private) == {"203.0.113.9"}
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_what_the_environment_says(site: Path) -> None:
    """The variables of platforms count where nothing of ours does, and are named at the start."""
    (site / "edge.toml").write_text('[application]\napp = "configured:app"\n')
    (site / ".env").write_text("WEB_CONCURRENCY=2\nFORWARDED_ALLOW_IPS=127.0.0.1\n")
    variables = {"PORT": "0", "EDGESERVER_CONFIG": "edge.toml", "EDGESERVER_WORKES": "3"}
    with configured(site, "--env-file", ".env", **variables) as (process, (url, *_)):
        process.wait_for("EDGESERVER_WORKES: unknown variable; did you mean EDGESERVER_WORKERS?")
        process.wait_for("PORT counts, as --bind :0")
        process.wait_for("WEB_CONCURRENCY counts, as --workers 2")
        process.wait_for("FORWARDED_ALLOW_IPS counts, as --trust 127.0.0.1")
        port = re.search(r":([0-9]+)\Z", url)
        assert port is not None
        assert clients(f"http://127.0.0.1:{port[1]}") == {"203.0.113.9"}


def test_a_source_that_changes(site: Path) -> None:
    """`--reload` has new code served, and old code where the new one does not start."""
    source = site / "configured.py"
    with configured(site, "--reload", "--workers", "1") as (process, (url, _)):
        process.wait_for("--reload: watching ")
        (old,) = clients_at(url, least=1)
        # Written again and again: the watch may begin a moment later.
        for number in range(100):
            source.write_text(APPLICATION + "#" * number)
            try:
                process.wait_for("SIGUSR2: replacing the workers", patience_s=2.0)
                break
            except AssertionError:
                continue
        process.wait_for("SIGUSR2: all workers were replaced")
        process.wait_for("SIGTERM: stopping")
        (new,) = clients_at(url, least=1)
        assert new != old
        source.write_text("def (\n")
        process.wait_for("importing configured failed with SyntaxError")
        process.wait_for("the roll is given up, and the old workers stay")
        assert clients_at(url, least=1)
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_a_source_that_is_wrong_at_first(site: Path) -> None:
    """`--reload` waits for it to be put right."""
    source = site / "configured.py"
    source.write_text("def (\n")
    command = python("-m", "edgeserver", "serve", "--config", "edge.toml", "--reload")
    with running(command, site) as process:
        process.wait_for("nothing serves before a source changes (--reload)")
        for number in range(100):  # the watch may begin a moment later
            source.write_text(APPLICATION + "#" * number)
            try:
                process.wait_for("SIGUSR2: starting again", patience_s=2.0)
                break
            except AssertionError:
                continue
        process.wait_for("serving configured:app")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_a_delay_before_the_drain(site: Path) -> None:
    """After SIGTERM connections are accepted on for a while; a second signal does not wait."""
    with configured(site, "--drain-delay", "1h") as (process, (url, _)):
        process.send(signal.SIGTERM)
        process.wait_for("SIGTERM: stopping in 3600 s (--drain-delay)")
        assert httpx.get(url).status_code == 200
        process.send(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
