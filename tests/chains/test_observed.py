"""What a probe saw beside what configurations say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgeserver.chains.observed import ObservedError, compare_chain, does_to, parse_observed
from edgeserver.chains.report import make_report
from edgeserver.proxyheaders import TrustPolicy
from tests.chains.chaining import OUTER, PROXY, read

FORGED = "203.0.113.250"
APPEND = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
SET = "proxy_set_header X-Forwarded-For $remote_addr;"
KEEP = ""
LUA = "access_by_lua_file x;"


def nginx(*locations: tuple[str, str]) -> str:
    """Return a configuration with these locations."""
    text = "".join(f"location {path} {{ proxy_pass http://a; {lines} }}\n"
                   for path, lines in locations)  # fmt: skip
    return f"events {{}}\nhttp {{ server {{ listen 80; server_name shop.example;\n{text}}} }}"


def saw(does: str, honest: str | None, *, url: str = "http://shop.example/echo") -> bytes:
    """Return what a probe has saved."""
    field = {"name": "x-forwarded-for", "does": does, "honest": honest, "sent": FORGED,
             "arrived": None}  # fmt: skip
    return json.dumps({"version": 1, "kind": "edgeserver-probe", "url": url, "fields": [field],
                       "client": "right", "scheme": "right"}).encode()  # fmt: skip


def differences(observed: bytes, *texts: str) -> list[str]:
    """Return what is found of a chain of nginx configurations."""
    addresses = (OUTER, PROXY)[-len(texts) :]
    hops = [
        replace(read("nginx", text), name=address, address=address)
        for text, address in zip(texts, addresses, strict=True)
    ]
    report = make_report(hops, TrustPolicy(list(addresses)), reachable=[0])
    found = compare_chain(report, parse_observed(observed), source="chain.json")
    return [each.detail for each in found]


@pytest.mark.parametrize(
    ("texts", "observed", "words"),
    [
        ([nginx(("/", APPEND))], saw("append", "a"), None),
        ([nginx(("/", APPEND))], saw("pass", None), "appended, and in the chain that runs it is"),
        ([nginx(("/", SET))], saw("append", "a"), "set anew, and in the chain that runs it is app"),
        ([nginx(("/", KEEP))], saw("pass", None), None),
        ([nginx(("/", APPEND))] * 2, saw("append", "a, b"), None),
        ([nginx(("/", APPEND))] * 2, saw("append", "b"), "has 2 elements where a client sends non"),
        ([nginx(("/", KEEP)), nginx(("/", APPEND))], saw("append", "b"), None),
        ([nginx(("/", SET)), nginx(("/", APPEND))], saw("overwrite", "a, b"), None),
        ([nginx(("/", APPEND), ("/echo", KEEP))], saw("pass", None), None),
        ([nginx(("/", APPEND), ("/echo", KEEP))], saw("append", "a"), "is passed through"),
        ([nginx(("/", APPEND), ("/other", KEEP))], saw("pass", None), "is appended"),
        ([nginx(("/", APPEND), ("~ echo$", KEEP))], saw("pass", None), None),
        ([nginx(("/", APPEND + LUA))], saw("pass", None), None),
        ([nginx(("/", APPEND))], saw("?", None), None),
    ],
    ids=["append", "passes", "appends", "pass", "two", "one-of-two", "inner", "set-append",
         "location", "location-differs", "other-location", "pattern", "cannot-tell", "unseen"],
)  # fmt: skip
def test_differences(texts: list[str], observed: bytes, words: str | None) -> None:
    """A finding says what is configured and what was seen; where that is open there is none."""
    found = differences(observed, *texts)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


@pytest.mark.parametrize(
    ("honest", "sent", "arrived", "does"),
    [
        (None, "x", None, "strip"),
        ("a", "x", None, "strip"),
        (None, "x", "x", "pass"),
        ("a", "x", "x", "if-absent"),
        ("a", "x", "a", "overwrite"),
        ("a", "x", "x, a", "append"),
        ("a", "x", "b", "?"),
    ],
)
def test_does(honest: str | None, sent: str, arrived: str | None, does: str) -> None:
    """What is done to a field follows from what arrives without it and with it."""
    assert does_to(honest, sent, arrived) == does


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"null", b"7", b"[" * 100_000, b"\xff", json.dumps({"kind": "x"}).encode(),
     json.dumps({"kind": "edgeserver-probe", "version": 2}).encode(), saw("append", "a")[:-1],
     json.dumps(json.loads(saw("append", "a")) | {"fields": 7}).encode(),
     json.dumps(json.loads(saw("append", "a")) | {"url": "http://[x"}).encode(),
     b" " * (5 * 1024 * 1024)],
    ids=["empty", "list", "object", "null", "number", "deep", "binary", "kind", "version", "torn",
         "fields", "url", "long"],
)  # fmt: skip
def test_what_no_probe_has_written(text: bytes) -> None:
    """Anything else is refused in one way."""
    with pytest.raises(ObservedError):
        parse_observed(text)


def test_of_everything_that_was_seen_only_what_is_known_counts() -> None:
    """Fields that a later version adds, and what cannot be told, are left out."""
    value: dict[str, Any] = json.loads(saw("append", "a"))
    value["fields"].append(value["fields"][0] | {"name": "forwarded", "does": "turned"})
    assert set(parse_observed(json.dumps(value).encode()).fields) == {"x-forwarded-for"}
