"""What is counted of requests that were refused: the rule, never what a client wrote."""

from __future__ import annotations

import pytest

from edgeserver.support.counters import ROW_BYTES, CounterRow
from tests.http1.conversation import Talk

REFUSED = "refused_total"


def _counted(talk: Talk) -> dict[tuple[str, ...], float]:
    assert talk.service.counters is not None
    return talk.service.counters.read()


def _talk(**limits: float) -> Talk:
    talk = Talk(**limits)
    talk.service.counters = CounterRow(bytearray(ROW_BYTES))
    return talk


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        (b"nonsense\r\n\r\n", "RFC 9112 section 3"),
        (b"GET / HTTP/1.1\r\n\r\n", "RFC 9112 section 3.2"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "RFC 9110 section 8.6"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy-protocol"),
    ],
    ids=["request-line", "no-host", "length", "prelude"],
)
async def test_a_refusal_counts_under_its_rule(sent: bytes, rule: str) -> None:
    """Each request that breaks a rule counts once, by where the rule stands."""
    talk = _talk()
    talk.receive(sent)
    assert talk.statuses == [400]
    assert _counted(talk) == {(REFUSED, rule): 1}


@pytest.mark.parametrize(
    ("sent", "setting"),
    [
        (b"GET / HTTP/1.1\r\nHost", "header-timeout"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1", "body-timeout"),
    ],
    ids=["head", "body"],
)
async def test_who_is_late_counts_under_the_setting(sent: bytes, setting: str) -> None:
    """What is told 408 counts by the time limit that is over."""
    talk = _talk(header_timeout=1.0, body_timeout=1.0)
    talk.receive(sent)
    talk.connection.check_deadlines(talk.connection.next_deadline)
    assert talk.statuses == [408]
    assert _counted(talk) == {(REFUSED, setting): 1}


async def test_what_has_no_room_is_shed() -> None:
    """A body that is told 503 counts as shed, by the setting that says how much room there is."""
    talk = _talk(max_held=10)
    talk.service.budget.take(10)
    talk.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    assert talk.statuses == [503]
    assert _counted(talk) == {("shed_total", "max-held"): 1}


async def test_without_counters_nothing_is_counted() -> None:
    """A refusal is the same where nobody counts."""
    talk = Talk()
    talk.receive(b"nonsense\r\n\r\n")
    assert talk.statuses == [400]
