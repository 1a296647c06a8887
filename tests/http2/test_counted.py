"""What is counted of streams and of what was refused: as with HTTP/1, and never twice."""

from __future__ import annotations

from edgeserver.support.counters import ROW_BYTES, CounterRow
from tests.http2.conversation import DATA, RST_STREAM, Talk, frame, number


async def test_each_stream_is_counted_once() -> None:
    """Whole, reset by its client, or refused: each has its status, and a refusal its rule."""
    talk = Talk(max_header_size=2000, max_body_size=5)
    row = talk.service.counters = CounterRow(bytearray(ROW_BYTES))
    tally = talk.service.keep_tally()
    talk.app.on_finish = lambda request: None
    talk.ask("/whole")
    talk.ask("/reset")
    talk.app.requests[0].answer(b"no", 404)
    talk.receive(frame(RST_STREAM, 0, 3, number(8)))
    talk.ask(fields=[("x", "y" * 2500)])
    talk.post("/big", fields=[("content-length", "6")])
    await talk.turn()
    statuses = {code: count for code, count in tally.statuses().items() if count}
    assert statuses == {404: 1, 0: 1, 431: 1, 413: 1}
    refused = {key[1]: count for key, count in row.read().items() if key[0] == "refused_total"}
    assert refused == {"RFC 6585 section 5": 1, "RFC 9110 section 15.5.14": 1}


async def test_a_broken_connection_counts_under_its_rule() -> None:
    """A frame that ends the connection counts by where its rule stands."""
    talk = Talk()
    row = talk.service.counters = CounterRow(bytearray(ROW_BYTES))
    talk.receive(frame(DATA, 0, 0, b"x"))
    assert talk.goaways
    assert [key[0] for key in row.read()] == ["refused_total"]
    assert sum(row.read().values()) == 1
