"""The access log: one line per request, as text or JSON, that a stranger cannot forge.

Decides how a line looks and when it is written. It must not know a server: it is called with an
exchange that has ended, and a log that cannot be written costs lines, never the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import time
from collections.abc import Callable
from typing import Any, Protocol

from edgeserver.support.addresses import client_name
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log

__all__ = ["AccessLog", "LoggedExchange", "render_json", "render_text"]

FLUSH_DELAY_S = 0.1
"""How long a line may wait for others, so that a busy server does not write once per request."""

EAGER_BYTES = 32 * 1024
"""How much is gathered before it is written without waiting."""

MAX_PENDING_BYTES = 256 * 1024
"""How much is kept for a reader that has stopped; lines past this are counted and dropped."""

PIPE_BYTES = 4096
"""At most this much goes into a pipe at once: POSIX keeps it whole and, once the pipe is reported
writable, Linux takes it without blocking."""

CLOSE_WAIT_S = 1.0
"""How long the end of the log waits for a reader that is slow."""

METHOD_CHARACTERS = 100
TARGET_CHARACTERS = 2500
"""What a line shows of a method and a target, so that it stays below `PIPE_BYTES`."""

_PLAIN = re.compile(r"[!#-\[\]-~]*\Z")  # printable ASCII but for space, `"` and backslash


class LoggedExchange(Protocol):
    """What the log needs of a request and its answer."""

    remote_ip: str
    method: str
    target: str
    version: str
    status: int
    bytes_sent: int
    duration_s: float
    context: Any


class _Clock:
    """The wall clock as text, formatted once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def render(self, now_s: float) -> str:
        """Return `now_s` as RFC 3339 in UTC with milliseconds."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now_s - second) * 1000):03d}Z"


_render_time = _Clock().render


def render_text(exchange: LoggedExchange, now_s: float) -> str:
    r"""Return the line `TIME CLIENT "METHOD TARGET VERSION" STATUS BYTES MS`, with its newline.

    Everything that a stranger wrote is printable ASCII, with `"` and other bytes as `\xNN`.

    Args:
        exchange: The request and its answer.
        now_s: When the answer ended, in seconds since the epoch.
    """
    status = exchange.status or "-"
    return (
        f"{_render_time(now_s)} {_shown(client_name(exchange.remote_ip), METHOD_CHARACTERS)} "
        f'"{_shown(exchange.method, METHOD_CHARACTERS)} '
        f"{_shown(exchange.target, TARGET_CHARACTERS)} "
        f'{_shown(exchange.version, METHOD_CHARACTERS)}" '
        f"{status} {exchange.bytes_sent} {exchange.duration_s * 1000:.3f}ms\n"
    )


def render_json(exchange: LoggedExchange, now_s: float) -> str:
    """Return one JSON object, with its newline.

    The keys are `time, client, peer, method, target, version, status, bytes, ms`; the status is
    null where no head was written. Control and non-ASCII characters are JSON escapes.

    Args:
        exchange: The request and its answer.
        now_s: When the answer ended, in seconds since the epoch.
    """
    record = {
        "time": _render_time(now_s),
        "client": client_name(exchange.remote_ip),
        "peer": getattr(exchange.context, "peer", exchange.remote_ip),
        "method": exchange.method[:METHOD_CHARACTERS],
        "target": exchange.target[:TARGET_CHARACTERS],
        "version": exchange.version[:METHOD_CHARACTERS],
        "status": exchange.status or None,
        "bytes": exchange.bytes_sent,
        "ms": round(exchange.duration_s * 1000, 3),
    }
    # json escapes every control character but DEL, which a terminal may act upon.
    return json.dumps(record, separators=(",", ":")).replace("\x7f", "\\u007f") + "\n"


def _shown(text: str, most: int) -> str:
    """Return at most `most` characters of `text` as one word that can stand between quotes."""
    if len(text) <= most and _PLAIN.match(text):
        return text
    # Four characters may stand for one byte of the rest: a quarter is sure to fit.
    limit = most if _PLAIN.match(text[:most]) else most // 4
    return escape(text, limit).replace('"', "\\x22").replace(" ", "\\x20", text[:limit].count(" "))


_FORMATS: dict[str, Callable[[LoggedExchange, float], str]] = {
    "text": render_text,
    "json": render_json,
}


class AccessLog:
    """A callable that writes one line per exchange, gathered and soon.

    Lines are gathered for at most a tenth of a second and written together. A reader that is gone
    ends the log with one warning; one that has stopped, or a full disk, costs the lines that do
    not fit into memory, and the next line that can be written says how many.

    Args:
        stream: Where lines go: a text stream, best one with a file descriptor.
        format: `"text"` or `"json"`.
    """

    def __init__(self, stream: Any, format: str = "text") -> None:
        self._stream = stream
        self._render = _FORMATS[format]
        self._json = format == "json"
        self._lines: list[str] = []
        self._gathered = 0
        self._pending = b""
        self._dropped = 0
        self._failing = False
        self._closed = False
        self._patience_ms = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self._fd: int | None = stream.fileno()
        except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of the last
            self._fd = None
        self._poll = select.poll()
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLOUT)

    def __call__(self, exchange: LoggedExchange) -> None:
        """Take one exchange that has ended."""
        if self._closed:
            return
        if self._gathered + len(self._pending) > MAX_PENDING_BYTES:
            self._dropped += 1
            return
        line = self._render(exchange, time.time())
        self._lines.append(line)
        self._gathered += len(line)
        if self._gathered > EAGER_BYTES and not self._pending:
            self.flush()
        elif self._timer is None:
            self._schedule()

    def flush(self) -> None:
        """Write what has been gathered, as far as that is possible without waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        self._pending += "".join(self._lines).encode("ascii")
        self._lines.clear()
        self._gathered = 0
        if not self._write_pending():
            return
        if self._dropped:
            self._pending = self._render_dropped().encode("ascii")
            self._dropped = 0
            self._write_pending()

    def close(self) -> None:
        """Write what has been gathered and end the log; the stream stays open."""
        self._loop = None  # nothing is tried again after this
        self._patience_ms = int(CLOSE_WAIT_S * 1000)
        self.flush()
        self._closed = True

    def _schedule(self) -> None:
        """Have `flush` called soon; without a running loop, call it now."""
        try:
            self._loop = self._loop or asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._timer = self._loop.call_later(FLUSH_DELAY_S, self.flush)

    def _write_pending(self) -> bool:
        """Write `_pending` as far as it goes, and say whether all of it went."""
        try:
            while self._pending:
                if not self._write_once():
                    self._schedule_again()
                    return False
        except BrokenPipeError:
            self._closed = True
            self._pending = b""
            gen_log.warning(
                "access log: its reader has gone away; the log ends, the server goes on"
            )
            return False
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            if not self._failing:
                self._failing = True
                gen_log.warning("access log: cannot write: %s; trying again", error)
            self._schedule_again()
            return False
        self._failing = False
        return True

    def _write_once(self) -> bool:
        """Write one piece of `_pending`; return False if the reader is not ready for it."""
        if self._fd is None:
            self._stream.write(self._pending.decode("ascii"))
            self._stream.flush()
            self._pending = b""
            return True
        if not self._poll.poll(self._patience_ms):
            return False
        # Whole lines, so that those of several workers do not run into each other in a pipe.
        end = self._pending.rfind(b"\n", 0, PIPE_BYTES) + 1 or PIPE_BYTES
        written = os.write(self._fd, self._pending[:end])
        self._pending = self._pending[written:]
        return True

    def _schedule_again(self) -> None:
        """Try again later, where there is a loop to do so."""
        if self._timer is None and self._loop is not None and not self._loop.is_closed():
            self._timer = self._loop.call_later(FLUSH_DELAY_S, self.flush)

    def _render_dropped(self) -> str:
        """Return the line that says how many lines are missing before it."""
        if self._json:
            record = {"time": _render_time(time.time()), "dropped": self._dropped}
            return json.dumps(record, separators=(",", ":")) + "\n"
        return f"{_render_time(time.time())} - {self._dropped} lines dropped: the reader was slow\n"
