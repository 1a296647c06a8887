"""What variables say: ours, those of platforms, and the files for development."""

import pytest

from edgeserver.config.environment import config_file, parse_env_file, read_foreign, read_own
from edgeserver.config.origins import Origin, Said
from edgeserver.errors import ConfigurationError

FLAG = Origin("flag", "--x", "--x")


def test_variables_of_our_own() -> None:
    """Each setting has one; what may be said more than once is separated by white space."""
    said, problems = read_own(
        {
            "EDGESERVER_WORKERS": "3",
            "EDGESERVER_BODY_TIMEOUT": "5m",
            "EDGESERVER_BIND": ":80 127.0.0.1:81,proxy=v2",
            "EDGESERVER_WSGI_BUFFERING": "off",
            "EDGESERVER_CONFIG": "edge.toml",
            "HOME": "/",
        }
    )
    assert problems == []
    assert {key: each.value for key, each in said.items()} == {
        "workers": 3,
        "body_timeout": 300.0,
        "bind": (":80", "127.0.0.1:81,proxy=v2"),
        "wsgi_buffering": False,
    }
    assert said["workers"].origin.place == "EDGESERVER_WORKERS"


WRONG = [
    ("EDGESERVER_WORKERS", "", "EDGESERVER_WORKERS is empty; give it a value, or unset it", True),
    ("EDGESERVER_WORKERS", "x", "EDGESERVER_WORKERS: x is not a whole number from 1", True),
    ("EDGESERVER_BIND", ":80 ::1", "EDGESERVER_BIND ::1: an IPv6 address needs brackets", True),
    ("EDGESERVER_FACTORY", "maybe", "maybe is neither yes nor no; write 1 or 0", True),
    ("EDGESERVER_LOOP", "fast", "fast is not one of auto, uvloop, asyncio", True),
    ("EDGESERVER_TRUST", "*", "EDGESERVER_TRUST *: ", True),
    ("EDGESERVER_WORKES", "1", "unknown variable; did you mean EDGESERVER_WORKERS?", False),
    ("EDGESERVER_PORT", "1", "counts for nothing: write EDGESERVER_BIND=HOST:PORT", False),
    ("EDGESERVER_HOST", "::", "counts for nothing: write EDGESERVER_BIND=HOST:PORT", False),
    ("EDGESERVER_W", "4", "counts for nothing: write EDGESERVER_WORKERS", False),
    ("EDGESERVER_UDS", "/a", "unknown variable; here it is EDGESERVER_BIND=unix:PATH", False),
    ("EDGESERVER_FORWARDED_ALLOW_IPS", "*", "here it is EDGESERVER_TRUST=10.0.0.5, which", False),
    ("EDGESERVER_PRELOAD", "1", "here it is not needed: each worker loads", False),
    ("EDGESERVER_LOG_LEVEL", "loud", "one of debug, info, warning, error, critical", True),
    ("EDGESERVER_QQQQQQ", "1", "unknown variable; no setting has that name; remove it", False),
]


@pytest.mark.parametrize(("name", "text", "said", "is_error"), WRONG)
def test_what_is_wrong(name: str, text: str, said: str, is_error: bool) -> None:
    """An empty or wrong value is refused by its name, an unknown one warned about."""
    found, (problem,) = read_own({name: text})
    assert found == {}
    assert said in str(problem)
    assert str(problem).startswith(name)
    assert problem.is_error == is_error


FOREIGN = [
    ("PORT", "8080", "bind", (":8080",)),
    ("WEB_CONCURRENCY", "4", "workers", 4),
    ("FORWARDED_ALLOW_IPS", "10.0.0.1, 10.1.0.0/16", "trust", ("10.0.0.1", "10.1.0.0/16")),
]


@pytest.mark.parametrize(("name", "text", "key", "value"), FOREIGN, ids=[n for n, *_ in FOREIGN])
def test_variables_of_platforms(name: str, text: str, key: str, value: object) -> None:
    """They count where nothing of ours says otherwise, and the start lines name them."""
    said, problems, (note,) = read_foreign({name: text}, {}, listens=False)
    assert problems == []
    assert said == {key: Said(value, Origin("environment", name, name))}
    assert note.startswith(f"{name} counts, as --{key} ")


@pytest.mark.parametrize(
    ("name", "key"),
    [("PORT", "bind"), ("WEB_CONCURRENCY", "workers"), ("WEB_CONCURRENCY", "single_process"),
     ("FORWARDED_ALLOW_IPS", "trust"), ("FORWARDED_ALLOW_IPS", "trust_file"),
     ("FORWARDED_ALLOW_IPS", "xheaders")],
)  # fmt: skip
def test_ours_count_before_theirs(name: str, key: str) -> None:
    """Even a wrong one is not looked at then."""
    said = {key: Said(True, FLAG)}
    assert read_foreign({name: "*"}, said, listens=key == "bind") == ({}, [], [])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PORT", "", "PORT '' is not a port from 0 to 65535"),
        ("PORT", "99999", "say where to listen with --bind"),
        ("PORT", "tcp://10.0.0.1:80", "unset it"),
        ("WEB_CONCURRENCY", "auto", "WEB_CONCURRENCY: auto is not a whole number"),
        ("FORWARDED_ALLOW_IPS", "*", "FORWARDED_ALLOW_IPS=* believes everyone; name your proxies"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1,*", "believes everyone"),
        ("FORWARDED_ALLOW_IPS", " ", "FORWARDED_ALLOW_IPS is empty"),
        ("FORWARDED_ALLOW_IPS", "proxy", "FORWARDED_ALLOW_IPS proxy: is not an address or range"),
    ],
)
def test_wrong_variables_of_platforms(name: str, text: str, said: str) -> None:
    """They are refused by their names: a server must not start as if they were not there."""
    found, (problem,), notes = read_foreign({name: text}, {}, listens=False)
    assert (found, notes) == ({}, [])
    assert said in str(problem)
    assert problem.is_error


def test_the_file_that_is_named() -> None:
    """An empty name is an unset variable of somebody's script."""
    assert config_file({}) is None
    assert config_file({"EDGESERVER_CONFIG": "a"}) == "a"
    with pytest.raises(ConfigurationError, match="EDGESERVER_CONFIG is empty"):
        config_file({"EDGESERVER_CONFIG": " "})


def test_a_file_of_variables() -> None:
    """Comments, quotes and a leading export are what they are in a shell."""
    content = b"""
# comment
A=1
export B = two words # comment
C='single # \\n'
D="double \\" \\n" # comment
E=
F=a#b
"""
    assert parse_env_file(content, ".env") == {
        "A": "1",
        "B": "two words",
        "C": "single # \\n",
        "D": 'double " \n',
        "E": "",
        "F": "a#b",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A=1\nnothing", r"\.env:2: 'nothing' is not NAME=VALUE"),
        (b"1A=1", "is not NAME=VALUE"),
        (b"A='x", "its quotes do not match"),
        (b"A='x' y", "its quotes do not match"),
        (b"A=\xff", "this is not UTF-8"),
    ],
)
def test_a_wrong_file_of_variables(content: bytes, said: str) -> None:
    """What is no variable is refused with its line."""
    with pytest.raises(ConfigurationError, match=said):
        parse_env_file(content, ".env")
