"""The two commonest mistakes with real proxies: found in logs, in configurations and from outside.

An outer proxy that does not append, and an outer proxy that is not listed: neither leaves a trace
in one request.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeserver.audit import probe
from edgeserver.audit.log import AuditLog
from edgeserver.cli.audit import audit
from tests.e2e.chain_of_two import (
    APPENDS,
    EDGE,
    INNER,
    TOKEN,
    YOU,
    Chain,
    chain_of_two,
    echo_server,
    send_as,
)

KEEPS = "option httplog"
BOTH = f"{EDGE},{INNER}"


def run(*words: str | Path) -> Result:
    """Return what a command of `edgeserver audit` says."""
    return CliRunner().invoke(audit, [*map(str, words)])


def traffic(chain: Chain) -> None:
    """Send some hundred requests of many clients; a few of them claim to be somebody else."""
    for number in range(150):
        claim = "X-Forwarded-For: 203.0.113.250\r\n" if number % 25 == 7 else ""
        path = f"/page/{number % 9}"
        assert send_as(chain, f"198.51.100.{number % 120 + 1}", claim, path=path)


@asynccontextmanager
async def running(directory: Path, *, edge: str, trust: tuple[str, ...]) -> AsyncIterator[Chain]:
    """Run a chain before an echo that keeps an audit log."""
    log = AuditLog(directory / "audit.jsonl")
    try:
        async with echo_server(*trust, audit_log=log) as server:
            with chain_of_two(directory, server.port, edge=edge) as chain:
                await asyncio.to_thread(traffic, chain)
                yield chain
    finally:
        log.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """Return the file of the echo's token."""
    path = tmp_path / "token"
    path.write_bytes(TOKEN)
    return path


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PAUSE_S", 0.0)


def from_outside(chain: Chain, token: Path, *more: str | Path) -> Any:
    """Return what `audit probe` sees, as JSON."""
    result = run("probe", f"http://127.0.0.1:{chain.port}", "--allow", "127.0.0.1", "--bind", YOU,
                 "--received-host", "127.0.0.1", "--token-file", token, "--format", "json",
                 *more)  # fmt: skip
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def from_files(chain: Chain, trust: str, *more: str | Path) -> Any:
    """Return what `audit config` says of the configurations, as JSON."""
    result = run("config", f"haproxy:{chain.haproxy}@{EDGE}", f"nginx:{chain.nginx}@{INNER}",
                 "--trust", trust, "--reachable", "front", "--format", "json", *more)  # fmt: skip
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def codes(report: Any) -> dict[str, str]:
    """Return what was found, with its detail."""
    return {each["code"]: each["detail"] for each in report["findings"] if each["code"] != "note"}


async def test_an_outer_proxy_that_does_not_append(tmp_path: Path, token: Path) -> None:
    """It is found in the inner proxy's log, in the files, and by a forgery that comes through."""
    async with running(tmp_path, edge=KEEPS, trust=(EDGE, INNER)) as chain:
        text = chain.log.read_text()
        seen = await asyncio.to_thread(from_outside, chain, token)
        assert seen["client"] == "spoofable"
        assert seen["proxies"][0] == {
            "address": EDGE, "did": "adds nothing, and passes on what is sent"
        }  # fmt: skip
        assert "takes 203.0.113.250 for the client" in codes(seen)["client-spoofable"]

        files = from_files(chain, BOTH)
        assert files["entries"][0]["client"] == "spoofable"
        found = next(each for each in files["findings"] if each["code"] == "client-spoofable")
        assert found["hop"] == "edge"
        assert "haproxy" in found["where"]["file"]
        assert "X-Forwarded-For: " in found["counterexample"]["curl"]
    for name, content in (("access.log.1.gz", gzip.compress(text.encode())),
                          ("one.log", text.encode())):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        logs = run("logs", tmp_path / name, "--trust", EDGE, "--format", "json")
        assert logs.exit_code == 1
        (found, *_) = json.loads(logs.stdout)["findings"]
        assert (found["code"], found["subject"]) == ("not-appending", EDGE)
        assert found["detail"].startswith("144 requests of 150 name nobody, 6 name somebody")


async def test_an_outer_proxy_that_is_not_listed(tmp_path: Path, token: Path) -> None:
    """It is found in the application's audit log, in the files, and by an honest request."""
    async with running(tmp_path, edge=APPENDS, trust=(INNER,)) as chain:
        seen = await asyncio.to_thread(from_outside, chain, token)
        assert seen["client"] == "names-outer-proxy"
        assert codes(seen)["proxy-not-listed"].startswith(f"{EDGE} is taken for the client")

        files = from_files(chain, INNER)
        assert codes(files)["proxy-not-listed"] == (f"the app's policy does not list edge ({EDGE})")
    logs = run("logs", tmp_path / "audit.jsonl", "--trust", INNER, "--format", "json")
    assert logs.exit_code == 1
    report = json.loads(logs.stdout)
    found = next(each for each in report["findings"] if each["code"] == "forgotten-proxy")
    assert found["subject"] == EDGE
    assert found["score"] > 0.5


async def test_what_runs_beside_what_is_configured(tmp_path: Path, token: Path) -> None:
    """A chain that does something else than its files say is found when both are compared."""
    saved = tmp_path / "chain.json"
    async with running(tmp_path, edge=KEEPS, trust=(EDGE, INNER)) as chain:
        await asyncio.to_thread(from_outside, chain, token, "--save", saved)
        assert "chain-differs" not in codes(from_files(chain, BOTH, "--chain", saved))
        mended = chain.haproxy.read_text().replace(KEEPS, APPENDS)
        chain.haproxy.write_text(mended)  # and nobody has reloaded it
        found = codes(from_files(chain, BOTH, "--chain", saved))
    assert (
        "has 2 elements where a client sends none, and in the chain that runs 1"
        in (found["chain-differs"])
    )
