"""`IOLoop`: a thin face over asyncio, so that Tornado-style programs run as written.

Decides which asyncio loop is meant, and how Tornado's method names map to it. It keeps no queue
and no timer of its own, sets no loop policy, and must not know servers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import functools
import inspect
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar, overload

from edgeserver.support.loggers import app_log

__all__ = ["IOLoop", "PeriodicCallback", "call_logged"]

_T = TypeVar("_T")

_FACE = "_edgeserver_ioloop"
"""The attribute of an asyncio loop that holds its face.

A weak table beside the loops would keep them alive, since each face holds its loop.
"""

_running_tasks: set[asyncio.Future[Any]] = set()
"""What `call_logged` has started: asyncio itself holds tasks only weakly."""


class IOLoop:
    """The face of one asyncio loop; each loop has one, whoever asks.

    Args:
        make_current: Whether a loop made here becomes the one of this thread.
        asyncio_loop: The loop to put a face on; a new one is made by default.

    Source: `tornado.ioloop.IOLoop`.
    """

    asyncio_loop: asyncio.AbstractEventLoop

    def __new__(
        cls,
        make_current: bool = True,
        *,
        asyncio_loop: asyncio.AbstractEventLoop | None = None,
    ) -> IOLoop:
        """Return the face of `asyncio_loop`, the same one for the same loop."""
        if asyncio_loop is None:
            asyncio_loop = asyncio.new_event_loop()
            if make_current:
                asyncio.set_event_loop(asyncio_loop)
        face: IOLoop | None = getattr(asyncio_loop, _FACE, None)
        if face is None:
            face = super().__new__(cls)
            face.asyncio_loop = asyncio_loop
            setattr(asyncio_loop, _FACE, face)
        return face

    @overload
    @staticmethod
    def current(instance: Literal[True] = True) -> IOLoop: ...
    @overload
    @staticmethod
    def current(instance: bool) -> IOLoop | None: ...
    @staticmethod
    def current(instance: bool = True) -> IOLoop | None:
        """Return the face of the loop that runs here, else of the one set for this thread.

        Where there is neither, a loop is made and set, as the program's own policy makes it: plain
        asyncio's unless the program says otherwise.

        Args:
            instance: False to get None rather than a new loop.
        """
        try:
            loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            loop = _loop_of_this_thread()
        if loop is not None:
            return IOLoop(asyncio_loop=loop)
        return IOLoop() if instance else None

    @staticmethod
    def instance() -> IOLoop:
        """Return `IOLoop.current()`, under its older name."""
        return IOLoop.current()

    def make_current(self) -> None:
        """Set this loop as the one of this thread."""
        asyncio.set_event_loop(self.asyncio_loop)

    @staticmethod
    def clear_current() -> None:
        """Leave this thread without a loop."""
        asyncio.set_event_loop(None)

    def start(self) -> None:
        """Run until `stop` is called."""
        self.asyncio_loop.run_forever()

    def stop(self) -> None:
        """Have `start` return at the end of this turn of the loop, or at once when next called."""
        self.asyncio_loop.stop()

    def close(self, all_fds: bool = False) -> None:
        """Close the asyncio loop.

        Args:
            all_fds: Taken for Tornado's sake; asyncio's transports close their own sockets.
        """
        self.asyncio_loop.close()

    def run_sync(
        self, func: Callable[[], Awaitable[_T] | None], timeout: float | None = None
    ) -> _T | None:
        """Run the loop until what `func` returns is done, and return its result.

        Args:
            func: Called inside the loop; returns an awaitable, or None.
            timeout: After so many seconds the awaitable is cancelled.

        Raises:
            TimeoutError: The time was over.
            RuntimeError: Something stopped the loop before.
            TypeError: `func` returned neither an awaitable nor None.
        """
        return self.asyncio_loop.run_until_complete(_await_result(func, timeout))

    def time(self) -> float:
        """Return the time on the scale of `call_at` and `add_timeout`, which is `time.time()`."""
        return time.time()

    def add_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `callback` in the next turn of the loop; safe to call from any thread.

        What it returns is awaited if it can be; an exception is logged. On a closed loop nothing
        happens.
        """
        call = functools.partial(callback, *args, **kwargs)
        try:
            here = asyncio.get_running_loop() is self.asyncio_loop
        except RuntimeError:
            here = False
        try:
            if here:
                self.asyncio_loop.call_soon(call_logged, call)
            else:
                self.asyncio_loop.call_soon_threadsafe(call_logged, call)
        except RuntimeError:
            # Another thread cannot know that the loop has just been closed.
            if not self.asyncio_loop.is_closed():
                raise

    def add_callback_from_signal(
        self, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Call `callback` in the next turn of the loop; safe to call from a signal handler."""
        # A handler may interrupt the loop itself, which must then be woken: never call_soon.
        call = functools.partial(callback, *args, **kwargs)
        self.asyncio_loop.call_soon_threadsafe(call_logged, call)

    def spawn_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Do what `add_callback` does."""
        self.add_callback(callback, *args, **kwargs)

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        """Call `callback` after `delay` seconds; return a handle for `remove_timeout`."""
        call = functools.partial(callback, *args, **kwargs)
        return self.asyncio_loop.call_later(max(0.0, delay), call_logged, call)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        """Call `callback` when `time()` is `when`; return a handle for `remove_timeout`."""
        return self.call_later(when - self.time(), callback, *args, **kwargs)

    def add_timeout(
        self,
        deadline: float | datetime.timedelta,
        callback: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> asyncio.TimerHandle:
        """Call `callback` at `deadline`; return a handle for `remove_timeout`.

        A deadline is a time on the scale of `time()`, or a `timedelta` from now.

        Raises:
            TypeError: `deadline` is neither.
        """
        if isinstance(deadline, datetime.timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        if isinstance(deadline, (int, float)):
            return self.call_at(deadline, callback, *args, **kwargs)
        raise TypeError(f"a deadline is a number or a timedelta, not {deadline!r}")

    def remove_timeout(self, timeout: asyncio.TimerHandle) -> None:
        """Forget what `call_later`, `call_at` or `add_timeout` has planned; late calls are fine."""
        timeout.cancel()

    def add_future(
        self,
        future: asyncio.Future[_T] | concurrent.futures.Future[_T],
        callback: Callable[[Any], Any],
    ) -> None:
        """Call `callback` with `future` in a turn of the loop once it is done."""
        if isinstance(future, concurrent.futures.Future):
            future.add_done_callback(lambda done: self.add_callback(callback, done))
        else:
            future.add_done_callback(lambda done: call_logged(functools.partial(callback, done)))

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[..., _T],
        *args: Any,
    ) -> asyncio.Future[_T]:
        """Run `func` in a thread of `executor`, or of the loop's own if that is None."""
        return self.asyncio_loop.run_in_executor(executor, func, *args)

    def set_default_executor(self, executor: concurrent.futures.ThreadPoolExecutor) -> None:
        """Have `run_in_executor(None, ...)` use `executor`."""
        self.asyncio_loop.set_default_executor(executor)


class PeriodicCallback:
    """Call something again and again, as long as the loop runs.

    A call that takes longer than the period does not pile up: the turns that it missed are left
    out. If the callback returns an awaitable, the next turn comes after its end.

    Args:
        callback: What to call; its exceptions are logged.
        callback_time: The period, in milliseconds or as a `timedelta`.
        jitter: By which share of the period the next call may move either way together, such as
            0.1 for five percent earlier to five percent later.

    Raises:
        ValueError: The period is not positive.

    Source: `tornado.ioloop.PeriodicCallback`.
    """

    def __init__(
        self,
        callback: Callable[[], Any],
        callback_time: float | datetime.timedelta,
        jitter: float = 0,
    ) -> None:
        if isinstance(callback_time, datetime.timedelta):
            callback_time = callback_time / datetime.timedelta(milliseconds=1)
        if callback_time <= 0:
            raise ValueError(
                f"a period of {callback_time} ms would never end a turn; give a positive one"
            )
        self.callback = callback
        self.callback_time = callback_time
        self.jitter = jitter
        self.io_loop = IOLoop.current(instance=False)
        self._timeout: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        self._run = 0

    def start(self) -> None:
        """Begin; the first call comes after one period."""
        self.stop()
        self.io_loop = IOLoop.current()
        self._run += 1
        self._next_s = self.io_loop.asyncio_loop.time()
        self._plan(self._run)

    def stop(self) -> None:
        """End; a call that has begun is not cancelled."""
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def is_running(self) -> bool:
        """Return whether it has been started and not been stopped."""
        return self._timeout is not None

    async def _call(self, run: int) -> None:
        if self._timeout is None or run != self._run:
            return  # stopped since the timer fired
        try:
            result = self.callback()
            if inspect.isawaitable(result):
                await result
        except Exception:
            app_log.exception("Exception in callback %r", self.callback)
        finally:
            if self._timeout is not None and run == self._run:
                self._plan(run)

    def _plan(self, run: int) -> None:
        """Set the timer for the next turn, measured from the start of the last."""
        loop = IOLoop.current().asyncio_loop
        now_s = loop.time()
        period_s = self.callback_time / 1000
        if self.jitter:
            period_s *= 1 + self.jitter * (random.random() - 0.5)
        missed = max(0, math.floor((now_s - self._next_s) / period_s))
        self._next_s += (missed + 1) * period_s
        self._timeout = loop.call_at(self._next_s, call_logged, functools.partial(self._call, run))


def call_logged(call: Callable[[], Any]) -> None:
    """Make `call`, inside a running loop, and log what it raises as the application's mistake.

    What it returns is awaited by a task of its own, if it can be.
    """
    try:
        result = call()
        if not inspect.isawaitable(result):
            return
        task = asyncio.ensure_future(result)
    except asyncio.CancelledError:
        return
    except Exception:
        app_log.exception("Exception in callback %r", call)
        return
    _running_tasks.add(task)
    task.add_done_callback(functools.partial(_log_outcome, call))


def _log_outcome(call: Callable[[], Any], task: asyncio.Future[Any]) -> None:
    """Log the exception of a task that `call_logged` has started."""
    _running_tasks.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        app_log.error("Exception in callback %r", call, exc_info=error)


async def _await_result(
    func: Callable[[], Awaitable[_T] | None], timeout: float | None
) -> _T | None:
    """Await what `func` returns, for `timeout` seconds at most."""
    try:
        async with asyncio.timeout(timeout) as limit:
            result = func()
            if result is None:
                return None
            if not inspect.isawaitable(result):
                raise TypeError(
                    f"run_sync needs a function that returns an awaitable or None, not {result!r}"
                )
            return await result
    except TimeoutError as error:
        if not limit.expired():
            raise  # it is the function's own
        raise TimeoutError(f"Operation timed out after {timeout} seconds") from error


def _loop_of_this_thread() -> asyncio.AbstractEventLoop | None:
    """Return the loop set for this thread, None if there is none or it is closed.

    `asyncio.get_event_loop` would make a loop where none is set, with a DeprecationWarning on
    Python 3.12 and 3.13; from 3.14 on it raises RuntimeError, and asking for the policy warns.
    """
    loop: asyncio.AbstractEventLoop | None
    if sys.version_info >= (3, 14):
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            return None
    else:
        thread_state = getattr(asyncio.get_event_loop_policy(), "_local", None)
        loop = getattr(thread_state, "_loop", None)
    return None if loop is None or loop.is_closed() else loop
