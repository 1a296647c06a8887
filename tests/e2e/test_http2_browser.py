"""A real browser over HTTP/2 and TLS: a page with many pictures, an upload, events, a WebSocket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from edgeserver.adapters.asgi import ASGIAdapter
from tests.demo.chromium import browsing
from tests.e2e.site import address_of, serve

PICTURES = 100
UPLOAD = 3_000_000

PAGE = f"""<!doctype html><link rel=icon href=data:,><title>pictures</title>
{"".join(f"<img src=/picture/{number}>" for number in range(PICTURES))}"""

PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'

EVERYTHING = f"""(async () => {{
  const pictures = [...document.images].filter(image => image.naturalWidth === 1).length;
  const upload = await fetch("/upload", {{method: "POST", body: new Uint8Array({UPLOAD})}});
  const events = await new Promise((done, fail) => {{
    const found = [], source = new EventSource("/events");
    source.onmessage = event => {{
      found.push(event.data);
      if (found.length === 3) {{ source.close(); done(found); }}
    }};
    source.onerror = fail;
  }});
  const socket = await new Promise((done, fail) => {{
    const found = [], socket = new WebSocket("wss://" + location.host + "/socket", ["chat"]);
    socket.onopen = () => {{ socket.send("hello"); socket.send("x".repeat(200000)); }};
    socket.onmessage = event => {{
      found.push(event.data.length);
      if (found.length === 2) socket.close(4000, "enough");
    }};
    socket.onclose = event => done([socket.protocol, ...found, event.code, event.wasClean]);
    socket.onerror = fail;
  }});
  const hops = performance.getEntriesByType("resource").map(entry => entry.nextHopProtocol);
  return JSON.stringify({{
    pictures, upload: await upload.text(), events, socket, hops: [...new Set(hops)],
  }});
}})()"""


class Site:
    """An ASGI application that notes which version each request came in.

    Attributes:
        versions: Of each path.
    """

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request or a WebSocket."""
        path = scope["path"]
        self.versions[path] = scope["http_version"]
        if scope["type"] == "websocket":
            await self.echo(receive, send)
        elif path == "/upload":
            size, more = 0, True
            while more:
                message = await receive()
                size += len(message["body"])
                more = message["more_body"]
            await self.answer(send, "text/plain", str(size).encode())
        elif path == "/events":
            await self.answer(send, "text/event-stream", b"data: 1\n\n", more=True)
            for number in (b"2", b"3"):
                piece = b"data: %b\n\n" % number
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await receive()  # until the browser has closed it
            await receive()
        elif path == "/":
            await self.answer(send, "text/html", PAGE.encode())
        else:
            await self.answer(send, "image/svg+xml", PICTURE)

    @staticmethod
    async def answer(send: Any, kind: str, body: bytes, *, more: bool = False) -> None:
        """Write an answer, or begin one."""
        fields = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body, "more_body": more})

    @staticmethod
    async def echo(receive: Any, send: Any) -> None:
        """Send each message back."""
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


async def test_a_page_with_everything(pair: Any, tmp_path: Path) -> None:
    """All of it comes over HTTP/2, the WebSocket too, whose close is a clean one."""
    site = Site()
    adapter = ASGIAdapter(site, lifespan="off", ws_per_message_deflate=True)
    async with serve(adapter, ssl_options=pair) as server:
        port = address_of(server)[1]
        found = await asyncio.to_thread(browse, f"https://localhost:{port}/", tmp_path)
    assert found["pictures"] == PICTURES
    assert found["upload"] == str(UPLOAD)
    assert found["events"] == ["1", "2", "3"]
    assert found["socket"] == ["chat", 5, 200_000, 4000, True]
    assert found["hops"] == ["h2"]
    assert set(site.versions.values()) == {"2"}
    assert "/socket" in site.versions


def browse(url: str, directory: Path) -> Any:
    """Return what a browser has found at `url`."""
    with browsing(directory / "browser", "--ignore-certificate-errors") as page:
        page.show(url, width=800)
        return json.loads(page.wait_for(EVERYTHING))
