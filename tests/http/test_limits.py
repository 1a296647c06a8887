"""The limits: what is a limit, and what a wrong one is called."""

from __future__ import annotations

from typing import Any

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.http.limits import HTTPLimits

COUNTS = ["chunk_size", "max_header_size", "max_header_fields", "max_buffer_size", "max_body_size"]
SECONDS = ["idle_connection_timeout", "header_timeout", "write_timeout", "body_timeout"]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [-1, 1.0, "1", None, True, float("inf")])
def test_wrong_counts(name: str, value: Any) -> None:
    """A number of bytes or fields is a whole number."""
    with pytest.raises(ConfigurationError, match=f"{name}=.* give a whole number"):
        HTTPLimits(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
def test_zero(name: str) -> None:
    """Only a body may have no bytes at all."""
    if name == "max_body_size":
        assert HTTPLimits(max_body_size=0).max_body_size == 0
    else:
        with pytest.raises(ConfigurationError, match="a whole number, 1 or more"):
            HTTPLimits(**{name: 0})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1, "1", True, float("nan"), None])
def test_wrong_seconds(name: str, value: Any) -> None:
    """A timeout is a number greater than 0; only a body may take for ever."""
    if name == "body_timeout" and value is None:
        assert HTTPLimits(body_timeout=None).body_timeout is None
        return
    with pytest.raises(ConfigurationError, match=f"{name}=.* give seconds, more than 0"):
        HTTPLimits(**{name: value})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [1, 0.01, float("inf")])
def test_right_seconds(name: str, value: float) -> None:
    """Whole and broken seconds are fine, and so is no end."""
    assert getattr(HTTPLimits(**{name: value}), name) == value


def test_the_shortest_timeout() -> None:
    """The clock ticks as the shortest timeout in force needs it."""
    assert HTTPLimits().shortest_timeout_s() == 60
    assert HTTPLimits(body_timeout=3).shortest_timeout_s() == 3
    assert HTTPLimits(idle_connection_timeout=2, body_timeout=3).shortest_timeout_s() == 2
