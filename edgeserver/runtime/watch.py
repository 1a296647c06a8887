"""The watch over source files, for development: a process of its own that asks for rolls.

Decides which files count and when a change is over. It must not know what follows: it sends SIGUSR2
to the process that it watches for. `watchfiles` is used where it is installed; else the times of
files are looked at.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["stamps_of", "start_watching", "watch"]

POLL_S = 0.5
"""How often the times of files are looked at."""

SETTLED_S = 0.2
"""How long nothing may change before a change is over: editors write more than once."""

MOST_FILES = 20_000
"""How many files are looked at; an application of more has watchfiles."""

_PASSED_OVER = frozenset(("__pycache__", "node_modules", "site-packages"))

Stamps = dict[str, tuple[int, int]]


def start_watching(directory: str, files: Sequence[str], pid: int) -> subprocess.Popen[bytes]:
    """Start the process that watches.

    Args:
        directory: Whose Python files count, those in its directories, too.
        files: Other files that count, such as the configuration.
        pid: The process to ask for rolls; the watch ends with it.
    """
    command = [sys.executable, "-m", "edgeserver.runtime.watch", str(pid), directory, *files]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def stamps_of(directory: str, files: Sequence[str] = ()) -> Stamps:
    """Return the time and size of each file that counts."""
    stamps: Stamps = {}
    for path in (*files, *_sources(directory)):
        try:
            status = os.stat(path)
        except OSError:  # it was removed just now
            continue
        stamps[path] = status.st_mtime_ns, status.st_size
        if len(stamps) >= MOST_FILES:
            break
    return stamps


def _sources(directory: str) -> Iterator[str]:
    """Yield the Python files below a directory, without those of environments and hidden ones."""
    for path, directories, names in os.walk(directory):
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".")
            and name not in _PASSED_OVER
            and not os.path.exists(os.path.join(path, name, "pyvenv.cfg"))
        ]
        yield from (os.path.join(path, name) for name in names if name.endswith(".py"))


def watch(
    look: Callable[[], Stamps],
    notify: Callable[[], None],
    *,
    goes_on: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look at files until there is nobody to tell, and tell of each change once it is over.

    Args:
        look: Returns the times of all files.
        notify: Called after a change.
        goes_on: Whether there is still somebody to tell.
        sleep: Waits for so many seconds.
    """
    known = look()
    while goes_on():
        sleep(POLL_S)
        found = look()
        if found == known:
            continue
        while True:
            sleep(SETTLED_S)
            known, found = found, look()
            if found == known:
                break
        notify()


def _watch_by_events(
    directory: str, files: Sequence[str], notify: Callable[[], None], goes_on: Callable[[], bool]
) -> bool:
    """Watch by what the system tells; False where what does that is not installed."""
    try:
        watchfiles: Any = importlib.import_module("watchfiles")
    except ImportError:
        return False
    others = {os.path.abspath(path) for path in files}
    places = {os.path.abspath(directory), *(os.path.dirname(path) for path in others)}
    kinds = watchfiles.DefaultFilter()

    def counts(change: object, path: str) -> bool:
        return path in others or (path.endswith(".py") and bool(kinds(change, path)))

    for changes in watchfiles.watch(
        *places, watch_filter=counts, rust_timeout=1000, yield_on_timeout=True
    ):
        if not goes_on():
            break
        if changes:
            notify()
    return True


def _main(arguments: Sequence[str]) -> None:
    """Watch for the process that the first argument names."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pid, directory, *files = int(arguments[0]), *arguments[1:]

    def goes_on() -> bool:
        return os.getppid() == pid

    def notify() -> None:
        if goes_on():
            os.kill(pid, signal.SIGUSR2)

    if not _watch_by_events(directory, files, notify, goes_on):
        watch(lambda: stamps_of(directory, files), notify, goes_on=goes_on)


if __name__ == "__main__":
    _main(sys.argv[1:])
