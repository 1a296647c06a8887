"""The tests of Tornado's that contradict what edgeserver does on purpose, each with the reason.

Decides only how `expected_failures.txt` is read.
"""

from pathlib import Path

__all__ = ["load_expected_failures"]

EXPECTED_FAILURES = Path(__file__).with_name("expected_failures.txt")


def load_expected_failures():
    """Return the reason for each test that fails on purpose, by its id.

    Raises:
        ValueError: A line has no reason, or a test stands there twice.
    """
    expected = {}
    for line in EXPECTED_FAILURES.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        test_id, _, reason = line.partition(" ")
        if not reason or test_id in expected:
            raise ValueError(f"expected_failures.txt: {line!r} has no reason, or stands twice")
        expected[test_id] = reason.strip()
    return expected
