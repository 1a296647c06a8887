"""What of a way matters for the answer: the steps that can reach the fields that the app reads.

Decides which steps are left out, and what is tested of what a sender chose. A step is left out only
where nothing that is kept reads what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgeserver.chains.evaluate import holds_of_nothing
from edgeserver.chains.model import (
    NOWHERE,
    AddField,
    AllOf,
    AnyOf,
    AppendToField,
    Connection,
    DropAll,
    DropField,
    DropUnderscored,
    Field,
    ForgetNominated,
    Guard,
    Join,
    Lookup,
    NotGuard,
    Present,
    RealIp,
    Refuse,
    SetClient,
    SetField,
    SetVariable,
    Step,
    Test,
    Unknown,
    UnknownGuard,
    UnknownValue,
    Value,
    Variable,
    Way,
    Where,
)

__all__ = ["Slicer", "fields_of", "tests_of", "unknowns_of"]

Part = Value | Guard

# what is read beside fields begins with what no field's name has; `$` is a letter of names
_OTHER = "\0"
_CLIENT = f"{_OTHER}client"
_VARIABLE = f"{_OTHER}$"


class Slicer:
    """Cuts ways down to what matters, and remembers what steps read and what was cut.

    Ways that keep the very same steps are cut to one and the same way. Steps are known by identity:
    who made them keeps them.
    """

    def __init__(self) -> None:
        self._read: dict[int, frozenset[str]] = {}
        self._tests: dict[int, tuple[Test, ...]] = {}
        self._slices: dict[tuple[object, ...], tuple[list[Step], frozenset[str]]] = {}
        self._cuts: dict[tuple[object, ...], Way] = {}

    def reads(self, step: Step) -> frozenset[str]:
        """Return the names that a step and its guard read: fields, variables, the client."""
        known = self._read.get(id(step))
        if known is None:
            known = self._read[id(step)] = frozenset((*_reads(step.guard), *_step_reads(step)))
        return known

    def tests_of(self, step: Step) -> tuple[Test, ...]:
        """Return every test in the guard and the value of a step."""
        known = self._tests.get(id(step))
        if known is None:
            known = self._tests[id(step)] = tuple(tests_of((step,)))
        return known

    def slice(
        self, way: Way, wanted: frozenset[str], *, is_first: bool = False
    ) -> tuple[Way, frozenset[str]]:
        """Return a way with the steps that matter alone, and the fields that they read.

        Args:
            way: The way.
            wanted: The fields that are read of what leaves by it.
            is_first: Whether strangers send to it themselves. They pass a refusal that asks for a
                field which nothing else asks for, by sending none, and so it changes nothing.
        """
        # the listeners of a place share their steps
        key = (id(way.steps), wanted, is_first, way.sends_prelude)
        known = self._slices.get(key)
        if known is None:
            known = self._slices[key] = self._sliced(way, wanted, is_first=is_first)
        kept, fields = known
        return self._cut(way, kept), fields

    def _sliced(
        self, way: Way, wanted: frozenset[str], *, is_first: bool
    ) -> tuple[list[Step], frozenset[str]]:
        """Return the steps that matter, and the fields that they read."""
        kept, fields = self._keep(way, wanted, frozenset())
        if is_first and any(isinstance(step.op, Refuse) for step in kept):
            passable = self._passable(kept, wanted)
            if passable:
                kept, fields = self._keep(way, wanted, passable)
        return kept, fields

    def _cut(self, way: Way, kept: list[Step]) -> Way:
        """Return the way that keeps some steps, and else has nothing but what decides."""
        key = (
            *map(id, kept), way.tls, id(way.prelude), way.sends_prelude, way.tls_out, way.layer4,
            way.transparent,
        )  # fmt: skip
        cut = self._cuts.get(key)
        if cut is None:
            cut = self._cuts[key] = Way(
                label="",
                path="",
                where=NOWHERE,
                tls=way.tls,
                steps=tuple(kept),
                prelude=way.prelude,
                sends_prelude=way.sends_prelude,
                tls_out=way.tls_out,
                layer4=way.layer4,
                transparent=way.transparent,
            )
        return cut

    def _keep(
        self, way: Way, wanted: frozenset[str], passable: frozenset[int]
    ) -> tuple[list[Step], frozenset[str]]:
        """Return the steps that matter but for some that are passed anyhow, and what they read."""
        needed = set(wanted)
        if way.sends_prelude:
            needed.add(_CLIENT)
        kept: list[Step] = []
        for step in reversed(way.steps):
            if id(step) in passable or not _matters(step, needed):
                continue
            kept.append(step)
            needed.update(self.reads(step))
        fields = frozenset(name for name in needed if name and name[0] != _OTHER)
        kept.reverse()
        return kept, fields

    def _passable(self, steps: list[Step], wanted: frozenset[str]) -> frozenset[int]:
        """Return the refusals that a sender passes without fields that nothing else asks for."""
        asked = {id(step): self.reads(step) for step in steps if _is_gate(step)}
        while True:
            others = [step for step in steps if id(step) not in asked]
            used = set(wanted)
            for step in others:
                used.update(self.reads(step), _writes(step))
            # what a pattern matched may be read under any name
            captured = any(name.startswith(_VARIABLE) for name in used)
            left = {
                key: names
                for key, names in asked.items()
                if used.isdisjoint(names) and not captured
            }
            if len(left) == len(asked):
                return frozenset(left)
            asked = left


def _is_gate(step: Step) -> bool:
    """Return whether a step refuses what certain fields hold, and nobody who sends none."""
    if not isinstance(step.op, Refuse) or not any(_reads(step.guard)):
        return False
    for part in _parts(step.guard):
        if isinstance(part, Connection | Variable | UnknownGuard | UnknownValue):
            return False
        if isinstance(part, Field | Present) and part.name[0] == ":":
            return False  # a request always has these
    return holds_of_nothing(step.guard) is False


def _writes(step: Step) -> Iterator[str]:
    """Yield the field that a step writes, where it is one."""
    if isinstance(step.op, SetField | AddField | AppendToField):
        yield step.op.name
    elif isinstance(step.op, Unknown):
        yield from step.op.fields


def _matters(step: Step, needed: set[str]) -> bool:
    """Return whether a step can change what is needed."""
    op = step.op
    if isinstance(op, SetField | AddField | AppendToField):
        return op.name in needed
    if isinstance(op, DropField):
        return (
            any(map(str.startswith, needed, [op.name] * len(needed)))
            if op.prefix
            else (op.name in needed)
        )
    if isinstance(op, DropUnderscored):
        return any("_" in name and name[0] not in (_OTHER, ":", "?") for name in needed)
    if isinstance(op, SetVariable):
        return f"{_VARIABLE}{op.name}" in needed
    if isinstance(op, SetClient):
        return _CLIENT in needed
    if isinstance(op, RealIp):
        return _CLIENT in needed or (op.consume and op.field in needed)
    if isinstance(op, Unknown):
        return not op.fields or not needed.isdisjoint(op.fields)
    return isinstance(op, DropAll | ForgetNominated | Refuse)


def _step_reads(step: Step) -> Iterator[str]:
    """Yield what a step reads beside its guard."""
    op = step.op
    if isinstance(op, SetField | AddField | AppendToField | SetVariable | SetClient):
        yield from _reads(op.value)
    elif isinstance(op, RealIp):
        yield _CLIENT
        if op.field:
            yield op.field
    elif isinstance(op, ForgetNominated):
        yield "connection"


def _parts(part: Part) -> Iterator[Part]:
    """Yield a value or guard, and everything in it."""
    waiting: list[Part] = [part]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, Join):
            waiting.extend(each.parts)
        elif isinstance(each, Lookup):
            waiting.append(each.default)
            for guard, value in each.cases:
                waiting += (guard, value)
        elif isinstance(each, Test):
            waiting.append(each.value)
        elif isinstance(each, AllOf | AnyOf):
            waiting.extend(each.guards)
        elif isinstance(each, NotGuard):
            waiting.append(each.guard)


def _reads(part: Part) -> Iterator[str]:
    """Yield the names that a value or guard reads: fields, variables, the client."""
    for each in _parts(part):
        if isinstance(each, Field | Present):
            yield each.name
        elif isinstance(each, Variable):
            yield f"{_VARIABLE}{each.name}"
        elif isinstance(each, Connection) and each.name == "client":
            yield _CLIENT


def fields_of(value: Value) -> set[str]:
    """Return the fields that a value reads itself."""
    return {each.name for each in _parts(value) if isinstance(each, Field)}


def unknowns_of(steps: Iterable[Step]) -> Iterator[tuple[str, Where]]:
    """Yield what is not understood in steps, with its place."""
    for step in steps:
        if isinstance(step.op, Unknown):
            yield step.op.text, step.where
        for part in _step_parts(step):
            for each in _parts(part):
                if isinstance(each, UnknownGuard | UnknownValue):
                    yield each.text, each.where


def tests_of(steps: Iterable[Step]) -> Iterator[Test]:
    """Yield every test in the guards and values of steps."""
    for step in steps:
        for part in _step_parts(step):
            for each in _parts(part):
                if isinstance(each, Test):
                    yield each


def _step_parts(step: Step) -> list[Part]:
    """Return the guard of a step, and its value where it has one."""
    op = step.op
    if isinstance(op, SetField | AddField | AppendToField | SetVariable | SetClient):
        return [step.guard, op.value]
    return [step.guard]
