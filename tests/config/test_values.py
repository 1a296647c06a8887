"""Values of settings, in flags, variables and files."""

from typing import Any

import pytest

from edgeserver.config.model import SETTINGS, Setting
from edgeserver.config.values import parse_duration, parse_value, read_value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("2.5", 2.5), (".5", 0.5), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200),
     ("1d", 86400), ("0.5m", 30), ("365d", 31536000)],
)  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    """A time is a number of seconds, or has its unit behind it."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5 minutes", "5x", "ms", "-1s", "nan", "nanm", "inf", "1e400", "366d", "0"]
)
def test_no_times(text: str) -> None:
    """What is no time, or none that an event loop can count to, is refused with the fix."""
    with pytest.raises(ValueError, match="is not a time; give seconds, more than 0 and at most"):
        parse_duration(text)
    assert parse_duration("0ms", zero=True) == 0


VALUES = [
    ("workers", 4, 4),
    ("workers", "4", 4),
    ("max-body-size", 1024, 1024),
    ("max-body-size", "1K", 1024),
    ("body-timeout", 5, 5.0),
    ("body-timeout", 2.5, 2.5),
    ("body-timeout", "1m", 60.0),
    ("audit-sample", 0.5, 0.5),
    ("factory", True, True),
    ("wsgi-buffering", False, False),
    ("loop", "uvloop", "uvloop"),
    ("certfile", "a.pem", "a.pem"),
]


@pytest.mark.parametrize(("name", "value", "read"), VALUES, ids=[f"{n}={v}" for n, v, _ in VALUES])
def test_toml_values(name: str, value: object, read: object) -> None:
    """Numbers and truths are TOML's own, or a text as on the command line."""
    found = read_value(SETTINGS[name], value)
    assert (found, type(found)) == (read, type(read))


WRONG: list[tuple[str, Any, str]] = [
    ("workers", True, "true is not a whole number; write one, without quotes"),
    ("workers", 1.5, "1.5 is not a whole number"),
    ("workers", 0, "0 is not a whole number from 1 to 1024; give one"),
    ("workers", 10**5000, "a number of that size is not a whole number"),
    ("workers", [], "a list is not a whole number"),
    ("workers", {}, "a table is not a whole number"),
    ("factory", "yes", "write true or false, without quotes"),
    ("factory", 1, "1 is not true or false"),
    ("max-body-size", 1.5, '1.5 is not a number of bytes; write 65536 or "64K"'),
    ("max-held", 0, "nothing fits into 0; write 512M, say"),
    ("body-timeout", False, 'false is not a time; write 30, "30s" or "500ms"'),
    ("body-timeout", float("nan"), "nan is not a time"),
    ("loop", "fast", "fast is not one of auto, uvloop, asyncio; write one of them"),
    ("loop", 3, "3 is not one of auto, uvloop, asyncio; write one of them in quotes"),
    ("certfile", 3, "3 is not a text; write it in quotes"),
    ("audit-sample", 2, "2 is not a share; give a number above 0 and at most 1, such as 0.01"),
    ("loop", "\x1b[2J" * 99, "\\x1b[2J"),
]


@pytest.mark.parametrize(
    ("name", "value", "said"), WRONG, ids=[str(index) for index in range(len(WRONG))]
)
def test_wrong_toml_values(name: str, value: object, said: str) -> None:
    """A value of another type or out of bounds is told what it is not, in bounded words."""
    with pytest.raises(ValueError, match=r".") as caught:
        read_value(SETTINGS[name], value)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("each", SETTINGS.values(), ids=lambda each: each.name)
def test_defaults_can_be_written(each: Setting) -> None:
    """What is in force by default is a value that can be said, as it is shown."""
    if each.in_force is not None:
        assert parse_value(each, each.write(each.in_force)) == each.in_force


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("log-level", "INFO", "info"),
        ("log-level", "warn", "warning"),
        ("log-level", "Trace", "debug"),
        ("log-level", "critical", "critical"),
        ("cert-reqs", "2", "required"),
        ("cert-reqs", 0, "none"),
        ("loop", "UVLoop", "uvloop"),
    ],
)
def test_values_of_other_servers(name: str, written: object, value: str) -> None:
    """A choice is understood in capitals, and as other servers write it."""
    assert read_value(SETTINGS[name], written) == value
