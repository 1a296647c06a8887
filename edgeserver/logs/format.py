"""How a log record looks on a terminal or in a file, whoever wrote what is in it.

Decides that nothing in a record can act on a terminal or pass for another record, that its time is
UTC, and that it has an end. It must not know who logs; an exception's text, which an application
often makes of what a stranger sent, is why.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final, Literal

from edgeserver.logs.writer import PIPE_BYTES
from edgeserver.support.timestamps import render_utc

__all__ = ["JSONFormatter", "RecordFormatter"]

TEXT_FORMAT: Final = "%(asctime)s [%(process)d] %(levelname)s %(message)s"

MOST_CHARACTERS: Final = 32 * 1024
"""The longest record; of a longer one the middle is left out."""


class RecordFormatter(logging.Formatter):
    """Formats as `logging.Formatter`, escapes controls, and indents all lines but the first.

    Times are UTC, with a `Z`, unless a form for them is given.

    Args:
        fmt: The form of a line, as `logging.Formatter` takes it; None for the server's own.
        datefmt: The form of its time.
        style: The style of `fmt`.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
    ) -> None:
        super().__init__(TEXT_FORMAT if fmt is None else fmt, datefmt, style)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of `record`; a line that starts without a space starts a record."""
        lines = _without_middle(super().format(record), MOST_CHARACTERS).split("\n")
        return "\n  ".join(map(_printable, lines))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return when `record` was made."""
        return super().formatTime(record, datefmt) if datefmt else render_utc(record.created)


class JSONFormatter(logging.Formatter):
    """Writes each record as one JSON object; `logs/fields.py` says what its keys mean.

    Args:
        form: Nothing; `dictConfig` gives the forms of a line and of its time, which JSON has not.
        worker: Which worker this is, from 1 on; None leaves that out.
    """

    def __init__(self, *form: Any, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line that a pipe takes whole."""
        line: dict[str, Any] = {
            "time": render_utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if self._worker is not None:
            line["worker"] = self._worker
        trace = self._trace_of(record)
        if trace:
            line["exception"] = trace
        text = _to_json(line)
        for key in ("exception", "message"):
            most = len(line.get(key, ""))
            while len(text) >= PIPE_BYTES and most > 100:
                most = most * 3 // 4
                line[key] = _without_middle(line[key], most)
                text = _to_json(line)
        return text

    def _trace_of(self, record: logging.LogRecord) -> str:
        """Return the traceback and the stack of a record, if it has any."""
        parts = []
        if record.exc_info and record.exc_info[0] is not None:
            parts.append(self.formatException(record.exc_info))
        elif record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return "\n".join(parts)


def _to_json(line: dict[str, Any]) -> str:
    # json escapes every control character but DEL, which a terminal may act upon.
    return json.dumps(line, separators=(",", ":"), default=str).replace("\x7f", "\\u007f")


def _without_middle(text: str, most: int) -> str:
    """Return `text`, of which the middle is left out where it has more than `most` characters."""
    if len(text) <= most:
        return text
    head = most // 4
    tail = most - head
    return f"{text[:head]}\n...(+{len(text) - most} characters)\n{text[-tail:]}"


def _printable(line: str) -> str:
    # Among what is not printable are the controls of terminals, old (ESC) and new (U+0080 to
    # U+009F), other line ends, and what changes the direction of text.
    if line.isprintable():
        return line
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in line
    )
