"""The proof of a client through a real request, on the command line and in the audit log."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from edgeserver.audit.log import AuditLog
from edgeserver.cli.audit import audit
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from tests.cli.processes import PATIENCE_S, python, serving, url_of
from tests.e2e.proxies import haproxy_tcp, nginx_http
from tests.e2e.site import address_of, answer, connected, fetch, serve
from tests.loops import on_both_loops

POLICIES: dict[str, tuple[TrustPolicy, tuple[str, ...]]] = {
    "trust": (
        TrustPolicy(["127.0.0.1", "10.0.0.0/8"]),
        ("--trust", "127.0.0.1,10.0.0.0/8"),
    ),
    "stranger": (TrustPolicy(["10.0.0.0/8"]), ("--trust", "10.0.0.0/8")),
    "forwarded": (
        TrustPolicy(["loopback", "10.0.0.0/8"], source="forwarded"),
        ("--trust", "loopback,10.0.0.0/8", "--source", "forwarded"),
    ),
    "one-hop": (
        TrustPolicy(["127.0.0.1", "10.0.0.0/8"], max_hops=1, proto=None),
        ("--trust", "127.0.0.1,10.0.0.0/8", "--max-hops", "1", "--proto-header", "none"),
    ),
    "xheaders": (
        TrustPolicy.tornado(["10.0.0.1"]),
        ("--xheaders", "--trusted-downstream", "10.0.0.1"),
    ),
}
"""Policies, and the flags that mean the same."""

HEADS = {
    "nothing": b"",
    "chain": b"X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n",
    "lines": b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2\r\n",
    "conflict": b"X-Forwarded-For: 203.0.113.9\r\nX-Real-Ip: 6.6.6.6\r\nX-Scheme: https\r\n",
    "garbage": b"X-Forwarded-For: \x80\xff\\\t<b>, [::1\r\n",
    "unknown": b"X-Forwarded-For: 203.0.113.9, unknown\r\n",
    "trusted": b"X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n",
    "forwarded": b'Forwarded: for=6.6.6.6, for="[2001:db8::1]:4711";proto=https, for=10.0.0.1\r\n',
    "nonconformant": b"Forwarded: for=2001:db8::1 ; proto=https;;\r\n",
    "alias": b"X_Forwarded_For: 6.6.6.6\r\nConnection: x-forwarded-for\r\n",
    "many": b"X-Forwarded-For: " + b"6.6.6.6, " * 60 + b"203.0.113.9\r\n",
}


def tell_proof(request: Any) -> None:
    """Answer with the proof as JSON."""
    answer(request, json.dumps(request.explain().as_dict()))


def explain(*flags: str, stdin: bytes) -> dict[str, Any]:
    """Return what `edgeserver audit explain --json` says of a pasted head."""
    result = CliRunner().invoke(audit, ["explain", *flags, "--json", "-"], input=stdin)
    assert result.exit_code in (0, 1), result.output
    shown: dict[str, Any] = json.loads(result.stdout)
    return shown


@on_both_loops
@pytest.mark.parametrize(("policy", "flags"), POLICIES.values(), ids=POLICIES)
async def test_a_request_explains_itself_as_the_command_does(
    policy: TrustPolicy, flags: tuple[str, ...]
) -> None:
    """`request.explain()` is what `edgeserver audit explain` says of the same head, pasted."""
    async with (
        serve(tell_proof, trust=policy) as server,
        connected(address_of(server)) as client,
    ):
        port = str(client.writer.get_extra_info("sockname")[1])
        for head in HEADS.values():
            proof = json.loads((await client.ask(head)).body)
            pasted = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n"
            shown = explain(*flags, "--peer", "127.0.0.1", "--peer-port", port, stdin=pasted)
            # The command adds what is odd about the policy itself, at the end.
            extra = shown["findings"][len(proof["findings"]) :]
            assert {finding["code"] for finding in extra} <= {"any-peer-trusted"}
            shown["findings"] = shown["findings"][: len(proof["findings"])]
            assert proof == shown


def test_the_command_as_a_process(tmp_path: Path) -> None:
    """A head that a server really got, pasted into the real command, shows the same client."""
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + HEADS["conflict"] + b"\r\n"
    flags = ("--trust", "127.0.0.1", "--peer", "127.0.0.1")

    async def run() -> bytes:
        process = await asyncio.create_subprocess_exec(
            *python("-m", "edgeserver", "audit", "explain", *flags),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        written, _ = await process.communicate(head)
        assert process.returncode == 1
        return written

    written = asyncio.run(run()).decode()
    assert "client 203.0.113.9" in written
    assert "warn  conflict: X-Real-Ip says 6.6.6.6" in written


@on_both_loops
async def test_a_proof_is_of_its_time() -> None:
    """A proof taken later is of the policy and the head of its own request."""
    kept = []

    def app(request: Any) -> None:
        kept.append(request)
        answer(request, request.remote_ip)

    async with (
        serve(app, trust=TrustPolicy(["127.0.0.1"])) as server,
        connected(address_of(server)) as client,
    ):
        await client.ask(HEADS["chain"])
        server.set_trust(TrustPolicy(["10.0.0.0/8"]))
        await client.ask(HEADS["lines"])
        server.set_trust(TrustPolicy.off())
        await client.ask()
        first, second, third = (request.explain() for request in kept)
        assert first.resolved.remote_ip == "10.0.0.1"
        assert (second.resolved.remote_ip, second.reason) == ("127.0.0.1", "untrusted-peer")
        assert third.reason == "proxy-headers-off"
        for request, proof in zip(kept, (first, second, third), strict=True):
            assert request.client == proof.resolved


@on_both_loops
async def test_the_proof_of_a_chain_of_real_proxies(tmp_path: Path) -> None:
    """Behind nginx behind a prelude every hop has its place, its author and its rule."""
    policy = TrustPolicy([TrustedProxy("127.0.0.1", name="edge")])
    async with serve(tell_proof, trust=policy, proxy_protocol="v2") as server:
        with (
            haproxy_tcp(tmp_path, backend=address_of(server), send_proxy="v2") as haproxy,
            nginx_http(tmp_path, backend=haproxy.address) as nginx,
        ):
            claim = b"X-Forwarded-For: 6.6.6.6\r\n"
            proof = json.loads((await fetch(nginx.address, claim, source="127.0.0.2")).body)
    assert [(hop["field"], hop["claimed"], hop["verdict"]) for hop in proof["hops"]] == [
        ("TCP", "127.0.0.1", "trusted"),
        ("PROXY", "127.0.0.1", "trusted"),
        ("x-forwarded-for", "127.0.0.2", "client"),
        ("x-forwarded-for", "6.6.6.6", "ignored"),
    ]
    assert all("edge" in hop["rule"] for hop in proof["hops"][:2])
    assert (proof["client"], proof["verified"]) == ("127.0.0.2", True)


@on_both_loops
async def test_the_audit_log(tmp_path: Path) -> None:
    """Each request is one line with the same proof, and nothing that came escapes from it."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    policy = TrustPolicy(["127.0.0.1"])
    proofs = []

    def app(request: Any) -> None:
        proofs.append(request.explain().as_dict())
        answer(request, "")

    try:
        async with (
            serve(app, trust=policy, audit_log=log) as server,
            connected(address_of(server)) as client,
        ):
            for head in HEADS.values():
                assert (await client.ask(head)).status == 200
        assert log.flush()
        text = path.read_bytes()
        assert text.isascii()
        first, *lines = [json.loads(line) for line in text.splitlines()]
        assert (first["kind"], first["policy"]["proxies"]) == ("policy", ["127.0.0.1"])
        assert len(lines) == len(HEADS) == log.written
        for line, proof in zip(lines, proofs, strict=True):
            for name in ("client", "scheme", "verified", "reason"):
                assert line[name] == proof[name]
            assert [hop["verdict"] for hop in line["hops"]] == [
                hop["verdict"] for hop in proof["hops"]
            ]
            assert line["policy"] == first["id"]
            assert line["conn"]["scheme"] == "http"
            assert (line["peer"], line["method"], line["target"]) == ("127.0.0.1", "GET", "/")
        assert log.dropped == 0
    finally:
        log.close()


@on_both_loops
async def test_the_audit_log_of_findings(tmp_path: Path) -> None:
    """With mode `findings` only odd requests have a line, and each finding is counted."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, mode="findings")
    policy = TrustPolicy(["127.0.0.1"])
    try:
        async with serve(trust=policy, audit_log=log) as server:
            await fetch(address_of(server), b"X-Forwarded-For: 203.0.113.9\r\n")
            await fetch(address_of(server), HEADS["conflict"])
        assert log.flush()
        _, line = map(json.loads, path.read_text().splitlines())
        codes = [finding["code"] for finding in line["findings"]]
        assert codes == ["conflict", "proto-conflict"]
        assert all(policy.finding_counts[code] == 1 for code in codes)
        assert policy.reason_counts["first-untrusted"] == 2
    finally:
        log.close()


APPLICATION = """
from edgeserver.httputil import HTTPHeaders, ResponseStartLine

def app(request):
    request.connection.write_headers(
        ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "2"}), b"ok")
    request.connection.finish()
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_audit_log_of_the_command(tmp_path: Path, workers: str) -> None:
    """SIGHUP begins a new file, and SIGTERM leaves nothing unwritten, with workers, too."""
    (tmp_path / "main.py").write_text(APPLICATION)
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    flags = ("--trust", "127.0.0.1", "--audit-log", str(path), "--workers", workers)
    with serving(tmp_path, "main:app", *flags) as process:
        url = url_of(process)
        claim = {"X-Forwarded-For": "203.0.113.9"}
        with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
            for _ in range(3):
                assert client.get(f"{url}/before", headers=claim).text == "ok"
        path.rename(old)
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloaded", times=int(workers))
        with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
            for _ in range(3):
                assert client.get(f"{url}/after", headers=claim).text == "ok"
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    for file, target in ((old, "/before"), (path, "/after")):
        written = [json.loads(line) for line in file.read_text().splitlines()]
        lines = [line for line in written if "kind" not in line]
        assert len(written) - len(lines) in range(1, int(workers) + 1)
        assert [(line["target"], line["client"]) for line in lines] == [(target, "203.0.113.9")] * 3
