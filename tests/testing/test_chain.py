"""`Chain`: the head that a server gets after each kind of proxy."""

import pytest

from edgeserver.testing import Chain

LIE = ["X-Forwarded-For: 6.6.6.6"]


@pytest.mark.parametrize(
    ("chain", "peer", "headers"),
    [
        (Chain("203.0.113.9"), "203.0.113.9", []),
        (Chain("203.0.113.9", headers=LIE), "203.0.113.9", ["X-Forwarded-For: 6.6.6.6"]),
        (
            Chain("203.0.113.9", headers=LIE).through("10.0.0.5"),
            "10.0.0.5",
            ["X-Forwarded-For: 6.6.6.6, 203.0.113.9"],
        ),
        (
            Chain("203.0.113.9", headers=LIE).through("10.0.0.5", does="replace", proto="https"),
            "10.0.0.5",
            ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"],
        ),
        (
            Chain("203.0.113.9", headers=LIE).through("10.0.0.5", does="pass"),
            "10.0.0.5",
            ["X-Forwarded-For: 6.6.6.6"],
        ),
        (Chain("203.0.113.9", headers=LIE).through("10.0.0.5", does="remove"), "10.0.0.5", []),
        (
            Chain("203.0.113.9").through("10.0.0.9").through("10.0.0.5"),
            "10.0.0.5",
            ["X-Forwarded-For: 203.0.113.9, 10.0.0.9"],
        ),
        (
            Chain("2001:db8::9").through("10.0.0.5", field="Forwarded", proto="https"),
            "10.0.0.5",
            ['Forwarded: for="[2001:db8::9]";proto=https'],
        ),
        (
            Chain("203.0.113.9", headers={"X-Real-IP": "6.6.6.6"}).through(
                "unix:", field="X-Real-IP"
            ),
            "unix:",
            ["X-Real-IP: 203.0.113.9"],
        ),
        (
            Chain("203.0.113.9", headers=["X-Real-IP: 6.6.6.6", "Via: a"]).through(
                "10.0.0.5", removes=["x-real-ip"], sets={"via": "b"}
            ),
            "10.0.0.5",
            ["X-Forwarded-For: 203.0.113.9", "via: b"],
        ),
    ],
    ids=[
        *("alone", "alone and lying", "append", "replace", "pass", "remove"),
        *("two proxies", "forwarded", "one address", "sets and removes"),
    ],
)
def test_what_comes(chain: Chain, peer: str, headers: list[str]) -> None:
    """The peer is the last hop, and the head is what that has made of what it got."""
    assert chain.peer == peer
    assert [f"{name.decode()}: {value.decode()}" for name, value in chain.headers] == headers


def test_a_chain_is_never_changed() -> None:
    """Two proxies behind the same client do not see each other."""
    client = Chain("203.0.113.9")
    client.through("10.0.0.5")
    assert client.headers == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Chain("nobody"), "'nobody' is not an address; give one, or 'unix:'"),
        (lambda: Chain("203.0.113.9", headers=["no colon"]), "write 'Name: value'"),
        (
            lambda: Chain("203.0.113.9").through("10.0.0.5", does="lie"),  # type: ignore[arg-type]
            "a proxy does 'append', 'replace', 'pass' or 'remove'",
        ),
    ],
    ids=["address", "header", "does"],
)
def test_mistakes(make: object, says: str) -> None:
    """A mistake names what was written and what to write."""
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


def test_what_a_stranger_wrote_is_shown_escaped() -> None:
    """The representation of a chain can stand in a log."""
    assert "\\x1b" in repr(Chain("203.0.113.9", headers=["X-Evil: \x1b[31m"]))
