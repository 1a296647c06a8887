"""A WebSocket chat: everybody hears everybody, by the address that nobody can choose.

edgeserver serve websocket_chat:app --trust 10.0.0.5
"""

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

members: set[WebSocket] = set()


async def chat(websocket: WebSocket) -> None:
    """Pass on what one member says to all."""
    await websocket.accept()
    assert websocket.client is not None
    members.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for member in list(members):
                await member.send_text(f"{websocket.client.host}: {text}")
    except WebSocketDisconnect:
        pass
    finally:
        members.discard(websocket)


app = Starlette(routes=[WebSocketRoute("/chat", chat)])
