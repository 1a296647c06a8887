"""What holds for every input: where it is cut changes nothing, and nothing raises.

Requests are drawn from the corpus, whole or with a few bytes changed, and compared with h11, whose
reading of a request has to be the same wherever both accept it.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, NamedTuple

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http1.conversation import App, Recorder, TakingApp, Talk
from tests.http1.corpus import REFUSED, SERVED, chunked, head, post

Seen = tuple[str, str, bytes]

SHORT_SERVED = [case.data for case in SERVED if len(case.data) < 500]
SHORT_REFUSED = [case.data for case in REFUSED if len(case.data) < 500]


class Outcome(NamedTuple):
    """What a peer and an application saw of a conversation."""

    statuses: list[int]
    served: list[Seen]
    ending: bool


async def converse(data: bytes, cuts: list[int], *, soon: bool = False, app: Any = App) -> Outcome:
    """Let a connection receive `data`, cut at `cuts`; check what always has to hold."""
    talk = Talk(app=app())
    if soon:

        def answer_soon(request: Recorder) -> None:
            asyncio.get_running_loop().call_soon(request.answer, b"ok")

        talk.app.on_finish = answer_soon
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(ends):
        talk.receive(data[start:end])
    await talk.turn(5 * (1 + data.count(b"HTTP/")))
    sent, statuses, ending = talk.sent, talk.statuses, talk.ending
    served = [
        (request.head[0], request.head[1], request.body)
        for request in talk.app.requests
        if request.ended == ["finish"]
    ]
    assert ending or not any(status >= 400 for status in statuses)
    if ending:
        talk.receive(head())
        await talk.turn()
        assert talk.sent == sent
    talk.transport.abort()
    await talk.turn()
    assert all(len(request.ended) == 1 for request in talk.app.requests)
    assert talk.app.closed == 1
    return Outcome(statuses, served, ending)


PIPELINES = st.tuples(
    st.lists(st.sampled_from(SHORT_SERVED), min_size=1, max_size=4),
    st.sampled_from([b"", b"", b"GET / HT", *SHORT_REFUSED]),
).map(lambda parts: b"".join(parts[0]) + parts[1])
CUTS = st.lists(st.integers(1, 1200), max_size=8)


@given(PIPELINES, CUTS, st.booleans())
@settings(max_examples=250, deadline=None)
def test_cutting_changes_nothing(data: bytes, cuts: list[int], soon: bool) -> None:
    """A pipeline has the same answers and the same requests, however it is cut."""

    async def check() -> None:
        whole = await converse(data, [])
        assert await converse(data, cuts, soon=soon) == whole
        assert await converse(data, cuts, app=TakingApp) == whole
        if len(data) < 300:
            assert await converse(data, list(range(len(data)))) == whole

    asyncio.run(check())


def mutate(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Return `data` with bytes replaced at some places."""
    result = bytearray(data)
    for place, size, new in changes:
        start = place % (len(result) + 1)
        result[start : start + size] = new
    return bytes(result)


INTERESTING = st.sampled_from(
    [
        *(bytes([byte]) for byte in b"\r\n \t:,;%*05\x00"),
        *(b"\r\n", b"\r\n\r\n", b"chunked", b"close", b"HTTP/1.1"),
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ]
)
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 400), st.integers(0, 3), st.one_of(INTERESTING, st.binary(max_size=3))
    ),
    min_size=1,
    max_size=3,
)
MUTATED = st.builds(mutate, PIPELINES, CHANGES)


@given(st.one_of(st.binary(max_size=200), MUTATED), CUTS)
@settings(max_examples=250, deadline=None)
def test_nothing_raises(data: bytes, cuts: list[int]) -> None:
    """Whatever comes, the connection refuses it and ends, or serves it; wherever it is cut."""

    async def check() -> None:
        whole = await converse(data, [])
        again = await converse(data, cuts)
        # In pieces a refusal comes sooner, but it is the same one, and so are the requests before.
        assert again.served == whole.served
        assert again.ending == whole.ending
        assert again.statuses == whole.statuses

    asyncio.run(check())


# The model.


def requests_of_h11(data: bytes) -> list[Seen] | None:
    """Return the requests that h11 reads in `data`, answering each; None if it refuses one."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    connection.receive_data(data)
    seen: list[Seen] = []
    body = b""
    request: Any = None
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return None
        if event in (h11.NEED_DATA, h11.PAUSED):
            return seen
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            seen.append((request.method.decode(), request.target.decode("latin-1"), body))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return seen
            connection.start_next_cycle()


TOKENS = st.text(st.sampled_from("abcXYZ019-_!~"), min_size=1, max_size=8)
VALUES = st.text(st.sampled_from('abc 019,;="\t/\xe9'), max_size=12)
FIELDS = st.lists(st.tuples(TOKENS.map("X-".__add__), VALUES), max_size=5)
PATHS = st.text(st.sampled_from("/ab?=&%41.;~*"), max_size=12).map("/".__add__)
BODIES = st.binary(max_size=60)


@st.composite
def valid_requests(draw: st.DrawFn) -> tuple[bytes, Seen]:
    """Draw a valid request, and what has to be seen of it."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "BREW", "M-SEARCH"]))
    path, body = draw(PATHS), draw(BODIES)
    lines = [f"{name}: {value}".encode("latin-1") for name, value in draw(FIELDS)]
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    if framing == "none":
        body = wire = b""
    elif framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
        wire = body
    else:
        lines.append(
            draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"]))
        )
        cut = draw(st.integers(0, len(body)))
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    lines = draw(st.permutations([b"Host: a.example", *lines]))
    request = b"%b %b HTTP/1.1\r\n" % (method.encode(), path.encode())
    return request + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + wire, (
        method,
        path,
        body,
    )


@given(st.lists(valid_requests(), min_size=1, max_size=4), CUTS)
@settings(max_examples=120, deadline=None)
def test_valid_requests_as_h11_reads_them(
    requests: list[tuple[bytes, Seen]], cuts: list[int]
) -> None:
    """Every valid request is served, as it was meant and as h11 reads it."""
    data = b"".join(wire for wire, _ in requests)
    meant = [seen for _, seen in requests]
    outcome = asyncio.run(converse(data, cuts))
    assert outcome.served == meant
    assert not outcome.ending
    assert requests_of_h11(data) == meant


@given(
    st.builds(
        mutate,
        st.lists(
            st.sampled_from(
                [
                    head(),
                    head(b"Connection: close"),
                    post(b"Content-Length: 5", body=b"hello"),
                    chunked(b"3\r\nabc\r\n0\r\n\r\n"),
                    chunked(b"3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"),
                ]
            ),
            min_size=1,
            max_size=3,
        ).map(b"".join),
        CHANGES,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_request_is_read_otherwise_than_h11_does(data: bytes) -> None:
    """Wherever both accept broken input, they read the same requests in it."""
    outcome = asyncio.run(converse(data, []))
    model = requests_of_h11(data)
    if model is None or b"CONNECT" in data:
        return
    shorter = min(len(model), len(outcome.served))
    assert outcome.served[:shorter] == model[:shorter]
