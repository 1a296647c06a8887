"""Timestamps: every kind of time that Tornado takes, in the one format of HTTP."""

import datetime
import time

import pytest

from edgeserver.httputil.timestamps import format_timestamp

SECONDS = 1359312200.503611
UTC = datetime.datetime.fromtimestamp(SECONDS, datetime.UTC)


@pytest.mark.parametrize(
    "ts",
    [
        SECONDS,
        int(SECONDS),
        time.gmtime(SECONDS),
        tuple(time.gmtime(SECONDS)),
        UTC.replace(tzinfo=None),
        UTC,
        UTC.astimezone(datetime.timezone(datetime.timedelta(hours=-4))),
    ],
    ids=["float", "int", "struct_time", "tuple", "naive", "utc", "other-zone"],
)
def test_format_timestamp(ts: float) -> None:
    """Numbers, tuples and datetimes all give the same text."""
    assert format_timestamp(ts) == "Sun, 27 Jan 2013 18:43:20 GMT"


def test_something_else_is_a_type_error() -> None:
    """What is no time is refused."""
    with pytest.raises(TypeError, match="unknown timestamp type"):
        format_timestamp("now")  # type: ignore[arg-type]  # the mistake under test
