"""The application that `MODULE:ATTR` names, or what is said where there is none.

Decides where the application is looked for and how its own errors are told from ours. It must not
know what kind of application it finds.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import inspect
import os
import pwd
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

from edgeserver.errors import ConfigurationError
from edgeserver.runtime.exits import StartError
from edgeserver.support.escape import escape

__all__ = ["add_app_dir", "describe_startup", "load_application"]

_TRACEBACK_LINE = re.compile(r'^ +File "([^"]+)", line ([0-9]+)', re.MULTILINE)


def load_application(target: str, *, app_dir: str = ".", factory: bool = False) -> object:
    """Import the module of `target` and return its attribute.

    Args:
        target: `MODULE:ATTR`; both may be dotted.
        app_dir: The application's directory, put first in the import path.
        factory: Call the attribute without arguments and return what it returns.

    Raises:
        ConfigurationError: The target is malformed, or names nothing that exists.
        StartError: The application's own code raised; the message names its file and line.
    """
    module_name, path = _split_target(target)
    resolved = add_app_dir(app_dir)
    module = _import_module(module_name, target, resolved)
    app = _find_attribute(module, path, target)
    return _call_factory(app, target) if factory else app


def add_app_dir(app_dir: str) -> str:
    """Put the application's directory first in the import path, and return it resolved.

    Raises:
        ConfigurationError: It is not a directory.
    """
    directory = Path(app_dir)
    if not directory.is_dir():
        raise ConfigurationError(
            f"--app-dir {escape(app_dir)} is not a directory; name the one that holds the module"
        )
    try:
        resolved = str(directory.resolve())
    except OSError as error:  # the directory that this process is in was removed
        raise ConfigurationError(
            f"--app-dir {escape(app_dir)}: {error.strerror}; change to a directory that exists"
        ) from error
    if not os.access(resolved, os.R_OK | os.X_OK):
        raise ConfigurationError(
            f"--app-dir {escape(app_dir)} may not be read by this user ({_user()}); give the"
            " directory to it, or run as one who may"
        )
    if resolved not in sys.path:
        sys.path.insert(0, resolved)
    return resolved


def _user() -> str:
    """Return who this process is, for people."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _split_target(target: str) -> tuple[str, list[str]]:
    """Return the module's name and the attribute's path."""
    module_name, separator, attribute = target.partition(":")
    shown = escape(target)
    if attribute.endswith("()"):
        raise ConfigurationError(
            f"{shown} is a call; write {shown.removesuffix('()')} --factory, which calls it"
        )
    if target.endswith(".toml"):
        raise ConfigurationError(
            f"{shown} names a configuration, not an application; write --config {shown}"
        )
    if module_name.endswith(".py") or "/" in module_name:
        raise ConfigurationError(
            f"{shown} names a file, not a module; write {_name_module(module_name, attribute)}"
        )
    if not target.strip():
        raise ConfigurationError("the application's name is empty; write for example main:app")
    if not separator:
        raise ConfigurationError(
            f"{shown} names no attribute; write {shown}:app, where app is the application in it"
        )
    parts = attribute.split(".")
    if not all(part.isidentifier() for part in [*module_name.split("."), *parts]):
        raise ConfigurationError(f"{shown} is not MODULE:ATTR; write for example main:app")
    return module_name, parts


def _name_module(path: str, attribute: str) -> str:
    """Return how the module in the file `path` is named, from the directory that this is in."""
    directory, _, name = os.path.normpath(path).rpartition("/")
    name = f"{name.removesuffix('.py')}:{attribute or 'app'}"
    if directory.startswith(("/", "..")):
        return f"{escape(name)} --app-dir {escape(directory)}"
    return escape(".".join((*directory.split("/"), name)) if directory else name)


def _import_module(name: str, target: str, directory: str) -> ModuleType:
    """Import the module `name`, telling a missing module from one that fails."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != name and not name.startswith(f"{missing}."):
            raise _failed(error, f"importing {name}") from error
        raise ConfigurationError(
            f"{escape(target)}: there is no module {missing} in {escape(directory, 500)}"
            f"{_nearest_module(missing, directory)}; --app-dir sets another directory"
        ) from error
    except PermissionError as error:
        if error.errno != errno.EACCES or not str(error.filename).startswith(f"{directory}/"):
            raise _failed(error, f"importing {name}") from error
        raise ConfigurationError(
            f"{escape(target)}: {escape(str(error.filename), 500)} may not be read by this user"
            f" ({_user()}); let it read that file, or run as one who may"
        ) from error
    except SystemExit as error:
        raise StartError(f"importing {name} ended the process ({error!r})") from error
    except Exception as error:
        raise _failed(error, f"importing {name}") from error


def _nearest_module(missing: str, directory: str) -> str:
    """Return a hint at a module beside the one that is missing, or nothing."""
    names = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    names.append(entry.name.removesuffix(".py"))
                elif entry.is_dir() and entry.name.isidentifier():
                    names.append(entry.name)
                if len(names) == 1000:  # a hint is not worth reading a huge directory
                    break
    except OSError:  # one may be allowed to import from where one may not look around
        return ""
    near = difflib.get_close_matches(missing.partition(".")[0], names, n=1)
    return f" (did you mean {escape(near[0])}?)" if near else ""


def _find_attribute(module: ModuleType, path: list[str], target: str) -> object:
    """Return what `path` names inside `module`."""
    found: object = module
    for part in path:
        try:
            found = getattr(found, part)
        except AttributeError as error:
            names = [name for name, value in vars(module).items() if callable(value)]
            near = difflib.get_close_matches(part, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "write the name that the file gives it"
            where = escape(getattr(module, "__file__", None) or module.__name__, 500)
            raise ConfigurationError(
                f"{escape(target)}: {module.__name__} has no attribute {part} ({where}); {hint}"
            ) from error
        except Exception as error:  # a module's __getattr__ or a property is the user's code too
            raise _failed(error, f"looking up {escape(target)}") from error
    return found


def _call_factory(factory: object, target: str) -> object:
    """Return what `factory()` makes."""
    shown = escape(target)
    if not callable(factory):
        raise ConfigurationError(f"--factory: {shown} cannot be called; leave out --factory")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ConfigurationError(
            f"--factory: {shown} cannot be called without arguments ({error}); leave out --factory"
            " where it is the application itself"
        ) from error
    except ValueError:
        pass  # no signature: calling it shows
    try:
        app = factory()
    except Exception as error:
        raise _failed(error, f"--factory: calling {shown}") from error
    if inspect.iscoroutine(app):
        app.close()
        raise ConfigurationError(
            f"--factory: {shown} is a coroutine function; make it a plain one (def), which returns "
            "the application"
        )
    return app


def _failed(error: Exception, doing: str) -> StartError:
    """Return the one line for an exception of the application's own code."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    said = f"{name}: {escape(text, 300)}" if text else name
    return StartError(
        f"{doing} failed with {said} at {_locate(error)}; --debug shows the traceback"
    )


def describe_startup(target: str, error: Exception) -> str:
    """Return the one line for an application whose startup has failed.

    Args:
        target: The application's name.
        error: What the startup has raised. Frameworks put a whole traceback into its message:
            what that ends with is said, and the last line of the user's code in it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = escape(lines[-1], 300) if lines else type(error).__name__
    found = _TRACEBACK_LINE.findall(str(error))
    if len(lines) < 2 or not found:
        return f"the startup of {escape(target)} failed: {said}"
    own = [each for each in found if not _is_library(each[0])]
    name, number = (own or found)[-1]
    return (
        f"the startup of {escape(target)} failed with {said} at {escape(name, 500)}:{number};"
        " --debug shows the traceback"
    )


def _locate(error: Exception) -> str:
    """Return `file:line` of the last line of the user's code that `error` went through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{escape(error.filename, 500)}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    own = [frame for frame in frames if not _is_library(frame.filename)]
    if not own and not frames:
        return "an unknown line"
    frame = (own or frames)[-1]
    return f"{escape(frame.filename, 500)}:{frame.lineno}"


def _is_library(filename: str) -> bool:
    """Tell whether a file belongs to Python or to an installed package."""
    paths = sysconfig.get_paths()
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(filename.startswith(root + os.sep) for root in roots)
