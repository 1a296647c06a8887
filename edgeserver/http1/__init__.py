"""HTTP/1.1: bytes to delegate calls, and answers to bytes.

Decides what the rest of the package sees of this room; it must not know who accepts connections
or what stands behind the waist.
"""

from edgeserver.http1.connection import HTTP1Connection
from edgeserver.http1.shared import HTTP1Shared

__all__ = ["HTTP1Connection", "HTTP1Shared"]
