"""The sources of a command's settings: flags, environment and file, read together to one plan.

Decides in which order they are read and that all of what is wrong is told at once. What each of
them may say is `config`'s, what the settings become the groups' of flags.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags import APPLY_ORDER, apply_flags
from edgeserver.cli.flags.listening import OwnListener
from edgeserver.cli.options import complete_files, spell_flag
from edgeserver.config.effective import Effective, merge, values_of
from edgeserver.config.environment import config_file, parse_env_file
from edgeserver.config.file import MAX_FILE_BYTES, check_rights, load_config_file, parse_file
from edgeserver.config.model import SETTINGS
from edgeserver.config.origins import Origin, Problem, Said, WrongConfiguration, spell
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = ["CONFIG_OPTIONS", "SettingSources", "apply_effective", "contradictions", "flags_said"]

CONFIG_OPTIONS = (
    click.Option(
        ["--config"],
        metavar="FILE",
        shell_complete=complete_files,
        help="A TOML file of these settings; a flag counts before it. [default: EDGESERVER_CONFIG]",
    ),
    click.Option(
        ["--env-file"],
        metavar="FILE",
        shell_complete=complete_files,
        help="For development: lines NAME=VALUE for what the environment does not say.",
    ),
    click.Option(["--host"], metavar="HOST", hidden=True),
    click.Option(["--port"], metavar="PORT", hidden=True),
)
"""What says where settings come from, and how other servers spell `--bind`."""


class SettingSources:
    """What a command was told, which can be read again.

    Args:
        flags: What its flags say, by the setting's key.
        config: The configuration file that it was given, if any.
        environment: The environment.
    """

    def __init__(
        self, flags: Mapping[str, Said], config: str | None, environment: Mapping[str, str]
    ) -> None:
        self._flags = flags
        self._environment = dict(environment)
        self.path = config if config is not None else config_file(environment)

    @classmethod
    def from_values(cls, values: dict[str, Any], target: str | None = None) -> SettingSources:
        """Return the sources of a command, whose own options are taken out of `values`.

        Args:
            values: The parameters of the command, as click gives them.
            target: The application that its argument names.
        """
        config, env_file = values.pop("config"), values.pop("env_file")
        if env_file is not None:
            _load_env_file(env_file)
        return cls(flags_said(values, target), config, os.environ)

    def load(self) -> bytes | None:
        """Read the file; None where there is none.

        Raises:
            ConfigurationError: It cannot be read.
        """
        return None if self.path is None else load_config_file(self.path)

    def effective(self, content: bytes | None) -> Effective:
        """Return what is in force of all sources, and what is wrong with it."""
        file = None
        if content is not None and self.path is not None:
            file = parse_file(content, self.path)
            file.problems += check_rights(self.path)
        return merge(self._flags, self._environment, file)

    def plan(self, content: bytes | None) -> ServePlan:
        """Return the plan that all sources make together.

        Raises:
            ConfigurationError: Something is wrong; everything that is, where it is in the sources.
        """
        effective = self.effective(content)
        if effective.errors:
            raise WrongConfiguration(effective.errors)
        plan = apply_effective(effective)
        plan.configuration, plan.content = self, content
        return plan

    def read(self) -> ServePlan:
        """Return the plan that all sources make now.

        Raises:
            ConfigurationError: Something is wrong.
        """
        return self.plan(self.load())


def apply_effective(effective: Effective) -> ServePlan:
    """Return the plan for what is in force.

    Raises:
        ConfigurationError: Settings contradict each other, or nothing names the application.
    """

    def spelled(message: str) -> str:
        return spell(message, effective.said)

    values = _values(effective)
    if not values["app"]:
        raise ConfigurationError(
            "missing argument 'MODULE:ATTR'; a file can name it, too: app = \"main:app\" in"
            " [application] (see edgeserver serve --help)"
        )
    plan = ServePlan(target=values["app"], debug=bool(values["debug"]), spell=spelled)
    plan.effective = effective
    plan.notes += [*effective.notes, *(f"warning: {each}" for each in effective.warnings)]
    try:
        apply_flags(APPLY_ORDER, values, plan)
    except ConfigurationError as error:
        raise type(error)(spelled(str(error))) from error
    return plan


def contradictions(effective: Effective) -> list[Problem]:
    """Return what contradicts what, one complaint for each group of settings."""
    values = _values(effective)
    plan = ServePlan(target="", spell=lambda message: spell(message, effective.said))
    problems = []
    for group in APPLY_ORDER:
        try:
            group.apply(values, plan)
        except ConfigurationError as error:
            problems.append(Problem(plan.spell(str(error))))
            if group.table == "tls":
                break  # what is listened on depends on it
    return problems


def _values(effective: Effective) -> dict[str, Any]:
    """Return the values that groups of flags apply, those of listeners too."""
    own = []
    for listener in effective.listeners:
        said = effective.said_of(listener)
        words = {**said, **listener.said}
        own.append(
            OwnListener(
                bind=listener.said["bind"].value[0],
                values=values_of(said),
                own=[key for key in listener.said if key != "bind"],
                spell=functools.partial(spell, said=words),
            )
        )
    return {**effective.values, "listeners": own}


def flags_said(values: Mapping[str, Any], target: str | None = None) -> dict[str, Said]:
    """Return what flags say, by the setting's key, with how each was spelled.

    Args:
        values: The parameters of a command, as click gives them.
        target: The application that its argument names.

    Raises:
        ConfigurationError: Two spellings of one setting are given.
    """
    said = {}
    for key, setting in ((each.key, each) for each in SETTINGS.values()):
        value = values.get(key)
        if value is None or value == ():
            continue
        typed = spell_flag(key, value)
        said[key] = Said(value, Origin("flag", typed, setting.flag))
    if target is not None:
        said["app"] = Said(target, Origin("flag", "MODULE:ATTR", "MODULE:ATTR"))
    bind = _bind_of(values)
    if bind is not None:
        if "bind" in said:
            raise ConfigurationError(
                f"--bind and {bind.origin.name} exclude each other: both say where to listen; give"
                " --bind alone"
            )
        said["bind"] = bind
    return said


def _bind_of(values: Mapping[str, Any]) -> Said | None:
    """Return what `--host` and `--port` say, as other servers spell `--bind`."""
    host, port = values.get("host"), values.get("port")
    if host is None and port is None:
        return None
    names = [name for name, value in (("--host", host), ("--port", port)) if value is not None]
    host = "127.0.0.1" if host is None else host
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    text = f"{host}:{8000 if port is None else port}"
    return Said((text,), Origin("flag", " ".join(names), " ".join(names)))


def _load_env_file(path: str) -> None:
    """Put what a file says into the environment, where that says nothing else.

    Raises:
        ConfigurationError: The file cannot be read, or a line is wrong.
    """
    shown = escape(path)
    try:
        content = read_file(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"--env-file {shown}: {reason}; name a file that is there and that this user may read"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"--env-file {shown}: more than {MAX_FILE_BYTES} bytes")
    for name, value in parse_env_file(content, path).items():
        os.environ.setdefault(name, value)
