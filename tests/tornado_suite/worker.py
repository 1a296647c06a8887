"""Runs tests of one of Tornado's test modules with its `HTTPServer` replaced, in this process.

Decides how the replacement is put in place and what a test's outcome is. The job comes as JSON on
standard input; a line of JSON for each test that begins or ends goes to the file descriptor that
`TORNADO_SUITE_FD` names.
"""

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import re
import signal
import sys
import time
import traceback
import unittest
from pathlib import Path

import tornado.httpserver
import tornado.testing
import tornado.web

from tests.tornado_suite import catalog, logbridge
from tests.tornado_suite.selection import NATIVE, TABLES, test_module

ROOT = Path(__file__).resolve().parents[2]


class HungError(KeyboardInterrupt):
    """A test takes too long; asyncio's callbacks let nothing but KeyboardInterrupt through."""


class CountedServer:
    """Stands where the name `HTTPServer` stood, and counts what is constructed."""

    def __init__(self, cls):
        self._cls = cls
        self.count = 0

    def __call__(self, *args, **kwargs):
        self.count += 1
        return self._cls(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._cls, name)


class Worker:
    """One test module, imported with the replacement in place.

    Args:
        job: What `runner.py` writes: server, module, strict_logs, timeout_s and tests.
    """

    def __init__(self, job):
        self.job = job
        self.module = job["module"]
        self.server_module, _, attribute = job["server"].partition(":")
        self.attribute = attribute
        self.package = self.server_module.rpartition(".")[0]
        self.missing = []
        self.bound = []
        self.rewritten = 0
        logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
        server = getattr(importlib.import_module(self.server_module), attribute)
        self.server = CountedServer(server)
        for place in (tornado.httpserver, tornado.testing, tornado.web):
            place.HTTPServer = self.server
        logbridge.install(self.package.partition(".")[0], strict=job["strict_logs"])
        self.tests = self._import_tests()
        self._rewrite_programs()

    def _import_tests(self):
        """Import the test module with the promised names bound to the replacement's own."""
        before = []
        try:
            for table, missing in ((catalog.REBIND, self.missing), (catalog.REBIND_OPTIONAL, [])):
                for place_name, names in table.get(self.module, {}).items():
                    self._bind(place_name, names, missing, before)
            if self.module != NATIVE:
                return importlib.import_module(test_module(self.module))
            return _import_again(test_module(self.module), "tornado.test." + NATIVE)
        finally:
            for place, name, value in before:
                setattr(place, name, value)

    def _bind(self, place_name, names, missing, before):
        place = importlib.import_module(place_name)
        own_name = f"{self.package}.{place_name.rpartition('.')[2]}"
        try:
            own = importlib.import_module(own_name)
        except ModuleNotFoundError:
            own = None
        for name in names:
            if not hasattr(own, name):
                missing.append(f"{own_name}.{name}")
                continue
            self.bound.append(name)
            before.append((place, name, getattr(place, name)))
            setattr(place, name, getattr(own, name))

    def _rewrite_programs(self):
        """Have the programs that tests start in fresh interpreters import the replacement."""
        if self.module == "tcpserver_test":
            original = self.tests.TestMultiprocess.run_subproc
            self.tests.TestMultiprocess.run_subproc = lambda case, code: original(
                case, self._rewrite(code)
            )
        elif self.module == "process_test":
            program = self.tests._MULTI_PROCESS_TEST_SCRIPT
            run = self.tests.ProcessTest.test_multi_process

            def test_multi_process(case):
                bridge = (
                    f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
                    "from tests.tornado_suite import logbridge\n"
                    f"logbridge.install({self.package!r}, strict={self.job['strict_logs']!r})\n"
                )
                self.tests._MULTI_PROCESS_TEST_SCRIPT = bridge + self._rewrite(program)
                run(case)

            self.tests.ProcessTest.test_multi_process = test_multi_process

    def _rewrite(self, code):
        self.rewritten += 1
        code = re.sub(
            r"(?m)^(\s*)from tornado\.(tcpserver|process|netutil|ioloop) import",
            rf"\1from {self.package}.\2 import",
            code,
        )
        return re.sub(
            r"(?m)^(\s*)from tornado\.httpserver import HTTPServer$",
            rf"\1from {self.server_module} import {self.attribute} as HTTPServer",
            code,
        )

    def run(self, cls, method, needs):
        """Run one test; return outcome, text, and whether the replacement had a part in it."""
        before = self.server.count + self.rewritten
        signal.setitimer(signal.ITIMER_REAL, self.job["timeout_s"])
        try:
            outcome, text = self._outcome(cls, method, needs)
        except HungError:
            outcome, text = "hung", f"hung for more than {self.job['timeout_s']} s"
        except BaseException:
            outcome, text = "fail", traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took_part = self.server.count + self.rewritten > before or bool("N" in needs and self.bound)
        return outcome, text, took_part

    def _outcome(self, cls, method, needs):
        if "N" in needs and self.missing:
            return "fail", "the package does not offer " + ", ".join(self.missing)
        wanted = set(catalog.OPTIONAL.get(self.module, {}).get(cls, ()))
        if not wanted <= set(self.bound):
            return "fail", "not offered: " + ", ".join(sorted(wanted - set(self.bound)))
        base, _, index = method.partition("[")
        with contextlib.ExitStack() as stack:
            if index:
                table = getattr(self.tests, TABLES[base])
                stack.callback(setattr, self.tests, TABLES[base], table)
                setattr(self.tests, TABLES[base], [table[int(index[:-1])]])
            result = unittest.TestResult()
            unittest.TestSuite([getattr(self.tests, cls)(base)]).run(result)
        if result.errors or result.failures:
            return "fail", (result.errors + result.failures)[0][1]
        if result.skipped:
            fine = f"{self.module}.{cls}.{method}" in catalog.SKIP_OK
            return "pass" if fine else "fail", "skipped at run time: " + result.skipped[0][1]
        return ("pass", "") if result.testsRun == 1 else ("fail", "did not run")


def _import_again(name, alias):
    """Import the module `name` once more, under the name `alias`."""
    origin = importlib.util.find_spec(name).origin
    spec = importlib.util.spec_from_file_location(alias, origin)
    module = sys.modules[alias] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _raise_hung(signum, frame):
    raise HungError("the test takes too long")


def main():
    """Do the job on standard input."""
    job = json.loads(sys.stdin.read())
    out = os.fdopen(int(os.environ["TORNADO_SUITE_FD"]), "w", buffering=1)

    def send(**message):
        out.write(json.dumps(message) + "\n")

    signal.signal(signal.SIGALRM, _raise_hung)
    try:
        worker = Worker(job)
    except BaseException:
        send(setup_error=traceback.format_exc())
        raise
    for cls, method, needs in job["tests"]:
        send(begun=[cls, method])
        started_s = time.monotonic()
        outcome, text, took_part = worker.run(cls, method, needs)
        send(
            done=[cls, method],
            outcome="pass" if outcome == "pass" else "fail",
            text=text[-3000:],
            took_part=took_part,
            seconds=round(time.monotonic() - started_s, 3),
        )
        if outcome == "hung":
            break  # the state of this process is no longer to be trusted
    out.flush()
    os._exit(0)  # what tests left running is of no interest


if __name__ == "__main__":
    main()
