"""The keys of JSON log lines: what each means, and what OpenTelemetry calls it.

It is data: the reference shows it, and a test holds it against the lines that are written.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["ACCESS_FIELDS", "ERROR_FIELDS", "LogField"]


class LogField(NamedTuple):
    """One key.

    Args:
        key: As it stands in a line.
        otel: The attribute of OpenTelemetry's semantic conventions, or the field of its log data
            model where it begins with a capital.
        meaning: What it holds, and when it is left out.
    """

    key: str
    otel: str
    meaning: str


ACCESS_FIELDS: Final = (
    LogField("time", "Timestamp", "When the answer ended: RFC 3339, UTC, milliseconds."),
    LogField("client", "client.address", "Who the client is, as far as proxies are believed."),
    LogField("peer", "network.peer.address", "Who the connection is from; or `unix:`."),
    LogField(
        "verified",
        "edgeserver.client.verified",
        "Whether whoever should name the client did; false: the peer is taken for it.",
    ),
    LogField("reason", "edgeserver.client.reason", "Why this client, one of the reasons."),
    LogField("scheme", "url.scheme", "What the client used, `http` or `https`."),
    LogField("method", "http.request.method", "The method, as sent."),
    LogField("host", "server.address", "The field `Host`, as sent; absent where there is none."),
    LogField("target", "url.original", "The request target, as sent; a long one is cut."),
    LogField("version", "network.protocol.version", "`HTTP/1.1` or `HTTP/1.0`; behind the slash."),
    LogField("status", "http.response.status_code", "The status; null where no answer was sent."),
    LogField("bytes", "http.response.size", "Bytes of the answer, head and body."),
    LogField(
        "ms",
        "http.server.request.duration",
        "Milliseconds from the end of the request's head to the end of the answer; there in"
        " seconds.",
    ),
    LogField("user_agent", "user_agent.original", "`User-Agent`, cut; absent without one."),
    LogField("tls", "tls.protocol.version", "`TLSv1.3`, of this connection; absent without TLS."),
    LogField(
        "request_id",
        "edgeserver.request.id",
        "The request's id; absent without `--request-id-header`.",
    ),
    LogField("trace_id", "TraceId", "From a valid `traceparent`, whoever sent it; else absent."),
    LogField("span_id", "SpanId", "From the same: the span of the sender."),
    LogField("worker", "edgeserver.worker", "Which worker served it, from 1 on."),
    LogField(
        "sample",
        "edgeserver.sample",
        "The share of its like that have a line, where `--access-log-sample` kept it by chance.",
    ),
    LogField("dropped", "edgeserver.dropped", "Alone with `time`: so many lines are missing."),
)
"""The keys of a line of the access log."""

ERROR_FIELDS: Final = (
    LogField("time", "Timestamp", "When it was logged: RFC 3339, UTC, milliseconds."),
    LogField("level", "SeverityText", "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`."),
    LogField("logger", "InstrumentationScope", "`edgeserver.general` and others."),
    LogField("message", "Body", "What happened; what strangers wrote is escaped."),
    LogField("pid", "process.pid", "The process."),
    LogField("worker", "edgeserver.worker", "Which worker, from 1 on; absent in the parent."),
    LogField("exception", "exception.stacktrace", "The traceback; a long one is cut."),
)
"""The keys of every other line, those on standard error."""
