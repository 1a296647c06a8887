"""What is in force: precedence, origins, and the file that says it."""

from typing import Any

import pytest

from edgeserver.config.effective import Effective, changes, merge, render
from edgeserver.config.file import parse_file
from edgeserver.config.model import SETTINGS
from edgeserver.config.origins import Origin, Said, spell


def flags(**values: Any) -> dict[str, Said]:
    """Return what flags say."""
    return {
        key: Said(value, Origin("flag", SETTINGS[key.replace("_", "-")].flag, "--flag"))
        for key, value in values.items()
    }


def effective(
    file: str = "", environment: dict[str, str] | None = None, **values: Any
) -> Effective:
    """Return what is in force."""
    return merge(flags(**values), environment or {}, parse_file(file.encode(), "edge.toml"))


FILE = '[process]\nworkers = 2\n[listening]\nbind = [":1", ":2"]\n'


def test_precedence() -> None:
    """A flag counts before a variable, that before the file, that before the default."""
    workers = {"EDGESERVER_WORKERS": "3"}
    for found, value, place in (
        (effective(), None, ""),
        (effective(FILE), 2, "edge.toml:2"),
        (effective(FILE, workers), 3, "EDGESERVER_WORKERS"),
        (effective(FILE, workers, workers=4), 4, "--workers"),
    ):
        assert found.values["workers"] == value
        assert not place or found.said["workers"].origin.place == place
    assert effective(FILE, {"WEB_CONCURRENCY": "9"}).values["workers"] == 2


def test_lists_replace() -> None:
    """Of a list the one that counts is all there is."""
    assert effective(FILE).values["bind"] == (":1", ":2")
    assert effective(FILE, {"EDGESERVER_BIND": ":3"}).values["bind"] == (":3",)
    assert effective(FILE, bind=(":4",)).values["bind"] == (":4",)
    assert effective(FILE, {"PORT": "5"}).values["bind"] == (":1", ":2")


LISTENERS = """
[proxies]
trust = ["10.0.0.1"]
source = "forwarded"
trust-file = ["ranges"]
[tls]
certfile = "all.pem"
keyfile = "all.key"
cert-reqs = "required"
ca-certs = "ca.pem"
[[listener]]
bind = "127.0.0.1:1"
[[listener]]
bind = "127.0.0.1:2"
trust = []
certfile = "own.pem"
[[listener]]
bind = "127.0.0.1:3"
source = "x-real-ip"
cert-reqs = "none"
"""


def test_what_a_listener_has_of_its_own() -> None:
    """What it does not say is that of all, but for what belongs together with what it says."""
    found = effective(LISTENERS)
    rows = []
    for listener in found.listeners:
        said = found.said_of(listener)
        rows.append(
            [
                said[key].value if key in said else None
                for key in ("trust", "trust_file", "source", "certfile", "keyfile", "cert_reqs",
                            "ca_certs")
            ]
        )  # fmt: skip
    assert rows == [
        [("10.0.0.1",), ("ranges",), "forwarded", "all.pem", "all.key", "required", "ca.pem"],
        [(), None, "forwarded", "own.pem", None, "required", "ca.pem"],
        [("10.0.0.1",), ("ranges",), "x-real-ip", "all.pem", "all.key", "none", None],
    ]


def test_who_says_where_to_listen_replaces_listeners() -> None:
    """A flag or a variable of ours does; a platform's counts only without them."""
    assert len(effective(LISTENERS).listeners) == 3
    assert effective(LISTENERS, bind=(":4",)).listeners == ()
    assert effective(LISTENERS, {"EDGESERVER_BIND": ":4"}).listeners == ()
    found = effective(LISTENERS, {"PORT": "4"})
    assert (len(found.listeners), found.values["bind"]) == (3, ())


@pytest.mark.parametrize("file", ["", FILE, LISTENERS], ids=["nothing", "file", "listeners"])
def test_what_is_rendered_says_the_same(file: str) -> None:
    """What is printed is a file that has the same in force, with defaults spelled out."""
    first = effective(file, {"EDGESERVER_ROOT_PATH": 'a"\\\x7f\u00e9\U0001f600'}, reuse_port=True)
    text = "\n".join(render(first))
    again = effective(text)
    assert again.problems == ()
    for key, said in first.said.items():
        assert again.said[key].value == said.value
    for key, said in again.said.items():
        setting = SETTINGS[key.replace("_", "-")]
        default = (setting.in_force,) if setting.many else setting.in_force
        assert key in first.said or said.value == default
    assert [each.said["bind"].value for each in again.listeners] == [
        each.said["bind"].value for each in first.listeners
    ]
    assert "\nreuse-port = true  # --reuse-port\n" in text
    assert "  # EDGESERVER_ROOT_PATH\n" in text
    assert "\nbacklog = 128  # default\n" in text
    if file == FILE:
        assert "\nworkers = 2  # edge.toml:2\n" in text


def test_changes() -> None:
    """Which settings differ is told by their values, wherever they come from."""
    assert changes(effective(FILE), effective(FILE + "# comment\n")) == []
    assert changes(effective(FILE), effective(bind=(":1", ":2"), workers=2)) == []
    (changed,) = changes(effective(FILE), effective(FILE, workers=3))
    assert changed[0].name == "workers"
    (changed,) = changes(effective(LISTENERS), effective(LISTENERS.replace(":3", ":4")))
    assert (changed[0].name, changed[0].applies) == ("bind", "roll")


SPELLED = [
    ("--workers 2 is too many; give --workers less", "edge.toml:2: [process] workers 2 is too many;"
     " give [process] workers less"),
    ("--bind :2: it is taken; drop --bind", 'edge.toml:4: [listening] bind[1] ":2": it is taken;'
     " drop [listening] bind"),
    ("--audit-sample and --workers: add --audit-log FILE, or leave the flag out",
     "edge.toml:2: [audit] audit-sample and [process] workers: add [audit] audit-log FILE, or"
     " leave the key out"),
    ("main:app --factory: is nothing; see --debug", "main:app --factory: is nothing; see --debug"),
    ("no setting at all", "no setting at all"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "spelled"), SPELLED, ids=[str(index) for index in range(len(SPELLED))]
)
def test_complaints_in_the_words_of_the_file(message: str, spelled: str) -> None:
    """Flags become the keys that somebody has written, with the line of the first."""
    assert spell(message, effective(FILE).said) == spelled


def test_complaints_in_other_words() -> None:
    """A flag stays a flag, and a variable is named as it is."""
    message = "--workers 3 is too many; leave the flag out, or set --loop"
    assert spell(message, effective(FILE, workers=3).said) == message
    said = effective(FILE, {"EDGESERVER_WORKERS": "3"}).said
    assert spell(message, said) == (
        "EDGESERVER_WORKERS 3 is too many; leave the variable out, or set --loop"
    )
