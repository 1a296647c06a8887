"""Runs selected tests in worker processes, one for each of Tornado's test modules.

Decides when a worker is given up and another one started; what a test is, `worker.py` knows.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["Runner"]

ROOT = Path(__file__).resolve().parents[2]
TEST_TIMEOUT_S = 25
RUN_TIMEOUT_S = 600
ASYNC_TEST_TIMEOUT_S = 15


class Runner:
    """The results of one run over one server.

    Args:
        server: `module:attribute` of the class that replaces `HTTPServer`.
        strict_logs: Whether log records have to have Tornado's very words.

    Attributes:
        results: What `worker.py` says of each test, by its id.
    """

    def __init__(self, server, *, strict_logs=False):
        self.server = server
        self.strict_logs = strict_logs
        self.results = {}
        self._deadline_s = time.monotonic() + RUN_TIMEOUT_S

    def run(self, tests):
        """Run `tests` until each has a result."""
        by_module = {}
        for test in tests:
            by_module.setdefault(test.module, []).append(test)
        for module, left in by_module.items():
            while left:
                left = self._run_worker(module, left)

    def _run_worker(self, module, tests):
        """Run `tests` of one module in one process; return those it did not come to."""
        if time.monotonic() > self._deadline_s:
            for test in tests:
                self._fail(test.id, f"not run: {RUN_TIMEOUT_S} s are over")
            return []
        job = {
            "module": module,
            "server": self.server,
            "strict_logs": self.strict_logs,
            "timeout_s": TEST_TIMEOUT_S,
            "tests": [(test.cls, test.method, test.needs) for test in tests],
        }
        left = {test.id: test for test in tests}
        begun = None
        for message in self._messages(job):
            if "setup_error" in message:
                for test_id in left:
                    self._fail(test_id, message["setup_error"])
                return []
            if "begun" in message:
                begun = ".".join((module, *message["begun"]))
            else:
                begun = None
                test_id = ".".join((module, *message.pop("done")))
                self.results[test_id] = message
                del left[test_id]
                if not left:
                    break
        if left and begun is None:
            begun = next(iter(left))
        if begun is not None:
            self._fail(begun, "the test process died or stood still")
            del left[begun]
        return list(left.values())

    def _messages(self, job):
        """Start a worker, and yield what it says until it ends or stands still."""
        reading, writing = os.pipe()
        with subprocess.Popen(
            [sys.executable, "-m", "tests.tornado_suite.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[writing],
            env=_environment(writing),
            start_new_session=True,
        ) as process:
            os.close(writing)
            try:
                process.stdin.write(json.dumps(job).encode())
                process.stdin.close()
                yield from _lines(reading)
            finally:
                os.close(reading)
                # The session is the worker's own: what its tests have started goes with it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _fail(self, test_id, text):
        self.results[test_id] = {
            "outcome": "fail",
            "text": text,
            "took_part": False,
            "seconds": 0,
        }


def _environment(fd):
    return {
        **os.environ,
        "TORNADO_SUITE_FD": str(fd),
        "ASYNC_TEST_TIMEOUT": str(ASYNC_TEST_TIMEOUT_S),
        "NO_NETWORK": "1",
        "EMULATION": "1",  # a slow machine, for Tornado: the tests' own time limits are longer
    }


def _lines(fd):
    """Yield each line that comes on `fd`, until it ends or nothing comes for too long."""
    pending = b""
    while select.select([fd], [], [], TEST_TIMEOUT_S + 15)[0]:
        data = os.read(fd, 65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from map(json.loads, lines)
