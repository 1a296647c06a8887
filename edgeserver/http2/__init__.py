"""HTTP/2: frames to delegate calls, and answers to frames. RFC 9113 and RFC 7541, server side."""

from __future__ import annotations

from edgeserver.http2.connection import HTTP2Connection
from edgeserver.http2.shared import HTTP2Shared

__all__ = ["HTTP2Connection", "HTTP2Shared"]
