"""The limits of an HTTP connection, in one value.

Decides what a wrong limit is called; the defaults are the table of settings'. It must not know who
sets them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeserver.config.model import library_default
from edgeserver.support.validate import require_count, require_seconds

__all__ = ["HTTPLimits"]


@dataclass(frozen=True, slots=True)
class HTTPLimits:
    """What a connection may cost, in bytes, counts and seconds.

    Args:
        no_keep_alive: Close after every answer.
        decompress_request: Give gzip bodies to the application decompressed.
        chunk_size: Most bytes of a body given to the application at once.
        max_header_size: Most bytes of a head, request line included.
        max_header_fields: Most field lines of a head, and of a trailer section.
        max_body_size: Most bytes of a body, after decompression.
        max_buffer_size: Most bytes of input held for a connection while nobody takes them.
        max_held: How many bytes may be held for all connections together before no body begins.
        idle_connection_timeout: Seconds without a byte before a request.
        header_timeout: Seconds from the first byte of a head to its last.
        body_timeout: Seconds from the end of a head to the end of its body; None for no limit.
        write_timeout: Seconds in which a client that has bytes to read takes none.
        max_streams: HTTP/2: most requests of a connection that an application has at a time.
        max_resets: HTTP/2: most streams, reset before their end or refused, in a row.
    """

    no_keep_alive: bool = False
    decompress_request: bool = False
    chunk_size: int = library_default("chunk_size")
    max_header_size: int = library_default("max_header_size")
    max_header_fields: int = library_default("max_header_fields")
    max_body_size: int = library_default("max_body_size")
    max_buffer_size: int = library_default("max_buffer_size")
    max_held: int = library_default("max_held")
    idle_connection_timeout: float = library_default("idle_connection_timeout")
    header_timeout: float = library_default("header_timeout")
    body_timeout: float | None = library_default("body_timeout")
    write_timeout: float = library_default("write_timeout")
    max_streams: int = library_default("max_streams")
    max_resets: int = library_default("max_resets")

    def __post_init__(self) -> None:
        """Refuse limits that cannot work.

        Raises:
            ConfigurationError: A limit is not a number of the kind it has to be.
        """
        for name in (
            "chunk_size",
            "max_header_size",
            "max_header_fields",
            "max_buffer_size",
            "max_held",
            "max_streams",
            "max_resets",
        ):
            require_count(name, getattr(self, name))
        require_count("max_body_size", self.max_body_size, least=0)
        for name in ("idle_connection_timeout", "header_timeout", "write_timeout"):
            require_seconds(name, getattr(self, name))
        require_seconds("body_timeout", self.body_timeout, none=True)

    def shortest_timeout_s(self) -> float:
        """Return the shortest of the timeouts that are in force."""
        timeouts = [self.idle_connection_timeout, self.header_timeout, self.write_timeout]
        if self.body_timeout is not None:
            timeouts.append(self.body_timeout)
        return min(timeouts)
