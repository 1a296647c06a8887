"""What SARIF 2.1.0 asks of a log, as far as we write one: a test's own reading of the schema.

Each object has the names that the schema allows and requires, as `name: check`; a `!` after a name
says that it is required. Source: OASIS, sarif-schema-2.1.0.json.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

__all__ = ["check_sarif"]

_LEVELS = {"none", "note", "warning", "error"}
_STATES = {"new", "unchanged", "updated", "absent"}
_REFERENCE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?#-]|%[0-9A-F]{2})+")


def _text(value: Any) -> None:
    assert isinstance(value, str)


def _of(*allowed: str) -> Any:
    def check(value: Any) -> None:
        assert value in allowed

    return check


def _positive(value: Any) -> None:
    assert isinstance(value, int)
    assert not isinstance(value, bool)
    assert value >= 1


def _index(value: Any) -> None:
    assert isinstance(value, int)
    assert value >= -1


def _reference(value: Any) -> None:
    assert _REFERENCE.fullmatch(value), value
    parts = urlsplit(value)
    assert not parts.scheme
    assert not parts.netloc


def _texts(value: Any) -> None:
    assert all(isinstance(each, str) for each in value.values())


def _boolean(value: Any) -> None:
    assert isinstance(value, bool)


def _number(value: Any) -> None:
    assert isinstance(value, int)


def _each(check: Any, *, unique: bool = False) -> Any:
    def check_all(value: Any) -> None:
        assert isinstance(value, list)
        for each in value:
            check(each)
        assert not unique or len({repr(each) for each in value}) == len(value)

    return check_all


def _object(**names: Any) -> Any:
    def check(value: Any) -> None:
        assert isinstance(value, dict)
        known = {name.rstrip("_").replace("__", "$"): each for name, each in names.items()}
        required = {name.rstrip("_").replace("__", "$") for name in names if name.endswith("_")}
        assert required <= value.keys() <= known.keys()
        for name, each in value.items():
            known[name](each)

    return check


_MESSAGE = _object(text_=_text)
_RULE = _object(id_=_text, shortDescription=_MESSAGE, help=_MESSAGE,
                defaultConfiguration=_object(level=_of(*_LEVELS)))  # fmt: skip
_LOCATION = _object(physicalLocation=_object(artifactLocation=_object(uri=_reference),
                                             region=_object(startLine=_positive)))  # fmt: skip
_RESULT = _object(
    ruleId=_text, ruleIndex=_index, level=_of(*_LEVELS), message_=_MESSAGE,
    locations=_each(_LOCATION), partialFingerprints=_texts, baselineState=_of(*_STATES),
    suppressions=_each(_object(kind_=_of("inSource", "external"), justification=_text),
                       unique=True),
)  # fmt: skip
_RUN = _object(
    tool_=_object(driver_=_object(name_=_text, rules=_each(_RULE, unique=True))),
    invocations=_each(_object(executionSuccessful_=_boolean, exitCode=_number)),
    results=_each(_RESULT),
)
_LOG = _object(__schema=_text, version_=_of("2.1.0"), runs_=_each(_RUN))


def check_sarif(log: Any) -> None:
    """Fail where a log is not what the schema asks for, or its parts contradict each other."""
    _LOG(log)
    for run in log["runs"]:
        rules = run["tool"]["driver"]["rules"]
        states = {result.get("baselineState") for result in run["results"]}
        assert None not in states or len(states) == 1, "all results of a run, or none"
        for result in run["results"]:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
