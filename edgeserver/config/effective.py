"""What is in force: flags before the environment, that before the file, and defaults at last.

Decides the precedence, and how what is in force is written as a file again. It reads nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeserver.config.environment import read_foreign, read_own
from edgeserver.config.file import LISTENER, ConfigFile, ListenerSaid, said_of_listener
from edgeserver.config.model import SETTINGS, TABLES, Setting, settings_of
from edgeserver.config.origins import DEFAULT, Origin, Problem, Said

__all__ = ["Effective", "changes", "merge", "render", "values_of"]


@dataclass(frozen=True, slots=True)
class Effective:
    """What was said of each setting by whoever counts.

    Args:
        said: By the setting's key; what nobody has said is missing.
        listeners: The listeners of the file, unless something before it says where to listen.
        notes: Lines for the start, about what counts that is not ours.
        problems: What is wrong or odd.
    """

    said: Mapping[str, Said] = field(default_factory=dict)
    listeners: tuple[ListenerSaid, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> list[Problem]:
        """The problems with which nothing can start."""
        return [each for each in self.problems if each.is_error]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that are only odd."""
        return [each for each in self.problems if not each.is_error]

    @property
    def values(self) -> dict[str, Any]:
        """The value of each setting by its key; None for what nobody has said."""
        return values_of(self.said)

    def said_of(self, listener: ListenerSaid) -> dict[str, Said]:
        """Return what holds for one listener."""
        return said_of_listener(listener, self.said)


def values_of(said: Mapping[str, Said]) -> dict[str, Any]:
    """Return the value of each setting by its key; None for what nobody has said."""
    return {
        each.key: said[each.key].value if each.key in said else () if each.many else None
        for each in SETTINGS.values()
    }


def merge(
    flags: Mapping[str, Said], environment: Mapping[str, str], file: ConfigFile | None
) -> Effective:
    """Return what is in force of what flags, environment and file say.

    A list is replaced by the one that counts. Who says where to listen replaces the listeners of
    the file, too.

    Args:
        flags: What flags say, by the setting's key.
        environment: The environment.
        file: What the file says, if there is one.
    """
    own, problems = read_own(environment)
    in_file = ConfigFile("") if file is None else file
    said = {**in_file.said, **own, **flags}
    replaced = "bind" in own or "bind" in flags
    listeners = () if replaced else tuple(in_file.listeners)
    foreign, wrong, notes = read_foreign(
        environment, said, listens="bind" in said or bool(listeners)
    )
    return Effective(
        said={**said, **foreign},
        listeners=listeners,
        notes=tuple(notes),
        problems=(*in_file.problems, *problems, *wrong),
    )


def changes(old: Effective | None, new: Effective | None) -> list[tuple[Setting, Said | None]]:
    """Return the settings whose values differ, each with what is said of it now.

    A listener that was changed is one of the setting `bind`.
    """
    if old is None or new is None:
        return []
    before, after = old.values, new.values
    changed: list[tuple[Setting, Said | None]] = [
        (each, new.said.get(each.key))
        for each in SETTINGS.values()
        if before[each.key] != after[each.key]
    ]
    moved = _moved(old.listeners, new.listeners)
    if moved is not None:
        changed.append((SETTINGS["bind"], Said((), Origin("file", moved, f"[[{LISTENER}]]"))))
    return changed


def _moved(old: Sequence[ListenerSaid], new: Sequence[ListenerSaid]) -> str | None:
    """Return where the first listener stands whose address is another; None without one."""
    for before, after in itertools.zip_longest(old, new):
        if before is None or after is None:
            return (before or after).place
        if before.said["bind"].value != after.said["bind"].value:
            return after.place
    return None


def render(effective: Effective) -> Iterator[str]:
    """Yield the lines of a file that says all that is in force, each with its origin."""
    for table in TABLES:
        lines = [
            line
            for each in settings_of(table=table)
            if (line := _render_setting(each, effective)) is not None
        ]
        if lines:
            yield f"[{table}]"
            yield from lines
            yield ""
    for listener in effective.listeners:
        yield f"[[{LISTENER}]]  # {listener.place}"
        for key, said in listener.said.items():
            setting = SETTINGS[key.replace("_", "-")]
            value = said.value[0] if key == "bind" else said.value
            yield f"{setting.name} = {_render_value(setting, value)}  # {said.origin.place}"
        yield ""


def _render_setting(setting: Setting, effective: Effective) -> str | None:
    """Return the line of one setting; None where nothing is in force."""
    said = effective.said.get(setting.key)
    if said is not None:
        value, origin = said.value, said.origin
    elif _has_default(setting, effective):
        value, origin = setting.in_force, DEFAULT
        if setting.many:
            value = (value,)
    else:
        return None
    # To say how logs look asks for what is there for some applications only.
    comment = "# " if said is None and setting.table == "logs" else ""
    return f"{comment}{setting.name} = {_render_value(setting, value)}  # {origin.place}"


def _has_default(setting: Setting, effective: Effective) -> bool:
    """Return whether something is in force for a setting of which nobody has said anything."""
    if setting.in_force is None:
        return False
    if setting.name == "bind":
        return not effective.listeners
    if setting.taker == "tls":
        return any(name in effective.said for name in ("certfile", "dev_tls"))
    if setting.taker == "trust":
        return any(name in effective.said for name in ("trust", "trust_file"))
    return True


def _render_value(setting: Setting, value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(_render_value(setting, each) for each in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if setting.kind == "bytes":
        return f'"{setting.write(value)}"'
    if isinstance(value, int | float):
        return repr(value).removesuffix(".0")
    return _quote(str(value))


def _quote(text: str) -> str:
    """Return a text in quotes, with everything but printable ASCII escaped."""
    shown = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            shown.append(f"\\{character}")
        elif 0x20 <= code < 0x7F:
            shown.append(character)
        else:
            shown.append(f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}")
    return f'"{"".join(shown)}"'
