"""Which numbers are a time, a count or a size, and what is said of the others.

The one place that decides it, for every setting of this package. It must not know what they limit.
"""

from __future__ import annotations

from typing import Any

from edgeserver.errors import ConfigurationError

__all__ = ["require_count", "require_seconds"]


def require_seconds(
    name: str,
    value: Any,
    *,
    zero: bool = False,
    past: bool = False,
    none: bool = False,
    finite: bool = False,
    error: type[ConfigurationError] = ConfigurationError,
) -> None:
    """Check a setting that is a time in seconds.

    Args:
        name: The setting, as the user knows it.
        value: What was given for it.
        zero: Whether 0 is allowed.
        past: Whether negative numbers are as well, as what is left of a time that is over.
        none: Whether None is allowed, which stands for no limit.
        finite: Whether infinity is refused.
        error: What is raised.

    Raises:
        ConfigurationError: It is not a number or is nan; or it is infinite, 0, negative or None,
            where that is not allowed.
    """
    if value is None and none:
        return
    # So put, because no comparison with nan holds.
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (value > 0 or (zero and value == 0) or (past and value <= 0))
        and not (finite and value == float("inf"))
    ):
        return
    least = "" if past else ", 0 or more" if zero else ", more than 0"
    finitely = ", and not infinity" if finite else ""
    nothing = ", or None for no limit" if none else ""
    raise error(f"{name}={value!r} is not a time: give seconds{least}{finitely}{nothing}")


def require_count(
    name: str,
    value: object,
    what: str = "",
    *,
    least: int = 1,
    most: int | None = None,
    none: bool = False,
    error: type[ConfigurationError] = ConfigurationError,
) -> None:
    """Check a setting that is a whole number: of things, or of bytes.

    Args:
        name: The setting, as the user knows it.
        value: What was given for it.
        what: What is counted, in the plural; empty where the name says it.
        least: The smallest number allowed.
        most: The largest number allowed; None for no bound.
        none: Whether None is allowed, which stands for no limit.
        error: What is raised.

    Raises:
        ConfigurationError: It is not a whole number, or is not within its bounds.
    """
    if value is None and none:
        return
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= least
        and (most is None or value <= most)
    ):
        return
    number = f"a whole number of {what}" if what else "a whole number"
    bounds = f"{least} or more" if most is None else f"from {least} to {most}"
    nothing = ", or None for no limit" if none else ""
    raise error(f"{name}={value!r} is not a count: give {number}, {bounds}{nothing}")
