"""A body of unknown length, kept until all of it is there: in memory, and beyond that in a file.

Decides where its bytes are. PEP 3333 has no way to say that a body has an end but no length: what
is not declared in `CONTENT_LENGTH` is lost on many a framework.
"""

from __future__ import annotations

import io
import tempfile
from typing import IO, Final

from edgeserver.adapters.collecting import Collected

__all__ = ["IN_MEMORY", "SpooledBody"]

IN_MEMORY: Final = 1024 * 1024
"""Bytes kept in memory; a body that is longer goes to a file in the system's temporary folder."""


class SpooledBody:
    """One body: its pieces come first, then it is opened, and in the end closed.

    Attributes:
        size: How many bytes it has.
    """

    __slots__ = ("_collected", "_file", "size")

    complete = True
    """As a `BodyStream` says it: whoever reads has the whole body."""

    def __init__(self) -> None:
        self.size = 0
        # What is in memory; nothing once there is a file.
        self._collected = Collected()
        self._file: IO[bytes] | None = None

    @property
    def memory(self) -> int:
        """How many bytes are in memory."""
        return 0 if self._file is not None else self.size

    def add(self, piece: bytes) -> None:
        """Take one more piece, which is not empty.

        Raises:
            OSError: It cannot be written to the file.
        """
        self.size += len(piece)
        if self._file is None:
            self._collected.add(piece)
            if self.size > IN_MEMORY:
                file = self._file = tempfile.TemporaryFile(prefix="edgeserver-")  # noqa: SIM115  # see `abandon`
                file.write(self._collected.take())
        else:
            self._file.write(piece)

    def open(self) -> IO[bytes]:
        """Return what reads the body from its beginning.

        Raises:
            OSError: What is left of it cannot be written to the file.
        """
        if self._file is None:
            return io.BytesIO(self._collected.take())
        self._file.seek(0)
        return self._file

    def abandon(self) -> None:
        """Forget all of it: nobody is going to read it."""
        self._collected.take()
        if self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        self.abandon()  # a request that never got a thread, since its server has ended
