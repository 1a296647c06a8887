"""The parent of several workers: real processes, real signals."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.processes import Process, is_alive, python, running

SCRIPT = """
import os, signal, sys
from edgeserver.runtime.processes import run_workers
from edgeserver.runtime.supervisor import Limits

def say(line):
    os.write(1, (line + "\\n").encode())

def wait(lifeline):
    os.read(lifeline, 1)
    say(f"orphan {os.getpid()}")

def stop(*_):
    say(f"stopped {os.getpid()}")
    raise SystemExit(0)

class Queues:
    def open(self, place): pass
    def release(self, place): pass
    def drop(self, place): pass
    def close(self): pass

def body(link):
    ready, lifeline = link.ready, link.lifeline
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, lambda *_: say(f"reloaded {os.getpid()}"))
    BODY
    ready("a thing")
    say(f"serving {os.getpid()}")
    wait(lifeline)
    return 0

code = run_workers(
    3, body, limits=Limits(stop_timeout_s=TIMEOUT, worker_timeout_s=STUCK, start_timeout_s=START),
    queues=Queues(), shared_queue=True, on_ready=lambda said: say("ready: " + said), say=say,
)
say(f"parent ends with {code}")
sys.exit(code)
"""


def _command(
    body: str = "pass", timeout_s: float = 20.0, stuck_s: float = 0.0, start_s: float = 0.0
) -> list[str]:
    """Return the command of a parent whose workers first run `body`."""
    script = SCRIPT.replace("BODY", body).replace("TIMEOUT", str(timeout_s))
    return python("-c", script.replace("STUCK", str(stuck_s)).replace("START", str(start_s)))


def _nth_worker(process: Process, number: int) -> int:
    """Return the process id of the worker that was the `number`th to serve."""
    return int(process.wait_for("serving ", times=number).split()[1])


def _three_workers(process: Process) -> list[int]:
    """Wait for the start, and return the process ids of the workers."""
    process.wait_for("ready: a thing")
    return [_nth_worker(process, number) for number in (1, 2, 3)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_stops_all(tmp_path: Path, number: signal.Signals) -> None:
    """TERM or INT to the parent ends every worker gracefully, and then itself with 0."""
    with running(_command(), tmp_path) as process:
        workers = _three_workers(process)
        process.send(number)
        assert process.wait() == 0
        assert sorted(workers) == sorted(
            int(pid) for pid in re.findall(r"stopped ([0-9]+)", process.out)
        )
        assert process.out.count("ready: ") == 1


def test_hup_reaches_every_worker(tmp_path: Path) -> None:
    """HUP is passed on, and ends nobody."""
    with running(_command(), tmp_path) as process:
        workers = _three_workers(process)
        process.send(signal.SIGHUP)
        process.wait_for("reloaded", times=3)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert {int(pid) for pid in re.findall(r"reloaded ([0-9]+)", process.out)} == set(workers)


def test_a_killed_worker_is_started_again(tmp_path: Path) -> None:
    """A worker that is killed is replaced, and the operator is told."""
    with running(_command(), tmp_path) as process:
        workers = _three_workers(process)
        os.kill(workers[0], signal.SIGKILL)
        process.wait_for("was killed by signal 9; starting it again at once")
        assert _nth_worker(process, 4) not in workers
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert process.out.count("stopped") == 3


@pytest.mark.parametrize(
    ("body", "code"),
    [("return 2", 2), ("return 3", 3), ("sys.exit('no')", 3), ("1 / 0", 3)],
    ids=["configuration", "start", "exits", "raises"],
)
def test_a_worker_that_cannot_start_stops_all(tmp_path: Path, body: str, code: int) -> None:
    """The first worker's failure is said once, is the parent's exit code, and starts no other."""
    with running(_command(f"say('trying'); {body}"), tmp_path) as process:
        assert process.wait() == code
        assert process.out.count("trying") == 1
        assert "ready" not in process.out
        assert ("ZeroDivisionError" in process.err) == ("/" in body)


def test_a_worker_that_leaves_a_process_behind(tmp_path: Path) -> None:
    """What a worker forked keeps its pipe open; that it has ended is noticed all the same."""
    body = "os.fork() or os.read(lifeline, 1) or os._exit(0); return 3"
    with running(_command(body), tmp_path) as process:
        assert process.wait() == 3
        assert "ready" not in process.out


def test_a_restarted_worker_that_cannot_start_is_tried_again(tmp_path: Path) -> None:
    """An application that was broken meanwhile leaves the others serving, and comes back."""
    (tmp_path / "works").touch()
    body = "say('trying')\n    if not os.path.exists('works'): return 3"
    with running(_command(body), tmp_path) as process:
        workers = _three_workers(process)
        (tmp_path / "works").unlink()
        os.kill(workers[1], signal.SIGKILL)
        process.wait_for("ended with code 3; starting it again in 0.5 s")
        (tmp_path / "works").touch()
        assert _nth_worker(process, 4) not in workers
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_usr2_replaces_every_worker(tmp_path: Path) -> None:
    """A roll leaves as many workers as before, all of them new, and the old ones end gracefully."""
    with running(_command(), tmp_path) as process:
        workers = _three_workers(process)
        process.send(signal.SIGUSR2)
        process.wait_for("SIGUSR2: all workers were replaced")
        assert not {_nth_worker(process, number) for number in (4, 5, 6)} & set(workers)
        process.wait_for("stopped", times=3)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert process.out.count("stopped") == 6


def test_what_an_application_does_at_exit(tmp_path: Path) -> None:
    """A worker that ends runs what was registered with `atexit`, as any program does."""
    body = "import atexit; atexit.register(say, 'flushed'); ready('a thing'); return 0"
    with running(_command(body), tmp_path) as process:
        process.wait_for("flushed")
        process.send(signal.SIGTERM)
        process.wait()


def test_ttin_and_ttou_change_the_number_of_workers(tmp_path: Path) -> None:
    """One worker more, then one fewer: the others are not disturbed."""
    with running(_command(), tmp_path) as process:
        _three_workers(process)
        process.send(signal.SIGTTIN)
        fourth = _nth_worker(process, 4)
        process.send(signal.SIGTTOU)
        process.wait_for(f"stopped {fourth}")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert process.out.count("stopped") == 4


STUCK = {
    "asleep": "time.sleep(1000)",
    "holds-the-interpreter": "__import__('re').match('(a+)+b', 'a' * 60)",
}


@pytest.mark.parametrize("how", STUCK)
def test_a_worker_that_is_stuck_is_replaced(tmp_path: Path, how: str) -> None:
    """Its stacks are printed, whatever holds it, and another takes its place."""
    (tmp_path / "first").touch()
    body = (
        "import time\n"
        "    def stick():\n"
        f"        {STUCK[how]}\n"
        "    if link.place == 2 and os.path.exists('first'):\n"
        "        os.unlink('first'); ready('a thing'); say(f'serving {os.getpid()}'); stick()\n"
        "    import threading\n"
        "    def beat():\n"
        "        while True: link.beat(); time.sleep(0.1)\n"
        "    threading.Thread(target=beat, daemon=True).start()"
    )
    with running(_command(body, stuck_s=2.0), tmp_path) as process:
        workers = _three_workers(process)
        process.wait_for("has done nothing for 2 s (--worker-timeout)")
        process.wait_for("in stick")
        assert _nth_worker(process, 4) not in workers
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_a_start_that_never_ends(tmp_path: Path) -> None:
    """What it waits for is said, its stacks are printed, and the code is that of a failed start."""
    body = "link.waits('a database'); import time; time.sleep(1000)"
    with running(_command(body, start_s=2.5), tmp_path) as process:
        process.wait_for("is still starting: it waits for a database")
        assert process.wait() == 3
        assert "has not started in 2.5 s (--start-timeout): it waits for a database" in process.out
        assert "in body" in process.err


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """Workers that take their time are killed when the operator insists."""
    body = "signal.signal(signal.SIGTERM, lambda *_: say('busy'))"
    with running(_command(body, timeout_s=1000), tmp_path) as process:
        workers = _three_workers(process)
        process.send(signal.SIGTERM)
        process.wait_for("busy", times=3)
        process.send(signal.SIGTERM)
        process.wait_for("asked again to stop")
        process.wait_for("busy", times=6)
        process.send(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert "killing it" in process.out
        assert not any(is_alive(pid) for pid in workers)


def test_a_second_signal_lets_workers_end_by_themselves(tmp_path: Path) -> None:
    """A worker that hears the second signal ends at once in its own way, and is not killed."""
    body = (
        "asked = []\n"
        "    def insist(*_):\n"
        "        asked.append(1)\n"
        "        say('busy')\n"
        "        if len(asked) == 2: say('flushed'); os._exit(143)\n"
        "    signal.signal(signal.SIGTERM, insist)"
    )
    with running(_command(body, timeout_s=1000), tmp_path) as process:
        _three_workers(process)
        process.send(signal.SIGTERM)
        process.wait_for("busy", times=3)
        process.send(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert process.out.count("flushed") == 3
        assert "killing it" not in process.out


def test_workers_that_do_not_stop_are_killed(tmp_path: Path) -> None:
    """The time limit of a stop holds without a second signal."""
    body = "signal.signal(signal.SIGTERM, lambda *_: say('busy'))"
    with running(_command(body, timeout_s=0.01), tmp_path) as process:
        workers = _three_workers(process)
        process.send(signal.SIGTERM)
        process.wait()
        assert not any(is_alive(pid) for pid in workers)


def test_workers_notice_that_the_parent_is_gone(tmp_path: Path) -> None:
    """A parent that is killed leaves nobody behind."""
    with running(_command(), tmp_path) as process:
        workers = _three_workers(process)
        process.send(signal.SIGKILL)
        process.wait_for("orphan", times=3)
        assert {int(pid) for pid in re.findall(r"orphan ([0-9]+)", process.out)} == set(workers)


def test_an_interrupt_from_the_terminal_counts_once(tmp_path: Path) -> None:
    """INT to a worker itself does nothing: the parent turns the terminal's into one TERM."""
    with running(_command(), tmp_path) as process:
        for pid in _three_workers(process):
            os.kill(pid, signal.SIGINT)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert process.out.count("stopped") == 3


@pytest.mark.parametrize("moment", ["before", "after_in_parent", "after_in_child"])
@pytest.mark.parametrize("nth", [1, 2], ids=["first", "second"])
def test_a_stop_in_the_middle_of_a_fork(tmp_path: Path, moment: str, nth: int) -> None:
    """TERM that comes while a worker is made reaches that worker too, at any moment."""
    hook = f"""
import os, signal
parent, forks = os.getpid(), []
def hear():
    if len(forks) == {nth}:
        os.kill(parent, signal.SIGTERM)
os.register_at_fork(before=lambda: forks.append(None))
os.register_at_fork({moment}=hear)
"""
    script = _command(timeout_s=1000)
    script[-1] = hook + script[-1]
    with running(script, tmp_path) as process:
        assert process.wait() == 0
        assert "parent ends with 0" in process.out
        assert "killing" not in process.out + process.err
        assert "orphan" not in process.out
