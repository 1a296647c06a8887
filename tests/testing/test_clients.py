"""`assert_client`: it passes where the server would see this client, and else shows the proof."""

import pytest

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.testing import Chain, assert_client

POLICY = TrustPolicy(["10.0.0.0/8"])
FORGED = Chain("203.0.113.9", headers=["X-Forwarded-For: 6.6.6.6"]).through("10.0.0.5")


@pytest.mark.parametrize("policy", [POLICY, ["10.0.0.0/8"]], ids=["policy", "list"])
def test_a_forged_chain(policy: TrustPolicy) -> None:
    """The client is whoever asked the proxy, whatever it wrote; the proof is returned."""
    proof = assert_client(policy, FORGED, expect="203.0.113.9", findings=[])
    assert [hop.verdict for hop in proof.hops] == ["trusted", "client", "ignored"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"},
        ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"],
        "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: https",
        [(b"X-Forwarded-For", b"203.0.113.9"), ("X-Forwarded-Proto", "https")],
    ],
    ids=["mapping", "lines", "text", "pairs"],
)
def test_a_peer_and_its_headers(headers: object) -> None:
    """Header fields may be written in each of four ways."""
    assert_client(
        POLICY,
        peer="10.0.0.5",
        headers=headers,  # type: ignore[arg-type]
        expect="203.0.113.9",
        expect_scheme="https",
    )


def test_a_unix_peer() -> None:
    """Who comes over a Unix socket and names nobody is `unix:`."""
    assert_client([], peer="unix:", expect="unix:")


def test_a_failure_shows_the_proof_and_the_fix() -> None:
    """The message says who it is, the chain hop by hop, and what to do."""
    with pytest.raises(AssertionError) as caught:
        assert_client(
            ["192.0.2.1"], FORGED, expect="203.0.113.9", expect_scheme="https", findings=[]
        )
    first, *lines = str(caught.value).splitlines()
    assert first == (
        "the client is 10.0.0.5, not 203.0.113.9; the scheme is http, not https; "
        "the list of findings is ['untrusted-peer-claims'], not []"
    )
    assert any("10.0.0.5" in line and "CLIENT" in line for line in lines)
    assert lines[-2].startswith("warn  untrusted-peer-claims: ")
    assert lines[-1].startswith("      fix: if it is your proxy, list its address (--trust, or")


@pytest.mark.parametrize(
    ("policy", "request_", "expect", "fix"),
    [
        (
            ["10.0.0.0/8"],
            Chain("203.0.113.9").through("198.51.100.7").through("10.0.0.5"),
            "203.0.113.9",
            "fix: if 198.51.100.7 is a proxy of yours, list it too: TrustPolicy([...,"
            " '198.51.100.7']) here, --trust 198.51.100.7 with serve",
        ),
        (
            ["10.0.0.0/8"],
            Chain("10.0.0.9", headers=["X-Forwarded-For: 6.6.6.6"]).through("10.0.0.5"),
            "10.0.0.9",
            "fix: 10.0.0.9 is listed (10.0.0.0/8), so it is taken for a proxy: list the addresses"
            " of your proxies alone",
        ),
        (["10.0.0.5"], Chain("203.0.113.9").through("10.0.0.5"), "192.0.2.1", "client 203.0"),
    ],
    ids=["forgotten", "listed", "nobody"],
)
def test_a_failure_says_what_to_list(
    policy: list[str], request_: Chain, expect: str, fix: str
) -> None:
    """Where a hop is who was expected, the policy is what to change, and it says how."""
    with pytest.raises(AssertionError) as caught:
        assert_client(policy, request_, expect=expect)
    assert str(caught.value).splitlines()[-1].startswith(fix)


def test_an_unverified_client_is_a_failure() -> None:
    """A claim that could not be read makes the peer the client, and is not taken for an answer."""
    with pytest.raises(AssertionError, match="verified is False, not True"):
        assert_client(POLICY, peer="10.0.0.5", headers=["X-Forwarded-For: ?"], expect="10.0.0.5")
    assert_client(
        POLICY,
        peer="10.0.0.5",
        headers=["X-Forwarded-For: ?"],
        expect="10.0.0.5",
        verified=False,
    )


@pytest.mark.parametrize(
    "arguments", [{}, {"chain": FORGED, "peer": "10.0.0.5"}], ids=["neither", "both"]
)
def test_a_chain_or_a_peer(arguments: dict[str, object]) -> None:
    """One of the two says how the request comes."""
    with pytest.raises(ValueError, match="give a chain, or peer="):
        assert_client(POLICY, expect="203.0.113.9", **arguments)  # type: ignore[arg-type]
