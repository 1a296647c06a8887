"""The kind of application that an object is, and the delegate that calls it.

Decides by what the object is, never by its name. It must know neither a server nor a socket, and
imports the adapters of ASGI and WSGI only when an application needs them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from edgeserver.adapters.callback import CallbackAdapter
from edgeserver.adapters.tornado import TornadoAdapter, share_closed_error
from edgeserver.errors import ConfigurationError
from edgeserver.httputil import HTTPServerConnectionDelegate

__all__ = [
    "INTERFACES",
    "delegate_for",
    "describe_interface",
    "detect_interface",
    "make_delegate",
]

INTERFACES = ("callback", "asgi", "wsgi", "tornado", "delegate")

_DESCRIPTIONS = {
    "callback": "a callback (request)",
    "asgi": "an ASGI application",
    "wsgi": "a WSGI application",
    "tornado": "a Tornado application",
    "delegate": "a connection delegate",
}

_SHAPES = (
    "a delegate with start_request(server_conn, request_conn), such as a tornado.web.Application; "
    "a callback, def app(request) or async def app(request); "
    "ASGI, async def app(scope, receive, send); "
    "or WSGI, def app(environ, start_response)"
)

_ARGUMENTS = {"callback": 1, "asgi": 3, "wsgi": 2}
"""With how many arguments each is called."""

_CALLED = {
    "callback": "called with a request",
    "asgi": "called with scope, receive and send",
    "wsgi": "a plain callable, called with environ and start_response",
}
"""How, in words."""

_ADAPTERS = {
    "asgi": ("edgeserver.adapters.asgi", "ASGIAdapter"),
    "wsgi": ("edgeserver.adapters.wsgi", "WSGIAdapter"),
    "tornado": ("edgeserver.adapters.tornado", "TornadoAdapter"),
}
"""Where the adapter of a kind is; its constructor takes the application and the options."""

_NOT_OPTIONS = ("app", "delegate")
"""What such a constructor calls the application itself."""


def describe_interface(kind: str) -> str:
    """Return the words for `kind` that a start line uses."""
    return _DESCRIPTIONS[kind]


def detect_interface(app: object) -> str:
    """Return which of `INTERFACES` the object `app` has.

    Something with `start_request` is a delegate, tested before callability because Tornado's
    `Application` is both. Otherwise the number of required positional parameters decides: three for
    a coroutine function is ASGI, two for a plain callable is WSGI, one is a callback.

    Raises:
        ConfigurationError: It is none of these; the message names the four shapes that would do.
    """
    if callable(getattr(app, "start_request", None)):
        return "tornado" if _is_tornados(app) else "delegate"
    if not callable(app):
        raise ConfigurationError(f"{_name(app)} cannot be called; what would do: {_SHAPES}")
    required = _count_required(app)
    is_async = _is_async(app)
    if required == 0 and hasattr(app, "__code__"):  # a function or a method
        raise ConfigurationError(
            f"{_name(app)} takes no request: if it makes the application, --factory calls it first"
            f" (in a program, call it); what would do as it is: {_SHAPES}"
        )
    if required == 1:
        return "callback"
    if is_async and required == 3:
        return "asgi"
    if not is_async and required == 2:
        return "wsgi"
    raise ConfigurationError(
        f"{_name(app)} takes {_parameters(required)} and is {'async' if is_async else 'not async'},"
        f" which no interface has; what would do: {_SHAPES}. --interface says which it is where "
        "its signature does not, --factory calls it first"
    )


def make_delegate(
    kind: str,
    app: Any,
    options: Mapping[str, Any] | None = None,
    *,
    spelled: Callable[[str], str] = repr,
) -> Any:
    """Return what `HTTPServer` is given for an application of this kind.

    Args:
        kind: One of `INTERFACES`.
        app: The application.
        options: What the adapter understands, such as `root_path` for ASGI.
        spelled: How complaints write the name of an option: as the user has, say as a flag.

    Raises:
        ConfigurationError: The kind is unknown, `app` cannot be of it, or an option means nothing
            to it or cannot work.
    """
    if kind not in INTERFACES:
        raise ConfigurationError(f"unknown interface {kind!r}; one of {', '.join(INTERFACES)}")
    if kind in ("tornado", "delegate"):
        if not callable(getattr(app, "start_request", None)):
            raise ConfigurationError(
                f"{_name(app)} has no start_request, so it is not a {kind} application; "
                "leave out --interface, or name the kind that it is"
            )
    elif not callable(app):
        raise ConfigurationError(f"{_name(app)} cannot be called; what would do: {_SHAPES}")
    elif not _may_be(kind, app):
        raise ConfigurationError(
            f"{_name(app)} is not {_DESCRIPTIONS[kind]}, which is {_CALLED[kind]}; leave out"
            " --interface, or name the kind that it is"
        )
    options = options or {}
    make, known = _adapter(kind)
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigurationError(
            f"{spelled(unknown[0])} means nothing to {_DESCRIPTIONS[kind]}; leave it out"
        )
    return make(app, **options)


def _adapter(kind: str) -> tuple[Callable[..., Any], set[str]]:
    """Return what makes the delegate of an application of this kind, and which options it takes."""
    if kind not in _ADAPTERS:
        return lambda app: app, set()
    module, name = _ADAPTERS[kind]
    adapter = getattr(importlib.import_module(module), name)
    return adapter, set(inspect.signature(adapter).parameters).difference(_NOT_OPTIONS)


def delegate_for(request_callback: Any) -> HTTPServerConnectionDelegate:
    """Return the delegate that a server calls for what it was given, a callback or a delegate.

    Raises:
        TypeError: `request_callback` is neither callable nor has it `start_request`, or it cannot
            be called with a request alone.
    """
    # Functions, too, may catch Tornado's error for a closed connection.
    share_closed_error()
    # start_request is tested first: Tornado's Application is callable, too.
    if callable(getattr(request_callback, "start_request", None)):
        if _is_tornados(request_callback):
            return TornadoAdapter(request_callback)
        return cast(HTTPServerConnectionDelegate, _with_on_close(request_callback))
    if callable(request_callback):
        if not _takes(request_callback, 1):
            raise TypeError(_refuse_callback(request_callback))
        return CallbackAdapter(request_callback)
    raise TypeError(
        f"request_callback={request_callback!r} is neither callable nor has it start_request():"
        " give a function of one request, or an HTTPServerConnectionDelegate"
    )


def _refuse_callback(app: Any) -> str:
    """Return what is said of a callable that cannot be called with a request alone."""
    for kind in ("asgi", "wsgi"):
        if _takes(app, _ARGUMENTS[kind]) and _is_async(app) == (kind == "asgi"):
            module, adapter = _ADAPTERS[kind]
            return (
                f"request_callback: {_name(app)} is {_DESCRIPTIONS[kind]}, and would be called with"
                f" a request: write edgeserver.listen(app, port), which sees what it is, or"
                f" HTTPServer({adapter}(app)), with {adapter} from {module}"
            )
    return (
        f"request_callback: {_name(app)} cannot be called with one request; what would do:"
        f" {_SHAPES}, the last two by edgeserver.listen(app, port)"
    )


def _may_be(kind: str, app: Any) -> bool:
    """Tell whether something that can be called may be of this kind, in doubt that it may."""
    return _takes(app, _ARGUMENTS[kind]) and not (kind == "wsgi" and _is_async(app))


def _takes(app: Any, count: int) -> bool:
    """Tell whether `app` can be called with that many arguments, in doubt that it can.

    What a decorator has put around a function is asked itself, since it may add arguments; where a
    signature was written by hand, or is that of what a proxy stands for, it proves nothing.
    """
    if hasattr(app, "__signature__") or type(app) is not app.__class__:
        return True
    try:
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):  # builtins and some C extensions have none
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _with_on_close(delegate: Any) -> Any:
    return delegate if hasattr(delegate, "on_close") else _Closable(delegate)


class _Closable(HTTPServerConnectionDelegate):
    """A delegate of the right shape that has no `on_close`."""

    def __init__(self, delegate: Any) -> None:
        self.start_request = delegate.start_request  # type: ignore[method-assign]  # no frame in between
        self.serves_websockets = bool(getattr(delegate, "serves_websockets", False))


def _is_tornados(app: object) -> bool:
    """Tell whether a class of `app` comes from Tornado, without importing it."""
    return any((cls.__module__ or "").partition(".")[0] == "tornado" for cls in type(app).__mro__)


def _count_required(app: Any) -> int | None:
    """Return how many positional parameters `app` requires; None if it has no signature."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):  # builtins and some C extensions have none
        return None
    return sum(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in parameters
    )


def _is_async(app: Any) -> bool:
    """Tell whether calling `app` gives a coroutine."""
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def _parameters(count: int | None) -> str:
    """Return the words for a number of required parameters."""
    if count is None:
        return "parameters that cannot be inspected"
    return f"{count} required parameter{'' if count == 1 else 's'}"


def _name(app: object) -> str:
    """Return how messages call `app`: its qualified name, or its type's."""
    name = getattr(app, "__qualname__", None)
    if isinstance(name, str):
        return f"{name} ({type(app).__name__})"
    return f"an object of type {type(app).__module__}.{type(app).__qualname__}"
