"""Values of settings: what each kind is written as, in a flag, a variable or a file.

Decides which texts and which TOML values are one, and what is said of those that are not. It must
not know where a value stands, nor what is done with it.
"""

from __future__ import annotations

import re
from typing import Any

from edgeserver.config.model import Setting
from edgeserver.support.escape import escape

__all__ = ["MAX_SECONDS", "parse_bytes", "parse_duration", "parse_value", "read_value"]

MAX_SECONDS = 365 * 86400.0
"""The longest time that there is: event loops count milliseconds, and overflow some day."""

_BYTE_COUNT = re.compile(r"([0-9]{1,15})([kmg]?)(?:i?b)?\Z", re.IGNORECASE)
_SUFFIXES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

_TIME = re.compile(r"(.*?)(ms|s|m|h|d)?\Z", re.DOTALL)
_UNITS_S = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_WHOLE = re.compile(r"-?[0-9]{1,18}\Z")

_TRUTHS = {"1": True, "true": True, "yes": True, "on": True,
           "0": False, "false": False, "no": False, "off": False}  # fmt: skip

_NATIVE: dict[str, tuple[type, ...]] = {
    "number": (int,),
    "bytes": (int,),
    "seconds": (int, float),
    "share": (int, float),
}
"""What TOML itself can write of a kind, beside a text."""


def parse_bytes(text: str) -> int:
    """Parse a number of bytes; `K`, `M` and `G` (or `KiB`, ...) are powers of 1024.

    Raises:
        ValueError: The text is no such number.
    """
    match = _BYTE_COUNT.match(text)
    if match is None:
        raise ValueError(f"{escape(text)} is not a number of bytes; write 65536, 64K or 10M")
    return int(match[1]) * _SUFFIXES[match[2].lower()]


def parse_duration(text: str, *, zero: bool = False) -> float:
    """Parse a time: a number of seconds, or one with `ms`, `s`, `m`, `h` or `d` behind it.

    Args:
        text: Such as `30`, `2.5`, `500ms` or `5m`.
        zero: Whether 0 is one.

    Raises:
        ValueError: The text is no time, or more than a year.
    """
    match = _TIME.match(text)
    assert match is not None, "it matches whatever there is"
    try:
        seconds = float(match[1]) * _UNITS_S[match[2]]
    except ValueError:
        seconds = -1.0
    # So put, because no comparison with nan holds.
    if not 0 <= seconds <= MAX_SECONDS or (seconds == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise ValueError(
            f"{escape(text)} is not a time; give seconds, {least} and at most {MAX_SECONDS:.0f}, a"
            " year, or a time such as 500ms, 30s or 5m"
        )
    return seconds


def parse_value(setting: Setting, text: str) -> Any:
    """Parse one value of a setting as it is written on a command line or in the environment.

    Raises:
        ValueError: It is none; the message says what it is not, and the fix.
    """
    match setting.kind:
        case "seconds":
            return parse_duration(text, zero=setting.least == 0)
        case "bytes":
            number = parse_bytes(text)
            if number < (setting.least or 0):
                example = setting.written_default(serve=True)
                raise ValueError(f"nothing fits into {escape(text)}; write {example}, say")
            return number
        case "number":
            return _parse_number(setting, text.strip())
        case "share":
            return _parse_share(text)
        case "switch" | "toggle":
            return _parse_truth(text)
        case "choice":
            return _parse_choice(setting, text)
    return text


def read_value(setting: Setting, value: object) -> Any:
    """Return one value of a setting that TOML has written.

    Raises:
        ValueError: It is none; the message says what it is not, and the fix.
    """
    if isinstance(value, str):
        if setting.kind in ("switch", "toggle"):
            raise ValueError("a text is not true or false; write true or false, without quotes")
        return parse_value(setting, value)
    if isinstance(value, bool):
        if setting.kind in ("switch", "toggle"):
            return value
        raise ValueError(f"{str(value).lower()} is not {_describe(setting)}")
    if isinstance(value, int) and abs(value) >= 10**18:  # Python refuses to write some of these
        raise ValueError(f"a number of that size is not {_describe(setting)}")
    if isinstance(value, _NATIVE.get(setting.kind, ())):
        return parse_value(setting, str(value))
    if isinstance(value, int) and str(value) in dict(setting.aliases):
        return parse_value(setting, str(value))
    shown = escape(str(value), 60)
    if isinstance(value, list | dict):
        shown = "a list" if isinstance(value, list) else "a table"
    raise ValueError(f"{shown} is not {_describe(setting)}")


def _describe(setting: Setting) -> str:
    """Return what a setting takes, and how it is written."""
    match setting.kind:
        case "switch" | "toggle":
            return "true or false; write one of the two"
        case "number":
            return "a whole number; write one, without quotes"
        case "bytes":
            return 'a number of bytes; write 65536 or "64K"'
        case "seconds":
            return 'a time; write 30, "30s" or "500ms"'
        case "share":
            return "a share; write a number above 0 and at most 1, such as 0.01"
        case "choice":
            return f"one of {', '.join(setting.choices)}; write one of them in quotes"
    return "a text; write it in quotes"


def _parse_number(setting: Setting, text: str) -> int:
    """Parse a whole number within the bounds of its setting."""
    number = int(text) if _WHOLE.match(text) else None
    least, most = setting.least or 0, setting.most
    if number is None or number < least or (most is not None and number > most):
        bounds = f"from {least} on" if most is None else f"from {least} to {most}"
        raise ValueError(f"{escape(text)} is not a whole number {bounds}; give one")
    return number


def _parse_choice(setting: Setting, text: str) -> str:
    """Parse one of the values that there are, or what another server calls it."""
    plain = text.lower()
    found = dict(setting.aliases).get(plain, plain)
    if found not in setting.choices:
        raise ValueError(
            f"{escape(text)} is not one of {', '.join(setting.choices)}; write one of them"
        )
    return found


def _parse_share(text: str) -> float:
    """Parse a number above 0, and 1 at most."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(
            f"{escape(text)} is not a share; give a number above 0 and at most 1, such as 0.01"
        )
    return share


def _parse_truth(text: str) -> bool:
    """Parse what stands for yes and no in an environment."""
    truth = _TRUTHS.get(text.strip().lower())
    if truth is None:
        raise ValueError(f"{escape(text)} is neither yes nor no; write 1 or 0, or true or false")
    return truth
