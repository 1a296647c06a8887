"""The head cache: the fields of a connection's last head, for a next one with the same bytes.

Decides what is kept of a head, and whether another one repeats it. It must not know connections,
nor what the fields mean: who decides that knows them again by the dict, which is the same.

On one connection fields hardly change from request to request: what a browser asks for the parts
of a page differs in the first line. What is kept is compared byte by byte.
"""

from __future__ import annotations

from typing import Final

from edgeserver.errors import HTTPInputError
from edgeserver.http1.head import Fields, Head, parse_request_line, with_host_of_target

__all__ = ["HeadCache"]

KEPT_HEAD: Final = 2048
KEPT_FIELDS: Final = 32
"""The fields of a head up to this many bytes and fields are kept for the next request."""

LONGEST_WAIT: Final = 64
"""After how many heads, at the latest, it is tried again whether fields repeat."""

NO_TAIL: Final = b"-"
"""What no head ends with."""


class HeadCache:
    """The fields of one head; one dict then serves several exchanges.

    Attributes:
        tail: The bytes of the fields, from the CRLF before them to the end of the head.
        fields: The last value of each name, never changed; None where nothing is kept.
    """

    __slots__ = ("_head", "_line", "_wait", "fields", "tail")

    fields: Fields | None

    def __init__(self) -> None:
        self._wait = 1  # how many heads pass where this one is not repeated; 0 once it was
        self.forget()

    def forget(self) -> None:
        """Keep nothing."""
        self.tail = NO_TAIL
        self._line = b""  # the request line of the last head that repeated them
        self._head: Head | None = None  # that head
        self.fields = None

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
        if (
            head[3] is None
            # Only what means the same beside every request line: Host is required by the version,
            # and a target that is no path may have replaced it.
            and b"host" in head[4]
            and head[1][0] == "/"
            and len(data) <= KEPT_HEAD
            and len(head[4]) <= KEPT_FIELDS
        ):
            self.tail = data[data.index(b"\r\n") :]
            self.fields = head[4]
            self._line = b""
            self._head = None
            self._wait = wait or 1
        else:
            self.forget()
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
        if target[0] != "/":
            _, fields = with_host_of_target(method, target, None, fields)
        self._line = line
        self._head = head = (method, target, version, None, fields)
        self._wait = 0
        return head
