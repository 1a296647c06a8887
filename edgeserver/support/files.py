"""Configured files: read whole, up to a bound, or appended to, without ever waiting for long.

Decides what a path may be that is no plain file. It must not know what the bytes mean, nor which
errors its callers raise.
"""

from __future__ import annotations

import errno
import os
import select
import time
from typing import Final

__all__ = ["PATIENCE_S", "open_to_append", "read_file", "replace_file"]

PATIENCE_S: Final = 10.0
"""How long what writes into a pipe may take, such as `--certfile <(vault read ...)`."""

_CHUNK = 256 * 1024


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a file, or its first `most` bytes and one more.

    A pipe is read until its writers have closed it; one that nobody writes to is empty. To open it
    like a plain file would wait for a writer, and a server that reloads would serve nobody.

    Args:
        path: The file.
        most: How many bytes it may have; the caller refuses what is longer.

    Raises:
        OSError: It cannot be read; `TimeoutError` after `PATIENCE_S`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _read(descriptor, most + 1)
    finally:
        os.close(descriptor)


def replace_file(path: str, text: str) -> None:
    """Write a file whole: who reads it meets what was there before, or all of `text`.

    Args:
        path: The file.
        text: ASCII.

    Raises:
        OSError: It cannot be written.
    """
    draft = f"{path}.new"
    with open(draft, "w", encoding="ascii") as file:
        file.write(text)
    os.replace(draft, path)


def _read(descriptor: int, most: int) -> bytes:
    """Return up to `most` bytes of what stands in a descriptor that does not block."""
    deadline_s = time.monotonic() + PATIENCE_S
    parts: list[bytes] = []
    size = 0
    while size < most:
        try:
            part = os.read(descriptor, min(_CHUNK, most - size))
        except BlockingIOError:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                reason = "nothing came through this pipe in time"
                raise TimeoutError(errno.ETIMEDOUT, reason, None) from None
            # not select(): that cannot wait for a descriptor above 1023
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(left_s * 1000)
            continue
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def open_to_append(path: str | os.PathLike[str]) -> int:
    """Return a descriptor that appends to a file, made if it is not there, for owner and group.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened; so for a named pipe that nobody reads, which must not hang.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o640)
    os.set_blocking(descriptor, True)
    return descriptor
