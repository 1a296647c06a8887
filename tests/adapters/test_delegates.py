"""Tests for `edgeserver.adapters.delegates`: what a server calls for what it was given."""

from __future__ import annotations

from typing import Any

import pytest
import tornado.web

from edgeserver.adapters.callback import CallbackAdapter
from edgeserver.adapters.delegates import delegate_for
from edgeserver.adapters.tornado import TornadoAdapter
from edgeserver.httputil import HTTPServerConnectionDelegate


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
    delegate = delegate_for(given)
    assert delegate.start_request == given.start_request
    assert delegate.on_close(object()) is None


@pytest.mark.parametrize("given", [None, 7, object()], ids=["None", "number", "object"])
def test_anything_else_is_refused(given: object) -> None:
    """What cannot be called at all is named, and what would do."""
    with pytest.raises(TypeError, match="neither callable nor has it start_request"):
        delegate_for(given)
