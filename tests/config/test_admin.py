"""The value of `--admin`: what is an address for operators, and what a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeserver.config.admin import parse_admin, read_token
from edgeserver.config.bind import Bind
from edgeserver.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("unix:/run/a.sock", Bind(path="/run/a.sock")),
        ("127.0.0.1:9000", Bind(host="127.0.0.1", port=9000)),
        ("127.9.9.9:0", Bind(host="127.9.9.9", port=0)),
        ("[::1]:9000", Bind(host="::1", port=9000)),
        ("localhost:9000", Bind(host="localhost", port=9000)),
    ],
)
def test_where_operators_are_answered(text: str, bind: Bind) -> None:
    """A Unix socket or an address of this machine needs nothing else."""
    assert parse_admin(text, has_token=False) == bind


@pytest.mark.parametrize(
    "text", [":9000", "0.0.0.0:9000", "[::]:9000", "10.0.0.5:9000", "admin.example:9000"]
)
def test_the_network_needs_a_token(text: str) -> None:
    """What others can connect to is refused without one, and the line says both ways out."""
    with pytest.raises(ConfigurationError, match=r"add --admin-token-file FILE, or write 127"):
        parse_admin(text, has_token=False)
    assert parse_admin(text, has_token=True).port == 9000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the address is empty"),
        ("9000", "the host is missing"),
        ("https://127.0.0.1:9000", "without a scheme"),
        ("127.0.0.1:9000,proxy=v2", "a PROXY prelude"),
        ("fd:3", "no inherited descriptor"),
        ("unix:@name", "has no rights"),
        ("unix:/run/a.sock,mode=666", "this user alone"),
        ("unix:", "the path is missing"),
        ("x\x1b[31m", "the port is missing"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    """Anything else is refused in the words of this flag."""
    with pytest.raises(ConfigurationError) as caught:
        parse_admin(text, has_token=True)
    assert why in str(caught.value)
    assert str(caught.value).startswith("--admin")
    assert "--bind" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_token(tmp_path: Path) -> None:
    """It is the first line of the file."""
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\r\nsomething else\n")
    assert read_token(str(file)) == b"0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has 0 characters"),
        (b"\n0123456789abcdef", "has 0 characters"),
        (b"short\n", "has 5 characters"),
        (b"0123456789 abcdef\n", "without spaces"),
        ("0123456789abcdéf".encode(), "printable ASCII"),
    ],
    ids=["empty", "empty-line", "short", "space", "not-ascii"],
)
def test_a_token_that_is_none(tmp_path: Path, content: bytes, why: str) -> None:
    """What could be guessed or not be shown is refused, and never printed."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why) as caught:
        read_token(str(file))
    assert "openssl rand" in str(caught.value)
    assert "0123456789" not in str(caught.value)


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    """The line names the flag and the file."""
    with pytest.raises(ConfigurationError, match=r"--admin-token-file .*absent: No such file"):
        read_token(str(tmp_path / "absent"))
