"""The ASGI application that all servers run: it says which process answers, and when it serves.

`WORKERS` names a directory where each process leaves a file named after itself, once its
lifespan's startup is over.
"""

import asyncio
import ctypes
import os
import time
from pathlib import Path

_HERE = Path(os.environ["WORKERS"])
_STARTUP_S = float(os.environ.get("STARTUP_S", "0"))
_LARGE = b"x" * 1048576


async def app(scope, receive, send):
    """Answer by path; see the module."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    body = str(os.getpid()).encode()
    match scope["path"]:
        case "/slow":
            await asyncio.sleep(0.3)
        case "/large":
            body = _LARGE
        case "/busy":  # a millisecond of work
            until_s = time.thread_time() + 0.001
            while time.thread_time() < until_s:
                pass
        case "/asleep":
            time.sleep(1000)
        case "/held":  # C code that keeps the interpreter's lock
            ctypes.PyDLL(None).sleep(1000)
        case "/endless":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x\n", "more_body": True})
                await asyncio.sleep(0.1)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await asyncio.sleep(_STARTUP_S)
            (_HERE / f"{os.getpid()}.tmp").write_text(str(time.monotonic()))
            (_HERE / f"{os.getpid()}.tmp").rename(_HERE / str(os.getpid()))
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
