"""The configuration file: TOML to what was said of each setting, with the line of each value.

Decides which tables and keys there are, and everything that is wrong with a file at once. What a
value may be is `values.py`'s, what the settings mean together is said elsewhere.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeserver.config.entries import refuse_entry
from edgeserver.config.foreign import explain_flag
from edgeserver.config.model import (
    BELONG_TOGETHER,
    SETTINGS,
    TABLES,
    Setting,
    listener_settings,
    setting,
    settings_of,
)
from edgeserver.config.origins import Origin, Problem, Said
from edgeserver.config.toml_lines import Path, locate
from edgeserver.config.values import read_value
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = [
    "LISTENER",
    "MAX_FILE_BYTES",
    "ConfigFile",
    "ListenerSaid",
    "check_rights",
    "load_config_file",
    "parse_file",
    "said_of_listener",
]

MAX_FILE_BYTES = 1024 * 1024
"""More than anybody writes; past it the file is something else."""

LISTENER = "listener"
"""The name of the list of tables, each of which is an address with settings of its own."""

_MOST_LISTENERS = 256
_SHOWN = 60
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)\Z")
_AT_END = re.compile(r" \(at end of document\)\Z")
_NOT_PATHS = ("-", "off")


@dataclass(frozen=True, slots=True)
class ListenerSaid:
    """One `[[listener]]`.

    Args:
        place: Where it begins.
        said: Its address under `bind`, and its own settings by their keys.
    """

    place: str
    said: Mapping[str, Said]


@dataclass(slots=True)
class ConfigFile:
    """What a file says.

    Args:
        name: The file, as it was named, escaped.
        said: What it says of each setting, by its key.
        listeners: Its listeners, in their order.
        problems: What is wrong or odd.
    """

    name: str
    said: dict[str, Said] = field(default_factory=dict)
    listeners: list[ListenerSaid] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load_config_file(path: str) -> bytes:
    """Load the content of a configuration file.

    Raises:
        ConfigurationError: It cannot be read, or is far too long.
    """
    shown = escape(path)
    if path.endswith(".py") or path.startswith(("python:", "file:")):
        raise ConfigurationError(
            f"{shown}: this names Python, as gunicorn and hypercorn read it; a configuration is"
            " TOML here, such as edge.toml with [process] and workers = 4 below it"
        )
    try:
        content = read_file(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"{shown}: the configuration cannot be read: {reason}; name a file that is there and"
            " that this user may read"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{shown}: more than {MAX_FILE_BYTES} bytes: that is not a configuration"
        )
    return content


def check_rights(path: str) -> Iterator[Problem]:
    """Yield a warning about a file that everybody may write to."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        yield Problem(
            f"{escape(path)}: every user of this machine may write to it, and so choose what runs"
            f" and who is believed; chmod o-w {escape(path)}",
            is_error=False,
        )


def parse_file(content: bytes, path: str) -> ConfigFile:
    """Return what a file says, and all that is wrong with it.

    Args:
        content: The file's bytes.
        path: What it was named; paths in it are relative to its directory.
    """
    config = ConfigFile(escape(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        config.problems.append(
            Problem(f"{config.name}:{line}: this is not UTF-8; save the file as UTF-8")
        )
        return config
    try:
        document = tomllib.loads(text)
        lines = locate(text)
    except RecursionError:
        config.problems.append(
            Problem(f"{config.name}: its lists are nested too deeply; no setting takes such a list")
        )
    except ValueError as error:
        config.problems.append(Problem(_render_syntax_error(config.name, text, str(error))))
    else:
        _Reader(config, document, lines, os.path.dirname(path)).read()
    return config


def said_of_listener(listener: ListenerSaid, said: Mapping[str, Said]) -> dict[str, Said]:
    """Return what holds for a listener: its own settings, and else those of all.

    Args:
        listener: The listener.
        said: What was said for all listeners, by the setting's key.
    """
    mine = {key: each for key, each in listener.said.items() if key != "bind"}
    merged = {**said, **mine}
    for group in BELONG_TOGETHER:
        keys = [setting(name).key for name in group]
        if any(key in mine for key in keys):
            for key in keys:
                if key not in mine:
                    merged.pop(key, None)
    return merged


def _render_syntax_error(name: str, text: str, said: str) -> str:
    """Return the line about what is no TOML."""
    match = _AT_LINE.search(said)
    if match:
        place = f"{name}:{match[1]}"
    elif _AT_END.search(said):
        place = f"{name}:{text.count(chr(10)) + 1}"
    else:
        place = name
    what = escape(_AT_END.sub(" at the end of the file", _AT_LINE.sub("", said)))
    what = what[:1].lower() + what[1:]
    return f'{place}: this is not TOML: {what}; a line is key = value, and texts are in "quotes"'


class _Reader:
    """Reads the tables of one document."""

    def __init__(
        self, config: ConfigFile, document: dict[str, Any], lines: dict[Path, int], directory: str
    ) -> None:
        self._config = config
        self._document = document
        self._lines = lines
        self._directory = directory

    def read(self) -> None:
        """Read all of them, and sort what is wrong by its place."""
        self._found: list[tuple[int, str]] = []
        for name, value in self._document.items():
            if name == LISTENER:
                self._read_listeners(value)
            elif name in TABLES and isinstance(value, dict):
                self._read_table(name, value)
            else:
                self._refuse_name(name, value)
        self._found.sort(key=lambda each: each[0])
        self._config.problems += [
            Problem(f"{self._config.name}:{line}: {text}") for line, text in self._found
        ]

    def _complain(self, path: Path, text: str) -> None:
        self._found.append((self._lines.get(path, 1), text))

    def _place(self, path: Path) -> str:
        return f"{self._config.name}:{self._lines.get(path, 1)}"

    def _read_table(self, table: str, values: dict[str, Any]) -> None:
        known = {each.name: each for each in settings_of(table=table)}
        for name, value in values.items():
            path: Path = (table, name)
            if name not in known:
                self._complain(path, f"[{table}] {_explain_unknown(name, table)}")
                continue
            said = self._read_setting(known[name], value, path, f"[{table}]")
            if said is not None:
                self._config.said[known[name].key] = said

    def _read_listeners(self, value: object) -> None:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self._complain((LISTENER,), f"[{LISTENER}]: write [[{LISTENER}]], once for each")
            return
        if len(value) > _MOST_LISTENERS:
            self._complain(
                (LISTENER,), f"{len(value)} listeners; there are at most {_MOST_LISTENERS}"
            )
            return
        own = {each.name: each for each in listener_settings()}
        for number, values in enumerate(value):
            self._read_listener((LISTENER, number), values, own)

    def _read_listener(self, at: Path, values: dict[str, Any], own: Mapping[str, Setting]) -> None:
        label = f"[[{LISTENER}]]"
        found: dict[str, Said] = {}
        if "bind" not in values:
            self._complain(at, f'{label}: its address is missing; write bind = ":443", say')
        for name, value in values.items():
            path = (*at, name)
            if name == "bind":
                if not isinstance(value, str):
                    self._complain(path, f"{label} bind: a listener has one address; write a text")
                    continue
                said = self._read_setting(setting("bind"), [value], path, label)
            elif name in own:
                said = self._read_setting(own[name], value, path, label)
            else:
                self._complain(path, f"{label} {_explain_unknown(name, LISTENER)}")
                continue
            if said is not None:
                found[name.replace("-", "_")] = said
        self._config.listeners.append(ListenerSaid(self._place(at), found))

    def _read_setting(self, setting: Setting, value: object, path: Path, table: str) -> Said | None:
        """Return what is said of a setting; None where that is wrong, which is noted."""
        name = f"{table} {setting.name}"
        if not setting.many:
            read = self._read_entry(setting, value, path, name)
            origin = Origin("file", self._place(path), name)
            return None if read is None else Said(read, origin)
        entries = value if isinstance(value, list) else [value]
        paths = [
            (*path, number) if (*path, number) in self._lines else path
            for number in range(len(entries))
        ]
        known = [
            self._read_entry(setting, entry, at, f"{name}[{number}]")
            for number, (entry, at) in enumerate(zip(entries, paths, strict=True))
        ]
        if None in known:
            return None
        places = tuple(map(self._place, paths))
        return Said(tuple(known), Origin("file", self._place(path), name, places))

    def _read_entry(self, setting: Setting, value: object, path: Path, name: str) -> Any:
        """Return one value; None where it is wrong, which is noted."""
        try:
            read = read_value(setting, value)
        except ValueError as error:
            self._complain(path, f"{name}: {error}")
            return None
        if isinstance(read, str):
            complaint = refuse_entry(setting, read)
            if complaint:
                self._complain(path, f'{name} "{escape(read, _SHOWN)}": {complaint}')
                return None
            return _rebase(setting, read, self._directory)
        return read

    def _refuse_name(self, name: str, value: object) -> None:
        """Note a table or key at the top that is none."""
        shown = escape(name, _SHOWN)
        known = SETTINGS.get(name.replace("_", "-").lower())
        if name in TABLES:
            text = f'"{shown}" is a table; write [{name}], and its keys below it'
        elif known is not None:
            text = f'"{shown}" stands in [{known.table}]; write [{known.table}] above it'
        else:
            what = "table" if isinstance(value, dict | list) else "key"
            near = difflib.get_close_matches(name[:_SHOWN].lower(), [*TABLES, LISTENER], n=1)
            hint = (
                f"did you mean [{near[0]}]?"
                if near
                else f"there are {', '.join((*TABLES, LISTENER))}"
            )
            text = f'unknown {what} "{shown}"; {hint}'
        self._complain((name,), text)


def _explain_unknown(name: str, table: str) -> str:
    """Return what is said of a key that is none, with the nearest that is one."""
    shown = f'unknown key "{escape(name, _SHOWN)}"'
    plain = name[:_SHOWN].replace("_", "-").lower()
    if plain in ("host", "port"):
        return f'{shown}; write bind = "HOST:PORT"' + (
            "" if table == LISTENER else " in [listening]"
        )
    known = SETTINGS.get(plain)
    if known is None and plain.startswith("no-") and plain[3:] in SETTINGS:
        return f"{shown}; write {plain[3:]} = false"
    if known is not None and table not in (LISTENER, known.table):
        return f"{shown}; it stands in [{known.table}]"
    meant = explain_flag(f"--{plain}")
    if known is None and meant:
        if meant.startswith("--"):
            meant += " on the command line, and a key is a flag without its dashes"
        return f"{shown}; here it is {meant}"
    if known is None:
        near = difflib.get_close_matches(plain, SETTINGS, n=1, cutoff=0.7)
        if not near:
            return f"{shown}; a key is a flag of serve, without its dashes"
        known = SETTINGS[near[0]]
    if table == LISTENER:
        if known.taker in ("tls", "trust") or known.name == "bind":
            return f"{shown}; did you mean {known.name}?"
        return f"{shown}; a listener has none of its own: write {known.name} in [{known.table}]"
    where = "" if known.table == table else f", in [{known.table}]"
    return f"{shown}; did you mean {known.name}{where}?"


def _rebase(setting: Setting, text: str, directory: str) -> str:
    """Return a value in which paths are relative to where the server runs, not to the file."""
    if not directory:
        return text
    if setting.kind in ("file", "directory", "output") and text not in _NOT_PATHS:
        return os.path.join(directory, text)
    if setting.name == "tls-host":
        name, _, files = text.partition("=")
        certfile, _, keyfile = files.rpartition(":")
        join = os.path.join
        return f"{name}={join(directory, certfile)}:{join(directory, keyfile)}"
    if setting.kind == "address" or setting.name == "admin":
        before, unix, path = text.partition("unix:")
        if unix and before in ("", "http://", "https://") and not path.startswith(("/", "@")):
            return f"{before}{unix}{os.path.join(directory, path)}"
    return text
