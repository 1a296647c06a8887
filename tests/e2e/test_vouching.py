"""What a listed proxy vouches for, over sockets: a scheme, and which fields are let through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeserver.audit.log import AuditLog
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from tests.e2e.site import address_of, connected, serve
from tests.loops import on_both_loops

PROXY = "127.0.0.1"
CLIENT = "203.0.113.9"
SENT = {
    "x-forwarded-for": CLIENT,
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil",
    "x-forwarded-ssl": "on",
    "x-forwarded-user": "root",
    "forwarded": "for=6.6.6.6",
    "x-real-ip": "6.6.6.6",
    "x-scheme": "https",
    "client-cert": ":AAAA:",
    "x-other": "1",
}
HEAD = b"".join(f"{name}: {value}\r\n".encode() for name, value in SENT.items())
ALWAYS = {"host", "x-other"}


@on_both_loops
@pytest.mark.parametrize(
    ("policy", "scheme", "seen"),
    [
        (TrustPolicy([PROXY]), "https", {"x-forwarded-for", "x-forwarded-proto"}),
        (TrustPolicy([PROXY], proto=None), "http", {"x-forwarded-for"}),
        (TrustPolicy([PROXY], source="x-real-ip"), "https", {"x-real-ip", "x-forwarded-proto"}),
        (TrustPolicy([PROXY], undeclared="keep"), "https", set(SENT)),
        (
            TrustPolicy([TrustedProxy(PROXY, sets={"x-forwarded-user"})]),
            "http",
            {"x-forwarded-for", "x-forwarded-user"},
        ),
        (
            TrustPolicy([TrustedProxy(PROXY, sets={"x-forwarded-proto"})]),
            "https",
            {"x-forwarded-for", "x-forwarded-proto"},
        ),
        (TrustPolicy(["10.0.0.1"]), "http", set()),
        (TrustPolicy(["10.0.0.1"], undeclared="keep"), "http", set()),
        (TrustPolicy(["10.0.0.1"], unlisted="keep"), "http", set(SENT)),
        (TrustPolicy.tornado(), "https", set(SENT)),
    ],
    ids=[
        "listed",
        "no-scheme-header",
        "x-real-ip",
        "undeclared-keep",
        "declares-another",
        "declares-the-scheme",
        "unlisted",
        "unlisted-undeclared-keep",
        "unlisted-keep",
        "tornado",
    ],
)
async def test_what_the_application_sees(policy: TrustPolicy, scheme: str, seen: set[str]) -> None:
    """The same on each request of a connection, when its fields repeat and when they change."""
    async with serve(trust=policy) as server, connected(address_of(server)) as client:
        for extra in (b"", b"", b"", b"Cookie: a\r\n", b""):
            told = (await client.ask(HEAD + extra)).seen
            names = {name for name, _ in told["fields"]} - {"cookie"}
            assert names == seen | ALWAYS
            assert told["scheme"] == scheme


@on_both_loops
async def test_the_audit_log_tells_a_connections_setup_once(tmp_path: Path) -> None:
    """A scheme that no hop can be given is in the log once a connection, and never again."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, mode="findings")
    policy = TrustPolicy([PROXY, "10.0.0.0/8"])
    head = f"X-Forwarded-For: {CLIENT}, 10.0.0.9\r\nX-Forwarded-Proto: https\r\n".encode()
    try:
        async with serve(trust=policy, audit_log=log) as server:
            for _ in range(2):
                async with connected(address_of(server)) as client:
                    for extra in (b"", b"", b"Cookie: a\r\n"):
                        assert (await client.ask(head + extra)).seen["scheme"] == "https"
        assert log.flush()
        written: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [line for line in written if "kind" not in line]
    finally:
        log.close()
    found = [[finding["code"] for finding in line["findings"]] for line in lines]
    assert found == [["proto-unattributed"]] * 2
    assert policy.finding_counts["proto-unattributed"] == 2
