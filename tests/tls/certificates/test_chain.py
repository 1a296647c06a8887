"""Tests of edgeserver.tls.certificates.chain: the order in which certificates are sent."""

import random

import pytest

from edgeserver.tls.certificates.chain import repair_chain
from tests.tls import pki

ROOT = pki.make_ca("Root")
UPPER = pki.make_intermediate(ROOT, "Upper")
LOWER = pki.make_intermediate(UPPER, "Lower")
LEAF = pki.make_leaf(LOWER, "leaf.test")
STRANGER = pki.make_ca("Stranger")
RIGHT = (LEAF.cert, LOWER.cert, UPPER.cert)


@pytest.mark.parametrize(
    ("given", "repairs"),
    [
        (RIGHT, []),
        (RIGHT[::-1], ["put into order"]),
        ((*RIGHT, ROOT.cert), ['root "Root" left out']),
        ((*RIGHT, *RIGHT), ["3 duplicates left out"]),
        ((*RIGHT, STRANGER.cert), ['"Stranger" left out']),
        ((ROOT.cert, *RIGHT[::-1], LEAF.cert), ["1 duplicate", "root", "put into order"]),
    ],
    ids=["right", "reversed", "root", "twice", "stranger", "everything"],
)
def test_repairs(given, repairs):
    """Whatever the file's order, the chain is sent right, and what was done is said."""
    chain = repair_chain(list(given), LEAF.cert)
    assert chain.certs == RIGHT
    assert len(chain.repairs) == len(repairs)
    for said, expected in zip(chain.repairs, repairs, strict=True):
        assert expected in said


def test_every_order_gives_the_same_chain():
    """The order of the file never matters."""
    certs = [*RIGHT, ROOT.cert]
    for seed in range(10):
        random.Random(seed).shuffle(certs)
        assert repair_chain(certs, LEAF.cert).certs == RIGHT


def test_a_gap_is_kept_open():
    """Without the intermediate between, what is above it is in nobody's path."""
    assert repair_chain([LEAF.cert, UPPER.cert], LEAF.cert).certs == (LEAF.cert,)


def test_a_self_signed_leaf_is_sent():
    """A certificate that is its own root is the whole chain."""
    own = pki.issue("own.test", names=["own.test"])
    chain = repair_chain([own.cert], own.cert)
    assert chain.certs == (own.cert,)
    assert chain.repairs == ()


def test_a_cross_signed_authority_keeps_both_paths():
    """Of two certificates for one authority, the root's is dropped and the crossed one is sent."""
    crossed = pki.issue("Root", issuer=STRANGER, ca=True, key=ROOT.key)
    chain = repair_chain([*RIGHT, ROOT.cert, crossed.cert], LEAF.cert)
    assert chain.certs == (*RIGHT, crossed.cert)


def test_the_same_name_with_another_key_is_no_issuer():
    """An authority of the same name that did not sign is left out."""
    double = pki.issue("Lower", issuer=UPPER, ca=True)
    assert double.cert not in repair_chain([*RIGHT, double.cert], LEAF.cert).certs


def test_a_loop_ends():
    """Two authorities that signed each other are each sent once."""
    first, second = pki.make_ca("First"), pki.make_ca("Second")
    one = pki.issue("First", issuer=second, ca=True, key=first.key)
    two = pki.issue("Second", issuer=first, ca=True, key=second.key)
    leaf = pki.make_leaf(first, "loop.test")
    assert repair_chain([two.cert, one.cert, leaf.cert], leaf.cert).certs == (
        leaf.cert,
        one.cert,
        two.cert,
    )
