"""Whatever comes: nothing is raised, nothing is left, and a client's model agrees."""

from __future__ import annotations

import asyncio
from typing import Any

import h2.config
import h2.connection
import h2.events
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http2.conversation import PREFACE, App, Recorder, Talk, frame

GET, POST, AGAIN = b"\x82\x86\x84\x41\1a", b"\x83\x86\x84\x41\1a", b"\xbe"
BLOCKS = st.sampled_from([GET, POST, AGAIN, b"\x00\1a\1b", b"\x40\1a\1b", b"", b"\x82"])
PAYLOADS = BLOCKS | st.binary(max_size=12) | st.sampled_from([bytes(4), bytes(5), bytes(8)])
FRAMES = st.builds(
    frame,
    st.sampled_from([0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 99]),
    st.sampled_from([0, 1, 4, 5, 5, 8, 32, 255]),
    st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2]),
    PAYLOADS,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(FRAMES, max_size=20), st.integers(1, 40), st.booleans())
def test_any_frames(frames: list[bytes], size: int, answers: bool) -> None:
    """The application hears one end of each request, and nothing of it is held afterwards."""

    async def run() -> None:
        app = App()
        if not answers:
            app.on_finish = lambda request: None
        talk = Talk(app=app)
        data = b"".join(frames)
        talk.receive(*[data[start : start + size] for start in range(0, len(data), size)])
        assert talk.sent
        await talk.turn()
        if not talk.ending:
            talk.connection.connection_lost(None)
        talk.transport.close()
        await talk.turn()
        assert all(len(request.ended) == 1 for request in app.requests)
        assert talk.service.budget.held == 0
        assert len(talk.service.connections) <= 1

    asyncio.run(run())


BODIES = st.binary(max_size=2000) | st.just(b"x" * 70_000)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(BODIES, BODIES), min_size=1, max_size=5), st.integers(1, 30_000))
def test_a_client_that_knows_the_rules(exchanges: list[tuple[bytes, bytes]], size: int) -> None:
    """The `h2` library understands every frame, gives credit, and has each answer in the end."""

    async def run() -> None:
        def answer(request: Recorder) -> None:
            request.connection.write_headers(("", 200, "OK"), [(b"x-echo", b"1")])
            request.connection.write(exchanges[int(request.head.path[1:])][1])
            request.connection.write(request.body)
            request.connection.set_trailers([(b"x-end", b"1")])
            request.connection.finish()

        app = App()
        app.on_finish = answer
        talk = Talk(app=app, greet=False)
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        client.initiate_connection()
        pump(talk, client, {}, size)
        found: dict[int, bytes] = {}
        unsent = {}
        for number, (body, _) in enumerate(exchanges):
            stream = client.get_next_available_stream_id()
            fields = [(":method", "POST"), (":scheme", "http"), (":path", f"/{number}")]
            client.send_headers(stream, [*fields, (":authority", "a")])
            unsent[stream] = body
        while unsent:
            for stream, body in list(unsent.items()):
                room = min(client.local_flow_control_window(stream), 16384, len(body))
                unsent[stream] = body[room:]
                client.send_data(stream, body[:room], end_stream=room == len(body))
                if room == len(body):
                    del unsent[stream]
            pump(talk, client, found, size)
        assert [found[stream] for stream in sorted(found)] == [
            answer + body for body, answer in exchanges
        ]

    asyncio.run(run())


def pump(talk: Talk, client: Any, found: dict[int, bytes], size: int) -> None:
    """Pass bytes on both ways until there are none; note what comes of bodies."""
    while True:
        data = client.data_to_send()
        talk.receive(*[data[start : start + size] for start in range(0, len(data), size)])
        talk.service.batch.flush_all()
        answer = bytes(talk.transport.sent)
        talk.transport.sent.clear()
        if not data and not answer:
            return
        for event in client.receive_data(answer):
            if isinstance(event, h2.events.DataReceived):
                found[event.stream_id] = found.get(event.stream_id, b"") + event.data
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.ResponseReceived):
                found.setdefault(event.stream_id, b"")
            assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated)


def test_the_preface_is_the_librarys() -> None:
    """Both mean the same by it."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    assert client.data_to_send().startswith(PREFACE)
