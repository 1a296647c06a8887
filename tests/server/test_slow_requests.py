"""Slow requests: which are said, how often, and what is said they wait for."""

from typing import Any

import pytest

from edgeserver.server.slow_requests import SlowRequests


class Request:
    """A request in flight."""

    remote_ip = "203.0.113.9"
    method = "GET"
    request_id: str | None = None

    def __init__(self, target: str = "/report", waits: str = "", *, endless: bool = False) -> None:
        self.target = target
        self.started_s = 100.0
        self.waits_for_client = waits
        self.is_open_ended = endless


def _said(caplog: pytest.LogCaptureFixture, watch: SlowRequests, now: list[float]) -> int:
    """Look once a second for a minute, and return how many lines there were."""
    for second in range(60):
        now[0] = 100.0 + second
        watch.look(0)
    return len(caplog.records)


@pytest.mark.parametrize(
    ("request_", "where", "words"),
    [
        (Request(), "the application, at main.py:12 in report", "at main.py:12 in report"),
        (Request(), "", "and waits for the application"),
        (Request(waits="the client, of whose body more is to come"), "x", "of whose body more"),
        (Request("/\x1b[2J\n"), "", "/\\x1b[2J\\x0a"),
    ],
    ids=["where", "nobody-knows", "client", "escaped"],
)
def test_what_it_waits_for(
    caplog: pytest.LogCaptureFixture, request_: Any, where: str, words: str
) -> None:
    """The line names the request, its client, its age, the setting and what is waited for."""
    watch = SlowRequests(5, lambda: [request_], lambda _: where, clock=lambda: 107.25)
    watch.look(0)
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("slow request: GET /")
    assert "from 203.0.113.9 has run for 7.2 s (slow_request)" in said
    assert words in said


def test_it_is_said_again_and_again_but_not_often(caplog: pytest.LogCaptureFixture) -> None:
    """Each time that it has run twice as long: at 5, 10, 20 and 40 seconds."""
    now, request = [0.0], Request()
    requests: list[Any] = [request]
    watch = SlowRequests(5, lambda: requests, lambda _: "", clock=lambda: now[0])
    assert _said(caplog, watch, now) == 4


@pytest.mark.parametrize(
    "request_",
    [Request(endless=True), None],
    ids=["endless", "ended"],
)
def test_what_is_not_said(caplog: pytest.LogCaptureFixture, request_: Any) -> None:
    """An answer that is meant to go on is not slow, nor is what has ended."""
    now = [0.0]
    requests = [request_] if request_ is not None else []
    watch = SlowRequests(5, lambda: requests, lambda _: "", clock=lambda: now[0])
    assert _said(caplog, watch, now) == 0


def test_a_request_with_an_id(caplog: pytest.LogCaptureFixture) -> None:
    """Its id stands in the line, to be found in other logs."""
    request: Any = Request()
    request.request_id = "r-1"
    SlowRequests(5, lambda: [request], lambda _: "", clock=lambda: 200.0).look(0)
    assert "slow request (r-1): GET" in caplog.text


def test_a_failure_to_find_out(caplog: pytest.LogCaptureFixture) -> None:
    """What an adapter cannot say does not keep the line from being written."""

    def fail(_: Any) -> str:
        raise LookupError

    requests: list[Any] = [Request()]
    SlowRequests(5, lambda: requests, fail, clock=lambda: 200.0).look(0)
    assert "cannot be said: LookupError" in caplog.text
