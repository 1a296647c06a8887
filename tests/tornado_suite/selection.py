"""The tests of the installed Tornado, one by one, as the catalog classifies them.

Decides the order and the names; it must not know how a test is run.
"""

import importlib
import unittest
from typing import NamedTuple

from tests.tornado_suite import catalog

__all__ = ["Selected", "select_tests", "test_module"]

NATIVE = "httpserver_native_test"
"""`httpserver_test` a second time, its delegates written against the replacement's own names."""

# A few tests of the corpus go through a table; each line of it counts as a test of its own.
TABLES = {"test_cases": "CASES", "test_scaling": "SCALING"}


class Selected(NamedTuple):
    """One test, and what the catalog says of it."""

    module: str
    cls: str
    method: str
    category: str
    needs: str
    note: str

    @property
    def id(self):
        """Such as `web_test.FlowControlTest.test_flow_control`."""
        return f"{self.module}.{self.cls}.{self.method}"


def test_module(module):
    """Return the name of Tornado's module that `module` runs."""
    return "tornado.test." + ("httpserver_test" if module == NATIVE else module)


def select_tests(module=None):
    """Return every test that the catalog knows, left out ones included.

    Args:
        module: Only those of this one of Tornado's test modules.
    """
    modules = catalog.MODULES if module is None else [module]
    return [test for name in modules for test in _tests_of(name)]


def _tests_of(module):
    imported = importlib.import_module(test_module(module))
    for test in _flatten(unittest.defaultTestLoader.loadTestsFromModule(imported)):
        cls = type(test).__name__
        if cls == "AbstractBaseWrapper":
            continue
        for method in _lines_of(imported, cls, test._testMethodName):
            category, needs, note = catalog.classify(module, cls, method)
            if category == "I" and cls in catalog.OPTIONAL.get(module, {}):
                category = "O"
            yield Selected(module, cls, method, category, needs, note)


def _lines_of(imported, cls, method):
    if cls != "SecurityCorpusTest" or method not in TABLES:
        return [method]
    return [f"{method}[{i}]" for i in range(len(getattr(imported, TABLES[method])))]


def _flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flatten(item)
        else:
            yield item
