"""Tornado's own test suite over our `HTTPServer`: every test has the outcome expected of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import tornado

from tests.tornado_suite.catalog import MODULES

ROOT = Path(__file__).parents[1]
CATALOGED = (6, 6)


@pytest.mark.skipif(
    tornado.version_info[:2] != CATALOGED,
    reason=f"the catalog is of Tornado {CATALOGED}, and {tornado.version} is installed",
)
@pytest.mark.parametrize("module", MODULES)
def test_tornados_own_tests(module):
    """A new failure fails, and so does an unexpected pass."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.tornado_suite", "--module", module],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
