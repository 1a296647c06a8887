"""Regular expressions of strangers' configurations, run where that is safe and exact.

Decides which patterns Python reads as PCRE does and in bounded time. It must not know where a
pattern stood: one that is refused makes the condition unknown.
"""

from __future__ import annotations

import functools
import importlib
import re
import warnings
from typing import Any

__all__ = ["MAX_SUBJECT", "compile_pattern", "is_of_every_address", "sample_pattern"]

MAX_SUBJECT = 256
"""How long a text may be that a pattern is tried on, in characters."""

MAX_PATTERN = 512
_MAX_LOOPS = 6
"""How many loops without a bound may run inside or after one another."""

_NAMED = re.compile(r"\(\?<(?=[A-Za-z_])")
_parser: Any = importlib.import_module("re._parser")


@functools.lru_cache(maxsize=512)
def compile_pattern(pattern: str, nocase: bool) -> re.Pattern[str] | None:
    """Return the compiled pattern, or None where it cannot be run as PCRE would.

    Args:
        pattern: As PCRE writes it.
        nocase: Whether case does not count.
    """
    if len(pattern) > MAX_PATTERN:
        return None
    text = _NAMED.sub("(?P<", pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if _count_loops(_parser.parse(text)) > _MAX_LOOPS:
                return None
            return re.compile(text, re.IGNORECASE if nocase else 0)
    except (re.error, RecursionError, OverflowError, Warning):
        return None


def _count_loops(parsed: Any) -> int:
    """Return how many unbounded loops a pattern has, nested ones counted too often to pass."""
    loops = 0
    for operation, argument in parsed:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            _, most, body = argument
            inner = _count_loops(body)
            if str(most) == "MAXREPEAT":
                loops += _MAX_LOOPS + 1 if inner else 1
            else:
                # what is repeated a bounded number of times may still take none or one each
                loops += inner * most if inner else most // 64
        elif name == "SUBPATTERN":
            loops += _count_loops(argument[-1])
        elif name == "BRANCH":
            loops += sum(_count_loops(branch) for branch in argument[1])
        elif name in ("ASSERT", "ASSERT_NOT", "ATOMIC_GROUP"):
            loops += _count_loops(argument[-1] if isinstance(argument, tuple) else argument)
        elif name in ("GROUPREF", "GROUPREF_EXISTS"):
            return _MAX_LOOPS + 1
    return loops


def sample_pattern(pattern: str, nocase: bool) -> str | None:
    """Return a text that matches a pattern, or None where none was found.

    Args:
        pattern: As PCRE writes it.
        nocase: Whether case does not count.
    """
    compiled = compile_pattern(pattern, nocase)
    if compiled is None:
        return None
    sample = _sample(_parser.parse(_NAMED.sub("(?P<", pattern)))[:MAX_SUBJECT]
    return sample if compiled.search(sample) is not None else None


def _sample(parsed: Any) -> str:
    """Return a text that a parsed pattern probably matches."""
    text = ""
    for operation, argument in parsed:
        name = str(operation)
        if name == "LITERAL":
            text += chr(argument)
        elif name == "NOT_LITERAL":
            text += "a" if argument != ord("a") else "b"
        elif name == "ANY":
            text += "a"
        elif name == "IN":
            text += _sample_set(argument)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, body = argument
            text += _sample(body) * min(max(least, min(int(most), 1)), MAX_SUBJECT)
        elif name == "SUBPATTERN":
            text += _sample(argument[-1])
        elif name == "BRANCH":
            text += _sample(argument[1][0])
    return text


def _sample_set(items: Any) -> str:
    """Return a character that may be in a set."""
    compiled = [(str(operation), argument) for operation, argument in items]
    if compiled[0][0] == "NEGATE":
        taken = {argument for operation, argument in compiled if operation == "LITERAL"}
        return next(letter for letter in "1a-_~" if ord(letter) not in taken)
    operation, argument = compiled[0]
    if operation == "LITERAL":
        return chr(argument)
    if operation == "RANGE":
        return chr(argument[0])
    return {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " "}.get(str(argument), "a")


def is_of_every_address(text: str) -> bool:
    """Return whether a pattern is passed by all addresses of a family, or by none of it.

    Such as `^[0-9.]+$`, which tells IPv4 from IPv6. Of others that is not decided.
    """
    found = _LETTERS_ALONE.fullmatch(text)
    if found is None:
        return False
    letters = {each for each in "0123456789abcdef:." if re.match(f"[{found[1]}]", each)}
    return letters >= set("0123456789.") and (":" not in letters or letters >= set("abcdef"))


_LETTERS_ALONE = re.compile(r"\^\[((?:0-9|a-f|A-F|[:.])+)\][+*]\$")
