"""What a stranger tries: the heads and preludes that stand for every one that can be sent.

Decides which claims are tried, and whether they hold an answer to every test of the chain. The walk
of a trust policy compares entries with ranges alone, so one address inside and one outside of each
range, in each place of a short list, stand for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from edgeserver.chains.model import HOST, METHOD, PATH, Ranges, Step, Test
from edgeserver.chains.patterns import sample_pattern
from edgeserver.chains.slicing import fields_of, tests_of
from edgeserver.proxyheaders.addresses import render_ipv4, render_ipv6
from edgeserver.proxyheaders.networks import Network

__all__ = ["Head", "TriedHeads", "first_address", "make_claims", "nominated"]

Head = dict[str, tuple[str, ...]]

MAX_LITERALS = 24
MAX_PRODUCT = 512
MAX_HEADS = 4096
_TESTED_TOGETHER = 2
_SECRETS = ("secret", "token", "auth", "key", "passw", "sign", "verify", "cred")


class TriedHeads(NamedTuple):
    """The heads to try.

    Args:
        heads: Lower-case names and their lines; the first is empty: an honest sender's.
        exact: Whether every test has both its answers among them.
    """

    heads: list[Head]
    exact: bool


def first_address(network: Network) -> str:
    """Return an address in a range, as text: the second where there is one."""
    bits = 32 if network.version == 4 else 128
    value = network.value + (1 if network.prefix < bits - 1 else 0)
    return render_ipv4(value) if network.version == 4 else render_ipv6(value)


def make_claims(
    steps: Iterable[Step], fields: Iterable[str], *, forged: str, known: tuple[str, ...]
) -> TriedHeads:
    """Return what a stranger tries against steps.

    Args:
        steps: All steps of a chain.
        fields: The fields that they and the app read.
        forged: Whom the stranger pretends to be.
        known: Addresses that somebody on the way believes.
    """
    names = sorted(fields)
    literals, tested, exact = _literals(list(tests_of(steps)), names)
    pools = {
        name: _pool(name, literals.get(name, []), forged=forged, known=known, names=names)
        for name in names
    }
    exact = exact and len(tested) <= _TESTED_TOGETHER
    heads = itertools.chain(
        [{}],
        ({name: lines} for name in names for lines in pools[name]),
        _all_alike(pools, forged),
        _pairs(pools, tested),
    )
    unique: dict[tuple[tuple[str, tuple[str, ...]], ...], Head] = {}
    for head in itertools.islice(heads, MAX_HEADS):
        unique.setdefault(tuple(sorted(head.items())), head)
    return TriedHeads(list(unique.values()), exact and len(unique) < MAX_HEADS)


def _literals(tests: list[Test], names: list[str]) -> tuple[dict[str, list[str]], set[str], bool]:
    """Return what each field is compared with, which are compared at all, and if that is all."""
    found: dict[str, list[str]] = {}
    tested: set[str] = set()
    exact = True
    for test in tests:
        direct = fields_of(test.value)
        # what a variable holds may come from any field
        for name in direct or (() if _is_connection(test) else names):
            tested.add(name)
            if any(word in name for word in _SECRETS):
                exact = False  # a stranger does not know what it is compared with
                continue
            pool = found.setdefault(name, [])
            for text in _witnesses(test):
                if len(pool) >= MAX_LITERALS:
                    exact = False
                elif text not in pool:
                    pool.append(text)
    return found, tested, exact


def _is_connection(test: Test) -> bool:
    """Return whether a test is about the connection alone."""
    return test.value.__class__.__name__ in ("Connection", "Text")


def _witnesses(test: Test) -> Iterator[str]:
    """Yield texts that pass a test."""
    predicate = test.predicate
    if predicate.kind == "among":
        yield from sorted(predicate.texts)[:3]
    elif predicate.kind == "ranges":
        yield from map(first_address, predicate.ranges.networks[: MAX_LITERALS + 1])
    elif predicate.kind == "regex":
        sample = sample_pattern(predicate.text, predicate.nocase)
        if sample is not None:
            yield sample
    elif predicate.text:
        yield predicate.text


def _pool(
    name: str, literals: list[str], *, forged: str, known: tuple[str, ...], names: list[str]
) -> list[tuple[str, ...]]:
    """Return what is tried in one field, each as its lines."""
    usable: list[tuple[str, ...]] = [(text,) for text in literals if _sendable(name, text)]
    if name == METHOD:
        return [*dict.fromkeys([*usable, ("POST",), ("BREW",)])]
    if name in (PATH, HOST):
        return usable
    if name == "connection":
        return [(each,) for each in names if each != "connection"]
    wrap = _wrap_forwarded if name == "forwarded" else _as_it_is
    pool: list[tuple[str, ...]] = [
        (wrap(forged),),
        *((f"{wrap(forged)}, {wrap(each)}",) for each in known),
        *((f"{wrap(each)}, {wrap(forged)}",) for each in known[:2]),
        *((wrap(each),) for each in known),
        (wrap(forged), wrap(known[0] if known else forged)),
        (f"{wrap(forged)}:4711",) if name != "forwarded" else (f'for="{forged}:4711"',),
        ("",),
        (wrap("unknown"),),
        (f'{wrap(forged)}"',),
        ("https",),
        ("http",),
        ("on",),
    ]
    return [*dict.fromkeys([*pool, *usable])]


def _sendable(name: str, text: str) -> bool:
    """Return whether a text can stand where it is tried."""
    printable = text.isascii() and text.isprintable()
    if name == PATH:
        return printable and text.startswith("/") and " " not in text
    if name in (HOST, METHOD):
        return printable and bool(text) and " " not in text and "/" not in text
    return printable and text == text.strip()


def _as_it_is(text: str) -> str:
    return text


def _wrap_forwarded(text: str) -> str:
    """Return an element of `Forwarded` that names an address and https."""
    shown = f'"[{text}]"' if ":" in text else text
    return f"for={shown};proto=https"


def _all_alike(pools: Mapping[str, list[tuple[str, ...]]], forged: str) -> Iterator[Head]:
    """Yield heads that claim the same in every field."""
    claimable = {
        name: pool for name, pool in pools.items() if name[0] != ":" and name != "connection"
    }
    for at in range(2):
        head = {name: pool[at] for name, pool in claimable.items() if len(pool) > at}
        if head:
            yield head
    for scheme in ("https", "http"):
        head = {
            name: (scheme,) if "proto" in name or "scheme" in name else pool[0]
            for name, pool in claimable.items()
        }
        yield head


def _pairs(pools: Mapping[str, list[tuple[str, ...]]], tested: set[str]) -> Iterator[Head]:
    """Yield heads with two fields, or with all of them where these are few."""
    if not tested:
        return  # nothing depends on two fields at once: each alone says the same
    size = 1
    for pool in pools.values():
        size *= len(pool) + 1
    if size <= MAX_PRODUCT:
        choices = [[None, *((name, lines) for lines in pool)] for name, pool in pools.items()]
        for picked in itertools.product(*choices):
            yield dict(each for each in picked if each is not None)
        return
    for one, two in itertools.combinations(pools, 2):
        if tested.isdisjoint((one, two)):
            continue  # each alone, and all alike, say the same
        for first, second in itertools.product(pools[one], pools[two]):
            yield {one: first, two: second}


def nominated(head: Head) -> list[str]:
    """Return the field lines of a head as curl sends them, without what is no field."""
    return [
        f"{_capitalised(name)}: {line}"
        for name, lines in head.items()
        if name[0] not in ":?" and not name.startswith("cookie:")
        for line in lines
    ]


def _capitalised(name: str) -> str:
    """Return a field's name as people write it."""
    return "-".join(word.capitalize() for word in name.split("-"))


def holds_strangers(ranges: Ranges) -> bool:
    """Return whether ranges hold so much that strangers are in them."""
    return any(network.prefix <= (7 if network.version == 4 else 16) for network in ranges.networks)
