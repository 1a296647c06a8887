"""Targets that do not start with a slash: where each form is allowed."""

from __future__ import annotations

import pytest

from edgeserver.errors import HTTPInputError
from edgeserver.http1.target import authority_of, check_target

TARGETS = [
    ("GET", "http://a", "a"),
    ("GET", "http://a/", "a"),
    ("GET", "http://a:80?x", "a:80"),
    ("GET", "HTTPS://[::1]:443/x?y", "[::1]:443"),
    ("CONNECT", "a:443", "a:443"),
    ("CONNECT", "[::1]:443", "[::1]:443"),
    ("OPTIONS", "*", ""),
    ("OPTIONS", "http://a", "a"),
    ("GET", "*", None),
    ("GET", "a:80", None),
    ("GET", "a", None),
    ("GET", "http:/a", None),
    ("GET", "http://", None),
    ("GET", "http://:80/", None),
    ("GET", "http://a:b/", None),
    ("GET", "http://a#x", None),
    ("GET", "http://a/#x", None),
    ("GET", "http://a@b/", None),
    ("GET", "gopher://a/", None),
    ("CONNECT", "a", None),
    ("CONNECT", "a:", None),
    ("CONNECT", ":443", None),
    ("CONNECT", "a:123456", None),
    ("CONNECT", "/", None),
    ("CONNECT", "*", None),
    ("CONNECT", "http://a:80/", None),
]


@pytest.mark.parametrize(("method", "target", "authority"), TARGETS)
def test_targets(method: str, target: str, authority: str | None) -> None:
    """Each form is allowed where RFC 9112 section 3.2 has it, and names its authority."""
    if authority is None:
        with pytest.raises(HTTPInputError, match="is not allowed for") as caught:
            check_target(method, target.encode())
        assert caught.value.status == 400
        return
    check_target(method, target.encode())
    assert authority_of(target) == authority


@pytest.mark.parametrize("target", ["/", "/x", "//a/b", "/http://a"])
def test_a_path_names_no_authority(target: str) -> None:
    """What starts with a slash is a path, whatever follows."""
    assert authority_of(target) == ""
