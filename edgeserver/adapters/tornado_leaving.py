"""Clients that leave a Tornado application: one line in the log, and no traceback.

Decides which records of Tornado's own loggers come of nothing else. It must not know a request: the
exception in a record says it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from edgeserver.adapters.leaving import comes_of_leaving
from edgeserver.support.escape import escape
from edgeserver.support.loggers import app_log

__all__ = ["quiet_leaving"]

FOLLOWS: Final = "Cannot send error response after headers written"
"""What Tornado says next, where the client has left in the middle of an answer."""


class _Leaving(logging.Filter):
    """Lets pass what is an error of the application."""

    _task: asyncio.Task[Any] | None = None  # whose client has left, until Tornado has gone on

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written as it is."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return not (record.msg == FOLLOWS and self._is_same_task())
        if not comes_of_leaving(error):
            return True
        self._task = _current_task()
        summary = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        app_log.info(
            "The answer was not completed, since the client has left: %s", escape(str(summary))
        )
        return False

    def _is_same_task(self) -> bool:
        task, self._task = self._task, None
        return task is not None and task is _current_task()


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # another thread
        return None


_leaving = _Leaving()


def quiet_leaving() -> None:
    """Have Tornado's loggers say in one line that a client has left; once for all."""
    for name in ("tornado.application", "tornado.general"):
        logging.getLogger(name).addFilter(_leaving)  # a second time changes nothing
