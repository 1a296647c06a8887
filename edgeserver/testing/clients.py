"""The assertion that a request's client is who it should be.

Decides what a failing test shows: the whole proof, with the fixes. Who the client is, the policy
says, by the very code that a server runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from edgeserver.proxyheaders import Provenance, TrustedProxy, TrustPolicy
from edgeserver.proxyheaders.explanation.render import hop_address, render_advice
from edgeserver.support.addresses import client_name
from edgeserver.testing.chain import Chain, Headers, read_headers

__all__ = ["assert_client"]


def assert_client(
    policy: TrustPolicy | Sequence[str | TrustedProxy],
    chain: Chain | None = None,
    *,
    peer: str | None = None,
    headers: Headers = (),
    expect: str,
    scheme: Literal["http", "https"] = "http",
    expect_scheme: Literal["http", "https"] | None = None,
    verified: bool = True,
    findings: Sequence[str] | None = None,
) -> Provenance:
    """Assert who the client of a request is, and return the proof.

    Args:
        policy: The trust policy, or the list of proxies that it trusts.
        chain: The request, as a chain of proxies sends it; else `peer` and `headers` say it.
        peer: Who connects: an address, or `"unix:"`.
        headers: The header fields that come: a mapping, or lines or pairs.
        expect: The client's address, or `"unix:"`.
        scheme: The scheme of the connection itself.
        expect_scheme: The scheme that the client used; not looked at if None.
        verified: Whether whoever should name the client has named one.
        findings: The codes of all findings that are expected, in any order; not looked at if None.

    Returns:
        The proof, for further assertions.

    Raises:
        AssertionError: It is somebody else; the message is the picture of `audit explain`, and what
            to list or to mend.
        ValueError: Neither a chain nor a peer is given, or both, or one is wrong.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    if (chain is None) == (peer is None):
        raise ValueError("give a chain, or peer= and headers=")
    if chain is not None:
        peer, pairs = chain.peer, [*chain.headers, *read_headers(headers)]
    else:
        pairs = read_headers(headers)
    if not isinstance(policy, TrustPolicy):
        policy = TrustPolicy(policy)
    assert peer is not None
    proof = policy.explain(peer=peer, headers=pairs, scheme=scheme)
    resolved = proof.resolved
    codes = sorted(finding.code for finding in proof.findings)
    wrong = [
        f"{what} is {found}, not {wanted}"
        for what, found, wanted in (
            ("the client", client_name(resolved.remote_ip), expect),
            ("the scheme", resolved.protocol, expect_scheme or resolved.protocol),
            ("verified", resolved.verified, verified),
            ("the list of findings", codes, codes if findings is None else sorted(findings)),
        )
        if found != wanted
    ]
    if wrong:
        lines = ["; ".join(wrong), render_advice(proof, proof.findings), *_advise(proof, expect)]
        raise AssertionError("\n".join(lines))
    return proof


def _advise(proof: Provenance, expect: str) -> Iterator[str]:
    """Yield what to list, or not, where a hop of the chain is who was expected."""
    found = client_name(proof.resolved.remote_ip)
    for hop in proof.hops:
        if found == expect or hop_address(hop) != expect:
            continue
        if hop.verdict == "trusted":
            yield (
                f"fix: {expect} is listed ({hop.rule}), so it is taken for a proxy: list the"
                " addresses of your proxies alone"
            )
        elif hop.verdict == "ignored":
            yield (
                f"fix: if {found} is a proxy of yours, list it too: TrustPolicy([..., {found!r}])"
                f" here, --trust {found} with serve"
            )
        else:
            continue
        return
