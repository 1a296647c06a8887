"""The configuration file: what it says, and everything that is wrong with it at once."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.config.file import MAX_FILE_BYTES, check_rights, load_config_file, parse_file
from edgeserver.config.model import SETTINGS, TABLES
from edgeserver.config.origins import WrongConfiguration
from edgeserver.errors import ConfigurationError


def problems(text: str, path: str = "edge.toml") -> list[str]:
    """Return what is said of a file."""
    return [str(each) for each in parse_file(text.encode(), path).problems]


def test_what_a_file_says() -> None:
    """Each value is there by its setting, with the line where it stands."""
    config = parse_file(
        b'[process]\nworkers = 4\n\n[proxies]\ntrust = [\n  "10.0.0.1",\n  "unix:",\n]\n'
        b'[listening]\nbind = ":80"\n[limits]\nbody-timeout = "5m"\n',
        "conf/edge.toml",
    )
    assert config.problems == []
    said = config.said
    assert {key: each.value for key, each in said.items()} == {
        "workers": 4,
        "trust": ("10.0.0.1", "unix:"),
        "bind": (":80",),
        "body_timeout": 300.0,
    }
    assert said["workers"].origin.place == "conf/edge.toml:2"
    assert said["workers"].origin.name == "[process] workers"
    assert said["trust"].origin.entries == ("conf/edge.toml:6", "conf/edge.toml:7")


def test_listeners() -> None:
    """Each has its address, and those of its own settings that it says."""
    config = parse_file(
        b'[[listener]]\nbind = "https://:443"\ncertfile = "a.pem"\n[[listener]]\n'
        b'bind = "unix:a.sock"\ntrust = []\n',
        "/etc/edge.toml",
    )
    assert config.problems == []
    first, second = config.listeners
    assert {key: each.value for key, each in first.said.items()} == {
        "bind": ("https://:443",),
        "certfile": "/etc/a.pem",
    }
    assert {key: each.value for key, each in second.said.items()} == {
        "bind": ("unix:/etc/a.sock",),
        "trust": (),
    }
    assert second.place == "/etc/edge.toml:4"


PATHS = [
    ("tls", 'certfile = "a.pem"', "certfile", "conf/a.pem"),
    ("tls", 'certfile = "/a.pem"', "certfile", "/a.pem"),
    ("tls", 'tls-host = ["a.b=c.pem:/d.key"]', "tls_host", ("a.b=conf/c.pem:/d.key",)),
    ("proxies", 'trust-file = ["a", "../b"]', "trust_file", ("conf/a", "conf/../b")),
    ("application", 'app-dir = "."', "app_dir", "conf/."),
    ("logs", 'access-log = "a.log"', "access_log", "conf/a.log"),
    ("logs", 'access-log = "-"', "access_log", "-"),
    ("admin", 'admin = "unix:a.sock"', "admin", ("unix:conf/a.sock",)),
    ("listening", 'bind = ["http://unix:a,mode=660"]', "bind", ("http://unix:conf/a,mode=660",)),
    ("listening", 'bind = ["unix:@a", "unix:/a"]', "bind", ("unix:@a", "unix:/a")),
]


@pytest.mark.parametrize(
    ("table", "line", "key", "value"), PATHS, ids=[str(index) for index in range(len(PATHS))]
)
def test_paths(table: str, line: str, key: str, value: object) -> None:
    """Paths are relative to the file."""
    config = parse_file(f"[{table}]\n{line}\n".encode(), "conf/edge.toml")
    assert config.problems == []
    assert config.said[key].value == value


WRONG = [
    ('[proxies]\ntrust = ["10.0.0.1", "10.0.0.0/33"]',
     'edge.toml:2: [proxies] trust[1] "10.0.0.0/33": the prefix length after'),
    ("[limits]\ngraceful-timout = 3",
     'edge.toml:2: [limits] unknown key "graceful-timout"; did you mean graceful-timeout, in'
     " [process]?"),
    ("[limits]\nworkers = 3", 'unknown key "workers"; it stands in [process]'),
    ("[limits]\nmax_held = 3", 'unknown key "max_held"; did you mean max-held?'),
    ("[application]\nno-wsgi-buffering = true", "write wsgi-buffering = false"),
    ('[limits]\nclient-rate = "20"', 'client-rate "20": is not a rate; write 20/s, 100/m'),
    ("[process]\nqqq = 1", "a key is a flag of serve, without its dashes"),
    ("workers = 3", 'edge.toml:1: "workers" stands in [process]; write [process] above it'),
    ("[listening]\nport = 80", 'unknown key "port"; write bind = "HOST:PORT" in [listening]'),
    ('[[listener]]\nbind = ":80"\nhost = "a"', 'unknown key "host"; write bind = "HOST:PORT"'),
    ("[proces]", 'unknown table "proces"; did you mean [process]?'),
    ("x = 1", 'unknown key "x"; there are application, listening'),
    ("process = 1", '"process" is a table; write [process]'),
    ("[listener]", "[listener]: write [[listener]], once for each"),
    ("[[listener]]\n", "edge.toml:1: [[listener]]: its address is missing"),
    ('[[listener]]\nbind = [":80"]', "a listener has one address"),
    ('[[listener]]\nbind = ":80"\nworkers = 1', "write workers in [process]"),
    ('[[listener]]\nbind = ":80"\nporxy = 1', "unknown key"),
    ('[[listener]]\nbind = ":80"\ntrusts = 1', "did you mean trust?"),
    ('[[listener]]\nbind = "::1"', '[[listener]] bind[0] "::1": an IPv6 address needs brackets'),
    ('[tls]\ncertfile = ""', 'certfile "": it is empty; give it a value, or leave it out'),
    ('[tls]\ncertfile = "a\\u0000"', "it holds a NUL"),
    ('[tls]\ntls-host = ["a"]', "write NAME=CERT:KEY"),
    ('[proxies]\ntrust = ["0.0.0.0/0"]', "is every address"),
    ('[proxies]\ntrust = "10.0.0.1, nobody"', "nobody: is not an address or range"),
    ("[process\n", "edge.toml:1: this is not TOML: "),
    ("[process]\nworkers = ", "edge.toml:2: this is not TOML: "),
    ("[process]\nworkers = 1\nworkers = 2", "this is not TOML: cannot overwrite a value"),
    ("a = " + "[" * 5000, "its lists are nested too deeply"),
    ("a = " + "9" * 5000, "this is not TOML"),
    ("[process]\nworkers = 0x" + "f" * 5000, "a number of that size"),
    ("[process]\n\x1b]0;title\x07 = 1", "this is not TOML"),
    ('["\\u001b]0;title"]', 'unknown table "\\x1b]0;title"'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_what_is_wrong(text: str, said: str) -> None:
    """It is one printable line with the place, what it is, and the fix."""
    (line,) = problems(text)
    assert said in line
    assert line.startswith("edge.toml:")
    assert line.isprintable()
    assert len(line) < 600


def test_everything_at_once() -> None:
    """All that is wrong is told, in the order of the lines."""
    lines = problems('[limits]\na1 = 1\nbody-timeout = "x"\n[tls]\nciphers = 3\n[nothing]\n')
    assert [line.split(":")[1] for line in lines] == ["2", "3", "5", "6"]


def test_no_utf8() -> None:
    """Another encoding is named with its line."""
    (problem,) = parse_file(b"[tls]\ncertfile = '\xe9.pem'\n", "edge.toml").problems
    assert str(problem) == "edge.toml:2: this is not UTF-8; save the file as UTF-8"


def test_a_hostile_file_is_bounded() -> None:
    """Of a hundred thousand mistakes a hundred are shown, and how many more there are."""
    text = "[process]\n" + "".join(f"key{number} = 1\n" for number in range(2000))
    error = WrongConfiguration(parse_file(text.encode(), "edge.toml").problems)
    lines = str(error).split("\n")
    assert len(lines) == 101
    assert lines[-1] == "and 1900 more like these"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*TABLES, "listener", "else"]),
            st.sampled_from([*SETTINGS, "else"]),
            st.sampled_from(
                ["1", "true", "1.5", "''", "'a'", "[]", "['a', 1]", "{a=1}", "1979-05-27"]
            ),
        ),
        max_size=6,
    )
)
def test_any_values(entries: list[tuple[str, str, str]]) -> None:
    """Whatever stands where: it is read or refused in one line, and nothing else happens."""
    tables: dict[str, dict[str, str]] = {}
    for table, key, value in entries:
        tables.setdefault(table, {})[key] = value
    text = ""
    for table, pairs in tables.items():
        text += "[[listener]]\n" if table == "listener" else f"[{table}]\n"
        text += "".join(f"{key} = {value}\n" for key, value in pairs.items())
    for line in problems(text):
        assert line.startswith("edge.toml:")
        assert line.isprintable()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there, is a directory or far too long is refused by its name."""
    with pytest.raises(ConfigurationError, match=r"absent\.toml: the configuration cannot be read"):
        load_config_file("absent.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config_file(str(tmp_path))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config_file("a\0b")
    for name in ("gunicorn.conf.py", "python:conf", "file:conf.py"):
        with pytest.raises(
            ConfigurationError, match=r"names Python, .*a configuration is TOML here"
        ):
            load_config_file(name)
    long = tmp_path / "long.toml"
    long.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigurationError, match=f"more than {MAX_FILE_BYTES} bytes"):
        load_config_file(str(long))


def test_who_may_write_to_it(tmp_path: Path) -> None:
    """A file that every user may change is warned about, with the fix."""
    path = tmp_path / "edge.toml"
    path.write_text("")
    path.chmod(0o644)
    assert list(check_rights(str(path))) == []
    path.chmod(0o666)
    (problem,) = check_rights(str(path))
    assert not problem.is_error
    assert "chmod o-w" in str(problem)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        (
            'timeout_keep_alive = "5s"',
            "here it is --idle-connection-timeout SECONDS on the command",
        ),
        ('forwarded-allow-ips = "*"', "here it is --trust 10.0.0.5, which names your proxies on"),
        ("preload = true", "here it is not needed: each worker loads the application itself"),
    ],
    ids=["flag", "words", "none"],
)
def test_keys_of_other_servers(key: str, answer: str) -> None:
    """A key that people bring along is answered by what means the same."""
    (said,) = problems(f"[process]\n{key}\n")
    assert said.startswith("edge.toml:2: [process] unknown key ")
    assert answer in said
