"""The timer that looks at the files, on the event loop, from start to stop.

Decides the moments only. What counts as a change and what may replace what is decided by the
contexts it drives.
"""

from __future__ import annotations

import asyncio

from edgeserver.support.loggers import gen_log
from edgeserver.tls.contexts.selector import TLSContexts
from edgeserver.tls.contexts.status import start_lines

__all__ = ["ReloadTimer"]

_AGE_POLL_S = 60.0
_REMIND_S = 24 * 3600.0


class ReloadTimer:
    """Look at the files of a listener's contexts again and again.

    It also renews ticket keys when they are old, and once a day says in the log what is about to
    expire or wrong. With `reload` off in the options only the last two are done; a context given
    by the application is left alone.

    Args:
        contexts: What is kept up to date.
    """

    def __init__(self, contexts: TLSContexts) -> None:
        self._contexts = contexts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._remind_at_s = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin on `loop`; a second start does nothing. Start after forking, in each process."""
        if self._loop is not None or self._contexts.is_given:
            return
        self._loop = loop
        self._remind_at_s = loop.time() + _REMIND_S
        self._arm()

    def stop(self) -> None:
        """Look no more; `start` may follow."""
        if self._handle is not None:
            self._handle.cancel()
        self._loop = self._handle = None

    def tick(self) -> None:
        """Look once, now."""
        if self._contexts.poll_s and self._contexts.changed():
            self._contexts.reload(force=False)
        self._contexts.renew_aged()

    def _arm(self) -> None:
        if self._loop is not None:
            self._handle = self._loop.call_later(self._contexts.poll_s or _AGE_POLL_S, self._fire)

    def _fire(self) -> None:
        try:
            self.tick()
            self._remind()
        finally:
            self._arm()

    def _remind(self) -> None:
        if self._loop is None or self._loop.time() < self._remind_at_s:
            return
        self._remind_at_s = self._loop.time() + _REMIND_S
        for line in start_lines(self._contexts):
            if line.startswith("warning: "):
                gen_log.warning("TLS: %s", line.removeprefix("warning: "))
