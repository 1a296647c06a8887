"""The lines of the audit log: what they hold, and that they can be explained again."""

from __future__ import annotations

import inspect
import json
import random
import re
from typing import Any

import pytest

from edgeserver.audit.line import MAX_HEAD, policy_id, render_audit_line, render_policy_line
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy

POLICY = TrustPolicy(["192.0.2.0/24", "10.0.0.0/8"])

NAMES = [
    b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"forwarded", b"x_forwarded_for",
    b"x-forwarded-host", b"connection", b"cookie", b"host", b"user-agent",
]  # fmt: skip
VALUES = [
    b"203.0.113.9", b"10.0.0.7", b"192.0.2.9", b"8.8.8.8, 10.0.0.3", b"unknown", b"",
    b"for=10.1.1.1",
    b"https", b"http", b"\xff\x00\"\\", b"close, x-forwarded-for", b"::1",
    b"[fe80::1%eth0]:443", b"a,b,,c",
]  # fmt: skip


def heads(count: int) -> list[tuple[str, str, list[tuple[bytes, bytes]]]]:
    """Return random peers, schemes and heads."""
    chance = random.Random(16)
    return [
        (
            chance.choice(["192.0.2.5", "203.0.113.5", "2001:db8::5", "10.0.0.1"]),
            chance.choice(["http", "https"]),
            [(chance.choice(NAMES), chance.choice(VALUES)) for _ in range(chance.randrange(8))],
        )
        for _ in range(count)
    ]


def line_of(
    peer: str, scheme: str, head: list[tuple[bytes, bytes]], port: int | None = 4242
) -> str:
    """Return the line of one request."""
    bound = POLICY.bind(peer=peer, peer_port=port, scheme=scheme)
    proof = bound.explain(head)
    return render_audit_line(
        proof, method="GET", target="/a", now=0, pairs=head, bound=bound, policy=POLICY
    )


def unescaped(text: str) -> bytes:
    """Return the bytes that were escaped."""
    plain = re.sub(r"\\(?:x(..)|\\)", lambda m: chr(int(m[1], 16)) if m[1] else "\\", text)
    return plain.encode("latin-1")


def test_a_line_can_be_explained_again() -> None:
    """`explain` over the head and the connection of a line gives that line, for any head."""
    for peer, scheme, head in heads(2000):
        first = line_of(peer, scheme, head)
        line: dict[str, Any] = json.loads(first)
        kept = [(unescaped(name), unescaped(value)) for name, value in line["head"]]
        for name in ("host",):
            if name in line:
                kept.append((name.encode(), unescaped(line[name])))
        again = line_of(line["peer"], line["conn"]["scheme"], kept, line["conn"]["port"])
        assert again == first


def test_a_line_is_no_longer_than_version_1() -> None:
    """On average a line with the head takes no more room than one of version 1."""
    old = new = 0
    for peer, scheme, head in heads(2000):
        bound = POLICY.bind(peer=peer, peer_port=4242, scheme=scheme)
        proof = bound.explain(head)
        fields = {"time": "1970-01-01T00:00:00.000Z", "peer": peer, "method": "GET", "target": "/a"}
        old += len(json.dumps(fields | proof.as_dict(), separators=(",", ":")))
        new += len(line_of(peer, scheme, head))
    assert new <= old


@pytest.mark.parametrize("value", [b"x" * 5000, b"\xff" * 5000, b"1.2.3.4, " * 900 + b"9.9.9.9"])
def test_a_long_head_keeps_its_right_end(value: bytes) -> None:
    """A head is bounded as it is written; what is left out stands at its left, and is counted."""
    line = json.loads(line_of("192.0.2.5", "http", [(b"x-forwarded-for", value)]))
    ((name, kept),) = line["head"]
    assert len(name) + len(kept) <= MAX_HEAD
    assert value.endswith(unescaped(kept))
    assert line["head_cut"] == len(value) - len(unescaped(kept))


def test_only_forwarding_fields_are_kept() -> None:
    """Cookies and the like are not in the log; the host and the request's id are."""
    head = [(b"cookie", b"secret"), (b"host", b"a.example"), (b"x-request-id", b"r-1"),
            (b"X-Real-IP", b"1.2.3.4")]  # fmt: skip
    text = line_of("203.0.113.5", "http", head)
    line = json.loads(text)
    assert "secret" not in text
    assert (line["host"], line["request_id"], line["head"]) == (
        "a.example", "r-1", [["x-real-ip", "1.2.3.4"]],
    )  # fmt: skip


SETTINGS: dict[str, dict[str, Any]] = {
    "proxies": {"proxies": ["192.0.2.0/24", "unix:"]},
    "sets": {"proxies": [TrustedProxy("192.0.2.0/24", sets=["x-forwarded-host"])]},
    "sets-of-another": {
        "proxies": ["192.0.2.0/24", TrustedProxy("10.0.0.0/8", sets=["x-forwarded-host"])]
    },
    "sets-swapped": {
        "proxies": [TrustedProxy("192.0.2.0/24", sets=["x-forwarded-host"]), "10.0.0.0/8"]
    },
    "sets-more": {
        "proxies": [TrustedProxy("192.0.2.0/24", sets=["x-forwarded-host", "x-forwarded-port"])]
    },
    "source": {"source": "forwarded"},
    "proto": {"proto": None},
    "max_hops": {"max_hops": 3},
    "unlisted": {"unlisted": "keep"},
    "undeclared": {"undeclared": "keep"},
    "allow_all": {"allow_all": True},
}


def test_the_policys_id_is_of_all_that_changes_a_decision() -> None:
    """Each argument of a policy has another id; and no argument is forgotten here."""
    arguments = set(inspect.signature(TrustPolicy).parameters)
    assert arguments == {name for each in SETTINGS.values() for name in each}
    policies = [TrustPolicy(**{"proxies": ["192.0.2.0/24"], **each}) for each in SETTINGS.values()]
    policies += [TrustPolicy(["192.0.2.0/24"]), TrustPolicy.off(), TrustPolicy.tornado()]
    assert len({policy_id(each) for each in policies}) == len(policies)


def test_the_policys_line_has_what_proxies_set() -> None:
    """Lists beside `proxies`, sorted; not there where nobody declares anything."""
    declared = [TrustedProxy("192.0.2.1", sets={"x-forwarded-port", "X-Forwarded-Host"}), "unix:"]
    line = json.loads(render_policy_line(TrustPolicy(declared), now=0))
    assert line["policy"]["sets"] == [["x-forwarded-host", "x-forwarded-port"], []]
    assert "sets" not in json.loads(render_policy_line(POLICY, now=0))["policy"]


def test_the_policys_id() -> None:
    """Equal settings have one id, others another; its line has the settings."""
    same = TrustPolicy(["192.0.2.0/24", "10.0.0.0/8"])
    assert policy_id(POLICY) == policy_id(same) == json.loads(line_of("::1", "http", []))["policy"]
    assert policy_id(TrustPolicy(["192.0.2.0/24"])) != policy_id(POLICY)
    line = json.loads(render_policy_line(POLICY, now=0))
    assert re.fullmatch("[0-9a-f]{12}", line["id"])
    assert (line["kind"], line["policy"]["source"]) == ("policy", "x-forwarded-for")
