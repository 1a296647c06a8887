"""The examples of the specification, whole, through `resolve` and `explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeserver.proxyheaders import TrustPolicy

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("vectors.json").read_text(encoding="utf-8")
)


def policy_of(vector: dict[str, Any]) -> TrustPolicy:
    """Return the policy that a vector describes."""
    config = vector["config"]
    if vector["family"] == "tornado":
        if not config["xheaders"]:
            return TrustPolicy.off()
        return TrustPolicy.tornado(trusted_downstream=vector["trusted"])
    options = {key: config[key] for key in ("source", "max_hops") if key in config}
    return TrustPolicy(vector["trusted"], **options)


def request_of(vector: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `resolve` that a vector describes."""
    config = vector["config"]
    is_https = config.get("tls") or config.get("protocol") == "https"
    return {
        "peer": vector["peer"],
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in vector["headers"]
        ],
        "scheme": "https" if is_https else "http",
    }


def expected_of(vector: dict[str, Any]) -> dict[str, Any]:
    """Return what our grammar answers: `deviate` says where that is not Tornado's answer."""
    deviation = {key: value for key, value in vector.get("deviate", {}).items() if key != "why"}
    return vector["expect"] | deviation


def test_all_families_are_there() -> None:
    """The copy is whole."""
    assert len(VECTORS) == 128
    assert {vector["family"] for vector in VECTORS} == {"tornado", "chain", "rfc7239", "hostile"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_vector(vector: dict[str, Any]) -> None:
    """Every example is answered as the specification says, cached and not, and explained so."""
    policy = policy_of(vector)
    expected = expected_of(vector)
    answers = [policy.resolve(**request_of(vector)) for _ in range(3)]
    for answer in answers:
        assert {key: getattr(answer, key) for key in expected} == expected
    provenance = policy.explain(**request_of(vector))
    assert provenance.resolved == answers[0]
    assert str(provenance).isascii()
