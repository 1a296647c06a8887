"""Where audit lines go: a file that is appended to and can be reopened, or a text stream.

Decides how bytes reach the disk and what a failure leaves behind. It knows nothing of requests,
threads or counting; one thread at a time uses a sink.
"""

from __future__ import annotations

import os
from typing import Protocol, TextIO

from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import open_to_append

__all__ = ["FileSink", "Sink", "StreamSink"]


class Sink(Protocol):
    """What the audit log needs of a place to write to."""

    name: str

    def write(self, lines: bytes) -> tuple[int, Exception | None]:
        """Write whole lines; return how many bytes were taken, and why not all."""

    def reopen(self) -> None:
        """Open the place again by its name.

        Raises:
            OSError: It cannot be opened; the old one stays in use.
        """

    def close(self) -> None:
        """Let go of the place."""


class FileSink:
    """A file, appended to by whole lines, so that several processes may share it.

    Args:
        path: The file; made if it is not there, readable by owner and group.

    Raises:
        ConfigurationError: It cannot be opened for writing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = escape(os.fspath(path))
        self._path = path
        self._torn = False
        try:
            self._fd = self._open()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the audit log {self.name} cannot be opened: {error}; name a file in a directory "
                "that this process may write to"
            ) from error

    def _open(self) -> int:
        """Return a descriptor that appends."""
        return open_to_append(self._path)

    def write(self, lines: bytes) -> tuple[int, Exception | None]:
        """Append `lines`; after a failure in the middle of a line the next begins on a new one."""
        done = 0
        try:
            if self._torn:
                os.write(self._fd, b"\n")
                self._torn = False
            while done < len(lines):
                done += os.write(self._fd, lines[done:])
        except OSError as error:
            self._torn = self._torn or (done > 0 and lines[done - 1 : done] != b"\n")
            return done, error
        return done, None

    def reopen(self) -> None:
        """Open the file again by its name, as after a rotation renamed it."""
        old, self._fd = self._fd, self._open()
        self._torn = False
        os.close(old)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class StreamSink:
    """A text stream that belongs to somebody else, such as `sys.stderr`: never closed here."""

    def __init__(self, stream: TextIO) -> None:
        self.name = escape(str(getattr(stream, "name", type(stream).__name__)))
        self._stream = stream

    def write(self, lines: bytes) -> tuple[int, Exception | None]:
        """Write and flush `lines`."""
        try:
            self._stream.write(lines.decode("ascii"))
            self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            return 0, error
        return len(lines), None

    def reopen(self) -> None:
        """Do nothing: a stream has no name to open again."""

    def close(self) -> None:
        """Do nothing: the stream is not ours."""
