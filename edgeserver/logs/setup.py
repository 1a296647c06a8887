"""Where the server's own lines go: standard error, or what an application or an operator set up.

Decides whose handlers hear the loggers named `edgeserver`, before and after the application was
imported. It must not know what is logged.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from edgeserver.logs.config import apply_log_config
from edgeserver.logs.format import JSONFormatter, RecordFormatter
from edgeserver.logs.writer import LineWriter

__all__ = ["ErrorLog", "StderrHandler", "reopen_files"]

CLOSE_WAIT_S: Final = 1.0
"""How long the end of the log waits for a reader that is slow."""

OURS: Final = "edgeserver"
"""The parent of all loggers of this package."""


class StderrHandler(logging.Handler):
    """Writes records to a stream without ever waiting for whoever reads it.

    What cannot be written at once is kept within bounds, then dropped and counted.

    Args:
        stream: Where to, best one with a descriptor.
        threaded: Whether a thread may write what could not be written at once.
    """

    def __init__(self, stream: Any, *, threaded: bool = True) -> None:
        super().__init__()
        self._writer = LineWriter(
            "error", stream, render_dropped=self._render_dropped, threaded=threaded
        )

    @property
    def dropped(self) -> int:
        """How many records this process could not write."""
        return self._writer.dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            line = self.format(record)
        except Exception as error:  # its arguments do not fit its text
            line = self._render(
                logging.ERROR,
                f"{record.pathname}:{record.lineno} logs what cannot be written:"
                f" {type(error).__name__}: {error}",
            )
        self._writer.put(f"{line}\n".encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Write what is pending, if that needs no waiting."""
        self._writer.flush(0)

    def finish(self, timeout_s: float) -> bool:
        """Wait until everything is written, and return whether it is.

        Args:
            timeout_s: How long to wait at most.
        """
        return self._writer.flush(timeout_s)

    def _render(self, level: int, text: str) -> str:
        record = logging.LogRecord(f"{OURS}.general", level, "", 0, "%s", (text,), None)
        return self.format(record)

    def _render_dropped(self, count: int) -> bytes:
        text = f"{count} lines dropped: the reader of standard error was slow"
        return f"{self._render(logging.WARNING, text)}\n".encode("utf-8", "backslashreplace")


class ErrorLog:
    """The lines of this package's loggers, in one process.

    Args:
        format: `"text"` or `"json"`.
        level: The least level that lines have.
        is_asked: Whether somebody asked for the format: else an application's own handlers go
            before.
        has_level: Whether somebody asked for the level.
        worker: Which worker this is; None for its parent.
        threaded: Whether a thread may be started.
        stream: Where to; standard error where it is None.
    """

    def __init__(
        self,
        *,
        format: str = "text",
        level: str = "INFO",
        is_asked: bool = False,
        has_level: bool = False,
        worker: int | None = None,
        threaded: bool = True,
        stream: Any = None,
    ) -> None:
        self._level = level
        self._is_asked = is_asked
        self._has_level = has_level
        self._is_json = format == "json"
        self._is_configured = False
        self._configured_level = logging.NOTSET  # what an operator's file says
        self._handler: StderrHandler | None = None
        stream = sys.stderr if stream is None else stream
        if stream is not None:  # it was closed at start
            self._handler = StderrHandler(stream, threaded=threaded)
            self._handler.setFormatter(
                JSONFormatter(worker=worker) if self._is_json else RecordFormatter()
            )

    @property
    def dropped(self) -> int:
        """How many lines this process owed and could not write."""
        return 0 if self._handler is None else self._handler.dropped

    def begin(self, config: dict[str, Any] | None = None, path: str = "") -> None:
        """Write lines from now on, in the place of whoever did it in the parent of this process.

        Args:
            config: What an operator has said of Python's logging, or None.
            path: In which file.

        Raises:
            ConfigurationError: `config` cannot be used.
        """
        logger = logging.getLogger(OURS)
        for handler in list(logger.handlers):
            if isinstance(handler, StderrHandler):
                logger.removeHandler(handler)
        logger.propagate = True
        if config is not None:
            apply_log_config(config, path)
            self._is_configured = True
            self._configured_level = logger.level
            if self._has_level or logger.level == logging.NOTSET:
                logger.setLevel(self._level)
            if logger.hasHandlers():
                return
        logger.setLevel(self._level)
        self._take(logger)

    def set_level(self, level: str, *, is_asked: bool) -> None:
        """Have lines from another level on.

        Args:
            level: The least level that lines have.
            is_asked: Whether somebody asked for it: else that of an operator's file goes before.
        """
        self._level = level
        logger = logging.getLogger(OURS)
        if not is_asked and self._configured_level != logging.NOTSET:
            logger.setLevel(self._configured_level)
        else:
            logger.setLevel(level)

    def settle(self) -> None:
        """Called once the application was imported: it may have set up logging itself.

        Its handlers then get our lines from INFO on, whatever level it gave the root: a signal that
        nobody is told of looks like a crash.
        """
        if self._is_configured:
            return
        logger, root = logging.getLogger(OURS), logging.getLogger()
        theirs = [*root.handlers, *(each for each in logger.handlers if each is not self._handler)]
        if self._is_asked:
            if self._is_json:
                self._take_streams(root)
            return
        if theirs and self._handler is not None:
            logger.removeHandler(self._handler)
            logger.propagate = True

    def say(self, text: str) -> None:
        """Write a line for the operator, whatever the level is."""
        if self._handler is not None:
            self._handler.handle(
                logging.LogRecord(f"{OURS}.general", logging.INFO, "", 0, "%s", (text,), None)
            )

    def finish(self, timeout_s: float = CLOSE_WAIT_S) -> None:
        """Have everything written that can be; nothing is closed."""
        if self._handler is not None:
            self._handler.finish(timeout_s)

    def end(self) -> None:
        """Have everything written that can be, and leave the loggers as they were."""
        self.finish()
        logger = logging.getLogger(OURS)
        if self._handler is not None and self._handler in logger.handlers:
            logger.removeHandler(self._handler)
            logger.propagate = True
            logger.setLevel(logging.NOTSET)

    def _take(self, logger: logging.Logger) -> None:
        if self._handler is not None:
            logger.addHandler(self._handler)
            logger.propagate = False

    def _take_streams(self, root: logging.Logger) -> None:
        """Write what others say on standard error, too: where it is JSON all of it is."""
        if self._handler is None:
            return
        plain = [
            each
            for each in root.handlers
            if type(each) is logging.StreamHandler and each.stream is sys.stderr
        ]
        for each in plain:
            root.removeHandler(each)
        if plain or not root.handlers:
            root.addHandler(self._handler)
        logging.captureWarnings(True)


def reopen_files() -> None:
    """Open the files of all of Python's log handlers again, as after a rotation renamed them."""
    for logger in (logging.getLogger(), *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.FileHandler):
                handler.close()  # the next record opens it again
