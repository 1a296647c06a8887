"""The file of `--log-config`: what is read, and what is said of one that cannot be used."""

import json
import logging
from pathlib import Path

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.logs.config import apply_log_config, read_log_config

TOML = """
[loggers."test.log-config"]
level = "ERROR"
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("logs.toml", TOML),
        ("logs.json", json.dumps({"loggers": {"test.log-config": {"level": "ERROR"}}})),
    ],
    ids=["toml", "json"],
)
def test_what_is_used(name: str, text: str, tmp_path: Path) -> None:
    """Either form says what `dictConfig` takes, without what everybody would have to say."""
    (tmp_path / name).write_text(text)
    apply_log_config(read_log_config(str(tmp_path / name)), name)
    assert logging.getLogger("test.log-config").level == logging.ERROR


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("absent.toml", None, "No such file or directory; name a file"),
        ("a.toml", "[a\n", r"is not TOML: .*line 1.*\.json file"),
        ("a.json", "{", "is not JSON: .*line 1"),
        ("a.json", "[]", "is not an object"),
        ("a.toml", "a = '\udcff'", "is not TOML"),
        ("a.toml", "#" * (1024 * 1024 + 1), "more than 1048576 bytes"),
    ],
    ids=["absent", "toml", "json", "list", "bytes", "long"],
)
def test_what_cannot_be_read(name: str, text: str | None, words: str, tmp_path: Path) -> None:
    """The error names the flag, the file, the place in it and the fix."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_log_config(str(path))
    assert str(caught.value).startswith("--log-config ")


def test_what_python_refuses() -> None:
    """A class that is not there is named, and so is the handler that it is for."""
    config = {"version": 1, "handlers": {"mine": {"class": "absent.Handler"}}}
    with pytest.raises(ConfigurationError, match=r"--log-config a: .*'mine'.*absent"):
        apply_log_config(config, "a")
