"""Runs asynchronous tests on both event loops, asyncio's own and uvloop's.

Decides nothing about what is tested. A test's arguments that have an `aclose` are closed inside
the loop at its end.
"""

import asyncio
import functools
import inspect

import pytest
import uvloop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def _run(test, args, kwargs):
    try:
        await test(*args, **kwargs)
    finally:
        for value in kwargs.values():
            if hasattr(value, "aclose"):
                await value.aclose()


def on_both_loops(test):
    """Make one test for each loop of an async test, or of every async test of a class."""
    if inspect.isclass(test):
        for name, method in list(vars(test).items()):
            if inspect.iscoroutinefunction(method):
                setattr(test, name, on_both_loops(method))
        return test

    @functools.wraps(test)
    def run(*args, loop_factory, **kwargs):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_run(test, args, kwargs))

    del run.__wrapped__  # else it would be taken for the coroutine function again
    signature = inspect.signature(test)
    extra = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])
    return pytest.mark.parametrize("loop_factory", LOOPS.values(), ids=LOOPS.keys())(run)
