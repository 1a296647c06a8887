"""What every adapter refuses of its options, and in which words.

Decides which numbers can be a time or a count. It must not know what they limit.
"""

from __future__ import annotations

from typing import Any

from edgeserver.errors import ConfigurationError

__all__ = ["require_count", "require_seconds"]


def require_seconds(name: str, value: Any, *, zero: bool = False, none: bool = False) -> None:
    """Check an option that is a time.

    Args:
        name: The option, as the user knows it.
        value: What was given for it.
        zero: Whether no time at all is one.
        none: Whether None stands for no limit.

    Raises:
        ConfigurationError: It is no number, not a number, negative, or 0 where that is no time.
    """
    if value is None and none:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # So put, because no comparison with nan holds.
    if is_number and (value > 0 or (zero and value == 0)):
        return
    least = "seconds, 0 or more" if zero else "seconds, more than 0"
    raise ConfigurationError(
        f"{name}={value!r} is no time: give {least}{', or None for none' if none else ''}"
    )


def require_count(name: str, value: object, what: str, *, most: int | None = None) -> None:
    """Check an option that is a number of things, at least one.

    Args:
        name: The option, as the user knows it.
        value: What was given for it.
        what: What is counted.
        most: How many may be.

    Raises:
        ConfigurationError: It is no whole number, or is not within its bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name}={value!r} is not a whole number: give one of {what}")
    if value < 1 or (most is not None and value > most):
        bounds = "1 or more" if most is None else f"within 1 to {most}"
        raise ConfigurationError(f"{name}={value} is not {bounds}: give a number of {what}")
