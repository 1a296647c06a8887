"""The fields of a connection's last head, for the next head that repeats them.

Decides what is kept of a head, and whether another one repeats it. It must not know connections;
what the fields mean is only carried here, by who decides it.

On one connection fields hardly change from request to request: what a browser asks for the parts
of a page differs in the first line. What is kept is compared byte by byte.
"""

from __future__ import annotations

from typing import Any, Final

from edgeserver.errors import HTTPInputError
from edgeserver.http1.head import Fields, Head, parse_request_line

__all__ = ["KeptFields"]

KEPT_HEAD: Final = 2048
KEPT_FIELDS: Final = 32
"""The fields of a head up to this many bytes and fields are kept for the next request."""

LONGEST_WAIT: Final = 64
"""After how many heads, at the latest, it is tried again whether fields repeat."""

NO_TAIL: Final = b"-"
"""What no head ends with."""


class KeptFields:
    """The fields of one head, and what they meant; one dict then serves several exchanges.

    Attributes:
        tail: The bytes of the fields, from the CRLF before them to the end of the head.
        fields: The last value of each name, never changed; None where nothing is kept.
        client: Who sent them under the policy in force; None where that is not decided.
        visible: What of them the application sees, once `client` is decided.
    """

    __slots__ = ("_head", "_line", "_wait", "client", "fields", "tail", "visible")

    fields: Fields | None
    visible: Fields

    def __init__(self) -> None:
        self._wait = 1
        self.forget()

    def forget(self) -> None:
        """Keep nothing."""
        self.tail = NO_TAIL
        self._line = b""
        self._head: Head | None = None
        self.fields = None
        self.client: Any = None
        self.visible = {}

    def replace(self, data: bytes, head: Head) -> int:
        """Keep the fields of a head that did not repeat what is kept.

        Args:
            data: The head, with the empty line that ends it.
            head: The same, parsed.

        Returns:
            How many heads are to pass before the next is compared, or kept.
        """
        wait = self._wait
        if wait and self.fields is not None:
            # They were never repeated. Where that is so always, as on a connection of a proxy, it
            # is tried ever more seldom.
            self.forget()
            self._wait = min(wait * 2, LONGEST_WAIT)
            return wait
        self.forget()
        if head[3] is None and len(data) <= KEPT_HEAD and len(head[4]) <= KEPT_FIELDS:
            self.tail = data[data.index(b"\r\n") :]
            self.fields = head[4]
            self._wait = wait or 1
        return 0

    def read(self, data: bytes) -> Head | None:
        """Return the head in `data`, which ends with `tail`; None if the rest is no request line.

        It may be wrong then, or be more than one head: that is for others to find out.
        """
        line = data[: -len(self.tail)]
        if line == self._line:
            return self._head
        fields = self.fields
        if fields is None:
            return None
        try:
            method, target, version = parse_request_line(line)
        except HTTPInputError:
            return None
        self._line = line
        self._head = head = (method, target, version, None, fields)
        self._wait = 0
        return head
