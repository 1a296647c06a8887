"""The environment: what variables say of the settings, ours and those that platforms know.

Decides which variables count, and what is said of one that is empty, unknown or believes everyone.
It must not know files or flags, nor look at any environment but the one that it is given.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from edgeserver.config.entries import refuse_entry
from edgeserver.config.foreign import explain_flag
from edgeserver.config.model import SETTINGS, Setting, setting
from edgeserver.config.origins import Origin, Problem, Said
from edgeserver.config.trust import split_list
from edgeserver.config.values import parse_value
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["CONFIG_VARIABLE", "PREFIX", "config_file", "parse_env_file", "read_foreign", "read_own"]

PREFIX = "EDGESERVER_"

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
"""Names the configuration file."""

_SHOWN = 60
_MOST_UNKNOWN = 20
_FLAG = re.compile(r"--([a-z][a-z0-9-]*)( (?=\S))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def read_own(environment: Mapping[str, str]) -> tuple[dict[str, Said], list[Problem]]:
    """Return what `EDGESERVER_...` says of each setting, and what is wrong or odd.

    What may be given more than once is separated by white space: `EDGESERVER_BIND=":80 :443"`.
    """
    said: dict[str, Said] = {}
    problems: list[Problem] = []
    variables = {each.variable: each for each in SETTINGS.values()}
    unknown = []
    for name in sorted(environment):
        known = variables.get(name)
        if known is not None:
            try:
                value = _read(known, name, environment[name])
            except ConfigurationError as error:
                problems.append(Problem(str(error)))
            else:
                said[known.key] = Said(value, Origin("environment", name, name))
        elif name.startswith(PREFIX) and name != CONFIG_VARIABLE:
            unknown.append(name)
    for name in unknown[:_MOST_UNKNOWN]:
        hint = _explain_unknown(name[len(PREFIX) :][:_SHOWN], variables)
        problems.append(
            Problem(f"{escape(name, _SHOWN)}: unknown variable; {hint}", is_error=False)
        )
    return said, problems


def _explain_unknown(name: str, variables: Iterable[str]) -> str:
    """Return what is said of a variable of ours that no setting has.

    Args:
        name: The variable's name behind the prefix.
        variables: Those of all settings.
    """
    flag = name.replace("_", "-").lower()
    if flag in ("host", "port"):
        return f"it counts for nothing: write {PREFIX}BIND=HOST:PORT"
    short = [each.variable for each in SETTINGS.values() if each.short == f"-{flag}"]
    if short:
        return f"it counts for nothing: write {short[0]}"
    meant = explain_flag(f"--{flag}") or explain_flag(f"-{flag}")
    if meant:
        return f"here it is {_FLAG.sub(_spell, meant)}"
    names = [each.removeprefix(PREFIX) for each in (*variables, CONFIG_VARIABLE)]
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {PREFIX}{near[0]}?" if near else "no setting has that name; remove it"


def _spell(match: re.Match[str]) -> str:
    """Return the variable of a flag, with its value where one follows."""
    equals = "=" if match[2] else ""
    return f"{PREFIX}{match[1].replace('-', '_').upper()}{equals}"


def _read(setting: Setting, name: str, text: str) -> Any:
    """Return what a variable says.

    Raises:
        ConfigurationError: It is empty, or no value of the setting.
    """
    if not text.strip():
        raise ConfigurationError(f"{name} is empty; give it a value, or unset it")
    entries = text.split() if setting.many else [text]
    values = []
    for entry in entries:
        try:
            value = parse_value(setting, entry)
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from error
        complaint = refuse_entry(setting, value) if isinstance(value, str) else ""
        if complaint:
            raise ConfigurationError(f"{name} {escape(entry, _SHOWN)}: {complaint}")
        values.append(value)
    return tuple(values) if setting.many else values[0]


def read_foreign(
    environment: Mapping[str, str], said: Mapping[str, Said], *, listens: bool
) -> tuple[dict[str, Said], list[Problem], list[str]]:
    """Return what the variables of platforms and other servers say where nothing of ours does.

    Args:
        environment: The environment.
        said: What was said by flags, by the file and by variables of our own, by the key.
        listens: Whether that says where to listen.

    Returns:
        What they say, what is wrong with it, and a line about each that counts, for the start.
    """
    found: dict[str, Said] = {}
    problems: list[Problem] = []
    notes: list[str] = []
    trusts = any(key in said for key in ("trust", "trust_file", "xheaders"))
    alone = "single_process" in said and bool(said["single_process"].value)
    readers = (
        ("PORT", "bind", _read_port, not listens),
        ("WEB_CONCURRENCY", "workers", _read_concurrency, "workers" not in said and not alone),
        ("FORWARDED_ALLOW_IPS", "trust", _read_allowed, not trusts),
    )
    for name, key, read, counts in readers:
        if name not in environment or not counts:
            continue
        try:
            value = read(environment[name])
        except ConfigurationError as error:
            problems.append(Problem(str(error)))
            continue
        found[key] = Said(value, Origin("environment", name, name))
        flag = SETTINGS[key].flag
        shown = value if isinstance(value, int) else " ".join(map(escape, value))
        notes.append(f"{name} counts, as {flag} {shown}, since nothing else says it")
    return found, problems, notes


def _read_port(text: str) -> tuple[str, ...]:
    """Return where to listen: on every interface, as those platforms want it."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ConfigurationError(
            f"PORT {escape(text, _SHOWN)!r} is not a port from 0 to 65535; correct it, unset it, or"
            " say where to listen with --bind"
        )
    return (f":{int(text)}",)


def _read_concurrency(text: str) -> int:
    try:
        workers: int = parse_value(setting("workers"), text)
    except ValueError as error:
        raise ConfigurationError(f"WEB_CONCURRENCY: {error}, or unset it") from error
    return workers


def _read_allowed(text: str) -> tuple[str, ...]:
    entries = split_list([text])
    if "*" in entries:
        raise ConfigurationError(
            "FORWARDED_ALLOW_IPS=* believes everyone; name your proxies, such as 10.0.0.5, or "
            "unset it"
        )
    if not entries:
        raise ConfigurationError("FORWARDED_ALLOW_IPS is empty; name your proxies, or unset it")
    for entry in entries:
        complaint = refuse_entry(setting("trust"), entry)
        if complaint:
            raise ConfigurationError(f"FORWARDED_ALLOW_IPS {escape(entry, _SHOWN)}: {complaint}")
    return tuple(entries)


def parse_env_file(content: bytes, name: str) -> dict[str, str]:
    r"""Parse the lines `NAME=VALUE` of a file for development.

    Empty lines, those that begin with `#`, and a leading `export` count for nothing. A value in
    single quotes is taken as it stands; in double quotes `\n`, `\"` and `\\` are what they are in a
    shell's `$'...'`; without quotes it ends before ` #`.

    Args:
        content: The file's bytes.
        name: The file, for messages.

    Raises:
        ConfigurationError: A line is none of these.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{escape(name)}: this is not UTF-8") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.removeprefix("export ").partition("=")
        key = key.strip()
        if not equals or not _NAME.match(key) or "\0" in value:
            raise ConfigurationError(
                f"{escape(name)}:{number}: {escape(stripped, _SHOWN)!r} is not NAME=VALUE"
            )
        found[key] = _unquote(value.strip(), f"{escape(name)}:{number}")
    return found


def _unquote(value: str, place: str) -> str:
    """Return what a value in or without quotes stands for."""
    if value[:1] not in ("'", '"'):
        return re.split(r"\s#", value, maxsplit=1)[0].rstrip()
    pattern = r"'([^']*)'" if value[0] == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.match(rf"{pattern}\s*(?:#.*)?\Z", value)
    if match is None:
        raise ConfigurationError(f"{place}: its quotes do not match; close them")
    if value[0] == "'":
        return match[1]
    return re.sub(r"\\(.)", lambda each: "\n" if each[1] == "n" else each[1], match[1])


def config_file(environment: Mapping[str, str]) -> str | None:
    """Return the file that the environment names, if any.

    Raises:
        ConfigurationError: The variable is there, and empty.
    """
    name = environment.get(CONFIG_VARIABLE)
    if name is not None and not name.strip():
        raise ConfigurationError(f"{CONFIG_VARIABLE} is empty; name the file, or unset it")
    return name
