"""Lines on their way out: written at once where that needs no waiting, else kept, bounded, counted.

Decides when bytes reach a file, a pipe or a terminal, and what becomes of them where it is full,
slow or gone. It must not know what the lines say. Whoever writes a line never waits for the other
end: what cannot be written at once is left to a thread, which is started only then.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import open_to_append

__all__ = ["DROPPED", "PIPE_BYTES", "AppendedFile", "LineWriter", "check_log"]

PIPE_BYTES: Final = 4096
"""At most this much goes into a pipe at once: POSIX keeps it whole and, once the pipe is reported
writable, Linux takes it without blocking."""

FILE_BYTES: Final = 64 * 1024
"""At most this much goes into a file at once."""

MAX_PENDING_BYTES: Final = 1024 * 1024
"""How much is kept for a reader that has stopped; lines past this are counted and dropped."""

POLL_S: Final = 0.5
"""How long the thread waits for a reader before it looks whether something else is to be done."""

RETRY_S: Final = 0.2
"""How soon a write that failed is tried again."""

DROPPED: dict[str, int] = {}
"""How many lines each log of this process has dropped since it began, by the log's name."""


class AppendedFile:
    """A file that lines are appended to, and that may be renamed while they are.

    Args:
        path: The file; made if it is not there, readable by owner and group.
        required: Whether it has to be there now; else what is written before `reopen` has found it
            is lost.

    Attributes:
        failure: Why it could not be opened, where it was not required; else None.

    Raises:
        OSError: It cannot be opened for writing.
    """

    def __init__(self, path: str | os.PathLike[str], *, required: bool = True) -> None:
        self.path = path
        self.failure: OSError | None = None
        try:
            self._fd = open_to_append(path)
        except OSError as error:
            if required:
                raise
            self.failure = error
            self._fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def reopen(self) -> None:
        """Open the file again by its name; where that fails the old one stays in use.

        Raises:
            OSError: It cannot be opened.
        """
        fresh = open_to_append(self.path)
        try:
            # The number stays: whoever is about to write to it writes to one of the two.
            os.dup2(fresh, self._fd, inheritable=False)
        finally:
            os.close(fresh)


class LineWriter:
    """Writes whole lines to a descriptor, from any thread.

    Args:
        name: Which log it is, for `DROPPED` and for warnings: `"access"`.
        stream: A `AppendedFile`, or a stream that belongs to somebody else and is never closed. One
            without a descriptor is written to at once.
        render_dropped: Returns the line that says how many are missing in front of it.
        warn: Called with a line about the log itself, or None where nobody would hear it.
        threaded: Whether a thread may be started; else what could not be written is tried again
            with the next line.
        max_pending: How many bytes may wait.

    Attributes:
        dropped: How many lines were dropped.
    """

    def __init__(
        self,
        name: str,
        stream: Any,
        *,
        render_dropped: Callable[[int], bytes],
        warn: Callable[[str], object] | None = None,
        threaded: bool = True,
        max_pending: int = MAX_PENDING_BYTES,
    ) -> None:
        self.dropped = 0
        self._name = name
        self._stream = stream
        self._render_dropped = render_dropped
        self._warn = warn
        self._threaded = threaded
        self._max_pending = max_pending
        # Guards what follows. Reentrant: a signal's handler may come in the middle.
        self._changed = threading.Condition()
        self._pending: deque[bytes | None] = deque()  # whole lines; None opens the file again
        self._pending_bytes = 0
        self._owed = 0  # lines dropped since the log last said how many
        self._is_writing = False  # whether somebody takes what is pending
        self._is_failing = False  # whether it was said that writing fails
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._fd: int | None = None
        self._piece = PIPE_BYTES
        self._waits = False  # whether a write may wait for a disk
        self._poll = select.poll()
        self._look_at_stream()
        DROPPED.setdefault(name, 0)

    def _look_at_stream(self) -> None:
        """Find out what kind of thing is written to."""
        try:
            self._fd = self._stream.fileno()
            self._waits = stat.S_ISREG(os.fstat(self._fd).st_mode)
        except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of the last
            self._fd = None
            return
        self._piece = FILE_BYTES if self._waits else PIPE_BYTES
        self._poll.register(self._fd, select.POLLOUT)

    def put(self, lines: bytes) -> None:
        """Take lines, each with its end; never waits.

        Args:
            lines: Some bytes; all of them are dropped where there is no room for them.
        """
        with self._changed:
            if self._is_closed:
                return
            if self._pending_bytes + len(lines) > self._max_pending:
                self._drop(lines)
                return
            self._pending.append(lines)
            self._pending_bytes += len(lines)
        self._go_on()

    def reopen(self) -> None:
        """Open the file again by its name: what was taken before still goes to the old one."""
        if isinstance(self._stream, AppendedFile):
            with self._changed:
                self._pending.append(None)
            self._go_on()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything taken so far is written, and return whether it is.

        Args:
            timeout_s: How long to wait at most.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            if self._thread is not None:
                return self._changed.wait_for(self._is_idle, timeout_s)
            if self._is_writing:  # in the middle of it, by a signal
                return False
            self._is_writing = True
        while not self._write_all(deadline_s - time.monotonic()):
            if time.monotonic() >= deadline_s or self._is_closed:
                return False
            with self._changed:
                self._is_writing = True
        return True

    def close(self, timeout_s: float) -> None:
        """Write what is pending, and take no more; what belongs to somebody else stays open.

        Args:
            timeout_s: How long to wait for a slow reader.
        """
        self.flush(timeout_s)
        with self._changed:
            self._is_closed = True
            while self._pending:
                left = self._pending.popleft()
                if left is not None:
                    self._drop(left)
            self._pending_bytes = 0
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._pending and not self._is_writing

    def _drop(self, lines: bytes) -> None:
        count = lines.count(b"\n")
        self.dropped += count
        self._owed += count
        DROPPED[self._name] += count

    def _go_on(self) -> None:
        """Write what is pending, or have the thread do it."""
        with self._changed:
            if self._is_writing:
                return  # whoever does takes it along
            if self._thread is not None or (self._waits and self._threaded):
                self._wake_thread()
                return
            self._is_writing = True
        if not self._write_all(0) and self._threaded:
            with self._changed:
                self._wake_thread()

    # The thread.

    def _wake_thread(self) -> None:
        if self._thread is None and not self._is_closed:
            thread = threading.Thread(target=self._run, name=f"{self._name}-log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                return
            self._thread = thread
        self._changed.notify_all()

    def _run(self) -> None:
        """Write what is pending, as often as there is something: the whole life of the thread."""
        while True:
            with self._changed:
                while not self._pending or self._is_writing:
                    if self._is_closed:
                        return
                    self._changed.wait()
                self._is_writing = True
            if not self._write_all(POLL_S):
                time.sleep(RETRY_S)

    # Writing; whoever does has set `_is_writing`.

    def _write_all(self, patience_s: float) -> bool:
        """Write until nothing is pending; return False where it cannot go on for now."""
        while True:
            with self._changed:
                if not self._pending and self._owed and not self._is_closed:
                    self._pending.append(self._render_dropped(self._owed))
                    self._owed = 0
                if not self._pending:
                    self._is_writing = False
                    self._changed.notify_all()
                    return True
                lines = self._pending.popleft()
            left = b"" if lines is None else lines
            try:
                if lines is None:
                    self._reopen()
                while left:
                    size = self._write_piece(left, patience_s)
                    left = left[size:]
                    if not size:
                        break
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self._fail(error)
                left = _from_line(left if lines is None else lines, left)
            with self._changed:
                if lines is not None:
                    self._pending_bytes += len(left) - len(lines)
                if not left:
                    continue
                if not self._is_closed:
                    self._pending.appendleft(left)
                self._is_writing = False
                self._changed.notify_all()
                return False

    def _write_piece(self, lines: bytes, patience_s: float) -> int:
        """Write some of `lines`; return how many bytes, 0 where the reader is not ready."""
        if self._fd is None:
            self._stream.write(lines.decode("utf-8", "replace"))
            self._stream.flush()
            return len(lines)
        if not self._poll.poll(max(0, int(patience_s * 1000))):
            return 0
        # Whole lines, so that those of several workers do not run into each other in a pipe.
        end = self._piece
        if len(lines) > end:
            end = lines.rfind(b"\n", 0, end) + 1 or end
        written = os.write(self._fd, lines[:end])
        self._is_failing = False
        return written

    def _reopen(self) -> None:
        try:
            self._stream.reopen()
        except (OSError, ValueError) as error:
            self._tell(f"cannot be opened again: {error}; the old file stays in use")

    def _fail(self, error: Exception) -> None:
        """Take note that writing fails; nobody reads any more where a pipe is broken."""
        if isinstance(error, BrokenPipeError):
            with self._changed:
                self._is_closed = True
                self._pending.clear()
                self._pending_bytes = 0
            self._tell("its reader has gone away; the log ends, the server goes on")
        elif not self._is_failing:
            self._is_failing = True
            self._tell(f"cannot write: {error}; trying again")

    def _tell(self, what: str) -> None:
        if self._warn is not None:
            self._warn(f"{self._name} log: {escape(what, 500)}")


def _from_line(lines: bytes, left: bytes) -> bytes:
    """Return what is to be written after a failure: no line goes on behind what others write.

    A disk that is full takes the beginning of a line, and another process may be next. The line is
    written again, and the piece of it stands by itself.

    Args:
        lines: What was to be written.
        left: What of that was not.
    """
    written = len(lines) - len(left)
    begun = lines.rfind(b"\n", 0, written) + 1
    return left if begun == written else b"\n" + lines[begun:]


def check_log(flag: str, path: str) -> None:
    """Open a file for lines, to see whether that can be done, and close it.

    Args:
        flag: How its setting is typed, for the error.
        path: The file.

    Raises:
        ConfigurationError: It cannot be opened; the message says the fix.
    """
    try:
        AppendedFile(path).close()
    except (OSError, ValueError) as error:
        # A ValueError is about a NUL, in words that differ by version of Python.
        reason = getattr(error, "strerror", None) or "the path holds a NUL"
        raise ConfigurationError(
            f"{flag} {escape(path)}: {reason}; name a file in a directory that this user may"
            " write to, or - for standard output"
        ) from error
