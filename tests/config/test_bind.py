"""The grammar of `--bind`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.config.bind import Bind, parse_bind, render_bind
from edgeserver.errors import ConfigurationError

ACCEPTED = [
    pytest.param("127.0.0.1:8000", Bind(host="127.0.0.1", port=8000), id="ipv4"),
    pytest.param("localhost:0", Bind(host="localhost", port=0), id="name-and-free-port"),
    pytest.param("[::1]:8000", Bind(host="::1", port=8000), id="ipv6"),
    pytest.param("[0:0::1]:80", Bind(host="::1", port=80), id="ipv6-normalised"),
    pytest.param("[fe80::1%eth0]:80", Bind(host="fe80::1%eth0", port=80), id="ipv6-zone"),
    pytest.param(":8000", Bind(host="", port=8000), id="every-interface"),
    pytest.param("*:8000", Bind(host="", port=8000), id="star"),
    pytest.param("http://a.example:80", Bind(host="a.example", port=80, scheme="http"), id="http"),
    pytest.param("https://0.0.0.0:443", Bind(host="0.0.0.0", port=443, scheme="https"), id="https"),
    pytest.param(
        "https://[::]:443,proxy=v2",
        Bind(host="::", port=443, scheme="https", proxy="v2"),
        id="https-proxy-v2",
    ),
    pytest.param("h:1,proxy=any", Bind(host="h", port=1, proxy="any"), id="proxy-any"),
    pytest.param("unix:/run/a.sock", Bind(path="/run/a.sock"), id="unix"),
    pytest.param("unix:@name", Bind(path="@name"), id="unix-abstract"),
    pytest.param(
        "http://unix:a.sock,mode=660,proxy=v1",
        Bind(path="a.sock", scheme="http", mode=0o660, proxy="v1"),
        id="unix-options",
    ),
    pytest.param("fd:3", Bind(fd=3), id="fd"),
    pytest.param("systemd:web.socket", Bind(systemd="web.socket"), id="systemd"),
    pytest.param("https://systemd:a", Bind(systemd="a", scheme="https"), id="https-systemd"),
    pytest.param("https://fd:0", Bind(fd=0, scheme="https"), id="https-fd"),
]

REFUSED = [
    pytest.param("8000", "write 127.0.0.1:8000", id="port-only"),
    pytest.param("127.0.0.1", "the port is missing", id="no-port"),
    pytest.param("[::1]", "the port is missing", id="ipv6-no-port"),
    pytest.param("127.0.0.1:", "the port is nothing", id="empty-port"),
    pytest.param("127.0.0.1:65536", "from 0 to 65535", id="port-too-large"),
    pytest.param("127.0.0.1:-1", "the port is -1", id="negative-port"),
    pytest.param("127.0.0.1:8_0", "the port is 8_0", id="underscore"),
    pytest.param("127.0.0.1:\u0661", "from 0 to 65535", id="foreign-digit"),
    pytest.param("::1:8000", "write [::1]:8000", id="ipv6-without-brackets"),
    pytest.param("[::g]:80", "is not an IPv6 address", id="bad-ipv6"),
    pytest.param("a b:80", "is not a host", id="space"),
    pytest.param("ftp://a:80", "unknown scheme ftp", id="scheme"),
    pytest.param("http://a:80/", "an address has no path", id="path"),
    pytest.param("unix:", "the path is missing", id="unix-empty"),
    pytest.param("unix:" + "x" * 108, "at most 107 fit", id="unix-too-long"),
    pytest.param("unix:a\0b", "holds a NUL", id="unix-nul"),
    pytest.param("unix:a,mode=9", "is not octal", id="mode"),
    pytest.param("a:80,mode=660", "for unix:PATH only", id="mode-on-tcp"),
    pytest.param("systemd:", "the name is missing; write the FileDescriptorName=", id="no-name"),
    pytest.param("systemd:a:b", "a:b is not a name of a socket", id="name-with-colon"),
    pytest.param("fd:x", "the descriptor is x", id="fd-word"),
    pytest.param("fd:", "the descriptor is nothing", id="fd-empty"),
    pytest.param("a:80,proxy=v3", "write proxy=v1, v2 or any", id="proxy-version"),
    pytest.param("a:80,prxy=v2", "write proxy=v1, proxy=v2 or proxy=any", id="option-typo"),
    pytest.param("a:80,", "unknown option", id="empty-option"),
    pytest.param("a:80,proxy=v1,proxy=v2", "given twice", id="option-twice"),
]


@pytest.mark.parametrize(("text", "expected"), ACCEPTED)
def test_accepted(text: str, expected: Bind) -> None:
    """Every documented form is read as what it says."""
    assert parse_bind(text) == expected


@pytest.mark.parametrize(("text", "part"), REFUSED)
def test_refused(text: str, part: str) -> None:
    """Everything else is refused, naming the value, the reason and the fix."""
    with pytest.raises(ConfigurationError) as caught:
        parse_bind(text)
    message = str(caught.value)
    assert message.startswith("--bind ")
    assert part in message
    assert "; " in message
    assert message.isprintable()


BINDS = st.one_of(
    st.builds(
        Bind,
        host=st.sampled_from(["", "127.0.0.1", "::1", "a.example"]),
        port=st.integers(0, 65535),
        scheme=st.sampled_from([None, "http", "https"]),
        proxy=st.sampled_from([None, "v1", "v2", "any"]),
    ),
    st.builds(
        Bind,
        path=st.text(st.characters(codec="ascii", exclude_characters="\0,"), min_size=1).filter(
            lambda path: path != "@" and len(path) < 108 and "://" not in path
        ),
        scheme=st.sampled_from([None, "http", "https"]),
        mode=st.integers(0, 0o777),
    ),
    st.builds(Bind, fd=st.integers(0, 1000), proxy=st.sampled_from([None, "v1"])),
)


@given(BINDS)
def test_rendering_parses_back(bind: Bind) -> None:
    """What is rendered is read back as the same bind."""
    assert parse_bind(render_bind(bind)) == bind


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text raises anything but a `ConfigurationError`."""
    try:
        parse_bind(text)
    except ConfigurationError as error:
        message = str(error)
    else:
        message = ""
    assert not message or message.isprintable()
