"""The access log: one line per request, as text or JSON, that a stranger cannot forge.

Decides how a line looks and when it is written. It must not know a server: it is called with an
exchange that has ended, and a log that cannot be written costs lines, never the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from edgeserver.errors import ConfigurationError
from edgeserver.logs.sampling import SLOW_S, AccessSampler
from edgeserver.logs.trace import parse_traceparent
from edgeserver.logs.writer import PIPE_BYTES, AppendedFile, LineWriter
from edgeserver.support.addresses import client_name
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log
from edgeserver.support.timestamps import render_clf, render_utc

__all__ = [
    "FORMATS",
    "AccessLog",
    "LoggedExchange",
    "render_combined",
    "render_json",
    "render_text",
]

FLUSH_DELAY_S = 0.1
"""How long a line may wait for others, so that a busy server does not write once per request."""

EAGER_BYTES = 32 * 1024
"""How much is gathered before it is written without waiting."""

CLOSE_WAIT_S = 1.0
"""How long the end of the log waits for a reader that is slow."""

METHOD_CHARACTERS = 100
TARGET_CHARACTERS = 2500
FIELD_CHARACTERS = 256
"""What a line shows of a method, a target and a field, so that it stays below `PIPE_BYTES`."""

SHORT_CHARACTERS = 120
"""What it shows of each where one that is escaped would still be longer."""

_PLAIN = re.compile(r"[!#-\[\]-~]*\Z")  # printable ASCII but for space, `"` and backslash


class LoggedExchange(Protocol):
    """What the log needs of a request and its answer.

    Attributes:
        info: The connection's peer, as `peer`, and its TLS, as `tls`, which has a `version`.
        client: A `Resolved`; None where no policy is in force.
        request_id: The request's id, or None.
    """

    info: Any
    client: Any
    remote_ip: str
    protocol: str
    method: str
    target: str
    version: str
    status: int
    bytes_sent: int
    request_id: str | None

    @property
    def duration_s(self) -> float:
        """Seconds from the request to the end of the answer."""
        ...

    def head_value(self, name: bytes) -> bytes | None:
        """Return the last value of a field of the head as it came, by its lower-case name."""
        ...

    def has_findings(self) -> bool:
        """Return whether something was odd about who the client is."""
        ...


def render_text(exchange: LoggedExchange, now_s: float) -> str:
    r"""Return the line `TIME CLIENT "METHOD TARGET VERSION" STATUS BYTES MS`, with its newline.

    Everything that a stranger wrote is printable ASCII, with `"` and other bytes as `\xNN`. Where
    requests have ids, that of this one stands at the end.

    Args:
        exchange: The request and its answer.
        now_s: When the answer ended, in seconds since the epoch.
    """
    status = exchange.status or "-"
    named = f" {exchange.request_id}" if exchange.request_id else ""
    return (
        f"{render_utc(now_s)} {_shown(client_name(exchange.remote_ip), METHOD_CHARACTERS)} "
        f"{_request_line(exchange)} "
        f"{status} {exchange.bytes_sent} {exchange.duration_s * 1000:.3f}ms{named}\n"
    )


def render_combined(exchange: LoggedExchange, now_s: float) -> str:
    r"""Return a line of the combined format of NCSA, Apache and nginx, with its newline.

    `CLIENT - - [TIME] "METHOD TARGET VERSION" STATUS BYTES "REFERER" "USER-AGENT"`. The time is in
    UTC; the bytes are those of head and body.

    Args:
        exchange: The request and its answer.
        now_s: When the answer ended, in seconds since the epoch.
    """
    referer = _field(exchange, b"referer") or "-"
    agent = _field(exchange, b"user-agent") or "-"
    return (
        f"{_shown(client_name(exchange.remote_ip), METHOD_CHARACTERS)} - - "
        f"[{render_clf(now_s)}] {_request_line(exchange)} "
        f"{exchange.status or '-'} {exchange.bytes_sent} "
        f'"{_quoted(referer)}" "{_quoted(agent)}"\n'
    )


def render_json(
    exchange: LoggedExchange, now_s: float, *, worker: int | None = None, sample: float = 1.0
) -> str:
    """Return one JSON object, with its newline; `logs/fields.py` says what its keys mean.

    Control and non-ASCII characters are JSON escapes.

    Args:
        exchange: The request and its answer.
        now_s: When the answer ended, in seconds since the epoch.
        worker: Which worker served it, from 1 on.
        sample: The share of its like that have a line.
    """
    record = _record(exchange, now_s)
    if worker is not None:
        record["worker"] = worker
    if sample < 1:
        record["sample"] = sample
    line = _to_json(record)
    if len(line) > PIPE_BYTES:
        line = _to_json(record | _cut(exchange))
    return line


def _record(exchange: LoggedExchange, now_s: float) -> dict[str, Any]:
    """Return the keys of a line and their values, in order."""
    info, client = exchange.info, exchange.client
    record: dict[str, Any] = {
        "time": render_utc(now_s),
        "client": client_name(exchange.remote_ip),
        "peer": info.peer,
    }
    if client is not None:
        record["verified"] = client.verified
        record["reason"] = client.reason
    record["scheme"] = exchange.protocol
    record["method"] = exchange.method[:METHOD_CHARACTERS]
    host = _field(exchange, b"host")
    if host is not None:
        record["host"] = host
    record["target"] = exchange.target[:TARGET_CHARACTERS]
    record["version"] = exchange.version[:METHOD_CHARACTERS]
    record["status"] = exchange.status or None
    record["bytes"] = exchange.bytes_sent
    record["ms"] = round(exchange.duration_s * 1000, 3)
    agent = _field(exchange, b"user-agent")
    if agent is not None:
        record["user_agent"] = agent
    if info.tls is not None:
        record["tls"] = info.tls.version
    if exchange.request_id:
        record["request_id"] = exchange.request_id
    trace = parse_traceparent(exchange.head_value(b"traceparent"))
    if trace is not None:
        record["trace_id"], record["span_id"] = trace
    return record


def _cut(exchange: LoggedExchange) -> dict[str, Any]:
    """Return what of a line may be long, short: each of its characters may be six."""
    cut: dict[str, Any] = {
        "method": exchange.method[:SHORT_CHARACTERS],
        "target": exchange.target[:SHORT_CHARACTERS],
        "version": exchange.version[:SHORT_CHARACTERS],
    }
    for key, name in (("host", b"host"), ("user_agent", b"user-agent")):
        value = _field(exchange, name)
        if value is not None:
            cut[key] = value[:SHORT_CHARACTERS]
    return cut


_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def _to_json(record: dict[str, Any]) -> str:
    # json escapes every control character but DEL, which a terminal may act upon.
    return _encode(record).replace("\x7f", "\\u007f") + "\n"


def _field(exchange: LoggedExchange, name: bytes) -> str | None:
    """Return a field as it came, cut; None where there is none."""
    value = exchange.head_value(name)
    return None if value is None else value[:FIELD_CHARACTERS].decode("latin-1")


def _request_line(exchange: LoggedExchange) -> str:
    return (
        f'"{_shown(exchange.method, METHOD_CHARACTERS)} '
        f"{_shown(exchange.target, TARGET_CHARACTERS)} "
        f'{_shown(exchange.version, METHOD_CHARACTERS)}"'
    )


def _shown(text: str, most: int) -> str:
    """Return at most `most` characters of `text` as one word that can stand between quotes."""
    if len(text) <= most and _PLAIN.match(text):
        return text
    # Four characters may stand for one byte of the rest: a quarter is sure to fit.
    limit = most if _PLAIN.match(text[:most]) else most // 4
    return escape(text, limit).replace('"', "\\x22").replace(" ", "\\x20", text[:limit].count(" "))


def _quoted(text: str) -> str:
    """Return `text` so that it can stand between quotes, in about `FIELD_CHARACTERS`."""
    shown = escape(text, FIELD_CHARACTERS).replace('"', "\\x22")
    if len(shown) <= 2 * FIELD_CHARACTERS:
        return shown
    return escape(text, FIELD_CHARACTERS // 4).replace('"', "\\x22")


FORMATS: Final = ("text", "json", "combined")
"""How a line may look."""


class AccessLog:
    """A callable that writes one line per exchange, gathered and soon.

    Lines are gathered for at most a tenth of a second and written together. A reader that is gone
    ends the log with one warning; one that has stopped, or a full disk, costs the lines that do
    not fit into memory, and the next line that can be written says how many.

    Args:
        stream: Where lines go: a text stream, best one with a file descriptor, or a file's path.
        format: `"text"`, `"json"` or `"combined"`.
        sample: The share of unremarkable requests that have a line; all others have one: errors,
            slow ones, and those with findings.
        slow_s: From when on a request is slow.
        worker: Which worker this is, for JSON.

    Raises:
        ConfigurationError: A setting is wrong.
        OSError: The file cannot be opened.
    """

    def __init__(
        self,
        stream: Any,
        format: str = "text",
        *,
        sample: float = 1.0,
        slow_s: float = SLOW_S,
        worker: int | None = None,
    ) -> None:
        if format not in FORMATS:
            raise ConfigurationError(
                f"format={format!r} is unknown: give {', '.join(map(repr, FORMATS))}"
            )
        self._render: Callable[[LoggedExchange, float], str] = (
            render_combined if format == "combined" else render_text
        )
        self._format = format
        self._worker = worker
        self._sampler = None if sample == 1 else AccessSampler(sample, slow_s=slow_s)
        self._lines: list[str] = []
        self._gathered = 0
        self._timer: asyncio.TimerHandle | None = None
        if isinstance(stream, str | os.PathLike):
            stream = AppendedFile(stream)
        self._writer = LineWriter(
            "access", stream, render_dropped=self._render_dropped, warn=gen_log.warning
        )

    @property
    def dropped(self) -> int:
        """How many lines this process owed and could not write."""
        return self._writer.dropped

    def __call__(self, exchange: LoggedExchange) -> None:
        """Take one exchange that has ended."""
        share = 1.0
        if self._sampler is not None:
            share = self._sampler.weigh(exchange)
            if not share:
                return
        now_s = time.time()
        if self._format == "json":
            line = render_json(exchange, now_s, worker=self._worker, sample=share)
        else:
            line = self._render(exchange, now_s)
        self._lines.append(line)
        self._gathered += len(line)
        if self._gathered > EAGER_BYTES:
            self._hand_over()
        elif self._timer is None:
            self._schedule()

    def flush(self, timeout_s: float = 0.0) -> bool:
        """Write what has been gathered, and return whether all of it was written.

        Args:
            timeout_s: How long to wait for a slow reader.
        """
        self._hand_over()
        return self._writer.flush(timeout_s)

    def reopen(self) -> None:
        """Open the file again by its name: what was gathered before goes to the old one."""
        self._hand_over()
        self._writer.reopen()

    def close(self) -> None:
        """Write what has been gathered and end the log; the stream stays open."""
        self._hand_over()
        self._writer.close(CLOSE_WAIT_S)

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lines = "".join(self._lines).encode("ascii")
            self._lines.clear()
            self._gathered = 0
            self._writer.put(lines)

    def _schedule(self) -> None:
        """Have the lines written soon; without a running loop, now."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._hand_over()
            return
        self._timer = loop.call_later(FLUSH_DELAY_S, self._hand_over)

    def _render_dropped(self, count: int) -> bytes:
        """Return the line that says how many lines are missing before it."""
        moment = render_utc(time.time())
        if self._format == "json":
            return _to_json({"time": moment, "dropped": count}).encode("ascii")
        return f"{moment} - {count} lines dropped: the reader was slow\n".encode("ascii")
