"""What kind of application an object is taken for, and which delegate a server calls for it."""

import functools
from typing import Any
from unittest.mock import MagicMock

import pytest
import tornado.web

from edgeserver.adapters.callback import CallbackAdapter
from edgeserver.adapters.detect import (
    INTERFACES,
    delegate_for,
    describe_interface,
    detect_interface,
    make_delegate,
)
from edgeserver.adapters.tornado import TornadoAdapter
from edgeserver.errors import ConfigurationError
from edgeserver.httputil.interfaces import HTTPServerConnectionDelegate


def _callback(request: Any) -> None: ...
async def _async_callback(request: Any) -> None: ...
def _with_default(request: Any, extra: int = 0) -> None: ...
async def _asgi(scope: Any, receive: Any, send: Any) -> None: ...
def _wsgi(environ: Any, start_response: Any) -> Any: ...
def _three(a: Any, b: Any, c: Any) -> None: ...
async def _async_two(a: Any, b: Any) -> None: ...
def _variadic(*args: Any, **kwargs: Any) -> None: ...
def _nothing() -> None: ...


class _AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class _WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class _CallableDelegate(HTTPServerConnectionDelegate):
    def __call__(self, request: Any) -> None: ...


TAKEN = [
    pytest.param(_callback, "callback", id="function"),
    pytest.param(_async_callback, "callback", id="coroutine-function"),
    pytest.param(_with_default, "callback", id="optional-parameter"),
    pytest.param(functools.partial(_wsgi, {}), "callback", id="partial"),
    pytest.param([].append, "callback", id="builtin-method"),
    pytest.param(_asgi, "asgi", id="asgi-function"),
    pytest.param(_AsgiObject(), "asgi", id="asgi-object"),
    pytest.param(functools.partial(_AsgiObject().__call__), "asgi", id="asgi-partial"),
    pytest.param(_wsgi, "wsgi", id="wsgi-function"),
    pytest.param(_WsgiObject(), "wsgi", id="wsgi-object"),
    pytest.param(HTTPServerConnectionDelegate(), "delegate", id="delegate"),
    pytest.param(_CallableDelegate(), "delegate", id="callable-delegate"),
    pytest.param(tornado.web.Application(), "tornado", id="tornado"),
]


@pytest.mark.parametrize(("app", "kind"), TAKEN)
def test_taken_for(app: object, kind: str) -> None:
    """An object is taken for what it is, by its shape."""
    assert detect_interface(app) == kind
    assert kind in INTERFACES
    assert describe_interface(kind)


@pytest.mark.parametrize(
    "app",
    [_three, _async_two, _variadic, _nothing, 7, None, _AsgiObject],
    ids=["three", "async-two", "variadic", "none-required", "number", "None", "class"],
)
def test_refused(app: object) -> None:
    """Anything else is refused with the four shapes that would do."""
    with pytest.raises(ConfigurationError) as caught:
        detect_interface(app)
    for shape in ("start_request", "app(request)", "scope, receive, send", "environ"):
        assert shape in str(caught.value)


def test_a_callback_is_its_own_delegate() -> None:
    """`HTTPServer` takes callbacks and delegates as they are."""
    delegate = HTTPServerConnectionDelegate()
    assert make_delegate("callback", _callback) is _callback
    assert make_delegate("delegate", delegate) is delegate


@pytest.mark.parametrize(
    ("kind", "app", "part"),
    [
        ("tornado", _callback, "has no start_request"),
        ("asgi", 7, "cannot be called"),
        ("zope", _callback, "unknown interface"),
    ],
    ids=["no-start-request", "not-callable", "unknown"],
)
def test_an_interface_that_does_not_fit(kind: str, app: object, part: str) -> None:
    """Saying which interface it is does not make it so."""
    with pytest.raises(ConfigurationError, match=part):
        make_delegate(kind, app)


@pytest.mark.parametrize(
    ("kind", "app", "sentence"),
    [
        ("callback", _callback, "-threads- means nothing to a callback (request); leave it out"),
        ("asgi", _asgi, "-threads- means nothing to an ASGI application; leave it out"),
        ("tornado", tornado.web.Application(), "-threads- means nothing to a Tornado application"),
    ],
    ids=["callback", "asgi", "tornado"],
)
def test_an_option_is_named_as_the_user_wrote_it(kind: str, app: object, sentence: str) -> None:
    """Who asks for the delegate says how its user spells options."""
    with pytest.raises(ConfigurationError) as caught:
        make_delegate(kind, app, {"threads": 3}, spelled=lambda name: f"-{name}-")
    assert str(caught.value).startswith(sentence)


class OnlyStarts:
    """Something with the one method that a delegate must have."""

    def start_request(self, server_conn: object, request_conn: Any) -> str:
        """Say who was called."""
        return "started"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        pytest.param(lambda request: None, CallbackAdapter, id="function"),
        pytest.param(tornado.web.Application(), TornadoAdapter, id="tornado"),
    ],
)
def test_what_has_an_adapter(given: Any, kind: type) -> None:
    """Functions and Tornado's applications are called through their adapters."""
    assert type(delegate_for(given)) is kind


def test_a_delegate_is_called_itself() -> None:
    """Nothing stands before an object that has both methods."""
    delegate = HTTPServerConnectionDelegate()
    assert delegate_for(delegate) is delegate


def test_a_delegate_need_not_hear_of_the_end() -> None:
    """`start_request` is the object's own; an `on_close` that does nothing is added."""
    given = OnlyStarts()
    delegate: Any = delegate_for(given)
    assert delegate.start_request == given.start_request
    assert delegate.on_close(object()) is None
    assert not delegate.serves_websockets


def test_a_delegate_may_say_that_it_serves_websockets() -> None:
    """So does what stands before it."""

    class Detaching(OnlyStarts):
        serves_websockets = True

    delegate: Any = delegate_for(Detaching())
    assert delegate.serves_websockets


@pytest.mark.parametrize("given", [None, 7, object()], ids=["None", "number", "object"])
def test_anything_else_is_refused(given: object) -> None:
    """What cannot be called at all is named, and what would do."""
    with pytest.raises(TypeError, match="neither callable nor has it start_request"):
        delegate_for(given)


async def _four(a: Any, b: Any, c: Any, d: Any) -> None: ...


def _injecting(function: Any) -> Any:
    """Return what needs one argument, and looks like what needs two."""

    @functools.wraps(function)
    def inject(request: Any) -> Any:
        return function(request, {})

    return inject


_STAND = type(
    "_Stand",
    (),
    {"__class__": property(lambda self: type(_wsgi)), "__call__": lambda self, request: None},
)()
"""What passes for the function that it stands for, as wrapt's proxies do."""


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (_AsgiObject(), r"is an ASGI application.*edgeserver\.listen\(app, port\).*ASGIAdapter"),
        (_asgi, r"is an ASGI application.*HTTPServer\(ASGIAdapter\(app\)\)"),
        (_WsgiObject(), r"is a WSGI application.*HTTPServer\(WSGIAdapter\(app\)\)"),
        (_wsgi, r"is a WSGI application.*edgeserver\.listen"),
        (_nothing, r"cannot be called with one request"),
        (_four, r"cannot be called with one request.*edgeserver\.listen"),
    ],
    ids=["asgi-object", "asgi-function", "wsgi-object", "wsgi-function", "none", "four"],
)
def test_not_a_callback(app: Any, said: str) -> None:
    """What cannot be called with a request alone is refused at once, with what would do."""
    with pytest.raises(TypeError, match=said):
        delegate_for(app)


@pytest.mark.parametrize(
    "app",
    [
        _callback, _async_callback, _with_default, _variadic, [].append, print, dict,
        functools.partial(_wsgi, {}), _injecting(_wsgi), _STAND, MagicMock(spec=_callback),
        lambda *requests: None,
    ],
    ids=["function", "coroutine", "default", "variadic", "method", "builtin", "class", "partial",
         "wraps", "proxy", "mock", "lambda"],
)  # fmt: skip
def test_callbacks_as_ever(app: Any) -> None:
    """Whatever may be called with one argument is a callback, as in Tornado."""
    assert isinstance(delegate_for(app), CallbackAdapter)


@pytest.mark.parametrize(
    ("kind", "app"),
    [("wsgi", _callback), ("wsgi", _AsgiObject()), ("wsgi", _async_two), ("asgi", _wsgi),
     ("asgi", _callback), ("callback", _asgi), ("callback", _WsgiObject())],
    ids=["wsgi-callback", "wsgi-asgi", "wsgi-async", "asgi-wsgi", "asgi-callback",
         "callback-asgi", "callback-wsgi"],
)  # fmt: skip
def test_said_to_be_another_kind(kind: str, app: Any) -> None:
    """An interface that the application cannot have is refused at the start."""
    with pytest.raises(ConfigurationError, match=r"is not an? .*leave out --interface"):
        make_delegate(kind, app)


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "callback"])
def test_said_where_the_shape_does_not(kind: str) -> None:
    """What takes anything may be of each kind."""
    make_delegate(kind, _variadic)


def test_a_factory() -> None:
    """A function without parameters is told of --factory first."""
    with pytest.raises(ConfigurationError) as caught:
        detect_interface(_nothing)
    said = str(caught.value)
    assert said.startswith("_nothing (function) takes no request: if it makes the application, ")
    assert said.index("--factory") < said.index("start_request")
