"""Times as HTTP writes them.

Decides the format of a timestamp in a field such as `Date`. It must not know what time it is.

Source: RFC 9110 section 5.6.7 (IMF-fixdate); `format_timestamp` is Tornado's.
"""

from __future__ import annotations

import calendar
import datetime
import email.utils
import time

__all__ = ["format_timestamp"]


def format_timestamp(
    ts: float | tuple[int, ...] | time.struct_time | datetime.datetime,
) -> str:
    """Return `ts` as in `"Sun, 27 Jan 2013 18:43:20 GMT"`.

    Args:
        ts: Seconds since the epoch, a UTC time tuple, or a `datetime`, of which a naive one is
            taken as UTC.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(ts, datetime.datetime):
        ts = ts.utctimetuple()
    if isinstance(ts, tuple):
        seconds: float = calendar.timegm(ts)
    elif isinstance(ts, int | float):
        seconds = ts
    else:
        raise TypeError(f"unknown timestamp type: {ts!r}")
    return email.utils.formatdate(seconds, usegmt=True)
