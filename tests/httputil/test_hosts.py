"""Hosts: what may stand in a Host field and in the authority of a target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.hosts import check_host, split_absolute_target, split_host_and_port


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a.example",
        "A.Example:8000",
        "a.example:",
        "127.0.0.1:80",
        "[::1]",
        "[::ffff:1.2.3.4]:443",
        "[v1.a:b]",
        "a_b~!$&'()*+;=",
        "%e2%9c%93.example",
        "a.example:99999",
    ],
)
def test_host_is_accepted(host: str) -> None:
    """Names, addresses and ports as in RFC 3986 pass, and so does nothing at all."""
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "a b",
        " a",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "user@a",
        "a\x00",
        "a\n",
        "caf\xe9",
        "\u6d4b",
        "a:b",
        "a:80:80",
        "a:100000",
        "::1",
        "[::1",
        "[]",
        "[g::]",
        "[::1]a",
        "%zz",
        "%e",
        "<a>",
        '"a"',
    ],
    ids=ascii,
)
def test_host_is_refused(host: str) -> None:
    """Anything else is a 400 whose message is safe to log."""
    with pytest.raises(HTTPInputError, match=r"\AInvalid Host header: '[ -~]*'\Z") as caught:
        check_host(host)
    assert caught.value.status == 400
    assert caught.value.rfc == "RFC 9112 section 3.2"


@pytest.mark.parametrize("host", ["a,b", "a, b", ",", "a.example,a.example"])
def test_several_hosts_are_refused(host: str) -> None:
    """A comma reads as two hosts, which is a refusal of its own."""
    with pytest.raises(HTTPInputError, match="Multiple host headers not allowed"):
        check_host(host)


def test_hosts_that_would_make_a_pattern_slow() -> None:
    """Long hosts that fail at their end are refused in one pass."""
    for host in ("%41" * 20_000 + "%", "a" * 60_000 + "/", "[" * 60_000, "a%" * 30_000):
        with pytest.raises(HTTPInputError) as caught:
            check_host(host)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://a.example/b?c=d", ("a.example", "/b", "c=d")),
        ("HTTPS://A.example:80/", ("A.example:80", "/", "")),
        ("http://a.example", ("a.example", "/", "")),
        ("http://a.example?c", ("a.example", "/", "c")),
        ("http://[::1]:80/b?c?d", ("[::1]:80", "/b", "c?d")),
        ("http://a.example//b/../c", ("a.example", "//b/../c", "")),
        ("/b", None),
        ("//a.example/b", None),
        ("*", None),
        ("a.example:443", None),
        ("ftp://a.example/", None),
        ("/http://a.example/", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_absolute_target(target: str, expected: tuple[str, str, str] | None) -> None:
    """An absolute-form target splits into authority, path and query; others do not."""
    assert split_absolute_target(target) == expected


@pytest.mark.parametrize(
    "target",
    ["http://", "http:///b", "http://:80/", "http://u@a/", "http://u:p@a/", "http://a b/",
     "http://a,b/", "http://?c"],
)  # fmt: skip
def test_absolute_target_without_a_proper_host(target: str) -> None:
    """An authority that is empty, holds userinfo or is no host is refused."""
    with pytest.raises(HTTPInputError, match="in the target is no host"):
        split_absolute_target(target)


@pytest.mark.parametrize(
    ("netloc", "expected"),
    [
        ("a.example:8000", ("a.example", 8000)),
        ("a.example", ("a.example", None)),
        ("a.example:", ("a.example:", None)),
        ("a.example:x", ("a.example:x", None)),
        ("a.example:\u0661", ("a.example:\u0661", None)),
        ("a.example:-1", ("a.example:-1", None)),
        (":80", (":80", None)),
        ("", ("", None)),
        ("[::1]:80", ("[::1]", 80)),
        ("[::1]", ("[::1]", None)),
        ("a:" + "9" * 5000, ("a", None)),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_split_host_and_port(netloc: str, expected: tuple[str, int | None]) -> None:
    """Only ASCII digits behind the last colon are a port."""
    assert split_host_and_port(netloc) == expected


@given(host=st.text(min_size=1, max_size=20), port=st.integers(0, 65535))
def test_host_and_port_round_trip(host: str, port: int) -> None:
    """Joining any host and port and splitting gives both again."""
    assert split_host_and_port(f"{host}:{port}") == (host, port)
