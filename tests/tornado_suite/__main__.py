"""`python -m tests.tornado_suite`: run Tornado's own tests over edgeserver's `HTTPServer`.

The exit status is 0 when every test has the outcome that is expected of it.
"""

import argparse
import collections
import json
import re
import sys
import time

from tests.tornado_suite import catalog
from tests.tornado_suite.expectations import load_expected_failures
from tests.tornado_suite.runner import Runner
from tests.tornado_suite.selection import select_tests

EDGESERVER = "edgeserver.httpserver:HTTPServer"


def main():
    """Run what the command line says; return the exit status."""
    options = _parse_arguments()
    selected = select_tests(options.module)
    if options.list:
        _print_selection(selected)
        return 0
    tests = [t for t in selected if t.category != "I" and re.search(options.only, t.id)]
    expected = load_expected_failures() if options.server == EDGESERVER else {}
    modules = {t.module for t in selected}
    unknown = {i for i in expected if i.partition(".")[0] in modules} - {t.id for t in selected}
    for test_id in unknown:
        print(f"UNKNOWN TEST {test_id}: take it off expected_failures.txt")
    started_s = time.monotonic()
    runner = Runner(options.server, strict_logs=options.strict_logs)
    runner.run(tests)
    # Some of these tests depend on how fast the machine is: a surprise has to come twice.
    runner.run([t for t in tests if _failed(runner, t) and t.id not in expected])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(runner.results, file, indent=1)
    surprises = _print_surprises(runner, tests, expected)
    _print_counts(runner, tests, time.monotonic() - started_s)
    return 1 if surprises or unknown or not tests else 0


def _failed(runner, test):
    return runner.results[test.id]["outcome"] == "fail"


def _print_surprises(runner, tests, expected):
    surprises = 0
    for test in tests:
        failed = _failed(runner, test)
        if failed and test.id not in expected:
            text = runner.results[test.id]["text"].rstrip()
            print(f"NEW FAILURE {test.id}\n    " + text.replace("\n", "\n    "))
            surprises += 1
        elif not failed and test.id in expected:
            print(f"UNEXPECTED PASS {test.id}: take it off expected_failures.txt")
            surprises += 1
    return surprises


def _print_counts(runner, tests, seconds):
    by_module = {}
    total = collections.Counter()
    passed = collections.Counter()
    for test in tests:
        good = not _failed(runner, test)
        row = by_module.setdefault(test.module, [0, 0])
        row[0] += good
        row[1] += 1
        total[test.category] += 1
        passed[test.category] += good
    for module, (good, of) in by_module.items():
        print(f"{module:26} {good}/{of}")
    aside = [t.id for t in tests if t.category != "O" and not runner.results[t.id]["took_part"]]
    if aside:
        print(f"{len(aside)} tests never touched the replacement: {', '.join(aside[:5])}")
    good, of = (counts["P"] + counts["C"] for counts in (passed, total))
    print(
        f"tornado suite: passed {good} of {of} (P {passed['P']}/{total['P']},"
        f" C {passed['C']}/{total['C']}), {passed['O']} of {total['O']} utilities;"
        f" {seconds:.0f} s"
    )


def _print_selection(selected):
    for test in selected:
        print(f"{test.category} {test.needs:3} {test.id}  {test.note}")
    counts = collections.Counter(test.category for test in selected)
    print(f"total {len(selected)}: " + ", ".join(f"{c} {n}" for c, n in sorted(counts.items())))


def _parse_arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.tornado_suite", description=__doc__)
    parser.add_argument("--server", default=EDGESERVER, help="module:attribute of the class to run")
    parser.add_argument("--only", default="", help="regular expression on module.Class.method")
    parser.add_argument("--module", choices=catalog.MODULES, help="only this test module")
    parser.add_argument("--strict-logs", action="store_true", help="want Tornado's very log lines")
    parser.add_argument("--json", help="write the details to this file")
    parser.add_argument("--list", action="store_true", help="print the classification and stop")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
