"""What counts as a slip of the pen."""

import pytest

from edgeserver.config.slips import find_slip

NAMES = ["--bind", "--port", "--protocol", "--workers", "-w", "--crl", "--certfile", "--loop"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--wrkers", "--workers"),
        ("--workerss", "--workers"),
        ("--workres", "--workers"),
        ("--warkers", "--workers"),
        ("--worker", "--workers"),
        ("--bnid", "--bind"),
        ("--prot", "--port"),
        ("--certifle", "--certfile"),
        ("--portal", ""),
        ("--wroekrs", ""),
        ("--cr", ""),
        ("-x", ""),
        ("", ""),
    ],
)
def test_one_letter(typed: str, meant: str) -> None:
    """One letter left out, added, wrong or exchanged is a slip; two are another word."""
    assert find_slip(typed, NAMES) == meant
