"""A Starlette application with a route for each thing that servers get wrong.

Decides nothing about what is tested; `state.done` holds what has ended in it.
"""

import asyncio

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

__all__ = ["make_application"]


async def home(request):
    """Tell who asks for what."""
    return JSONResponse({"url": str(request.url), "client": request.client.host})


async def upload(request):
    """Count a streamed body, and keep its size in a background task."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
    task = BackgroundTask(request.app.state.done.append, size)
    return PlainTextResponse(str(size), background=task)


async def form(request):
    """Return a file and a field of a multipart form."""
    async with request.form() as fields:
        return PlainTextResponse((await fields["file"].read()).decode() + fields["name"])


async def stream(request):
    """Answer in a thousand pieces."""

    async def pieces():
        for number in range(1000):
            yield b"%03d" % number * 100

    return StreamingResponse(pieces())


async def endless(request):
    """Answer with one piece and no end."""

    async def pieces():
        try:
            yield b"x" * 1000
            await asyncio.Event().wait()
        finally:
            request.app.state.done.append("stopped")

    return StreamingResponse(pieces())


async def file(request):
    """Answer with this file."""
    return FileResponse(__file__)


async def fail(request):
    """Be wrong."""
    raise LookupError("a bug")


async def echo(websocket):
    """Send every text back."""
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


async def tag(request, call_next):
    """Mark every answer."""
    response = await call_next(request)
    response.headers["x-tag"] = "1"
    return response


def make_application():
    """Return a new application, in which nothing has ended yet."""
    app = Starlette(
        routes=[
            Route("/", home),
            Route("/upload", upload, methods=["POST"]),
            Route("/form", form, methods=["POST"]),
            Route("/stream", stream),
            Route("/endless", endless),
            Route("/file", file),
            Route("/fail", fail),
            WebSocketRoute("/ws", echo),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=tag)],
    )
    app.state.done = []
    return app
