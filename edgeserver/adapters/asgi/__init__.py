"""ASGI 3 applications behind the delegate interface: `http`, `websocket` and `lifespan`.

Decides nothing; it names what the server and the command line use.

Source: https://asgi.readthedocs.io (specification 3.0, message format 2.5).
"""

from edgeserver.adapters.asgi.adapter import ASGIAdapter
from edgeserver.adapters.asgi.lifespan import LifespanError
from edgeserver.adapters.asgi.messages import MessageError

__all__ = ["ASGIAdapter", "LifespanError", "MessageError"]
