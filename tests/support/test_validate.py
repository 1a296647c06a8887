"""What settings are refused as times and as counts, and in which words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.support.validate import require_count, require_seconds

TIMES: list[Any] = [
    pytest.param(1, {}, id="whole"),
    pytest.param(0.001, {}, id="fraction"),
    pytest.param(math.inf, {}, id="for-ever"),
    pytest.param(0, {"zero": True}, id="zero"),
    pytest.param(-1, {"past": True}, id="past"),
    pytest.param(None, {"none": True}, id="none"),
    pytest.param(3600, {"finite": True}, id="finite"),
]

NOT_TIMES: list[Any] = [
    pytest.param(0, {}, "t=0 is not a time: give seconds, more than 0", id="zero"),
    pytest.param(-1, {"zero": True}, "t=-1 is not a time: give seconds, 0 or more", id="negative"),
    pytest.param(math.nan, {}, "t=nan is not a time: give seconds, more than 0", id="nan"),
    pytest.param("5", {}, "t='5' is not a time: give seconds, more than 0", id="text"),
    pytest.param(True, {}, "t=True is not a time: give seconds, more than 0", id="bool"),
    pytest.param(None, {}, "t=None is not a time: give seconds, more than 0", id="none"),
    pytest.param(
        -1,
        {"none": True},
        "t=-1 is not a time: give seconds, more than 0, or None for no limit",
        id="negative-or-none",
    ),
    pytest.param(
        math.inf,
        {"finite": True},
        "t=inf is not a time: give seconds, more than 0, and not infinity",
        id="infinite",
    ),
]

COUNTS: list[Any] = [
    pytest.param(1, {}, id="one"),
    pytest.param(0, {"least": 0}, id="zero"),
    pytest.param(8, {"most": 8}, id="most"),
    pytest.param(None, {"none": True}, id="none"),
]

NOT_COUNTS: list[Any] = [
    pytest.param(0, {}, "n=0 is not a count: give a whole number, 1 or more", id="zero"),
    pytest.param(
        9,
        {"what": "threads", "most": 8},
        "n=9 is not a count: give a whole number of threads, from 1 to 8",
        id="above-most",
    ),
    pytest.param(
        -1,
        {"least": 0, "what": "bytes"},
        "n=-1 is not a count: give a whole number of bytes, 0 or more",
        id="negative",
    ),
    pytest.param(
        1.0,
        {"none": True},
        "n=1.0 is not a count: give a whole number, 1 or more, or None for no limit",
        id="fraction",
    ),
    pytest.param("8", {}, "n='8' is not a count: give a whole number, 1 or more", id="text"),
    pytest.param(True, {}, "n=True is not a count: give a whole number, 1 or more", id="bool"),
    pytest.param(None, {}, "n=None is not a count: give a whole number, 1 or more", id="none"),
]


@pytest.mark.parametrize(("value", "allowed"), TIMES)
def test_time(value: Any, allowed: dict[str, Any]) -> None:
    """What is a time passes."""
    require_seconds("t", value, **allowed)


@pytest.mark.parametrize(("value", "allowed", "words"), NOT_TIMES)
def test_not_a_time(value: Any, allowed: dict[str, Any], words: str) -> None:
    """What is not a time is named, with what would be one."""
    with pytest.raises(ConfigurationError) as caught:
        require_seconds("t", value, **allowed)
    assert str(caught.value) == words


@pytest.mark.parametrize(("value", "allowed"), COUNTS)
def test_count(value: Any, allowed: dict[str, Any]) -> None:
    """What is a count passes."""
    require_count("n", value, **allowed)


@pytest.mark.parametrize(("value", "allowed", "words"), NOT_COUNTS)
def test_not_a_count(value: Any, allowed: dict[str, Any], words: str) -> None:
    """What is not a count is named, with what would be one."""
    with pytest.raises(ConfigurationError) as caught:
        require_count("n", value, **allowed)
    assert str(caught.value) == words


def test_error() -> None:
    """The error is of the kind that the setting's room raises."""
    with pytest.raises(TLSConfigurationError, match='"handshake_timeout"=0 is not a time'):
        require_seconds('"handshake_timeout"', 0, error=TLSConfigurationError)
    with pytest.raises(TLSConfigurationError, match='"max_handshakes"=0 is not a count'):
        require_count('"max_handshakes"', 0, error=TLSConfigurationError)
