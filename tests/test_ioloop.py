"""Tests of `edgeserver.ioloop`: the face over asyncio's loops."""

import asyncio
import concurrent.futures
import datetime
import gc
import logging
import signal
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest
import uvloop

from edgeserver.ioloop import IOLoop, PeriodicCallback
from tests import inside


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def face(request):
    """Give the face of a new loop that is set for this thread."""
    loop = request.param()
    asyncio.set_event_loop(loop)
    yield IOLoop(asyncio_loop=loop)
    loop.close()
    asyncio.set_event_loop(None)


def run_turns(face):
    """Let the loop turn a few times, which is enough for everything that does not wait."""

    async def turns():
        for _ in range(20):
            await asyncio.sleep(0)

    face.run_sync(turns)


LOOP_OF_THREAD = (
    "asyncio.get_event_loop()"
    if sys.version_info >= (3, 14)
    else "asyncio.get_event_loop_policy().get_event_loop()"
)
"""What finds the loop that is set, and makes none: how differs by version, without a warning."""


def run_program(body, *, warnings="error"):
    """Run `body` in a fresh interpreter where every warning is an error; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_sets_nothing():
    """Importing makes no loop, sets no policy and does not even load uvloop."""
    out = run_program(
        """
        import asyncio, sys
        import edgeserver.ioloop, edgeserver.tcpserver
        assert asyncio.events._event_loop_policy is None
        print("uvloop" in sys.modules)
        """
    )
    assert out == "False\n"


def test_current_makes_a_loop_where_none_is_set():
    """A plain program gets asyncio's loop, set for the thread, without a warning."""
    out = run_program(
        f"""
        import asyncio
        from edgeserver.ioloop import IOLoop
        face = IOLoop.current()
        assert IOLoop.current() is face is IOLoop.instance()
        assert {LOOP_OF_THREAD} is face.asyncio_loop
        print(type(face.asyncio_loop).__module__)
        face.close()
        assert IOLoop.current(instance=False) is None
        import sys
        print("uvloop" in sys.modules)
        """
    )
    assert out == "asyncio.unix_events\nFalse\n"


@pytest.mark.parametrize("tornado", [False, True], ids=["ours", "tornados"])
@pytest.mark.parametrize(
    "first", ["", "asyncio.set_event_loop(uvloop.new_event_loop())"], ids=["none-set", "set"]
)
def test_a_synchronous_program(first, tornado):
    """A server that merely listens leaves the same loop behind as Tornado's does."""
    package = "tornado" if tornado else "edgeserver"
    out = run_program(
        f"""
        import asyncio, uvloop
        from {package}.httpserver import HTTPServer
        from {package}.ioloop import IOLoop
        {first}
        HTTPServer(lambda request: None).listen(0, "127.0.0.1")
        loop = {LOOP_OF_THREAD}
        assert IOLoop.current().asyncio_loop is loop
        print(type(loop).__module__)
        """,
        # Tornado's own program warns on the first releases of Python 3.13.
        warnings="ignore" if tornado else "error",
    )
    assert out == ("uvloop\n" if first else "asyncio.unix_events\n")


def test_a_policy_is_asked():
    """A program that has chosen a policy gets its loops."""
    out = run_program(
        """
        import asyncio
        from edgeserver.ioloop import IOLoop
        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                print("asked")
                return super().new_event_loop()
        asyncio.set_event_loop_policy(Policy())
        IOLoop.current().close()
        """,
        # Policies themselves are deprecated since Python 3.14.
        warnings="error" if sys.version_info < (3, 14) else "ignore::DeprecationWarning",
    )
    assert out == "asked\n"


def test_current_is_the_set_loop(face):
    """A loop that is set for the thread is used, running or not."""
    assert IOLoop.current() is face
    assert face.run_sync(lambda: asyncio.sleep(0, IOLoop.current())) is face


async def test_current_is_the_running_loop():
    """Inside plain asyncio the running loop gets a face, always the same one."""
    assert IOLoop.current() is IOLoop.current(instance=False)
    assert IOLoop.current().asyncio_loop is asyncio.get_running_loop()


def test_current_in_another_thread():
    """A thread without a loop gets its own."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert executor.submit(IOLoop.current, False).result() is None
        theirs = executor.submit(IOLoop.current).result()
        executor.submit(theirs.close).result()
        executor.submit(IOLoop.clear_current).result()
    assert IOLoop.current(instance=False) is not theirs


def test_current_replaces_a_closed_loop(face):
    """A closed loop is of no use to anybody, so it does not count as set."""
    face.close()
    assert IOLoop.current(instance=False) is None
    new = IOLoop.current()
    assert new is not face
    new.close()


def test_constructor_can_leave_the_current_loop_alone(face):
    """`IOLoop(make_current=False)` makes a loop and sets nothing."""
    other = IOLoop(make_current=False)
    assert IOLoop.current() is face is not other
    other.make_current()
    assert IOLoop.current() is other
    IOLoop.clear_current()
    assert IOLoop.current(instance=False) is None
    other.close()


def test_faces_do_not_keep_loops_alive():
    """A loop that nobody uses any more is collected together with its face."""
    face = IOLoop(asyncio_loop=asyncio.new_event_loop())
    gone = weakref.ref(face)
    face.close()
    del face
    gc.collect()
    assert gone() is None


def test_start_and_stop(face):
    """`start` runs until a callback stops it; a stop before the start makes it return at once."""
    seen = []
    face.add_callback(lambda: (seen.append(1), face.stop()))
    face.start()
    face.stop()
    face.start()
    assert seen == [1]


async def add(a, *, b):
    """Return a sum, one turn later."""
    await asyncio.sleep(0)
    return a + b


def test_run_sync(face):
    """The result of the awaitable is returned, also of a future; None is fine too."""
    assert face.run_sync(lambda: add(1, b=2)) == 3
    assert face.run_sync(lambda: None) is None
    future = face.asyncio_loop.create_future()
    face.add_callback(future.set_result, 5)
    assert face.run_sync(lambda: future) == 5


def test_run_sync_raises_what_the_function_raises(face):
    """An exception comes through, whether raised at once or later."""

    async def later():
        await asyncio.sleep(0)
        raise TimeoutError("its own")

    with pytest.raises(ZeroDivisionError):
        face.run_sync(lambda: 1 / 0)
    with pytest.raises(TimeoutError, match="its own"):
        face.run_sync(later, timeout=60)
    with pytest.raises(TypeError, match="awaitable or None, not 3"):
        face.run_sync(lambda: 3)


def test_run_sync_cancels_at_its_timeout(face):
    """After the timeout the coroutine is cancelled and TimeoutError raised."""
    cancelled = []

    async def forever():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(TimeoutError, match=r"timed out after 0\.001 seconds"):
        face.run_sync(forever, timeout=0.001)
    assert cancelled == [True]


def test_run_sync_says_that_it_was_stopped(face):
    """A stop from elsewhere is a RuntimeError, not silence."""

    async def stopping():
        face.stop()
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        face.run_sync(stopping)
    for task in asyncio.all_tasks(face.asyncio_loop):
        task.cancel()
    face.run_sync(lambda: asyncio.sleep(0))


def test_add_callback_from_another_thread(face):
    """Another thread wakes the loop with `add_callback`, arguments included."""
    seen = []

    def note(value, *, stop):
        seen.append((value, threading.current_thread()))
        stop()

    thread = threading.Thread(target=lambda: face.add_callback(note, 1, stop=face.stop))
    face.add_callback(thread.start)
    face.start()
    thread.join()
    assert seen == [(1, threading.main_thread())]


def test_add_callback_from_signal(face):
    """A signal handler wakes the loop too."""
    old = signal.signal(signal.SIGUSR1, lambda *_: face.add_callback_from_signal(face.stop))
    try:
        face.add_callback(signal.raise_signal, signal.SIGUSR1)
        face.start()
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_add_callback_on_a_closed_loop(face):
    """A callback that comes too late is dropped, as another thread cannot know better."""
    face.close()
    face.add_callback(print, "never")


@pytest.mark.parametrize("name", ["add_callback", "spawn_callback"])
def test_callback_errors_are_logged(face, caplog, name):
    """Exceptions of functions and coroutines are the application's, and do not end the loop."""

    async def failing():
        await asyncio.sleep(0)
        raise KeyError("later")

    getattr(face, name)(lambda: 1 / 0)
    getattr(face, name)(failing)
    run_turns(face)
    records = [r for r in caplog.records if r.name == "edgeserver.application"]
    assert [r.exc_info[0] for r in records] == [ZeroDivisionError, KeyError]
    assert all(r.getMessage().startswith("Exception in callback") for r in records)
    assert all(r.levelno == logging.ERROR for r in records)


def test_cancelled_callbacks_are_not_errors(face, caplog):
    """A cancelled callback, coroutine or not, logs nothing."""

    def cancelled():
        raise asyncio.CancelledError

    async def cancelled_later():
        raise asyncio.CancelledError

    face.add_callback(cancelled)
    face.add_callback(cancelled_later)
    run_turns(face)
    assert caplog.records == []


@pytest.mark.parametrize(
    "plan",
    [
        lambda face, call: face.call_later(0.001, call, 1, b=2),
        lambda face, call: face.call_later(-1, call, 1, b=2),
        lambda face, call: face.call_at(face.time() + 0.001, call, 1, b=2),
        lambda face, call: face.add_timeout(face.time() + 0.001, call, 1, b=2),
        lambda face, call: face.add_timeout(int(face.time()), call, 1, b=2),
        lambda face, call: face.add_timeout(datetime.timedelta(milliseconds=1), call, 1, b=2),
    ],
    ids=["call_later", "past", "call_at", "deadline", "integer", "timedelta"],
)
def test_timeouts(face, plan):
    """Each way to plan a call makes it, with its arguments."""
    seen = []

    def call(a, *, b):
        seen.append((a, b))
        face.stop()

    handle = plan(face, call)
    face.start()
    assert seen == [(1, 2)]
    face.remove_timeout(handle)


def test_remove_timeout(face):
    """A removed timeout is never called."""
    face.remove_timeout(face.call_later(0, pytest.fail, "was removed"))
    face.call_later(0.001, face.stop)
    face.start()


def test_deadline_must_be_a_time(face):
    """Anything but a number or timedelta is a TypeError."""
    with pytest.raises(TypeError, match="not 'soon'"):
        face.add_timeout("soon", print)


def test_add_future(face):
    """The callback gets the future, of asyncio or of a thread; its errors are logged."""
    seen = []
    ours = face.asyncio_loop.create_future()
    theirs = concurrent.futures.Future()
    face.add_future(ours, lambda f: (seen.append(f), theirs.set_result(2)))
    face.add_future(theirs, lambda f: (seen.append(f), face.stop()))
    face.add_callback(ours.set_result, 1)
    face.start()
    assert seen == [ours, theirs]


def test_add_future_logs_errors(face, caplog):
    """An exception in the callback of a future is logged as the application's."""
    future = face.asyncio_loop.create_future()
    face.add_future(future, lambda f: 1 / 0)
    face.add_callback(future.set_result, None)
    run_turns(face)
    assert [r.name for r in caplog.records] == ["edgeserver.application"]


def test_run_in_executor(face):
    """A function runs in a thread, of the default executor or of another."""
    main = threading.get_ident()
    assert face.run_sync(lambda: face.run_in_executor(None, threading.get_ident)) != main
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert face.run_sync(lambda: face.run_in_executor(executor, max, 1, 2)) == 2
        face.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        assert face.run_sync(lambda: face.run_in_executor(None, max, 3, 2)) == 3
    face.run_sync(face.asyncio_loop.shutdown_default_executor)


def test_periodic_callback(face):
    """It is called again and again, through errors and coroutines, until it is stopped."""
    seen = []

    async def tick():
        seen.append(periodic.is_running())
        await asyncio.sleep(0)
        if len(seen) == 3:
            periodic.stop()
            face.stop()
        elif len(seen) == 2:
            raise KeyError("does not end it")

    periodic = PeriodicCallback(tick, datetime.timedelta(milliseconds=1), jitter=0.5)
    assert not periodic.is_running()
    periodic.start()
    face.start()
    run_turns(face)
    assert seen == [True, True, True]
    assert not periodic.is_running()


def test_periodic_callback_restarted_inside_runs_once(face):
    """A stop and start inside the callback does not double the calls."""
    seen = []

    def tick():
        seen.append(1)
        if len(seen) == 1:
            periodic.stop()
            periodic.start()
        if len(seen) == 4:
            face.stop()

    periodic = PeriodicCallback(tick, 1)
    periodic.start()
    face.start()
    assert len(asyncio.all_tasks(face.asyncio_loop)) <= 1
    assert periodic.is_running()
    periodic.stop()
    run_turns(face)
    assert len(seen) == 4


def test_periodic_callback_leaves_out_missed_turns(face):
    """After a long call the next turn is in the future, not a burst."""
    periodic = PeriodicCallback(face.stop, 1000)
    periodic.start()
    inside.miss_turns(periodic, 100)
    assert 0 < inside.until_next_s(periodic, face.asyncio_loop.time()) <= 1.1
    periodic.stop()


@pytest.mark.parametrize("period", [0, -1, datetime.timedelta(0)])
def test_periodic_callback_needs_a_period(period):
    """A period that is not positive would never end a turn of the loop."""
    with pytest.raises(ValueError, match="give a positive one"):
        PeriodicCallback(print, period)
