"""The corpus of real configurations: the verdicts are those that running the programs gave."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgeserver.chains.kinds import reader_of
from edgeserver.chains.model import ProxyHop
from tests.chains.chaining import Judged, judge, outer
from tests.chains.sources import CORPUS, Disk

CASES: list[dict[str, Any]] = json.loads((CORPUS / "expected.json").read_text())
KINDS = {"haproxy28": "haproxy", "traefik-args": "traefik"}

# The corpus tried a prelude alone and fields alone: a stranger who sends both chooses the client.
STRICTER = {
    ("017", "forwarded"),
    ("118", "x-real-ip"),
    ("118", "forwarded"),
    ("139", "x-real-ip"),
    ("139", "forwarded"),
}


def read_case(case: dict[str, Any]) -> tuple[ProxyHop, ProxyHop]:
    """Return the outer proxy that the corpus assumes, and the one that is judged."""
    reader = reader_of(KINDS.get(case["product"], case["product"]))
    if reader is None:
        pytest.skip(f"no reader for {case['product']} yet")
    path = CORPUS / case["file"]
    hop = replace(reader(str(path), Disk()), name="inner", address="192.0.2.10")
    if any(way.prelude is not None for way in hop.ways):
        front = outer("prelude")
    elif "/" in case["outer"]:
        front = outer("append,sets=cf-connecting-ip,drops=x-real-ip,drops=forwarded")
        front = replace(front, address="198.51.100.7")
    elif case["id"] == "035":
        front = outer("append,sets=x-real-ip,drops=forwarded")
    else:
        front = outer("append")
    return front, hop


def check_replay(judged: Judged) -> None:
    """Send every counterexample through the whole configuration once more."""
    for entry in judged.entries:
        client, scheme = entry.case.client_trial, entry.case.scheme_trial
        assert client is None or judged.judge.replay(entry, client, "client") is not None
        assert scheme is None or judged.judge.replay(entry, scheme, "scheme") is not None


PRELUDE_PORT = {"174"}
"""Where the scheme follows the port that a PROXY prelude names, which whoever sends one chooses."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']}-{case['product']}")
@pytest.mark.parametrize("scenario", ["sole", "inner", "bypass"])
def test_client(case: dict[str, Any], scenario: str) -> None:
    """Whom the app takes for the client is what running, or reading, showed."""
    front, hop = read_case(case)
    for source, expected in case.get(scenario, {}).items():
        hops = [hop] if scenario == "sole" else [front, hop]
        judged = judge(*hops, source=source, first=1 if scenario == "bypass" else 0)
        check_replay(judged)
        if (case["id"], source) in STRICTER and scenario != "inner":
            assert (expected, judged.client) == ("lost", "spoofable")
        else:
            assert (source, judged.client) == (source, expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']}-{case['product']}")
def test_scheme(case: dict[str, Any]) -> None:
    """Which scheme the app believes is what running, or reading, showed."""
    front, hop = read_case(case)
    alone = judge(hop)
    check_replay(alone)
    for name, expected in case.get("scheme_sole", {}).items():
        if case["id"] in PRELUDE_PORT:
            assert (expected, alone.scheme_of(tls=name == "tls")) == ("right", "cannot-tell")
        else:
            assert alone.scheme_of(tls=name == "tls") == expected
    if "scheme_inner" in case:
        assert judge(front, hop).scheme == case["scheme_inner"]
