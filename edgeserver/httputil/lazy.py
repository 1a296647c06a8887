"""Attributes that are worked out when first asked for, and can be assigned like any other.

Decides nothing of what they mean. `functools.cached_property` means the same; this one takes no
lock (Python 3.11) and does not force a `__dict__` into being, which a hot path would pay for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__all__ = ["lazy"]

if TYPE_CHECKING:
    from functools import cached_property as lazy
else:

    class lazy:
        """Make a method an attribute that is worked out once, when first asked for."""

        def __init__(self, work_out: Callable[[Any], Any]) -> None:
            self._work_out = work_out
            self.__doc__ = work_out.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: object | None, owner: type) -> Any:
            if instance is None:
                return self
            value = self._work_out(instance)
            # Not a data descriptor: from now on the instance's own attribute is found first.
            setattr(instance, self._name, value)
            return value
