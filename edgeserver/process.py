"""Several processes from one: `fork_processes`, and which of them this one is.

Decides how children are started, watched and restarted. It must not know servers, sockets or
event loops: a loop cannot survive a fork, so the fork comes before the first one.
"""

from __future__ import annotations

import asyncio
import os
import sys

from edgeserver.support.loggers import gen_log

__all__ = ["cpu_count", "fork_processes", "task_id"]

DEFAULT_MAX_RESTARTS = 100

_task_id: int | None = None


def cpu_count() -> int:
    """Return the number of processors that this process may use, at least 1.

    Where a container or `taskset` allows some processors only, those are counted: more workers
    than processors only wait for each other.
    """
    try:
        return len(os.sched_getaffinity(0)) or 1
    except (AttributeError, OSError):  # not Linux, or not permitted
        return os.cpu_count() or 1


def task_id() -> int | None:
    """Return the number that `fork_processes` gave to this process, None in all others."""
    return _task_id


def fork_processes(num_processes: int | None, max_restarts: int | None = None) -> int:
    """Fork children that share what is open so far, such as listening sockets.

    Returns in the children only, each time with the child's number (0 and up). The parent stays
    inside and watches: a child that a signal or a status other than 0 has ended is started anew
    with the same number; when all have ended with status 0 the parent leaves with `sys.exit(0)`.
    No event loop may be made or used before this call. The `random` module reseeds itself in
    every child, as Python does after each fork.

    Args:
        num_processes: How many; None, 0 or less is one per processor.
        max_restarts: How many restarts, of all children together, before giving up; default 100.

    Raises:
        RuntimeError: There were too many restarts, this process is already such a child, or an
            event loop runs.

    Source: `tornado.process.fork_processes`.
    """
    _refuse_to_fork_here()
    if num_processes is None or num_processes <= 0:
        num_processes = cpu_count()
    if max_restarts is None:
        max_restarts = DEFAULT_MAX_RESTARTS
    gen_log.info("Starting %d processes", num_processes)
    children: dict[int, int] = {}
    for number in range(num_processes):
        if _start_child(number, children):
            return number
    restarts_left = max_restarts
    while children:
        number, failed = _wait_for_child(children)
        if not failed:
            continue
        if restarts_left <= 0:
            raise RuntimeError("Too many child restarts, giving up")
        restarts_left -= 1
        if _start_child(number, children):
            return number
    # Returning would run in the parent what was written for the children.
    sys.exit(0)


def _refuse_to_fork_here() -> None:
    """Raise where a fork would make children that cannot work."""
    if _task_id is not None:
        raise RuntimeError(
            f"fork_processes was called in child {_task_id} of an earlier call; call it once"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "fork_processes was called inside a running event loop, which cannot survive a fork; "
        "call it before asyncio.run or IOLoop.start"
    )


def _start_child(number: int, children: dict[int, int]) -> bool:
    """Fork; return True in the child, and note its id in the parent."""
    global _task_id
    pid = os.fork()
    if pid == 0:
        _task_id = number
        return True
    children[pid] = number
    return False


def _wait_for_child(children: dict[int, int]) -> tuple[int, bool]:
    """Wait until one of `children` ends; return its number and whether it failed."""
    while True:
        pid, status = os.wait()
        number = children.pop(pid, None)
        if number is not None:
            break  # else it is a process that somebody else has started
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        gen_log.warning("child %d (pid %d) killed by signal %d, restarting", number, pid, -code)
    elif code > 0:
        gen_log.warning("child %d (pid %d) exited with status %d, restarting", number, pid, code)
    else:
        gen_log.info("child %d (pid %d) exited normally", number, pid)
    return number, code != 0
