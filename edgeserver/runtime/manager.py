"""The service manager's side of a process: what systemd is told of start, reload, life and end.

Decides how a state is put and where it goes. It must not know workers, nor when anything happens.
Source: sd_notify(3), systemd.service(5), `Type=notify` and `Type=notify-reload`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

__all__ = ["ServiceManager", "take_manager"]

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

STATUS_CHARACTERS = 200
"""The longest status; `systemctl status` shows it on one line."""


class ServiceManager:
    """The one that has started this process and wants to hear of it.

    Nothing is raised where it does not listen any more: a server goes on without it.

    Args:
        address: Where its datagrams go: a path, or a name that begins with `@` in Linux's abstract
            namespace.
        watchdog_s: Within how many seconds it wants to hear that the process lives; 0 if it does
            not.
    """

    def __init__(self, address: str, watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    def ready(self, status: str) -> None:
        """Tell that the service serves, at first or after a reload."""
        self._send("READY=1", _status(status))

    def reloading(self, status: str) -> None:
        """Tell that a reload has begun; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}", _status(status))

    def stopping(self, status: str) -> None:
        """Tell that the service ends."""
        self._send("STOPPING=1", _status(status))

    def says(self, status: str) -> None:
        """Tell what it is doing, in words."""
        self._send(_status(status))

    def needs(self, seconds: float) -> None:
        """Ask for more time, from now on, for the start, the reload or the end under way."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def lives(self) -> None:
        """Tell that the service is well."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except (OSError, ValueError):
            pass  # it is gone, or has not read for long


def take_manager(environ: MutableMapping[str, str]) -> ServiceManager | None:
    """Return who wants to hear of this process; None if nobody does.

    The variables are removed: neither the application nor what it starts may speak for the server.

    Args:
        environ: The environment, `os.environ` usually.
    """
    address, usec, pid = (environ.pop(name, "") for name in _VARIABLES)
    if not address.startswith(("/", "@")) or len(address) < 2 or "\0" in address:
        return None  # none, or one of a kind that is not for processes (vsock)
    if not _is_number(usec) or (pid and pid != str(os.getpid())):
        return ServiceManager(address)
    return ServiceManager(address, int(usec) / 1e6)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0


def _status(status: str) -> str:
    return "STATUS=" + " ".join(status.split())[:STATUS_CHARACTERS]
