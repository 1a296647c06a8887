"""Request ids: what a request is called in the answer, in logs and in the application.

Decides whose word counts and which ids are ones. It must not know where an id is written.

A listed proxy's id is believed, where it is one; everybody else's is replaced, so that nobody can
choose what stands in another's logs, nor give two requests one name. The application finds the id
that counts in the request's own field, whatever was sent.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from edgeserver.errors import ConfigurationError
from edgeserver.http.exchange import Exchange
from edgeserver.support.escape import escape

__all__ = ["RequestIds"]

_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
"""UUIDs, ULIDs, hex, base64, and what AWS, nginx and Envoy write; nothing that needs escaping."""

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")

_TAKEN: Final = frozenset(
    (
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "set-cookie",
        "strict-transport-security",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    )
)
"""Names that mean something else to this server or to a browser."""

ID_BYTES: Final = 16


class RequestIds:
    """Gives each request its id.

    Args:
        header: The field that an id comes in and goes out with, such as `X-Request-ID`.

    Attributes:
        name: Its lower-case name.

    Raises:
        ConfigurationError: That is no field, or one that means something else.
    """

    __slots__ = ("_before", "name")

    def __init__(self, header: str) -> None:
        lower = header.lower() if isinstance(header, str) else ""
        if (
            not isinstance(header, str)
            or not _HEADER.fullmatch(header)
            or lower in _TAKEN
            or lower.startswith("x-forwarded-")
        ):
            raise ConfigurationError(
                f"request_id_header={escape(str(header))}: no header for ids; name one such as"
                " X-Request-ID"
            )
        self.name = lower.encode("ascii")
        self._before = header.encode("ascii") + b": "

    def give(self, exchange: Exchange) -> None:
        """Give a request its id, and show that to the application in the place of what was sent.

        Args:
            exchange: The request; who its client is has been decided.
        """
        name = self.name
        given = exchange.head_value(name)
        if given is None or not self._is_believed(exchange, given):
            chosen = secrets.token_hex(ID_BYTES)
        else:
            chosen = given.decode("ascii")
        exchange.request_id = chosen
        pairs = [pair for pair in exchange.raw if pair[0] != name]
        pairs.append((name, chosen.encode("ascii")))
        exchange.replace_fields(pairs)

    def line(self, request_id: str) -> bytes:
        """Return the line of an answer that says its request's id."""
        return self._before + request_id.encode("ascii") + b"\r\n"

    def _is_believed(self, exchange: Exchange, given: bytes) -> bool:
        bound = exchange.bound
        if bound is None or not bound.vouches() or not _ID.fullmatch(given):
            return False
        return sum(name == self.name for name, _ in exchange.head_pairs) == 1
