"""Server-sent events: an answer that has no end, until its client leaves or the server stops.

edgeserver serve sse:app
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

INTERVAL_S = 1.0


async def tick() -> AsyncIterator[str]:
    """Yield an event at each tick."""
    number = 0
    while True:
        number += 1
        yield f"id: {number}\ndata: tick {number}\n\n"
        await asyncio.sleep(INTERVAL_S)


async def events(request: Request) -> StreamingResponse:
    """Stream the events."""
    return StreamingResponse(tick(), media_type="text/event-stream")


app = Starlette(routes=[Route("/events", events)])
