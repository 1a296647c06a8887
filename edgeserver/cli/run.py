"""`edgeserver.run`: what `edgeserver serve` does, for a program that has its application at hand.

Decides how arguments of a call become flags, and that complaints name what the caller wrote. What
a setting means is its group's, as for the command.
"""

from __future__ import annotations

import difflib
import inspect
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Unpack

import click

from edgeserver.cli.run_options import RunOptions
from edgeserver.cli.serve import execute, open_plan, serve
from edgeserver.config.foreign import explain_flag
from edgeserver.config.model import SETTINGS, Setting
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.runtime.exits import EXIT_OK

__all__ = ["run"]

_FLAG = re.compile(r"(?<![\w-])--(no-)?([a-z][a-z0-9-]*[a-z0-9])\b")


def run(
    app: Any,
    *,
    host: str | None = None,
    port: int | None = None,
    **settings: Unpack[RunOptions],
) -> None:
    """Serve an application until a signal ends it, as `edgeserver serve` does.

    The program forks: call it in the main thread, before anything has started a thread or a loop,
    and behind `if __name__ == "__main__":`.

    Args:
        app: The application, of any kind; or its name, `"MODULE:ATTR"`, which each worker imports
            for itself, so that SIGUSR2 takes new code.
        host: The address to listen on, as other servers take it; `bind` says it in one.
        port: Its port; 8000 where only `host` is given.
        **settings: Every setting of the command by its flag's name, with underscores:
            `bind="0.0.0.0:8000"`, `workers=4`, `max_body_size="10M"`, `access_log="off"`,
            `trust=["10.0.0.5"]`. What is repeatable takes a list; None is as if it were not given.

    Raises:
        TypeError: There is no such setting. This and the next two come without what we did before;
            `debug=True` shows all of it.
        ConfigurationError: A value is wrong, or two settings contradict each other.
        EdgeServerError: An address cannot be listened on, or in a single process the application
            does not start.
        SystemExit: The workers could not start, or a second signal has ended them; the code is
            that of the command.
    """
    code, mistake = _attempt(app, host, port, settings)
    if mistake is not None:
        # It is in the caller's line: what was done until it was seen is no help there.
        raise mistake.with_traceback(None) from None
    if code != EXIT_OK:
        sys.exit(code)


def _attempt(
    app: Any, host: str | None, port: int | None, settings: Mapping[str, Any]
) -> tuple[int, Exception | None]:
    """Serve until the end; return the exit code, and the caller's mistake if there was one.

    Raises:
        EdgeServerError: The mistake itself, where `debug` asks for all of its traceback.
    """
    target = app if isinstance(app, str) else _name(app)
    try:
        arguments = [word for name, value in settings.items() for word in _words(name, value)]
    except TypeError as error:
        return EXIT_OK, error
    for flag, said in (("--host", host), ("--port", port)):
        if said is not None:
            arguments.append(f"{flag}={said}")
    try:
        with _spelled_as_arguments():
            values = _parse([*arguments, "--", target if isinstance(app, str) else "program:app"])
            plan = open_plan(target, values, app=None if isinstance(app, str) else app)
            with _signals_restored():
                return execute(plan), None
    except EdgeServerError as error:
        if settings.get("debug"):
            raise
        return EXIT_OK, error


def _name(app: object) -> str:
    """Return what start lines call an application that came as an object."""
    if inspect.isfunction(app) or inspect.isclass(app):
        return f"{app.__module__}:{app.__qualname__}"
    for name, value in vars(sys.modules["__main__"]).items():
        if value is app:
            return f"__main__:{name}"
    return f"{type(app).__module__}:{type(app).__qualname__}"


def _words(name: str, value: object) -> Iterator[str]:
    """Yield the words of a command line that say the same as an argument.

    Raises:
        TypeError: There is no such setting, or a value that is not its kind's.
    """
    setting = SETTINGS.get(name.replace("_", "-"))
    if setting is None or setting.key != name or not setting.has_flag:
        meant = explain_flag(f"--{name.replace('_', '-')}")
        near = difflib.get_close_matches(name, [each.key for each in SETTINGS.values()], n=1)
        if meant:
            hint = f"; edgeserver serve has {meant}"
        else:
            hint = f"; did you mean {near[0]}?" if near else ", see edgeserver serve --help"
        raise TypeError(f"run() has no setting {name!r}{hint}")
    if value is None:
        return
    if setting.kind in ("switch", "toggle"):
        if not isinstance(value, bool):
            raise TypeError(f"run(): {name}={value!r} is neither True nor False")
        if value:
            yield setting.flag
        elif setting.kind == "toggle":
            yield f"--no-{setting.name}"
        return
    if setting.kind == "output" and isinstance(value, bool):
        value = "-" if value else "off"
    for each in _each(setting, value):
        yield f"{setting.flag}={each}"


def _each(setting: Setting, value: object) -> Iterable[object]:
    """Return the values of an argument, which may be several where the flag may be repeated."""
    if setting.many and isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return list(value)
    return [value]


def _parse(arguments: list[str]) -> dict[str, Any]:
    """Return the values of all flags.

    Raises:
        ConfigurationError: One is wrong.
    """
    try:
        values = dict(serve.make_context("edgeserver", arguments).params)
    except click.UsageError as error:
        said = " ".join(error.format_message().split()).removesuffix(".")
        raise ConfigurationError(f"{said[:1].lower()}{said[1:]}") from error
    del values["target"]
    return values


@contextmanager
def _spelled_as_arguments() -> Iterator[None]:
    """Put an argument in the place of each flag that a complaint names."""
    try:
        yield
    except EdgeServerError as error:
        if error.args:
            error.args = (_FLAG.sub(_spell, str(error)), *error.args[1:])
        raise


def _spell(match: re.Match[str]) -> str:
    """Return the argument that a flag is."""
    setting = SETTINGS.get(match[2])
    if match[2] in ("host", "port"):
        return match[2]
    if setting is None:
        return match[0]
    if setting.kind in ("switch", "toggle"):
        return f"{setting.key}={'False' if match[1] else 'True'}"
    return setting.key


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Give the program back its handlers of signals at the end."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
