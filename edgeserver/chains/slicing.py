"""What of a way matters for the answer: the steps that can reach the fields that the app reads.

Decides which steps are left out, and what is tested of what a sender chose. A step is left out only
where nothing that is kept reads what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from edgeserver.chains.model import (
    NOWHERE,
    AddField,
    AllOf,
    AnyOf,
    AppendToField,
    Connection,
    DropAll,
    DropField,
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

__all__ = ["fields_of", "slice_way", "tests_of", "unknowns_of"]

Part = Value | Guard

_CLIENT = "@client"


def slice_way(way: Way, wanted: frozenset[str]) -> tuple[Way, frozenset[str]]:
    """Return a way with the steps that matter alone, and the fields that they read.

    Args:
        way: The way.
        wanted: The fields that are read of what leaves by it.
    """
    needed = set(wanted)
    if way.sends_prelude:
        needed.add(_CLIENT)
    kept: list[Step] = []
    for step in reversed(way.steps):
        if not _matters(step, needed):
            continue
        kept.append(step)
        needed.update(_reads(step.guard))
        needed.update(_step_reads(step))
    fields = frozenset(name for name in needed if name and name[0] not in "$@")
    kept.reverse()
    return (
        replace(
            way,
            label="",
            path="",
            listen="",
            steps=tuple(kept),
            notes=(),
            where=NOWHERE,
            paste=NOWHERE,
        ),
        fields,
    )


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
    if isinstance(op, SetVariable):
        return f"${op.name}" in needed
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
    """Yield the names that a value or guard reads: fields, `$variables`, `@client`."""
    for each in _parts(part):
        if isinstance(each, Field | Present):
            yield each.name
        elif isinstance(each, Variable):
            yield f"${each.name}"
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
