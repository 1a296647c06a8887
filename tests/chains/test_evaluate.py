"""The evaluation of one way: operations, guards, and what is not understood."""

from __future__ import annotations

from typing import Any

import pytest

from edgeserver.chains.evaluate import MAX_PATHS, Oracle, Passed, Request, Scope, paths, run_way
from edgeserver.chains.judge import worst_scheme
from edgeserver.chains.model import (
    CLIENT,
    EVERY_ADDRESS,
    PRELUDE,
    AddField,
    AppendToField,
    DropField,
    Field,
    ForgetNominated,
    Op,
    PreludeRule,
    Present,
    Ranges,
    RealIp,
    SetClient,
    SetField,
    Step,
    Text,
    Unknown,
    UnknownGuard,
    UnknownValue,
    Way,
    Where,
)
from edgeserver.proxyheaders.networks import parse_network

SCOPE = Scope("203.0.113.250", ("x-forwarded-for",), exact=True)
PEER = "203.0.113.66"
US = Ranges((parse_network("10.0.0.0/8"),))
HERE = Where("conf", 3)


def run(
    *ops: Op, prelude: str | None = None, rule: PreludeRule | None = None, **head: str
) -> Passed | None:
    """Send a request through steps; underscores in names stand for dashes."""
    way = Way("", "", HERE, steps=tuple(map(Step, ops)), prelude=rule)
    fields = {name.replace("_", "-"): (value,) for name, value in head.items()}
    return run_way(way, Request(PEER, False, fields, prelude), Oracle([], SCOPE))


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (SetField("x", CLIENT), (PEER,)),
        (SetField("x", Text(""), drop_empty=True), None),
        (AddField("x", CLIENT), ("a, b", PEER)),
        (AppendToField("x", CLIENT), (f"a, b, {PEER}",)),
        (DropField("x"), None),
        (DropField("", prefix=True), None),
        (SetField("x", Field("x", "first-element")), ("a",)),
        (SetField("x", Field("x", "last-element")), ("b",)),
        (ForgetNominated(), ("a, b",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_operations(op: Op, expected: tuple[str, ...] | None) -> None:
    """Each operation does to the lines of a field what it says."""
    passed = run(op, x="a, b")
    assert passed is not None
    assert passed.head.get("x") == expected


@pytest.mark.parametrize(
    ("rule", "prelude", "expected"),
    [
        (PreludeRule(EVERY_ADDRESS), "192.0.2.1", "192.0.2.1"),
        (PreludeRule(EVERY_ADDRESS), None, None),
        (PreludeRule(EVERY_ADDRESS, required=False), None, PEER),
        (PreludeRule(US), "192.0.2.1", None),
        (PreludeRule(US), None, PEER),
        (None, "192.0.2.1", None),
    ],
    ids=["read", "required", "optional", "not-from-him", "not-asked", "not-read"],
)
def test_preludes(rule: PreludeRule | None, prelude: str | None, expected: str | None) -> None:
    """A prelude is read of those that may send one, and ends the connection of others."""
    passed = run(SetClient(PRELUDE), SetField("x", CLIENT), rule=rule, prelude=prelude)
    assert (None if passed is None else passed.head["x"][0]) == expected


@pytest.mark.parametrize(
    ("walk", "claimed", "expected"),
    [
        ("recursive", "1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("recursive", "10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("recursive", "x, 10.0.0.1", "10.0.0.1"),
        ("last", "1.1.1.1, 10.0.0.1", "10.0.0.1"),
        ("leftmost", "1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("last", "x", "10.0.0.9"),
    ],
)
def test_realip(walk: str, claimed: str, expected: str) -> None:
    """The client is found in a field as each product's module finds it."""
    steps = (
        Step(RealIp("x-forwarded-for", US, walk)),  # type: ignore[arg-type]
        Step(SetField("x", CLIENT)),
    )
    request = Request("10.0.0.9", False, {"x-forwarded-for": (claimed,)})
    passed = run_way(Way("", "", HERE, steps=steps), request, Oracle([], SCOPE))
    assert passed is not None
    assert passed.head["x"] == (expected,)


def explore(*steps: Step) -> list[tuple[tuple[str, ...] | None, list[str]]]:
    """Return what every path gives for X-Forwarded-For, and its doubts."""
    way = Way("", "", HERE, steps=steps)
    request = Request(PEER, False, {"x-forwarded-for": ("a",)})
    return [
        (None if passed is None else passed.head.get("x-forwarded-for"), [d.text for d in doubts])
        for passed, doubts in paths(lambda oracle: run_way(way, request, oracle), SCOPE)
    ]


def test_unknown_guard_is_explored_both_ways() -> None:
    """A condition that is not understood may hold or not, and every path says so."""
    step = Step(SetField("x-forwarded-for", CLIENT), HERE, UnknownGuard("magic", HERE))
    assert explore(step) == [((PEER,), ["magic"]), (("a",), ["magic"])]


def test_unknown_guard_keeps_its_answer() -> None:
    """`if` and `unless` of the same condition do not both happen."""
    guard = UnknownGuard("magic", HERE)
    steps = [Step(AddField("x-forwarded-for", Text(each)), HERE, guard) for each in ("b", "c")]
    assert [lines for lines, _ in explore(*steps)] == [("a", "b", "c"), ("a",)]


def test_unknown_value_may_be_anything() -> None:
    """A value that is not understood may be what a stranger wants."""
    found = explore(Step(SetField("x-forwarded-for", UnknownValue("$magic", HERE)), HERE))
    assert (SCOPE.forged,) in [lines for lines, _ in found]
    assert all(doubts == ["$magic"] for _, doubts in found)


def test_unknown_step_may_leave_all_or_change_all() -> None:
    """A directive that is not understood may do nothing, remove a field, or forge it."""
    results = [lines for lines, _ in explore(Step(Unknown("magic"), HERE))]
    assert ("a",) in results
    assert None in results
    assert (SCOPE.forged,) in results


def test_too_many_unknowns_are_not_left_out() -> None:
    """Where not every path is tried, the last one says that nothing is proved."""
    steps = [
        Step(AddField("x", Text("")), HERE, UnknownGuard(f"magic {number}", HERE))
        for number in range(12)
    ]
    found = explore(*steps)
    assert len(found) == MAX_PATHS + 1
    assert found[-1][1] == [f"more than {MAX_PATHS} combinations of conditions"]


def test_values_stay_bounded() -> None:
    """A value that doubles in each step does not fill memory."""
    double = Step(AppendToField("x", Field("x")))
    passed = run_way(
        Way("", "", HERE, steps=(double,) * 60),
        Request(PEER, False, {"x": ("a" * 100,)}),
        Oracle([], SCOPE),
    )
    assert passed is not None
    assert len(passed.head["x"][0]) <= 4096


def test_present_is_not_the_same_as_filled() -> None:
    """A field without a value is there."""
    way = Way("", "", HERE, steps=(Step(SetField("y", Text("1")), HERE, Present("x")),))
    passed = run_way(way, Request(PEER, False, {"x": ("",)}), Oracle([], SCOPE))
    assert passed is not None
    assert passed.head["y"] == ("1",)


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        (["right", "lost"], "mixed"),
        (["mixed", "right"], "mixed"),
        (["mixed", "lost"], "mixed"),
        (["mixed", "unreachable"], "mixed"),
        (["mixed", "wrong-always"], "wrong-always"),
        (["mixed", "spoofable"], "spoofable"),
        (["mixed", "cannot-tell"], "cannot-tell"),
        (["unreachable"], "unreachable"),
        ([], "unreachable"),
    ],
)
def test_verdicts_on_the_scheme_add_up(verdicts: list[Any], together: str) -> None:
    """What was added up before, of one server's ways, is added up with the other servers'."""
    assert worst_scheme(verdicts) == together
