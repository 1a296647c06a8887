"""The reference page says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeserver.proxyheaders import CODES, REASONS
from edgeserver.proxyheaders.results import UNVERIFIED
from edgeserver.proxyheaders.stripping import DECLARABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "proxyheaders.md"


def missing(row: str, section: str) -> str:
    """Return what to write where, for whoever has added something."""
    return f"docs/reference/{PAGE.name}, below {section!r}, lacks the row: {row}"


@pytest.fixture(scope="module")
def page() -> str:
    """Give the text of the page."""
    return PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", CODES)
def test_finding_is_documented(page: str, code: str) -> None:
    """Every code stands in the table, with its severity, meaning and fix."""
    entry = CODES[code]
    row = f"| `{code}` | {entry.severity} | {entry.meaning} | {entry.fix} |"
    assert row in page.split("\n"), missing(row, "## Findings")


@pytest.mark.parametrize("reason", REASONS)
def test_reason_is_documented(page: str, reason: str) -> None:
    """Every reason stands in the table, with whether the answer is verified."""
    verified = "no" if reason in UNVERIFIED else "yes"
    row = f"| `{reason}` | {verified} | {REASONS[reason]} |"
    assert row in page.split("\n"), missing(row, "## Reasons")


@pytest.mark.parametrize("name", sorted(name.decode() for name in DECLARABLE))
def test_declarable_header_is_documented(page: str, name: str) -> None:
    """Every header that can be declared is listed."""
    row = f"| `{name}` |"
    assert any(line.startswith(row) for line in page.split("\n")), missing(row, "### TrustedProxy")
