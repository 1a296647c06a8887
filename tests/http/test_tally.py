"""The tally of requests: what is added when one ends."""

from __future__ import annotations

import pytest

from edgeserver.http.tally import QUICK_S, UNKNOWN, RequestTally
from edgeserver.support.durations import BOUNDS_S
from tests.http1.conversation import Recorder, Talk


@pytest.mark.parametrize(
    ("status", "kept"),
    [(200, 200), (418, 418), (503, 503), (0, 0), (299, UNKNOWN), (999, UNKNOWN)],
    ids=["200", "418", "503", "no-head", "unknown", "last"],
)
def test_status(status: int, kept: int) -> None:
    """A request counts under its status, where that is one that has a name."""
    tally = RequestTally()
    tally.add(status, 0.001)
    assert {code: count for code, count in tally.statuses().items() if count} == {kept: 1}


def test_statuses_are_bounded() -> None:
    """An application that answers with any number it is asked for makes no more of them."""
    tally = RequestTally()
    for status in range(100, 1000):
        tally.add(status, 0.0)
    assert len(tally.statuses()) < 70
    assert sum(tally.statuses().values()) == 900


@pytest.mark.parametrize("status", [200, 404], ids=["ok", "other"])
@pytest.mark.parametrize(
    ("duration_s", "bucket"),
    [(0.0, 0), (QUICK_S, 0), (0.006, 1), (0.3, 6), (30.0, 11), (500.0, 12)],
    ids=["none", "first", "second", "between", "last", "beyond"],
)
def test_duration(duration_s: float, bucket: int, status: int) -> None:
    """A duration counts once, in the bucket with the next bound, and in the sum."""
    tally = RequestTally()
    tally.add(status, duration_s)
    counts = [0] * (len(BOUNDS_S) + 1)
    counts[bucket] = 1
    assert tally.buckets() == counts
    assert tally.seconds == duration_s


@pytest.mark.parametrize("logged", [False, True], ids=["alone", "beside-a-log"])
async def test_each_request_is_counted_once(logged: bool) -> None:
    """What was answered, refused or left by its client counts, whether a log hears of it or not."""
    heard: list[object] = []
    talk = Talk(shared={"access_log": heard.append if logged else None})
    tally = talk.service.keep_tally()
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)

    def not_found(request: Recorder) -> None:
        request.answer(b"no", 404)

    talk.app.on_finish = not_found
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.receive(b"nonsense\r\n\r\n")
    left = Talk(app=talk.app, http1=talk.http1)
    talk.app.on_finish = lambda request: None
    left.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    left.connection.connection_lost(None)
    counted = {code: count for code, count in tally.statuses().items() if count}
    assert counted == {200: 3, 404: 1, 400: 1, 0: 1}
    assert sum(tally.buckets()) == 6
    assert len(heard) == (6 if logged else 0)
    assert talk.service.keep_tally() is tally


async def test_requests_from_before_somebody_asked() -> None:
    """Nobody knows when one in flight began: it counts from when it was first asked."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [age_s for _, _, age_s in talk.service.connections.requests()] == [0.0]
    tally = talk.service.keep_tally()
    talk.app.requests[0].answer(b"ok")
    assert tally.statuses()[200] == 1
    assert tally.seconds < 3600  # not since the clock began
