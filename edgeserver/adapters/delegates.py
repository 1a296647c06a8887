"""Which delegate a server calls for what it was given: a callback, a delegate, Tornado's.

Decides by the shape of the object; what needs more than that to be called, an ASGI or a WSGI
application, was put behind its adapter before. It must know neither a server nor a socket.
"""

from __future__ import annotations

from typing import Any, cast

from edgeserver.adapters.callback import CallbackAdapter
from edgeserver.adapters.detect import detect_interface
from edgeserver.adapters.tornado import TornadoAdapter, share_closed_error
from edgeserver.httputil import HTTPServerConnectionDelegate

__all__ = ["delegate_for"]


def delegate_for(request_callback: Any) -> HTTPServerConnectionDelegate:
    """Return the delegate that has `start_request` and `on_close`.

    Raises:
        TypeError: `request_callback` is neither callable nor has it `start_request`.
    """
    # Functions, too, may catch Tornado's error for a closed connection.
    share_closed_error()
    # start_request is tested first: Tornado's Application is callable, too.
    if callable(getattr(request_callback, "start_request", None)):
        if detect_interface(request_callback) == "tornado":
            return TornadoAdapter(request_callback)
        return cast(HTTPServerConnectionDelegate, _with_on_close(request_callback))
    if callable(request_callback):
        return CallbackAdapter(request_callback)
    raise TypeError(
        f"request_callback={request_callback!r} is neither callable nor has it start_request():"
        " give a function of one request, or an HTTPServerConnectionDelegate"
    )


def _with_on_close(delegate: Any) -> Any:
    return delegate if hasattr(delegate, "on_close") else _Closable(delegate)


class _Closable(HTTPServerConnectionDelegate):
    """A delegate of the right shape that has no `on_close`."""

    def __init__(self, delegate: Any) -> None:
        self.start_request = delegate.start_request  # type: ignore[method-assign]  # no frame in between
