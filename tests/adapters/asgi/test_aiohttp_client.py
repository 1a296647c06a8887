"""aiohttp as the client: requests, uploads and WebSockets, over HTTP and HTTPS."""

import aiohttp

from tests.adapters.asgi.serving import serving
from tests.loops import on_both_loops


async def application(scope, receive, send):
    """Answer with what came: the length of a body, or each message of a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
        return
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{scope['method']} {scope['scheme']} {size}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@on_both_loops
async def test_requests_and_websockets(tls):
    """A kept connection carries a GET, a streamed upload, and a WebSocket beside them."""
    options, context = tls
    scheme = "https" if options else "http"

    async def pieces():
        for _ in range(50):
            yield b"x" * 10_000

    async with serving(application, server=options) as served, aiohttp.ClientSession() as client:
        url = f"{scheme}://127.0.0.1:{served.port}/"
        async with client.get(url, ssl=context) as answer:
            assert await answer.text() == f"GET {scheme} 0"
        async with client.post(url, data=pieces(), ssl=context) as answer:
            assert await answer.text() == f"POST {scheme} 500000"
        async with client.ws_connect(url, ssl=context) as websocket:
            await websocket.send_str("hello")
            assert (await websocket.receive_str()) == "HELLO"
