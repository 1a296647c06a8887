"""The thread pool that WSGI applications run in, and the way back from it to the event loop.

Decides when a thread is started, woken and ended. It must not know what runs in it.

A wake-up costs more than many a request, in both directions, so it is done as rarely as possible:

- A thread takes jobs until none is left; only then does it wait, by a lock of its own.
- Jobs wake a thread when the event loop has seen to all connections that had something to say, not
  in between: a loop such as uvloop gives up the interpreter's lock after each of them, and would
  have to wait for it again.
- The thread that began to wait last is woken, and none if one is waking already. A thread that
  leaves jobs behind has the event loop look once it gets its turn, which is when that thread blocks
  or has had the interpreter for long: if jobs are left then, the next thread is woken. So a burst
  of jobs that never block is done by one thread, and a burst of jobs that do block soon by all.
- What goes back to the loop wakes it once for all that has come until it looks.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable

from edgeserver.support.loggers import app_log

__all__ = ["Mailbox", "ThreadPool"]

Job = Callable[[], object]


class ThreadPool:
    """At most `size` daemon threads, started when they are first needed.

    What waits for a thread waits in order, and holds nothing but its own memory: there is one
    request at a time for each connection, so the server's `max_connections` bounds their number.

    Args:
        size: The number of threads.
        name: What the threads are called, before their number.
    """

    def __init__(self, size: int, name: str = "edgeserver-wsgi") -> None:
        self.size = size
        self._name = name
        # What waits for a thread, in order.
        self._jobs: deque[Job] = deque()
        # The locks of threads that wait for a job; whoever takes one out wakes its thread.
        self._idle: list[threading.Lock] = []
        # The way to the event loop that the last job came from.
        self._mailbox: Mailbox | None = None
        # That of the event loop which is going to look whether a thread is to be woken.
        self._planned: Mailbox | None = None
        # Whether a thread has been woken that has not looked for a job yet.
        self._waking = False
        self._closed = False
        # Threads ever started, and those that have not ended; guarded, as threads change them.
        self._started = 0
        self._running = 0
        self._guard = threading.Lock()
        # Called by the last thread that ends.
        self._on_empty: Callable[[], None] | None = None

    @property
    def running(self) -> int:
        """How many threads there are."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    def submit(self, job: Job, mailbox: Mailbox) -> None:
        """Have `job` called in a thread, as soon as one is free.

        Args:
            job: What to call; it should not raise.
            mailbox: That of the running event loop.

        Raises:
            RuntimeError: The pool is closed.
        """
        if self._closed:
            raise RuntimeError("the thread pool of the WSGI application is closed")
        self._jobs.append(job)
        self._mailbox = mailbox
        if self._planned is not mailbox:
            self._planned = mailbox
            mailbox.loop.call_soon(self._wake_as_planned, context=mailbox.context)

    def close(self) -> None:
        """Have every thread end once it has finished its job; jobs not begun are dropped."""
        self._closed = True
        self._jobs.clear()
        idle = self._idle
        while idle:
            try:
                idle.pop().release()
            except IndexError:  # it was woken for a job in between
                break

    async def shutdown(self, timeout: float) -> bool:
        """Close, and wait for the jobs that have begun.

        Args:
            timeout: How many seconds to wait. Threads that take longer are left to themselves;
                as daemons they do not keep the process.

        Returns:
            Whether all threads have ended.
        """
        loop = asyncio.get_running_loop()
        empty = asyncio.Event()
        with self._guard:
            self._on_empty = lambda: _call_soon(loop, empty.set)
            left = self._running
        self.close()
        if left:
            try:
                await asyncio.wait_for(empty.wait(), timeout)
            except TimeoutError:
                return False
        return True

    def _wake_as_planned(self) -> None:
        self._planned = None
        if self._jobs and not self._waking:
            self._wake()

    def _ask(self) -> None:
        """Have the event loop see, once it gets its turn, whether one thread is enough."""
        mailbox = self._mailbox
        if self._planned is None and mailbox is not None:
            self._planned = mailbox
            mailbox.post(self._wake_as_planned)

    def _wake(self) -> None:
        """Have one more thread look for jobs, if there is one that does not."""
        try:
            lock = self._idle.pop()
        except IndexError:
            if self._started < self.size:
                self._grow()
            return
        self._waking = True
        lock.release()

    def _grow(self) -> None:
        with self._guard:
            if self._started >= self.size or self._closed:
                return
            self._started += 1
            self._running += 1
            number = self._started
        self._waking = True
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()
        except RuntimeError as error:
            # The system has no more threads: those that there are have to do.
            self._waking = False
            with self._guard:
                self._started -= 1
                self._running -= 1
            app_log.error("thread %d of %d cannot be started: %s", number, self.size, error)

    def _work(self) -> None:
        """Be one of the threads."""
        jobs, idle = self._jobs, self._idle
        lock = threading.Lock()
        lock.acquire()
        self._waking = False
        while not self._closed:
            try:
                job = jobs.popleft()
            except IndexError:
                self._wait(lock)
                continue
            if jobs and not self._waking and (idle or self._started < self.size):
                self._ask()
            try:
                job()
            except BaseException:
                app_log.error("Uncaught exception in a WSGI thread", exc_info=True)
            del job  # a thread that waits keeps no request alive
        self._ended()

    def _wait(self, lock: threading.Lock) -> None:
        """Wait until somebody has a job; the lock is held before and after."""
        self._idle.append(lock)
        if self._jobs or self._closed:
            # A job came in between: whoever brought it may have seen nobody waiting.
            try:
                self._idle.remove(lock)
            except ValueError:
                pass  # but somebody is waking us already
            else:
                return
        lock.acquire()
        self._waking = False

    def _ended(self) -> None:
        with self._guard:
            self._running -= 1
            on_empty = self._on_empty if not self._running else None
        if on_empty is not None:
            on_empty()


class Mailbox:
    """What threads want to have called in the event loop.

    Args:
        loop: The event loop.

    Attributes:
        context: The context that calls are made in.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False
        # What is called for many requests at once belongs to the context of none.
        self.context = contextvars.Context()

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` called in the loop; calls are made in order."""
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            _call_soon(self.loop, self._deliver, self.context)

    def _deliver(self) -> None:
        self._woken = False  # first, so that nothing that comes from now on is overlooked
        calls = self._calls
        for _ in range(len(calls)):
            try:
                calls.popleft()()
            except Exception:
                app_log.error("Uncaught exception", exc_info=True)
        if calls and not self._woken:
            self._woken = True
            self.loop.call_soon(self._deliver, context=self.context)


def _call_soon(
    loop: asyncio.AbstractEventLoop,
    call: Callable[[], object],
    context: contextvars.Context | None = None,
) -> None:
    try:
        loop.call_soon_threadsafe(call, context=context)
    except RuntimeError:
        pass  # the loop is closed, and with it every connection that could be told
