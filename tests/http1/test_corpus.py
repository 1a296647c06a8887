"""The corpus: every request of it whole, in two segments cut at every byte, and byte by byte."""

from __future__ import annotations

import pytest

from tests.http1.conversation import Talk
from tests.http1.corpus import NEXT, REFUSED, SERVED, Refused, Served

CUT_EVERYWHERE = 400
"""Requests up to this many bytes are cut at every byte; longer ones at some."""


def cuts(data: bytes) -> list[int]:
    """Return where to cut `data` in two."""
    if len(data) <= CUT_EVERYWHERE:
        return list(range(1, len(data)))
    return [1, 2, 3, 16, 17, len(data) // 2, *range(len(data) - 5, len(data))]


async def check_refused(case: Refused, *segments: bytes) -> None:
    """Assert that `segments` are refused as `case` says, and that nothing after them is served."""
    talk = Talk()
    talk.receive(*segments)
    assert talk.statuses == [case.status]
    assert talk.ending
    assert b"\r\nConnection: close\r\n" in talk.sent
    assert not any("finish" in request.ended for request in talk.app.requests)
    assert len(talk.app.requests) <= 1


async def check_served(case: Served, *segments: bytes) -> None:
    """Assert that `segments` are one request, seen by the application as `case` says."""
    talk = Talk()
    talk.receive(*segments)
    assert talk.statuses == [200], talk.sent
    (request,) = talk.app.requests
    assert (request.head[0], request.head[1], request.body) == (
        case.method,
        case.target,
        case.body,
    )
    assert request.ended == ["finish"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_refused(case: Refused) -> None:
    """A request that breaks a rule gets its status, and nothing after it is a request."""
    await check_refused(case, case.data + NEXT)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_refused_names_the_rule(case: Refused, caplog: pytest.LogCaptureFixture) -> None:
    """One log line names the peer and the rule, in printable ASCII."""
    caplog.set_level("INFO", "edgeserver.general")
    talk = Talk()
    talk.receive(case.data)
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("Malformed HTTP message from 192.0.2.7: ")
    assert case.rule in message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 1200


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_refused_wherever_it_is_cut(case: Refused) -> None:
    """Segmentation never changes a refusal."""
    for cut in cuts(case.data):
        await check_refused(case, case.data[:cut], case.data[cut:] + NEXT)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_refused_byte_by_byte(case: Refused) -> None:
    """A refusal comes at the latest with the last byte of what is refused."""
    await check_refused(case, *(case.data[i : i + 1] for i in range(len(case.data))))


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_refused_after_a_good_one(case: Refused) -> None:
    """In a pipeline, what comes before a refused request is answered first."""
    talk = Talk()
    talk.receive(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n" + case.data + NEXT)
    assert talk.statuses in ([200, case.status], [200, 200, case.status])


@pytest.mark.parametrize("case", SERVED, ids=lambda case: case.id)
async def test_served(case: Served) -> None:
    """A request that keeps the rules is served."""
    await check_served(case, case.data)


@pytest.mark.parametrize("case", SERVED, ids=lambda case: case.id)
async def test_served_wherever_it_is_cut(case: Served) -> None:
    """Segmentation never changes what the application sees."""
    for cut in cuts(case.data):
        await check_served(case, case.data[:cut], case.data[cut:])
    await check_served(case, *(case.data[i : i + 1] for i in range(len(case.data))))
