"""`wsgi.file_wrapper`: a file as the body of an answer.

Decides how much of a file is read at once. It must not know where the blocks go.

Source: PEP 3333, section "Optional Platform-Specific File Handling".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["FileWrapper"]

_LEAST_BLOCK = 64 * 1024


class FileWrapper:
    """The blocks of a file-like object, which is closed with it.

    Args:
        filelike: Anything with `read(size)`; its `close` is called if it has one.
        block_size: What the application would read at once; at least 64 KiB are.
    """

    def __init__(self, filelike: Any, block_size: int = _LEAST_BLOCK) -> None:
        self.filelike = filelike
        self.block_size = max(block_size, _LEAST_BLOCK)

    def __iter__(self) -> Iterator[bytes]:
        read, size = self.filelike.read, self.block_size
        while block := read(size):
            yield block

    def close(self) -> None:
        """Close the file."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()
