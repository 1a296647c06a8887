"""Request ids over HTTP/2: each stream's answer says its own."""

from __future__ import annotations

from typing import Any

from edgeserver.http.request_ids import RequestIds
from tests.http2.conversation import App, Talk

IDS = RequestIds("X-Request-ID")


async def test_each_answer_says_its_requests_id() -> None:
    """Two requests of one connection have two ids, those that they were given."""
    app = App()
    seen: list[str] = []

    def note(request: Any) -> None:
        IDS.give(request.connection)
        seen.append(request.connection.request_id)

    app.on_head = note
    talk = Talk(app=app, shared={"request_ids": IDS})
    streams = [talk.ask("/1"), talk.ask("/2")]
    told = [dict(talk.answer(stream).fields)["x-request-id"] for stream in streams]
    assert told == seen
    assert len(set(told)) == 2
