"""Nonces that are good once, and so many a second, for all processes of a server.

Decides whether a nonce may still be taken. It must not know what it is part of.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import time
import weakref

__all__ = ["NonceBook"]

# the second that is counted, how many in it, how many there are, where the next one goes
_HEAD = struct.Struct("<qIII")
_PATIENCE_S = 0.05
_RETRY_S = 0.001


class NonceBook:
    """The nonces taken lately, in memory that processes share which were forked later.

    Args:
        per_second: How many are taken in a second.
        remembered_s: For how long none is taken twice.
        size: How many bytes one has.
    """

    def __init__(self, *, per_second: int = 10, remembered_s: int = 180, size: int = 16) -> None:
        self._per_second = per_second
        self._size = size
        # room for all that can be taken in that time, so that none is forgotten too early
        self._places = per_second * (remembered_s + 2)
        self._file, name = tempfile.mkstemp(prefix="edgeserver-audit-")
        weakref.finalize(self, os.close, self._file)
        os.unlink(name)
        os.truncate(self._file, _HEAD.size + self._places * size)
        self._page = mmap.mmap(self._file, _HEAD.size + self._places * size)

    def take(self, nonce: bytes, now_s: float) -> bool:
        """Take a nonce; False where it was taken before, or there were too many in this second.

        Args:
            nonce: Random bytes of the book's size.
            now_s: Seconds since the epoch.
        """
        if len(nonce) != self._size or not self._lock():
            return False
        try:
            return self._take(nonce, int(now_s))
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _take(self, nonce: bytes, second: int) -> bool:
        counted, count, used, place = _HEAD.unpack_from(self._page)
        if counted != second:
            count = 0
        if count >= self._per_second or self._has(nonce, used):
            return False
        at = _HEAD.size + place * self._size
        self._page[at : at + self._size] = nonce
        used, place = min(used + 1, self._places), (place + 1) % self._places
        _HEAD.pack_into(self._page, 0, second, count + 1, used, place)
        return True

    def _has(self, nonce: bytes, used: int) -> bool:
        """Return whether a nonce is among those taken."""
        end = _HEAD.size + used * self._size
        at = self._page.find(nonce, _HEAD.size, end)
        while at >= 0 and (at - _HEAD.size) % self._size:
            at = self._page.find(nonce, at + 1, end)
        return at >= 0

    def _lock(self) -> bool:
        """Keep other processes out; False where one that is stopped holds on to it.

        POSIX's locks, because those of flock(2) are shared with a parent.
        """
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline_s:
                    return False
                time.sleep(_RETRY_S)
            else:
                return True
