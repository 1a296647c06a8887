"""The threads and the way back: how many there are, who is woken, and how they end."""

import asyncio
import contextvars
import gc
import threading
import weakref
from typing import Any

import pytest

from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.adapters.wsgi.pool import Mailbox, ThreadPool
from edgeserver.errors import ConfigurationError
from tests.adapters import inside
from tests.adapters.serving import until
from tests.loops import on_both_loops


class Pool:
    """A pool with its mailbox, closed at the end of a test."""

    def __init__(self, size: int) -> None:
        self.pool = ThreadPool(size, "test")
        self.mailbox = Mailbox(asyncio.get_running_loop())

    def submit(self, job: Any) -> None:
        self.pool.submit(job, self.mailbox)

    async def __aenter__(self) -> "Pool":
        return self

    async def __aexit__(self, *error: object) -> None:
        assert await self.pool.shutdown(20)


@on_both_loops
async def test_jobs_that_block_get_a_thread_each() -> None:
    """As many jobs run at once as there are threads, and the rest in order after them."""
    meeting = threading.Barrier(4)
    done: list[int] = []
    async with Pool(4) as pool:
        for number in range(12):
            pool.submit(lambda number=number: (meeting.wait(20), done.append(number)))
        await until(lambda: len(done) == 12)
        assert pool.pool.running == 4
    assert not meeting.broken
    for start in (0, 4, 8):
        assert sorted(done[start : start + 4]) == list(range(start, start + 4))


@on_both_loops
async def test_a_thread_that_waits_is_woken_again() -> None:
    """Threads are kept, and none is started where one waits."""
    async with Pool(8) as pool:
        for _ in range(20):
            done = asyncio.Event()
            pool.submit(lambda done=done: pool.mailbox.post(done.set))
            await asyncio.wait_for(done.wait(), 20)
            await until(lambda: inside.idle_threads(pool.pool) == pool.pool.running)
        assert pool.pool.running == 1


async def test_many_jobs() -> None:
    """No job is lost or done twice, whoever wakes whom."""
    done: list[int] = []
    async with Pool(4) as pool:
        for round_number in range(200):
            for number in range(10):
                pool.submit(lambda n=round_number * 10 + number: done.append(n))
            if round_number % 3 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(done) == 2000)
    assert sorted(done) == list(range(2000))


async def test_a_job_that_raises_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    """What a job should never raise is logged, and the thread goes on."""
    async with Pool(1) as pool:
        done = asyncio.Event()
        pool.submit(lambda: 1 / 0)
        pool.submit(lambda: pool.mailbox.post(done.set))
        await asyncio.wait_for(done.wait(), 20)
        assert pool.pool.running == 1
    assert "ZeroDivisionError" in caplog.text


async def test_the_mailbox_calls_in_order_in_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """What threads post is called in the loop's thread, in order; an error stops nobody."""
    called: list[Any] = []
    mailbox = Mailbox(asyncio.get_running_loop())

    def work() -> None:
        for number in range(100):
            mailbox.post(lambda number=number: called.append((number, threading.get_ident())))
            mailbox.post(lambda: 1 / 0)

    thread = threading.Thread(target=work)
    thread.start()
    await until(lambda: len(called) == 100)
    thread.join()
    assert called == [(number, threading.get_ident()) for number in range(100)]
    await until(lambda: len(caplog.records) == 100)


async def test_calls_have_no_request_s_context() -> None:
    """The loop's turn that serves many requests has the context of none."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []
    variable.set("mine")
    Mailbox(asyncio.get_running_loop()).post(lambda: seen.append(variable.get()))
    await until(lambda: bool(seen))
    assert seen == ["none"]


def test_a_loop_that_is_closed_is_told_nothing() -> None:
    """A thread that ends after its loop posts in vain, without an error."""
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()
    mailbox.post(lambda: None)


async def test_shutdown_waits_for_what_has_begun_and_drops_the_rest() -> None:
    """A job that runs is waited for; one that has not begun never does."""
    begun, go_on, done = threading.Event(), threading.Event(), []
    pool, mailbox = ThreadPool(1), Mailbox(asyncio.get_running_loop())
    pool.submit(lambda: (begun.set(), go_on.wait(20), done.append(1)), mailbox)
    pool.submit(lambda: done.append(2), mailbox)
    assert await asyncio.to_thread(begun.wait, 20)
    assert not await pool.shutdown(0)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(lambda: done.append(3), mailbox)
    ending = asyncio.create_task(pool.shutdown(20))
    go_on.set()
    assert await ending
    assert done == [1]
    assert pool.running == 0


async def test_shutdown_of_a_pool_that_was_never_used() -> None:
    """There is nothing to wait for, and a second time neither."""
    adapter = WSGIAdapter(lambda environ, start_response: [])
    assert await adapter.shutdown()
    assert await adapter.shutdown()


async def test_a_forgotten_adapter_ends_its_threads() -> None:
    """Threads do not outlive the server that they belong to."""
    adapter = WSGIAdapter(lambda environ, start_response: [])
    pool, done = inside.pool_of(adapter), []
    pool.submit(lambda: done.append(1), Mailbox(asyncio.get_running_loop()))
    await until(lambda: bool(done))
    gone = weakref.ref(adapter)
    del adapter
    gc.collect()
    assert gone() is None
    await until(lambda: pool.running == 0)


OPTIONS = [
    pytest.param(
        {"threads": 0}, "threads=0 is not a count: give .* from 1 to 1024", id="no-threads"
    ),
    pytest.param({"threads": 5000}, "threads=5000", id="too-many-threads"),
    pytest.param({"threads": "8"}, "threads='8' is not a count", id="threads-text"),
    pytest.param({"threads": True}, "threads=True is not a count", id="threads-bool"),
    pytest.param({"root_path": "shop"}, "root_path='shop' is not an absolute path", id="root"),
    pytest.param({"root_path": None}, "root_path=None", id="root-none"),
]


@pytest.mark.parametrize(("options", "part"), OPTIONS)
def test_wrong_options(options: dict[str, Any], part: str) -> None:
    """An option that cannot work is refused by name."""
    with pytest.raises(ConfigurationError, match=part):
        WSGIAdapter(lambda environ, start_response: [], **options)


@pytest.mark.parametrize("timeout", [-1, float("nan"), None, "5"])
async def test_a_shutdown_in_no_time(timeout: Any) -> None:
    """A time that is none is refused by name, before anything is closed."""
    adapter = WSGIAdapter(lambda environ, start_response: [])
    with pytest.raises(ConfigurationError, match=f"timeout={timeout!r} is not a time"):
        await adapter.shutdown(timeout)
    assert await adapter.shutdown(0)


def test_an_interpreter_that_ends_waits_for_no_thread() -> None:
    """A process ends although a thread waits for jobs and another is in the middle of one."""
    import subprocess
    import sys

    program = """
import asyncio, threading
from edgeserver.adapters.wsgi.pool import Mailbox, ThreadPool
async def main():
    pool, mailbox = ThreadPool(2), Mailbox(asyncio.get_running_loop())
    begun = threading.Event()
    pool.submit(lambda: (begun.set(), threading.Event().wait()), mailbox)
    pool.submit(lambda: None, mailbox)
    await asyncio.to_thread(begun.wait)
asyncio.run(main())
print("ended")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert (ended.stdout, ended.stderr) == ("ended\n", "")
