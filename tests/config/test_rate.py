"""Rates: how one is written, and what is said of what is none."""

import pytest

from edgeserver.config.rate import Rate, parse_rate
from edgeserver.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/s", Rate(20, 1.0, 20)),
        ("20/s,burst=40", Rate(20, 1.0, 40)),
        ("100/m", Rate(100, 60.0, 100)),
        ("5/h, burst=1", Rate(5, 3600.0, 1)),
    ],
)
def test_what_is_one(text: str, rate: Rate) -> None:
    """A number in a time, and how many at once: as many, where nobody says it."""
    assert parse_rate("--client-rate", text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20",
        "0/s",
        "20/d",
        "-1/s",
        "1.5/s",
        "20/s,burst=0",
        "20/s,burst=",
        "20/s,40",
        "\x1b/s",
        20,
    ],
)
def test_what_is_none(text: object) -> None:
    """The error names the flag, shows what was written, escaped, and says the fix."""
    with pytest.raises(ConfigurationError, match=r"write 20/s, 100/m, or 20/s,burst=40") as caught:
        parse_rate("--client-rate", text)
    assert str(caught.value).startswith("--client-rate ")
    assert str(caught.value).isprintable()
