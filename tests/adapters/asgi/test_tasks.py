"""What an application sees of the task that it runs in, and of the coroutines that it is given."""

import asyncio
import contextvars
import gc
import inspect
import weakref
from importlib.util import find_spec

import anyio
import pytest

from tests.adapters.asgi.serving import GET, answer, serving, split
from tests.adapters.serving import until
from tests.loops import on_both_loops

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"ok"}
SEEN = contextvars.ContextVar("SEEN", default="unset")


async def _in_all_tasks(receive, send):
    """It is one of all tasks, before it first waits and afterwards."""
    task = asyncio.current_task()
    found = [task in asyncio.all_tasks()]
    await asyncio.sleep(0)
    return [*found, task in asyncio.all_tasks(), task is asyncio.current_task()]


async def _plain_task(receive, send):
    """It is asyncio's own kind of task, runs a coroutine, and can be referred to weakly."""
    task = asyncio.current_task()
    reference = weakref.ref(task)
    return [type(task) is asyncio.Task, asyncio.iscoroutine(task.get_coro()), reference() is task]


async def _coroutines(receive, send):
    """Both are coroutine functions, so that their calls can be made tasks of."""
    returned = receive()
    found = asyncio.iscoroutine(returned)
    returned.close()
    return [inspect.iscoroutinefunction(receive), inspect.iscoroutinefunction(send), found]


async def _lazy(receive, send):
    """A call that is not awaited does nothing: the message that it was given is not taken."""
    send({"type": "no such message"}).close()
    receive().close()
    return [(await receive())["type"] == "http.request"]


async def _tasks_of_both(receive, send):
    """They may run in tasks of their own."""
    message = await asyncio.create_task(receive())
    waiting = asyncio.create_task(receive())
    await asyncio.sleep(0)
    found = [message["type"] == "http.request", not waiting.done()]
    waiting.cancel()
    return found


async def _context(receive, send):
    """What it sets is there after it has waited, and in the tasks that it makes."""

    async def child():
        return SEEN.get()

    SEEN.set("mine")
    await asyncio.sleep(0)
    return [SEEN.get() == "mine", await asyncio.create_task(child()) == "mine"]


async def _own_cancellation(receive, send):
    """What it waits for may be cancelled in its hands, and so may it itself, if it takes that."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    task = asyncio.current_task()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    return [task.cancelling() == 1, task.uncancel() == 0]


async def _library(receive, send):
    """The library that is found is asyncio, before the first wait and after it."""
    import sniffio

    found = [sniffio.current_async_library() == "asyncio"]
    await asyncio.sleep(0)
    return [*found, sniffio.current_async_library() == "asyncio"]


async def _anyio_task(receive, send):
    """The present task of anyio's is this one, and its deadlines hold."""
    with anyio.move_on_after(0) as scope:
        await anyio.sleep_forever()
    return [anyio.get_current_task().id == id(asyncio.current_task()), scope.cancelled_caught]


def _named(observer):
    """Return the id of a case."""
    return observer.__name__.strip("_")


OBSERVERS = [
    _in_all_tasks,
    _plain_task,
    _coroutines,
    _lazy,
    _tasks_of_both,
    _context,
    _own_cancellation,
    pytest.param(
        _library, marks=pytest.mark.skipif(not find_spec("sniffio"), reason="needs sniffio")
    ),
    _anyio_task,
]


@on_both_loops
class TestObserved:
    @pytest.mark.parametrize("observe", OBSERVERS, ids=_named)
    async def test_an_application_finds_what_asyncio_promises(self, observe):
        """The task, `receive` and `send` are what any coroutine of asyncio would find."""
        found = []

        async def app(scope, receive, send):
            found.extend(await observe(receive, send))
            await send(START)
            await send(BODY)

        async with serving(app) as served:
            assert split(await served.ask())[::2] == (200, b"ok")
        assert found, "it was not called"
        assert all(found), found

    async def test_a_task_that_cancels_itself_cuts_the_connection(self, caplog):
        """There is no answer, and no complaint: that was the application's own wish."""

        async def app(scope, receive, send):
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

        async with serving(app) as served:
            assert await served.ask() == b""
        assert not caplog.records

    async def test_nothing_of_a_call_is_left(self):
        """Once a request is answered, its task and its scope are nobody's any more."""
        kept = []

        class Scope(dict):
            """One that can be referred to weakly."""

        async def app(scope, receive, send):
            marker = scope["state"]["marker"] = Scope()
            kept.append((weakref.ref(asyncio.current_task()), weakref.ref(marker)))
            await asyncio.sleep(0)
            await answer(send)

        async with serving(app) as served:
            await served.ask(GET)
            await until(lambda: not served.adapter.calls)
            await until(lambda: gc.collect() >= 0 and all(not ref() for ref in kept[0]))
