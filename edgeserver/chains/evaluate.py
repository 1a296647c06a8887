"""One request through one proxy: the steps of a way, done to a concrete head.

Decides what each operation, guard and value of the model means. It must not know which requests are
worth trying. Where the model says "unknown", both answers are explored, and the path says so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from edgeserver.chains.model import (
    ALWAYS,
    CLIENT,
    HOST,
    METHOD,
    PATH,
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
    Predicate,
    Present,
    RealIp,
    Refuse,
    SetClient,
    SetField,
    SetVariable,
    Step,
    Test,
    Text,
    Unknown,
    UnknownGuard,
    UnknownValue,
    Value,
    Variable,
    Way,
    Where,
)
from edgeserver.chains.patterns import MAX_SUBJECT, compile_pattern, is_of_every_address
from edgeserver.proxyheaders.addresses import Address, UnusableClaim, parse_address, parse_peer

__all__ = [
    "Doubt",
    "Oracle",
    "Passed",
    "Request",
    "Scope",
    "holds_of_nothing",
    "paths",
    "read_address",
    "reads_fields",
    "run_way",
]

MAX_PATHS = 128
"""How many answers to unknown questions are explored for one request."""

MAX_VALUE = 4096
"""How long a value may become, in characters: maps may double one in each step."""


class Doubt(NamedTuple):
    """What was not understood, and where it stands."""

    text: str
    where: Where


class Request(NamedTuple):
    """A request as it comes to a proxy.

    Args:
        peer: The address of who connected.
        tls: Whether the connection is TLS.
        head: Lines for each lower-case field name.
        prelude: The source that a PROXY prelude names, if there was one.
    """

    peer: str
    tls: bool
    head: Mapping[str, tuple[str, ...]]
    prelude: str | None = None


class Passed(NamedTuple):
    """What leaves a proxy, without its own address: `peer` only where that stays visible."""

    peer: str | None
    tls: bool | None
    head: dict[str, tuple[str, ...]]
    prelude: str | None
    writers: dict[str, Step]


class Scope(NamedTuple):
    """What an exploration is about.

    Args:
        forged: What a stranger pretends to be.
        fields: The fields that matter.
        exact: Whether the requests tried hold every answer to the tests of what a sender chose.
    """

    forged: str
    fields: tuple[str, ...]
    exact: bool

    @property
    def anything(self) -> tuple[str, ...]:
        """What a value may be that is not understood: the worst for an address and a scheme."""
        return (
            self.forged,
            "https",
            "http",
            "",
            f"for={self.forged};proto=https",
            f"for={self.forged};proto=http",
        )


class Oracle:
    """The answers to what is unknown along one path, and what was doubted on it.

    Args:
        script: The answers so far; the first is taken where it ends.
        scope: What the whole exploration is about.
    """

    def __init__(self, script: list[int], scope: Scope) -> None:
        self.scope = scope
        self.taken: list[tuple[int, int]] = []
        self.doubts: list[Doubt] = []
        self.has_guessed = False  # whether a value was chosen that is not understood
        self.has_read = False  # whether anything of a head was looked at, to go by it
        self._script = script
        self._memory: dict[object, int] = {}

    def choose(self, key: object, options: int, doubt: Doubt, *, sure: bool = False) -> int:
        """Return one of `options` answers; the same key gets the same answer.

        Args:
            key: What is asked.
            options: How many answers there are.
            doubt: What to say of a path that depends on it.
            sure: Whether the first answer is no doubt.
        """
        answer = self._memory.get(key)
        if answer is None:
            at = len(self.taken)
            answer = self._script[at] if at < len(self._script) else 0
            self.taken.append((answer, options))
            self._memory[key] = answer
        if (answer or not sure) and doubt not in self.doubts:
            self.doubts.append(doubt)
        return answer


def paths(run: Callable[[Oracle], Any], scope: Scope) -> Iterator[tuple[Any, list[Doubt]]]:
    """Yield the result of each path, with the doubts it rests on; the sure path comes first.

    Args:
        run: Called with an oracle, once for each path.
        scope: As for `Oracle`.
    """
    script: list[int] = []
    for _ in range(MAX_PATHS):
        oracle = Oracle(script, scope)
        yield run(oracle), oracle.doubts
        taken = oracle.taken
        while taken and taken[-1][0] + 1 >= taken[-1][1]:
            taken.pop()
        if not taken:
            return
        script = [answer for answer, _ in taken]
        script[-1] += 1
    # not all were tried, and so nothing is proved
    yield None, [Doubt(f"more than {MAX_PATHS} combinations of conditions", Where(""))]


@functools.lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """Return the address that an entry names, or None."""
    if text.startswith("unix:"):
        return parse_peer(text)
    try:
        return parse_address(text.encode("latin-1", "replace"))
    except UnusableClaim:
        return None


class _State:
    """One request inside one proxy."""

    __slots__ = (
        "client",
        "head",
        "last_word",
        "oracle",
        "peer",
        "prelude",
        "received",
        "tls",
        "vars",
        "writers",
    )

    def __init__(self, request: Request, oracle: Oracle) -> None:
        self.peer = self.client = request.peer
        self.tls = request.tls
        self.prelude = ""
        self.received = request.head
        self.head: dict[str, tuple[str, ...]] = dict(request.head)
        self.vars: dict[str, str] = {}
        self.writers: dict[str, Step] = {}
        self.oracle = oracle
        self.last_word: tuple[str, Step] | None = None


def holds_of_nothing(guard: Guard) -> bool | None:
    """Return whether a guard that asks for fields alone holds where none is there.

    Args:
        guard: The guard.

    Returns:
        None where that is not certain.
    """
    oracle = Oracle([], Scope("", (), exact=True))
    held = _holds(guard, _State(Request("", False, {}), oracle))
    return None if oracle.doubts else held


def run_way(way: Way, request: Request, oracle: Oracle) -> Passed | None:
    """Return what leaves by a way, or None where the request does not get through.

    Args:
        way: The way; its listener has the request's kind (TLS or not).
        request: What comes in.
        oracle: Answers for what is unknown.
    """
    state = _State(request, oracle)
    state.tls = way.tls
    rule = way.prelude
    reads = rule is not None and rule.ranges.hold(parse_peer(request.peer))
    if request.prelude is not None and not reads and not way.layer4:
        return None  # a request line cannot begin so
    if reads:
        assert rule is not None
        if request.prelude is None:
            if rule.required:
                return None
        else:
            state.prelude = request.prelude
    for step in way.steps:
        if step.guard is not ALWAYS and not _holds(step.guard, state):
            continue
        if _DO[step.op.__class__](step.op, state, step) is False:
            return None
    prelude = (state.client or state.peer) if way.sends_prelude else None
    if state.last_word is not None:
        value, step = state.last_word
        for name in oracle.scope.fields:
            state.head.pop(name, None)
            if value:
                state.head[name] = (value,)
            state.writers[name] = step
        prelude = prelude and oracle.scope.forged
    if way.layer4 and not way.sends_prelude and request.prelude is not None and not reads:
        prelude = request.prelude  # unread bytes are passed on
    return Passed(
        request.peer if way.transparent else None,
        request.tls if way.layer4 and not way.tls and not way.tls_out else way.tls_out,
        state.head,
        prelude,
        state.writers,
    )


# -- guards ------------------------------------------------------------------------------------


def _holds(guard: Guard, state: _State) -> bool:
    """Return whether a guard holds; what is unknown, the oracle says."""
    kind = guard.__class__
    if kind is Test:
        return _passes(cast(Test, guard), state)
    if kind is NotGuard:
        return not _holds(guard.guard, state)  # type: ignore[union-attr]
    if kind is AllOf:
        return all(_holds(each, state) for each in guard.guards)  # type: ignore[union-attr]
    if kind is AnyOf:
        return any(_holds(each, state) for each in guard.guards)  # type: ignore[union-attr]
    if isinstance(guard, Present):
        state.oracle.has_read = True
        return guard.name in (state.received if guard.received else state.head)
    assert isinstance(guard, UnknownGuard)
    doubt = Doubt(guard.text, guard.where)
    return state.oracle.choose(("guard", guard.text), 2, doubt) == 0


def _passes(test: Test, state: _State) -> bool:
    """Return whether a test is passed."""
    value, predicate = test.value, test.predicate
    text = _value(value, state)
    found = _VARYING.search(text)
    if found is not None:
        doubt = Doubt(f"{_DESCRIBED[predicate.kind]} with {found[1]}", test.where)
        return state.oracle.choose((value, predicate, text), 2, doubt) == 0
    texts = text.split(",") if predicate.elements else [text]
    results = [_match(each.strip(" \t"), predicate, state) for each in texts]
    if None in results and True not in results:
        doubt = Doubt(f"the pattern {predicate.text}", test.where)
        return state.oracle.choose((value, predicate), 2, doubt) == 0
    held = True in results
    if state.oracle.has_guessed and _may_be_guessed(value):
        # a guess is one of a few texts; what is not understood may be just the one tested for
        doubt = Doubt(f"{_DESCRIBED[predicate.kind]} with what is not understood", test.where)
        return held != bool(state.oracle.choose((value, predicate, text), 2, doubt, sure=True))
    inexact = predicate.kind not in ("equals", "among", "ranges")
    if (inexact or not state.oracle.scope.exact) and reads_fields(value):
        # what was tried shows what can happen, and not what cannot
        doubt = Doubt(f"what a sender can make of {_DESCRIBED[predicate.kind]}", test.where)
        flipped = state.oracle.choose((value, predicate, text), 2, doubt, sure=True)
        return held != bool(flipped)
    if held and _asks_request_line(value):
        # every request has these: one that fails the test need not be among those tried
        doubt = Doubt(f"what a sender can make of {_DESCRIBED[predicate.kind]}", test.where)
        return bool(state.oracle.choose((value, predicate, text), 2, doubt, sure=True)) is False
    if inexact and _holds_address(value) and not is_of_every_address(predicate.text):
        # no few addresses stand for all that a pattern may match
        doubt = Doubt(f"which addresses pass {_DESCRIBED[predicate.kind]}", test.where)
        return held != bool(state.oracle.choose((value, predicate, text), 2, doubt, sure=True))
    return held


_VARYING = re.compile(r"\(([a-z_]+)\?\)")  # as `model.varying` writes it
_DESCRIBED = {
    "equals": "a comparison",
    "among": "a comparison",
    "ranges": "a comparison with ranges",
    "prefix": "a comparison of the beginning",
    "suffix": "a comparison of the end",
    "contains": "a search",
    "regex": "a pattern",
}


def _match(text: str, predicate: Predicate, state: _State) -> bool | None:
    """Return whether one text passes, or None where that cannot be told."""
    kind, wanted = predicate.kind, predicate.text
    if kind == "ranges":
        address = read_address(text)
        return address is not None and predicate.ranges.hold(address)
    if kind == "regex":
        pattern = compile_pattern(wanted, predicate.nocase)
        if pattern is None or len(text) > MAX_SUBJECT:
            return None
        found = pattern.search(text)
        if found is None:
            return False
        state.vars.update((f"{at}", each or "") for at, each in enumerate(found.groups(), start=1))
        state.vars.update((name.lower(), each or "") for name, each in found.groupdict().items())
        state.vars["0"] = found[0]
        return True
    if predicate.nocase:
        text, wanted = text.lower(), wanted.lower()
    if kind == "equals":
        return text == wanted
    if kind == "among":
        return text in predicate.texts
    if kind == "prefix":
        return text.startswith(wanted)
    return text.endswith(wanted) if kind == "suffix" else wanted in text


@functools.lru_cache(maxsize=4096)
def reads_fields(value: Value) -> bool:
    """Return whether what the sender of the request chose is in a value."""
    if isinstance(value, Field):
        return True
    if isinstance(value, Join):
        return any(map(reads_fields, value.parts))
    return isinstance(value, Variable | Lookup)


def _asks_request_line(value: Value) -> bool:
    """Return whether the path, the host or the method is in a value."""
    if isinstance(value, Join):
        return any(map(_asks_request_line, value.parts))
    return isinstance(value, Field) and value.name in (PATH, HOST, METHOD)


def _holds_address(value: Value) -> bool:
    """Return whether the address of who connects is in a value."""
    if isinstance(value, Join):
        return any(map(_holds_address, value.parts))
    return isinstance(value, Connection) and value.name != "scheme"


def _may_be_guessed(value: Value) -> bool:
    """Return whether something that is not understood may be in a value."""
    if isinstance(value, Join):
        return any(map(_may_be_guessed, value.parts))
    return isinstance(value, UnknownValue) or value == CLIENT or reads_fields(value)


# -- values ------------------------------------------------------------------------------------


def _value(value: Value, state: _State) -> str:
    """Return what a value is here."""
    kind = value.__class__
    if kind is Text:
        return value.text  # type: ignore[union-attr]
    if isinstance(value, Field):
        state.oracle.has_read = True
        lines = (state.received if value.received else state.head).get(value.name)
        return _pick(lines, value.pick) if lines else ""
    if isinstance(value, Connection):
        if value.name == "scheme":
            return "https" if state.tls else "http"
        return state.client if value.name == "client" else getattr(state, value.name)
    if isinstance(value, Join):
        return "".join([_value(part, state) for part in value.parts])[:MAX_VALUE]
    if isinstance(value, Variable):
        return state.vars.get(value.name, "")
    if isinstance(value, Lookup):
        for guard, case in value.cases:
            if _holds(guard, state):
                return _value(case, state)
        return _value(value.default, state)
    assert isinstance(value, UnknownValue)
    doubt = Doubt(value.text, value.where)
    state.oracle.has_guessed = True
    anything = state.oracle.scope.anything
    return anything[state.oracle.choose(("value", value.text), len(anything), doubt)]


def _pick(lines: tuple[str, ...], pick: str) -> str:
    """Return the part of a field's lines that is read."""
    if pick == "all":
        return lines[0] if len(lines) == 1 else ", ".join(lines)
    if pick == "first":
        return lines[0]
    if pick == "last":
        return lines[-1]
    if pick == "first-element":
        return lines[0].split(",")[0].strip(" \t")
    return lines[-1].rsplit(",", 1)[-1].strip(" \t")


# -- operations --------------------------------------------------------------------------------


def _set_field(op: SetField, state: _State, step: Step) -> None:
    value = _value(op.value, state)
    if value or not op.drop_empty:
        state.head[op.name] = (value,)
    else:
        state.head.pop(op.name, None)
    state.writers[op.name] = step


def _add_field(op: AddField, state: _State, step: Step) -> None:
    value = _value(op.value, state)
    if value or not op.drop_empty:
        state.head[op.name] = (*state.head.get(op.name, ()), value)
        state.writers[op.name] = step


def _append(op: AppendToField, state: _State, step: Step) -> None:
    lines = state.head.get(op.name)
    value = _value(op.value, state)
    joined = f"{', '.join(lines)}, {value}" if lines else value
    state.head[op.name] = (joined[-MAX_VALUE:],)
    state.writers[op.name] = step


def _drop_field(op: DropField, state: _State, step: Step) -> None:
    names = [op.name]
    if op.prefix:
        names = [name for name in state.head if name.startswith(op.name)]
    for name in names:
        if state.head.pop(name, None) is not None:
            state.writers[name] = step


def _drop_underscored(op: DropUnderscored, state: _State, step: Step) -> None:
    for name in [name for name in state.head if "_" in name and name[0] not in ":?"]:
        state.writers[name] = step
        del state.head[name]


def _drop_all(op: DropAll, state: _State, step: Step) -> None:
    for name in [*state.head]:
        if name[0] not in ":?":  # what stands for the request line stays
            state.writers[name] = step
            del state.head[name]


def _forget_nominated(op: ForgetNominated, state: _State, step: Step) -> None:
    for line in state.received.get("connection", ()):
        for name in line.split(","):
            lower = name.strip(" \t").lower()
            if state.head.pop(lower, None) is not None:
                state.writers[lower] = step


def _set_variable(op: SetVariable, state: _State, step: Step) -> None:
    state.vars[op.name] = _value(op.value, state)


def _set_client(op: SetClient, state: _State, step: Step) -> None:
    address = read_address(_value(op.value, state))
    if address is not None:
        state.client = address.text


def _realip(op: RealIp, state: _State, step: Step) -> None:
    if not op.ranges.hold(parse_peer(state.client)):
        return
    if not op.field:
        _set_client(SetClient(Connection("prelude")), state, step)
        return
    state.oracle.has_read = True
    lines = state.head.get(op.field, ()) if op.consume else state.received.get(op.field, ())
    if not lines:
        return
    entries = (lines[0] if op.line == "first" else ", ".join(lines)).split(",")
    if op.walk == "leftmost":
        _set_client(SetClient(Text(entries[0].strip(" \t"))), state, step)
        return
    peer = state.client
    inside = True
    while entries and inside:
        address = read_address(entries[-1].strip(" \t"))
        if address is None:
            break
        entries.pop()
        state.client = address.text
        inside = op.walk == "recursive" and op.ranges.hold(address)
    else:
        if inside and op.reached == "peer":
            state.client = peer
    if op.consume:
        if entries:
            state.head[op.field] = (",".join(entries),)
        else:
            state.head.pop(op.field, None)
        state.writers[op.field] = step


def _refuse(op: Refuse, state: _State, step: Step) -> bool:
    return False


def _unknown(op: Unknown, state: _State, step: Step) -> None:
    doubt = Doubt(op.text, step.where)
    scope = state.oracle.scope
    anything = scope.anything
    answer = state.oracle.choose(("step", op.text, step.where), 1 + len(anything), doubt)
    if answer == 0:
        return
    state.oracle.has_guessed = True
    if not op.fields:
        state.last_word = (anything[answer - 1], step)  # what is set later need not stay either
        return
    value = anything[answer - 1]
    for name in op.fields:
        if value:
            state.head[name] = (value,)
        else:
            state.head.pop(name, None)
        state.writers[name] = step


_DO: dict[type, Callable[[Any, _State, Step], bool | None]] = {
    SetField: _set_field,
    AddField: _add_field,
    AppendToField: _append,
    DropField: _drop_field,
    DropUnderscored: _drop_underscored,
    DropAll: _drop_all,
    ForgetNominated: _forget_nominated,
    SetVariable: _set_variable,
    SetClient: _set_client,
    RealIp: _realip,
    Refuse: _refuse,
    Unknown: _unknown,
}
