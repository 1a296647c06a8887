"""The audit log: one JSON line per request, saying which client was found and why.

Decides which requests get a line, what it holds, and what is dropped rather than kept waiting. It
must not know how a client is resolved: it is handed a callable that explains, and calls it later.

The rules of the thread that writes:

1. The server only puts a callable into a queue, bounded in number and in bytes; explaining and
   writing happen here.
2. Nothing here ever reaches a request: what fails is dropped, counted, and told once a minute.
3. It starts with the first record, so after a fork; a child of a fork starts its own.
"""

from __future__ import annotations

import atexit
import os
import random
import threading
import time
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TextIO

from edgeserver.audit.line import (
    MAX_TARGET,
    policy_id,
    render_audit_line,
    render_policy_line,
)
from edgeserver.audit.sink import FileSink, Sink, StreamSink
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import RateLimit

if TYPE_CHECKING:
    from edgeserver.proxyheaders import TrustPolicy
    from edgeserver.proxyheaders.explanation.render import Provenance

__all__ = ["MAX_PENDING_BYTES", "MAX_TARGET", "AuditLog", "render_audit_line"]

MAX_PENDING_BYTES = 8 * 1024 * 1024
"""How much memory the proofs that wait may hold: 1,024 heads of 64 KiB would be 64 MiB."""

RECORD_BYTES = 512
"""What a waiting request costs besides its target and its fields, about."""

PAIR_BYTES = 160
"""What a field costs besides its bytes: a tuple, two objects and a place in a list, about."""

_BATCH_BYTES = 64 * 1024

_Pairs = Collection[tuple[bytes, bytes]]
_Record = tuple[Callable[[], "Provenance"], str, str, float, _Pairs, Any, Any, str | None, int]


class _Order:
    """Something for the writer to do when everything before it is written."""

    def __init__(self, kind: Literal["flush", "reopen", "stop"]) -> None:
        self.kind = kind
        self.done = threading.Event()


def _measure(target: str, pairs: Collection[tuple[bytes, bytes]]) -> int:
    """Return how much memory the proof of one request holds, about."""
    size = RECORD_BYTES + len(target) + PAIR_BYTES * len(pairs)
    for name, value in pairs:
        size += len(name) + len(value)
    return size


class AuditLog:
    """Writes the proof of each request's client, off the hot path and in bounded memory.

    Args:
        target: A file to append to, or a text stream.
        mode: `"all"` requests, those with `"findings"`, or a `"sample"`.
        sample: The share of requests with mode `"sample"`, above 0 and at most 1.
        max_pending: How many requests may wait to be explained; past that they are dropped.
        max_pending_bytes: How much memory their proofs may hold; past that they are dropped too.
        choose: Gives a number from 0 to 1 per request, against which `sample` is held.

    Raises:
        ConfigurationError: A setting is wrong, or the file cannot be opened.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | TextIO,
        *,
        mode: Literal["all", "findings", "sample"] = "all",
        sample: float = 0.01,
        max_pending: int = 1024,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        choose: Callable[[], float] = random.random,
    ) -> None:
        if mode not in ("all", "findings", "sample"):
            raise ConfigurationError(f"audit log mode {mode!r}: give 'all', 'findings' or 'sample'")
        if not 0 < sample <= 1:
            raise ConfigurationError(
                f"audit log sample {sample!r}: give a share above 0 and at most 1, such as 0.01"
            )
        for name, value in (
            ("max_pending", max_pending),
            ("max_pending_bytes", max_pending_bytes),
        ):
            if value < 1:
                raise ConfigurationError(f"audit log {name} {value!r}: give at least 1")
        self._sink: Sink = (
            FileSink(target) if isinstance(target, str | os.PathLike) else StreamSink(target)
        )
        self._findings_only = mode == "findings"
        self._share = sample if mode == "sample" else 1.0
        self._max_pending = max_pending
        self._max_pending_bytes = max_pending_bytes
        self._choose = choose
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        """Start counting in this process, with nothing pending and no thread yet."""
        self._pid = os.getpid()
        self._queue: SimpleQueue[_Record | _Order] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._warnings = RateLimit(in_all=1)
        self._unheard = 0
        # the policy that the file was told of last, and its id
        self._told: TrustPolicy | None = None
        self._told_id = ""
        # each of the two threads counts for itself: `+=` is not atomic
        self._refused = 0
        self._lost = 0
        self._taken_bytes = 0
        self._released_bytes = 0
        self.written = 0
        self.errors = 0

    @property
    def dropped(self) -> int:
        """How many lines this process owed and did not write."""
        return self._refused + self._lost

    @property
    def pending(self) -> int:
        """How many requests wait to be explained."""
        return self._queue.qsize()

    @property
    def pending_bytes(self) -> int:
        """How much memory the proofs of those requests hold, about."""
        return self._taken_bytes - self._released_bytes

    def record(
        self,
        explain: Callable[[], Provenance],
        method: str,
        target: str,
        now: float,
        *,
        pairs: Collection[tuple[bytes, bytes]] = (),
        bound: Any = None,
        policy: TrustPolicy | None = None,
        request_id: str | None = None,
    ) -> None:
        """Owe one request a line; called on the hot path, never blocks and never raises.

        Args:
            explain: Gives the proof; called later, in another thread, at most once.
            method: The request's method.
            target: The request's target.
            now: Seconds since the epoch.
            pairs: The head's fields, which `explain` holds, too.
            bound: The policy on the connection, a `Bound`, for what the line says of both.
            policy: The policy itself, where `bound` is given.
            request_id: The id that the server has given the request, or None.
        """
        if self._share < 1.0 and self._choose() >= self._share:
            return
        if self._pid != os.getpid():
            self._begin()
        size = _measure(target, pairs)
        if (
            self._closed
            or self._queue.qsize() >= self._max_pending
            or self.pending_bytes + size > self._max_pending_bytes
            or not self._has_writer()
        ):
            self._refused += 1
            # said from here, since the writer may be the one that hangs
            self._warn_of_losses()
            return
        self._taken_bytes += size
        self._queue.put((explain, method, target, now, pairs, bound, policy, request_id, size))

    def reopen(self) -> None:
        """Open the file again by its name: what was recorded before still goes to the old one.

        May be called from a signal handler; a file that cannot be opened leaves the old one in use.
        """
        if self._closed:
            return
        if self._pid != os.getpid():
            self._begin()
        if self._thread is not None:
            self._queue.put(_Order("reopen"))
        else:
            self._reopen()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything recorded so far is written or dropped.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it is.
        """
        if self._pid != os.getpid() or self._thread is None or not self._thread.is_alive():
            return True
        order = _Order("flush")
        self._queue.put(order)
        return order.done.wait(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Write what is pending and let go of the file; a second call does nothing.

        Args:
            timeout: Seconds to wait for a disk that does not answer.
        """
        if self._closed:
            return
        if self._pid != os.getpid():
            self._begin()
        self._closed = True
        if self._thread is not None:
            atexit.unregister(self.close)
            self._queue.put(_Order("stop"))
            self._thread.join(timeout)
            if self._thread.is_alive():
                # closing under the writer could send its bytes to somebody else's descriptor
                gen_log.warning(
                    "audit log %s: %d requests still unwritten after %g s were left behind; "
                    "%d lines dropped before",
                    self._sink.name,
                    self.pending,
                    timeout,
                    self.dropped,
                )
                return
        self._warn_of_losses(last=True)
        try:
            self._sink.close()
        except OSError as error:
            self._fail(error)

    def _has_writer(self) -> bool:
        """Return whether the thread runs, having started it if need be."""
        if self._thread is not None:
            return True
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, args=(self._queue,), name="edgeserver-audit", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # no more threads, or the interpreter is ending
                    return False
                # a daemon, so that the interpreter's end gets as far as calling `close`
                atexit.register(self.close)
                self._thread = thread
        return True

    def _run(self, queue: SimpleQueue[_Record | _Order]) -> None:
        """Explain and write until told to stop: the whole life of the writer's thread."""
        lines: list[bytes] = []
        size = 0
        while True:
            item = queue.get()
            while not isinstance(item, _Order):
                line = self._line(item)
                self._released_bytes += item[-1]
                if line is not None:
                    lines.append(line)
                    size += len(line)
                # lets the event loop have the interpreter between two requests
                time.sleep(0)
                if size >= _BATCH_BYTES:
                    break
                try:
                    item = queue.get_nowait()
                except Empty:
                    break
            self._write(lines)
            lines, size = [], 0
            if isinstance(item, _Order):
                if item.kind == "reopen":
                    self._reopen()
                item.done.set()
                if item.kind == "stop":
                    return
            del item  # a proof that is told holds nothing while the next one is waited for

    def _line(self, record: _Record) -> bytes | None:
        """Return the line of one request, or None where there is none to write."""
        explain, method, target, now, pairs, bound, policy, request_id, _ = record
        try:
            provenance = explain()
            if self._findings_only and not provenance.findings:
                return None
            line = render_audit_line(
                provenance,
                method=method,
                target=target,
                now=now,
                pairs=pairs,
                bound=bound,
                policy=policy,
                request_id=request_id,
            )
            if policy is not None:
                line = self._with_policy(policy, now) + line
            return line.encode("ascii") + b"\n"
        except Exception as error:  # a defect of ours must not end the log
            self._lost += 1
            self._fail(error)
            return None

    def _with_policy(self, policy: TrustPolicy, now: float) -> str:
        """Return the line of a policy that this file has none of yet, or nothing.

        It goes in front of the line of the first request that it decided: a process that serves
        nobody decides nothing.
        """
        if policy is self._told:
            return ""
        self._told = policy
        name = policy_id(policy)
        if name == self._told_id:
            return ""
        self._told_id = name
        return render_policy_line(policy, now=now) + "\n"

    def _write(self, lines: list[bytes]) -> None:
        """Write `lines`; those that the sink does not take are dropped and counted."""
        if lines:
            data = b"".join(lines)
            done, error = self._sink.write(data)
            whole = len(lines) if done == len(data) else self._whole(lines, done)
            self.written += whole
            self._lost += len(lines) - whole
            if error is not None:
                self._fail(error)
        self._warn_of_losses()

    @staticmethod
    def _whole(lines: list[bytes], done: int) -> int:
        """Return how many of the lines are in the first `done` bytes."""
        whole = 0
        for line in lines:
            done -= len(line)
            if done < 0:
                break
            whole += 1
        return whole

    def _reopen(self) -> None:
        """Open the file again, or stay with the old one; a new file is told of the policy."""
        try:
            self._sink.reopen()
            self._told = None
            self._told_id = ""
        except OSError as error:
            self._fail(error, " when reopened, the old file stays in use")

    def _fail(self, error: Exception, when: str = "") -> None:
        """Count an error, and tell of it unless one was told of within the minute."""
        self.errors += 1
        if self._may_warn():
            self._unheard = self.dropped
            gen_log.warning(
                "audit log %s failed%s: %s: %s; %d lines dropped so far",
                self._sink.name,
                when,
                type(error).__name__,
                escape(str(error)),
                self._unheard,
            )

    def _warn_of_losses(self, *, last: bool = False) -> None:
        """Tell that lines were dropped since that was last said."""
        if self.dropped > self._unheard and (last or self._may_warn()):
            self._unheard = self.dropped
            why = ""
            if self._refused:
                why = (
                    f", of them {self._refused} because {self._max_pending} requests or "
                    f"{self._max_pending_bytes} bytes may wait; sample, log findings only, or "
                    "write to a faster disk"
                )
            gen_log.warning(
                "audit log %s: %d lines dropped so far%s", self._sink.name, self.dropped, why
            )

    def _may_warn(self) -> bool:
        """Return whether a minute has passed since the last warning, and begin another."""
        return self._warnings.permits(time.monotonic())
