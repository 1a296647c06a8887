"""The corpus: every request of it whole, in two segments cut at every byte, and byte by byte."""

from __future__ import annotations

import re

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


async def answer_to(*segments: bytes, **limits: int) -> bytes:
    """Return all that is answered to `segments`, but for its date."""
    talk = Talk(**limits)
    talk.receive(*segments)
    return re.sub(rb"\r\nDate: [^\r]*", b"", talk.sent)


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


# What is refused for more than one reason.

LIMIT = 300
LONG = b"X: " + b"x" * LIMIT
MANY = b"\r\n".join([b"X: y"] * 9)

TWICE_WRONG = {
    "version-and-length": (b"GET / HTTP/2.0\r\nHost: a\r\n" + LONG, 505),
    "version-and-fields": (b"GET / HTTP/2.0\r\nHost: a\r\n" + MANY, 505),
    "version-and-control": (b"GET / HTTP/3.0\r\nHost: a\r\nX: \x00y", 505),
    "version-and-bare-lf": (b"GET / HTTP/0.9\r\nHost: a\nX: y", 505),
    "version-and-bare-cr": (b"GET / HTTP/2.0\r\nHost: a\r\nX: y\r", 505),
    "version-and-host": (b"GET / HTTP/2.0\r\nHost: a\r\nHost: b", 505),
    "version-and-fold": (b"GET / HTTP/2.0\r\n Host: a", 505),
    "version-and-target": (b"GET x HTTP/2.0\r\nHost: a", 505),
    "version-and-coding": (b"GET / HTTP/2.0\r\nHost: a\r\nTransfer-Encoding: x", 505),
    "version-alone": (b"GET / HTTP/2.0", 505),
    "version-of-a-line-at-the-limit": (b"GET /%b HTTP/2.0" % (b"x" * (LIMIT - 14)), 505),
    "version-of-a-line-over-the-limit": (b"GET /%b HTTP/2.0" % (b"x" * (LIMIT - 13)), 414),
    "line-and-more": (b"GET /%b HTTP/1.1\r\nHost: a" % (b"x" * (LIMIT - 13)), 414),
    "line-at-the-limit-and-more": (b"GET /%b HTTP/1.1\r\nHost: a" % (b"x" * (LIMIT - 14)), 431),
    "control-and-version": (b"GET /\x01 HTTP/2.0\r\nHost: a", 400),
    "bare-cr-and-version": (b"GET /\rx HTTP/2.0\r\nHost: a", 400),
    "line-and-length": (b"GET  / HTTP/1.1\r\nHost: a\r\n" + LONG, 400),
    "line-and-fields": (b"GET / HTTP/1.1 \r\nHost: a\r\n" + MANY, 400),
    "control-and-length": (b"GET / HTTP/1.1\r\nHost: a\x00\r\n" + LONG, 400),
    "bare-lf-and-length": (b"GET / HTTP/1.1\r\nHost: a\nY: z\r\n" + LONG, 400),
    "length-and-control": (b"GET / HTTP/1.1\r\n" + LONG + b"\x00", 431),
    "length-and-bare-lf": (b"GET / HTTP/1.1\r\n" + LONG + b"\nX", 431),
    "control-and-fields": (b"GET / HTTP/1.1\r\nHost: a\x7f\r\n" + MANY, 400),
    "fields-and-control": (b"GET / HTTP/1.1\r\n" + MANY + b"\x7f", 400),
    "fields-and-bare-lf": (b"GET / HTTP/1.1\r\n" + MANY + b"\nX: y", 400),
    "fields-and-host": (b"GET / HTTP/1.1\r\n" + MANY, 431),
    "name-and-control": (b"GET / HTTP/1.1\r\nHost : a\r\nX: \x1b", 400),
    "control-in-a-name": (b"GET / HTTP/1.1\r\nHo\x01st: a", 400),
    "host-and-coding": (b"GET / HTTP/1.1\r\nTransfer-Encoding: x, chunked", 400),
    "just-too-long": (b"GET / HTTP/1.1\r\nHost: a\r\nX: %b" % (b"x" * (LIMIT - 27)), 431),
}
"""Heads without the empty line that ends them, and the status that each gets."""


@pytest.mark.parametrize(("data", "status"), TWICE_WRONG.values(), ids=TWICE_WRONG)
async def test_the_first_rule_that_is_broken_decides(data: bytes, status: int) -> None:
    """Of several refusals the same one comes wherever the head is cut, in the same words."""
    limits = {"max_header_size": LIMIT, "max_header_fields": 8}
    data += b"\r\n\r\n"
    whole = await answer_to(data + NEXT, **limits)
    assert whole.startswith(b"HTTP/1.1 %d " % status)
    assert len(re.findall(rb"HTTP/1\.1 [0-9]{3} ", whole)) == 1
    for cut in range(1, len(data)):
        assert await answer_to(data[:cut], data[cut:], **limits) == whole
        assert await answer_to(data[:cut], data[cut : cut + 1], data[cut + 1 :], **limits) == whole
    assert await answer_to(*(data[i : i + 1] for i in range(len(data))), **limits) == whole


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_a_refusal_says_the_same_wherever_it_is_cut(case: Refused) -> None:
    """Not only the status is the same: so is the reason that the answer gives."""
    whole = await answer_to(case.data)
    for cut in cuts(case.data):
        assert await answer_to(case.data[:cut], case.data[cut:]) == whole


async def test_a_head_as_long_as_the_limit_wherever_it_is_cut() -> None:
    """A head that ends right at the limit is served, also where its end is a segment of its own."""
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    data = start + b"x" * (LIMIT - len(start)) + b"\r\n\r\n"
    for cut in range(1, len(data)):
        answer = await answer_to(data[:cut], data[cut:], max_header_size=LIMIT)
        assert answer.startswith(b"HTTP/1.1 200 ")
        late = data[:LIMIT] + b"\r\nY:"
        answer = await answer_to(late[:cut], late[cut:], max_header_size=LIMIT)
        assert answer.startswith(b"HTTP/1.1 431 ")
