"""Times as logs write them: UTC, and nothing else.

Decides their forms. Formatting a second takes longer than the rest of a line, and many lines share
one: the last is kept.
"""

from __future__ import annotations

import time

__all__ = ["render_clf", "render_utc"]


class _Clock:
    """The wall clock as text, formatted once a second.

    Args:
        form: As `time.strftime` takes it.
    """

    def __init__(self, form: str) -> None:
        self._form = form
        self._last = (-1, "")  # in one piece: several threads ask

    def render(self, second: int) -> str:
        """Return a second since the epoch, in UTC."""
        last = self._last
        if last[0] != second:
            last = self._last = (second, time.strftime(self._form, time.gmtime(second)))
        return last[1]


_utc = _Clock("%Y-%m-%dT%H:%M:%S")

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def render_utc(now_s: float) -> str:
    """Return `now_s`, seconds since the epoch, as RFC 3339 in UTC: `2026-01-31T12:00:00.123Z`."""
    second = int(now_s)
    return f"{_utc.render(second)}.{int((now_s - second) * 1000):03d}Z"


def render_clf(now_s: float) -> str:
    """Return the same in the form of the Common Log Format: `31/Jan/2026:12:00:00 +0000`.

    The names of months are English whatever the locale is.
    """
    text = _utc.render(int(now_s))
    return f"{text[8:10]}/{_MONTHS[int(text[5:7]) - 1]}/{text[:4]}:{text[11:]} +0000"
