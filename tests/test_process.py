"""Tests of `edgeserver.process`, with real children of fresh interpreters."""

import os
import subprocess
import sys
import textwrap

import pytest

from edgeserver.process import cpu_count, fork_processes, task_id

PRELUDE = """
import logging, os, signal, sys
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
from edgeserver.process import fork_processes, task_id
"""


def run_program(body, *, status=0):
    """Run `body` in a fresh interpreter where every warning is an error; return its two outputs."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_children_are_numbered_and_parent_exits():
    """Each child gets its number, and the parent leaves with 0 without running on."""
    out, err = run_program(
        """
        number = fork_processes(3)
        assert number == task_id()
        os.write(1, b"%d" % number)
        os._exit(0)
        """
    )
    assert sorted(out) == ["0", "1", "2"]
    assert "INFO edgeserver.general Starting 3 processes" in err
    assert err.count("exited normally") == 3


def test_parent_has_no_task_id():
    """The parent's exit is a SystemExit with status 0, and it is no task."""
    out, _ = run_program(
        """
        try:
            fork_processes(1)
        except SystemExit as end:
            os.write(1, f"parent {end.code} {task_id()}".encode())
            raise
        os._exit(0)
        """
    )
    assert out == "parent 0 None"


@pytest.mark.parametrize(
    ("crash", "message"),
    [
        ("os._exit(3)", r"exited with status 3, restarting"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"killed by signal 9, restarting"),
    ],
    ids=["status", "signal"],
)
def test_crashed_child_is_restarted(tmp_path, crash, message):
    """A child that ends abnormally is started again with the same number."""
    _, err = run_program(
        f"""
        number = fork_processes(2)
        with open({str(tmp_path / "starts")!r}, "a") as file:
            file.write(str(number))
        if number == 1 and open({str(tmp_path / "starts")!r}).read().count("1") < 3:
            {crash}
        os._exit(0)
        """
    )
    assert sorted((tmp_path / "starts").read_text()) == ["0", "1", "1", "1"]
    assert err.count("WARNING edgeserver.general child 1 (pid ") == 2
    assert err.count(message) == 2


def test_gives_up_after_too_many_restarts(tmp_path):
    """More restarts than allowed are a RuntimeError in the parent."""
    out, _ = run_program(
        f"""
        try:
            fork_processes(1, max_restarts=2)
        except RuntimeError as error:
            os.write(1, str(error).encode())
            os._exit(0)
        with open({str(tmp_path / "starts")!r}, "a") as file:
            file.write("x")
        os._exit(1)
        """
    )
    assert (tmp_path / "starts").read_text() == "xxx"
    assert out == "Too many child restarts, giving up"


def test_restarts_are_a_hundred_by_default(tmp_path):
    """Without `max_restarts` the hundredth restart still happens, the next does not."""
    run_program(
        f"""
        try:
            fork_processes(1)
        except RuntimeError:
            os._exit(0)
        with open({str(tmp_path / "starts")!r}, "a") as file:
            file.write("x")
        os._exit(1)
        """
    )
    assert len((tmp_path / "starts").read_text()) == 101


def test_other_children_are_not_restarted():
    """A process that the program itself had started before does not count as a child."""
    out, err = run_program(
        """
        if os.fork() == 0:
            os._exit(7)
        number = fork_processes(1)
        os.write(1, b"%d" % number)
        os._exit(0)
        """
    )
    assert out == "0"
    assert "restarting" not in err


@pytest.mark.parametrize("count", ["None", "0", "-1"])
def test_count_defaults_to_processors(count):
    """None, zero and less start one child per processor."""
    out, _ = run_program(f"fork_processes({count}); os.write(1, b'x'); os._exit(0)")
    assert len(out) == cpu_count()


def test_random_numbers_differ_between_children():
    """Children do not draw the same random numbers, even after a seed."""
    out, _ = run_program(
        """
        import random
        random.seed(1)
        fork_processes(2)
        os.write(1, b"%d\\n" % random.getrandbits(64))
        os._exit(0)
        """
    )
    first, second = out.split()
    assert first != second


def test_asyncio_runs_in_children():
    """A loop made after the fork works, and so do the face's current loop and its warnings."""
    out, _ = run_program(
        """
        import asyncio
        from edgeserver.ioloop import IOLoop
        number = fork_processes(2)
        IOLoop.current().run_sync(lambda: asyncio.sleep(0))
        asyncio.run(asyncio.sleep(0))
        os.write(1, b"%d" % number)
        IOLoop.current().close()
        """
    )
    assert sorted(out) == ["0", "1"]


def test_refuses_a_second_fork():
    """A child cannot fork children of its own this way."""
    out, _ = run_program(
        """
        fork_processes(1)
        try:
            fork_processes(1)
        except RuntimeError as error:
            os.write(1, str(error).encode())
        os._exit(0)
        """
    )
    assert "was called in child 0 of an earlier call" in out


async def test_refuses_to_fork_inside_a_loop():
    """A running loop is refused before anything is forked."""
    with pytest.raises(RuntimeError, match="inside a running event loop"):
        fork_processes(2)


def test_no_task_outside():
    """A process that was not forked here has no task id."""
    assert task_id() is None


def test_cpu_count_respects_affinity():
    """Processors that this process may not use are not counted."""
    assert 1 <= cpu_count() <= (os.cpu_count() or 1)
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    program += "from edgeserver.process import cpu_count; print(cpu_count())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
